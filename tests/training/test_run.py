"""Training: what a run writes, what it refuses, and the parts it is made of."""

from __future__ import annotations

import errno
import io
import json
import math
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from tiny_data import folder, table
from tiny_run import tiny_run
from tiny_training import LOG, RECIPE, cache_folder, data, recipe, run_into, whole_run
from torch import nn

from lentigo.config import parse_recipe
from lentigo.data import load_split, open_cache, read_samples
from lentigo.errors import DataError, NetworkError, RecipeError, TrainingError
from lentigo.evaluation import maps_path, read_maps, read_predictions
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD
from lentigo.losses import create_loss
from lentigo.networks import create_network
from lentigo.training import describe, load_run, train
from lentigo.training import run as run_module
from lentigo.training.augment import Normalise
from lentigo.training.batches import Batch, cut_batches, epoch_order, shards_of
from lentigo.training.loop import Task, accuracies, create_transforms
from lentigo.training.mix import Mix
from lentigo.training.optimiser import RunningAverage, create_optimiser, ema_weight, layer_depths
from lentigo.training.progress import RunProgress, TimeLeft, clock
from lentigo.training.rundir import BEST, LAST, read_checkpoint
from lentigo.training.samples import check_classes, prepare_samples
from lentigo.training.schedule import Monitor
from lentigo.training.streams import Draws


@pytest.fixture(scope="module")
def run() -> Path:
    return whole_run()


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


# What a run writes


def test_run_folder_is_whole(run: Path) -> None:
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    predictions = {f"predictions/{split}{end}" for split in ("val", "test") for end in (".csv", "_maps.npz")}
    assert files == {"recipe.yaml", "split.csv", "log.csv", "run.json", str(LAST), str(BEST)} | predictions
    assert parse_recipe(yaml.safe_load((run / "recipe.yaml").read_text())) == recipe()


def test_log_has_a_row_an_epoch(run: Path) -> None:
    log = pd.read_csv(run / "log.csv")
    assert log.columns.tolist() == [*LOG, "images_per_second", "seconds"]
    assert log["epoch"].tolist() == [1, 2, 3, 4]
    assert log["size"].tolist() == [32, 32, 40, 40]
    assert np.isfinite(log.to_numpy()).all()
    assert log["val_accuracy"].between(0, 1).all()
    assert log["lr"].iloc[0] == pytest.approx(2e-3)


