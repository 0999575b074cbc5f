"""Learning without labels: the loss against a slow version, what it changes, and what a stop does to it."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_training import LOG, batch_of, data, recipe, run_into, train_until_killed

from lentigo.config import parse_recipe
from lentigo.errors import RecipeError, TrainingError
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD
from lentigo.networks import create_network
from lentigo.training import load_run, train
from lentigo.training.augment import Augment, Normalise
from lentigo.training.pretrain import COLLAPSED, SimSiam, create_pretrain_optimiser, negative_cosine, spread
from lentigo.training.rundir import BEST, read_checkpoint
from lentigo.training.streams import Draws

PRETRAIN = {"epochs": 3, "size": 32, "lr": 2e-3}


def test_loss_equals_a_slow_version() -> None:
    torch.manual_seed(0)
    predicted, projected = torch.randn(5, 7), torch.randn(5, 7)
    total = 0.0
    for p, z in zip(predicted.tolist(), projected.tolist(), strict=True):
        total -= sum(a * b for a, b in zip(p, z, strict=True)) / math.sqrt(
            sum(a * a for a in p) * sum(b * b for b in z)
        )
    assert negative_cosine(predicted, projected).item() == pytest.approx(total / 5, rel=1e-5)


def test_the_other_view_gets_no_gradient() -> None:
    predicted, projected = torch.randn(5, 7, requires_grad=True), torch.randn(5, 7, requires_grad=True)
    negative_cosine(predicted, projected).backward()  # type: ignore[no-untyped-call]
    assert predicted.grad is not None
    assert predicted.grad.abs().sum() > 0
    assert projected.grad is None


def test_spread_tells_a_collapse() -> None:
    torch.manual_seed(0)
    assert spread(torch.randn(200, 64)).item() == pytest.approx(1, abs=0.05)
    assert spread(torch.randn(1, 64).expand(200, 64)).item() < 1e-3


def test_it_learns_and_leaves_the_classification_layer_alone() -> None:
    torch.manual_seed(0)
    network = create_network("mobilenetv3_small_none", classes=3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    chosen = parse_recipe({"name": "one", "pretrain": PRETRAIN})
    model = SimSiam(network, 32)
    optimiser = create_pretrain_optimiser(model, chosen)
    batch = batch_of(torch.randint(0, 256, (16, 32, 32, 3), dtype=torch.uint8))
    augment = Augment(chosen.pretrain.augment, Normalise(IMAGENET_MEAN, IMAGENET_STD))
    views = [augment(batch, Draws(0, 0, 0, 16, view=view)).images for view in (1, 2)]
    losses = []
    for _ in range(20):
        loss, _ = model(*views)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.2
    after = network.state_dict()
    assert not torch.equal(after["head.hidden.weight"], before["head.hidden.weight"])
    assert torch.equal(after["head.output.weight"], before["head.output.weight"])


@pytest.mark.slow
def test_run_with_pretraining_survives_being_killed_in_it(tmp_path: Path) -> None:
    chosen = recipe(pretrain=PRETRAIN)
    whole = run_into(tmp_path / "whole", chosen)
    log = pd.read_csv(whole / "pretrain.csv")
    assert list(log["epoch"]) == [1, 2, 3]
    assert (log["spread"] > COLLAPSED).all()
    assert log["loss"].iloc[-1] < log["loss"].iloc[0]
    assert load_run(whole).record["pretraining"]["images"] == 24

    out = tmp_path / "killed"
    train_until_killed(out, "pretrain", epoch=1, pretrain=PRETRAIN)
    assert len(pd.read_csv(out / "pretrain.csv")) == 1
    assert not (out / "log.csv").exists()

    run_into(out, chosen, resume=True)
    figures = ["epoch", "size", "loss", "spread"]
    assert pd.read_csv(out / "pretrain.csv")[figures].to_csv() == log[figures].to_csv()
    assert load_run(out).log[LOG].to_csv() == load_run(whole).log[LOG].to_csv()
    one, other = read_checkpoint(out / BEST)["network"], read_checkpoint(whole / BEST)["network"]
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_run_stopped_between_pretraining_and_training_pretrains_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = recipe(pretrain=PRETRAIN)
    whole = run_into(tmp_path / "run", chosen)
    first = load_run(whole).log[LOG].to_csv()
    for name in ("log.csv", "checkpoints/last.ckpt", "checkpoints/best.ckpt"):
        (whole / name).unlink()

    def never(*_: object) -> None:
        raise AssertionError("pretrained again")

    monkeypatch.setattr(SimSiam, "forward", never)
    run_into(whole, chosen, resume=True)
    assert load_run(whole).log[LOG].to_csv() == first


def test_what_has_no_place_in_two_views_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"pretrain\.augment: pretraining takes no degrade, erase, mixup or cutmix"):
        parse_recipe({"name": "one", "pretrain": {"epochs": 1, "augment": {"mixup": 0.2}}})


def test_several_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="on one device"):
        train(recipe(pretrain=PRETRAIN), data(), out=tmp_path / "run", devices=2, accelerator="cpu", progress=False)