def test_record_says_where_the_run_came_from(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    samples = load_split(read_samples(data()), run / "split.csv")
    assert record["fingerprint"] == samples.fingerprint
    assert (record["protocol"], record["split_seed"], record["seed"]) == ("image", 0, 0)
    assert [label["code"] for label in record["labels"]] == list(samples.labels.codes)
    counts = samples.counts()
    assert record["counts"]["train"] == {str(code): int(n) for code, n in counts["train"].items()}
    assert record["network"] == "mobilenetv3_small_caco"
    assert record["parameters"] == sum(p.numel() for p in load_run(run).network().parameters())
    assert "torch" in record["versions"]
    assert "cores" in record["hardware"]
    assert record["wall_seconds"] > 0
    assert record["finished"]


def test_best_is_the_best_epoch_at_the_last_size(run: Path) -> None:
    opened = load_run(run)
    last = opened.log[opened.log["size"] == opened.recipe.final_size]
    expected = int(last.loc[last["val_loss"].idxmin(), "epoch"])
    assert read_checkpoint(run / BEST)["epoch"] == expected == opened.record["best"]["epoch"]


def test_checkpoints_hold_plain_values_and_tensors(run: Path) -> None:
    for name in (LAST, BEST):
        assert isinstance(torch.load(run / name, weights_only=True), dict)


@pytest.mark.parametrize("split", ["val", "test"])
def test_predictions_are_those_of_the_best_network(run: Path, split: str) -> None:
    opened = load_run(run)
    samples = load_split(read_samples(data()), run / "split.csv")
    part = samples.subset(split)
    predictions = read_predictions(run / "predictions" / f"{split}.csv", codes=opened.labels.codes)
    assert predictions.images.tolist() == part.frame["image"].tolist()
    assert np.array_equal(predictions.targets, part.targets)
    pixels = open_cache(samples, 40, cache_folder(), progress=False).pixels[samples.frame["split"].to_numpy() == split]
    network = opened.network()
    with torch.inference_mode():
        logits = network(Normalise(IMAGENET_MEAN, IMAGENET_STD)(torch.from_numpy(pixels)))
    assert np.allclose(predictions.probabilities, logits.double().softmax(1).numpy(), atol=5e-3)
    maps = read_maps(maps_path(run / "predictions" / f"{split}.csv"))
    assert maps.images.tolist() == predictions.images.tolist()
    assert maps.predicted.shape[1:] == network.forward_features(torch.zeros(1, 3, 40, 40)).shape[2:]
    right = predictions.probabilities.argmax(1) == predictions.targets
    assert np.array_equal(maps.predicted[right], maps.target[right])


def test_training_learns(tmp_path: Path) -> None:
    """Three classes told apart by colour alone are learnt."""
    for code, colour in {"red": (220, 60, 60), "green": (60, 220, 60), "blue": (60, 60, 220)}.items():
        for n in range(24):
            noise = np.random.default_rng(n).integers(-40, 40, (32, 32, 3))
            path = tmp_path / "data" / code / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((np.asarray(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)
    chosen = recipe(
        epochs=10,
        sizes=[{"from_epoch": 0, "size": 32}],
        loss={"name": "cross_entropy"},
        schedule={"name": "cosine", "warmup": 1},
        network={"name": "mobilenetv3_small_none", "pretrained": "none"},
        ema=0.5,
        augment={},
        clip=0,
    )
    log = load_run(
        train(chosen, tmp_path / "data", out=tmp_path / "run", accelerator="cpu", progress=False, cache=tmp_path / "c")
    ).log
    assert log["val_loss"].iloc[-1] < 0.5 * log["val_loss"].iloc[0]
    assert log["val_balanced_accuracy"].max() > 0.9


def test_metadata_travels_into_the_predictions() -> None:
    columns = pd.read_csv(tiny_run() / "predictions" / "test.csv").columns
    assert {"age", "sex", "site"} <= set(columns)


# What a run says


def test_quiet_run_prints_a_line_an_epoch_and_mixed_precision_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_into(tmp_path / "run", recipe(epochs=1, precision="bf16-mixed", sizes=[{"from_epoch": 0, "size": 32}]))
    lines = capsys.readouterr().err.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert len(epochs) == 1
    for word in ("epoch 1/1", "32 px", "loss", "acc", "bacc", "images/s", "left", "*"):
        assert word in epochs[0]
    assert any("tiny on" in line and "image protocol" in line for line in lines)


def test_bar_shows_loss_accuracies_speed_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=200)
    monkeypatch.setattr(run_module, "RunProgress", partial(RunProgress, console=console))
    chosen = recipe(epochs=1, sizes=[{"from_epoch": 0, "size": 32}])
    train(chosen, data(), out=tmp_path / "run", accelerator="cpu", cache=cache_folder())
    text = shown.getvalue()
    for word in ("epoch 1/1 (32 px)", "loss", "acc", "bacc", "images/s", "left"):
        assert word in text


def test_ctrl_c_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), RunProgress(bar=False):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "stopped; go on from the last whole epoch with --resume\n"
    with pytest.raises(KeyboardInterrupt), RunProgress(quiet=True):
        raise KeyboardInterrupt
    assert not capsys.readouterr().err


def test_time_left_counts_pixels() -> None:
    left = TimeLeft([32, 32, 40, 40])
    left.start -= 10
    assert left.seconds(0, 1.0) == pytest.approx(10 * (1024 + 2 * 1600) / 1024, rel=0.01)
    assert left.seconds(3, 1.0) == pytest.approx(0, abs=1e-6)
    assert TimeLeft([32]).seconds(0, 0.0) is None
    assert [clock(s) for s in (None, 5, 65, 3725)] == ["?", "0:05", "1:05", "1:02:05"]


def test_describe_says_what_would_be_trained() -> None:
    text = describe(recipe(), data())
    for word in (
        "tiny",
        "mobilenetv3_small_caco",
        "joint",
        "4 epochs",
        "32 px from epoch 1",
        "40 px from epoch 3",
        "melanoma",
        "image",
    ):
        assert word in text


# What a run refuses


def test_run_is_never_written_over(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--resume"):
        run_into(copy)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(TrainingError, match="not empty"):
        run_into(tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_checkpoint_of_another_version_is_refused_and_its_finished_run_still_loads(copy: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {}, "callbacks": {}}, copy / LAST)  # as the former engine wrote them
    assert run_into(copy, resume=True) == copy
    assert load_run(copy).network().name == "mobilenetv3_small_caco"
    record = json.loads((copy / "run.json").read_text()) | {"finished": False}
    (copy / "run.json").write_text(json.dumps(record))
    with pytest.raises(TrainingError, match=r"last\.ckpt: written by another version of lentigo.*--out FOLDER"):
        run_into(copy, resume=True)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no run to resume"):
        run_into(tmp_path / "nowhere", resume=True)
    assert not (tmp_path / "nowhere").exists()


def test_resume_needs_the_same_recipe_and_data(copy: Path, tmp_path: Path) -> None:
    other = recipe(batch=16, optimiser=RECIPE["optimiser"] | {"lr": 1e-3})
    with pytest.raises(TrainingError, match=r"batch, optimiser\.lr differ"):
        run_into(copy, other, resume=True)
    record = json.loads((copy / "run.json").read_text()) | {"finished": False}
    (copy / "run.json").write_text(json.dumps(record))
    wrong = folder(tmp_path / "wrong", {"naevus": 20, "melanoma": 12, "wart": 8}, size=24)
    with pytest.raises(TrainingError, match="not the data"):
        run_into(copy, resume=True, source=wrong)


def test_finished_run_is_left_alone(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert run_into(copy, resume=True) == copy
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_class_without_training_images() -> None:
    samples = table({"a": 4, "b": 4})
    split = pd.Series(["train"] * 4 + ["test"] * 4, index=samples.frame["image"])
    with pytest.raises(DataError, match="no training image of class b"):
        check_classes(samples.with_split(split))


def test_classes_must_fit_the_recipe() -> None:
    with pytest.raises(DataError, match=r"melanoma.* but the recipe tiny is for akiec"):
        prepare_samples(recipe(data=RECIPE["data"] | {"labels": "ham10000"}), data())


def test_folds_replace_validation() -> None:
    parts = [prepare_samples(recipe(data=RECIPE["data"] | {"folds": 3, "fold": fold}), data()) for fold in range(3)]
    validated = [set(part.subset("val").frame["image"]) for part in parts]
    assert not validated[0] & validated[1]
    tests = [frozenset(part.subset("test").frame["image"]) for part in parts]
    assert len(set(tests)) == 1
    assert set.union(*validated) | tests[0] == set(parts[0].frame["image"])


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"precision": "16-mixed"}, TrainingError, "needs a GPU"),
        ({"network": {"name": "mobilenetv3_small_cacao"}}, NetworkError, "did you mean 'mobilenetv3_small_caco'"),
        ({"network": RECIPE["network"] | {"options": {"strat": "se"}}}, NetworkError, "did you mean 'start'"),
        ({"network": RECIPE["network"] | {"pretrained": "nowhere.pt"}}, NetworkError, r"nowhere\.pt"),
        ({"loss": {"name": "joint", "label_smoothing": 0.1}}, RecipeError, "label_smoothing"),
    ],
)
def test_what_cannot_be_leaves_nothing_behind(
    changes: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        run_into(tmp_path / "run", recipe(**changes))
    assert not (tmp_path / "run").exists()


def test_loss_that_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"not a finite number in epoch 1, step \d of 3, at learning rate 1e\+30; .*optimiser\.lr"
    ):
        run_into(tmp_path / "run", recipe(optimiser={"lr": 1e30}, schedule={"name": "constant"}, clip=0))
    assert not (tmp_path / "run" / LAST).exists()


def test_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    save = torch.save

    def fills_up(content: dict[str, Any], path: Path) -> None:
        if content["epoch"] == 2 and "learner" in content:
            Path(path).write_bytes(b"half a checkpoint")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, path)

    monkeypatch.setattr(torch, "save", fills_up)
    with pytest.raises(
        TrainingError, match=r"last\.ckpt: cannot be written \(No space left on device\); make room.*--resume"
    ):
        run_into(tmp_path / "run")
    assert read_checkpoint(tmp_path / "run" / LAST)["epoch"] == 1
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert len(pd.read_csv(tmp_path / "run" / "log.csv")) == 2
    monkeypatch.undo()
    run_into(tmp_path / "run", resume=True)
    assert load_run(tmp_path / "run").log[LOG].equals(load_run(run).log[LOG])


def test_folders_and_files_that_are_no_run(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not a run folder"):
        load_run(tmp_path)
    (copy / BEST).write_bytes((copy / BEST).read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"best\.ckpt: damaged"):
        load_run(copy).network()
    (copy / BEST).unlink()
    with pytest.raises(TrainingError, match="no such checkpoint"):
        load_run(copy).network()
    torch.save({"network": {}}, copy / BEST)
    with pytest.raises(TrainingError, match="not a checkpoint of mobilenetv3_small_caco with 3 classes"):
        load_run(copy).network()


# The parts


def follow_all(monitor: Monitor, values: list[float]) -> list[tuple[bool, float, bool]]:
    return [(monitor.update(epoch, value), monitor.rate, monitor.stopped) for epoch, value in enumerate(values)]


def test_plateau_and_early_stopping() -> None:
    one = [{"from_epoch": 0, "size": 32}]
    chosen = recipe(
        sizes=one, schedule={"name": "plateau", "patience": 1, "factor": 0.5}, stop={"patience": 4}, epochs=9
    )
    evaluated = follow_all(Monitor(chosen), [1.0, 0.9, 0.95, 0.95, 0.95, 0.99])
    assert [best for best, _, _ in evaluated] == [True, True, False, False, False, False]
    assert [rate for _, rate, _ in evaluated] == [1, 1, 0.5, 0.25, 0.125, 0.0625]
    assert [stop for _, _, stop in evaluated] == [False] * 5 + [True]


def test_only_epochs_at_the_last_size_are_compared() -> None:
    monitor = Monitor(recipe(stop={"patience": 2}))  # the size changes before the third epoch
    evaluated = follow_all(monitor, [0.1, 0.2, 0.9, 0.8])
    assert [best for best, _, _ in evaluated] == [False, False, True, True]
    assert not any(stop for _, _, stop in evaluated)


def test_the_last_epoch_is_kept_where_validation_chooses_nothing() -> None:
    chosen = recipe(monitor="last", schedule={}, epochs=4)
    assert [best for best, _, _ in follow_all(Monitor(chosen), [0.1, 0.9, 0.5, 0.7])] == [False, False, False, True]


def test_running_average_against_a_slow_version() -> None:
    network = create_network("mobilenetv3_small_none", classes=3)
    average = RunningAverage(network)
    expected = torch.zeros(())
    for step in range(6):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(network, ema_weight(0.5, step))
        current = network.head.output.weight.detach().clone()
        decay = min(0.5, step / (9 + step))
        expected = decay * expected + (1 - decay) * current
    network.train()(torch.randn(4, 3, 32, 32))
    average.update(network, ema_weight(0.5, 100))
    norm, averaged = (next(m for m in n.modules() if isinstance(m, nn.BatchNorm2d)) for n in (network, average.module))
    assert torch.allclose(averaged.running_mean, norm.running_mean / 2, atol=1e-6)
    expected = (expected + current) / 2
    assert torch.allclose(average.module.head.output.weight, expected, atol=1e-5)
    assert not any(p.requires_grad for p in average.parameters())


@pytest.mark.parametrize("decay_all", [True, False])
def test_optimiser_groups(decay_all: bool) -> None:
    network = create_network("mobilenetv3_small_caco", classes=3)
    optimiser = create_optimiser(
        network, recipe(optimiser={"decay_norm_and_bias": decay_all, "head_lr": 3, "weight_decay": 0.1}).optimiser
    )
    settings = {
        id(p): (group["weight_decay"], group["factor"]) for group in optimiser.param_groups for p in group["params"]
    }
    assert len(settings) == len(list(network.parameters()))
    assert network.head is not None
    assert settings[id(network.head.output.weight)] == (0.1, 3)
    assert settings[id(network.head.output.bias)] == (0.1 if decay_all else 0, 3)
    norm = next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert settings[id(norm.weight)] == (0.1 if decay_all else 0, 1)
    assert isinstance(create_optimiser(network, recipe(optimiser={"name": "adam"}).optimiser), torch.optim.Adam)


def test_early_blocks_may_move_less() -> None:
    network = create_network("mobilenetv3_small_caco", classes=3)
    optimiser = create_optimiser(network, recipe(optimiser={"layer_decay": 0.5, "head_lr": 3}).optimiser)
    factor = {id(p): group["factor"] for group in optimiser.param_groups for p in group["params"]}
    found: dict[str, set[float]] = {}
    for name, parameter in network.named_parameters():
        found.setdefault(".".join(name.split(".")[:2]), set()).add(factor[id(parameter)])
    assert found.pop("head.hidden") == found.pop("head.output") == {3}
    assert found == {f"features.{i}": {0.5 ** (12 - i)} for i in range(13)}


def test_blocks_of_other_networks() -> None:
    names = [
        "conv1.weight",
        "bn1.bias",
        "layer1.0.conv1.weight",
        "layer1.0.bn1.weight",
        "layer1.1.conv1.weight",
        "layer2.0.conv1.weight",
    ]
    assert list(layer_depths(names).values()) == [4, 3, 2, 2, 1, 0]


def test_running_statistics_forget_their_start(tmp_path: Path) -> None:
    """After one step they are those of its batch; a network from scratch could not be evaluated otherwise."""
    out = run_into(tmp_path / "run", recipe(epochs=1, batch=24, sizes=[{"from_epoch": 0, "size": 32}], ema=0))
    state = read_checkpoint(out / BEST)["network"]
    variances = torch.stack([value.mean() for name, value in state.items() if name.endswith("running_var")])
    assert not torch.isclose(variances, torch.ones(())).any()
    assert float(variances.max()) < 100


def test_mixup_blends_images_and_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = recipe(augment={"mixup": 0.2, "flip_horizontal": 0, "flip_vertical": 0, "quarter_turns": False})
    monkeypatch.setattr("lentigo.training.mix.draw_mix", lambda *_: Mix(0.7))
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8))
    targets = torch.tensor([0, 1, 2, 0])
    network, normalise = (
        create_network("mobilenetv3_small_none", classes=3).eval(),
        Normalise(IMAGENET_MEAN, IMAGENET_STD),
    )
    batch = Batch(pixels, targets, 4)
    for transform in create_transforms(chosen.augment, normalise):
        batch = transform(batch, Draws(0, 0, 0, 4))
    terms = Task(chosen, network, create_loss("cross_entropy", [5, 5, 5]), 3).terms(network(batch.images), batch)
    assert list(terms) == ["labels"]
    images = normalise(pixels)
    logits = network(0.7 * images + 0.3 * images.flip(0))
    expected = 0.7 * nn.functional.cross_entropy(logits, targets) + 0.3 * nn.functional.cross_entropy(
        logits, targets.flip(0)
    )
    assert float(terms["labels"].detach()) == pytest.approx(float(expected.detach()), rel=1e-3)


def test_accuracies_are_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    truth, guess = generator.integers(0, 3, 60), generator.integers(0, 4, 60)  # class 3 never occurs
    confusion = torch.zeros(4, 4, dtype=torch.int64)
    for t, g in zip(truth, guess, strict=True):
        confusion[t, g] += 1
    with pytest.warns(UserWarning, match="not in y_true"):
        expected = accuracy_score(truth, guess), balanced_accuracy_score(truth, guess)
    assert accuracies(confusion) == pytest.approx(expected)


TARGETS = np.repeat([0, 1, 2], [60, 30, 6])


def test_each_image_once_an_epoch() -> None:
    orders = [epoch_order(TARGETS, sampling=0, seed=1, epoch=epoch) for epoch in range(3)]
    for order in orders:
        assert sorted(order) == list(range(96))
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[2], epoch_order(TARGETS, sampling=0, seed=1, epoch=2))
    assert not np.array_equal(orders[0], epoch_order(TARGETS, sampling=0, seed=2, epoch=0))


@pytest.mark.parametrize("exponent", [0.3, 0.5, 1.0])
def test_balanced_sampling(exponent: float) -> None:
    order = epoch_order(TARGETS, sampling=exponent, seed=0, epoch=0)
    assert len(order) == 96
    shares = np.array([60.0, 30.0, 6.0]) ** (1 - exponent)
    assert np.bincount(TARGETS[order]) == pytest.approx(96 * shares / shares.sum(), abs=1)
    times = np.bincount(order, minlength=96)
    for target in range(3):
        assert np.ptp(times[target == TARGETS]) <= 1
    assert not np.array_equal(order, np.sort(order))


def test_batches_are_nearly_equal_and_shared_out() -> None:
    order = epoch_order(TARGETS, sampling=0, seed=0, epoch=0)
    batches = cut_batches(order, 10)
    assert {len(batch) for batch in batches} <= {9, 10, 11}
    assert np.array_equal(np.concatenate(batches), order)
    assert len(cut_batches(order, 1000)) == 1
    for world in (1, 2, 3):
        shares = [shards_of(batches, rank, world) for rank in range(world)]
        for step, batch in enumerate(batches):
            parts = [shares[rank][step] for rank in range(world)]
            assert sorted(np.concatenate([part.rows for part in parts])) == sorted(batch)
            assert {part.total for part in parts} == {len(batch)}


def test_split_without_validation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image is in val"):
        run_into(tmp_path / "run", recipe(data={"protocol": "image", "fractions": [0.8, 0, 0.2]}))


def test_nan_is_never_the_best() -> None:
    evaluated = follow_all(Monitor(recipe(sizes=[{"from_epoch": 0, "size": 32}])), [math.nan, 0.5, math.nan])
    assert [best for best, _, _ in evaluated] == [False, True, False]
