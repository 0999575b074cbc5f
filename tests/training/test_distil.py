"""Distillation: the term against a slow version, what a student learns, and teachers that must be refused."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_training import LOG, cache_folder, data, recipe, run_into, whole_run

from lentigo.config import load_recipe
from lentigo.config.recipe import DistilRecipe
from lentigo.errors import DataError, TrainingError
from lentigo.networks import create_network
from lentigo.training import load_run, run
from lentigo.training import teachers as teachers_module
from lentigo.training.distil import Teachers, fold, view


def teachers(temperature: float) -> Teachers:
    torch.manual_seed(0)
    networks = [create_network("mobilenetv3_small_none", classes=3) for _ in range(2)]
    return Teachers(networks, DistilRecipe(temperature=temperature))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_loss_equals_a_slow_version(temperature: float) -> None:
    group = teachers(temperature)
    images, logits = torch.randn(4, 3, 32, 32), torch.randn(4, 3)
    said = [network(images).detach() for network in group.networks]

    def softmax(row: list[float]) -> list[float]:
        raised = [math.exp(value / temperature) for value in row]
        return [value / sum(raised) for value in raised]

    total = 0.0
    for i in range(4):
        each = [softmax(scores[i].tolist()) for scores in said]
        target = [sum(values) / len(values) for values in zip(*each, strict=True)]
        student = softmax(logits[i].tolist())
        total += sum(p * (math.log(p) - math.log(q)) for p, q in zip(target, student, strict=True))
    assert group.loss(logits, images).item() == pytest.approx(temperature**2 * total / 4, rel=1e-4)


def test_views_are_the_eight_of_a_square() -> None:
    images = torch.randn(2, 3, 8, 8)
    views = [view(images, number) for number in range(8)]
    assert torch.equal(views[0], images)
    assert torch.equal(views[1], images.flip(3))
    for i in range(8):
        for j in range(i):
            assert not torch.equal(views[i], views[j])
    network = create_network("mobilenetv3_small_none", classes=3).eval()
    group = Teachers([network], DistilRecipe(temperature=2.0, views=3))
    each = [torch.softmax(network(v) / 2, 1) for v in (images, images.flip(3), torch.rot90(images, 1, (2, 3)))]
    assert torch.allclose(group.targets(images), sum(each) / 3, atol=1e-5)


class Convolution(torch.nn.Module):
    """A network so small that its untrained answers depend on what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 3, 5, stride=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 50 * self.layer(images).relu().mean((2, 3))


def test_teachers_are_folded_and_say_the_same() -> None:
    torch.manual_seed(0)
    network = create_network("mobilenetv3_small_caco", classes=3, dropout=0.3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    torch.nn.init.normal_(network.get_submodule("head.output").weight)
    folded = fold(network.eval())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    for size in (64, 96):
        images = torch.randn(2, 3, size, size)
        said = network(images)
        assert said.std() > 1e-3
        assert torch.allclose(folded(images), said, atol=1e-4 * float(said.detach().abs().max()))


class Undecided(torch.nn.Module):
    """Cannot be traced: what it does depends on the image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        means = images.mean((2, 3))
        return means if means.sum() > 0 else -means


def test_a_teacher_that_cannot_be_folded_answers_as_it_is() -> None:
    network = Undecided()
    assert fold(network) is network  # type: ignore[arg-type]


def test_teachers_see_small_images_enlarged() -> None:
    torch.manual_seed(0)
    network = Convolution()
    group = Teachers([network], DistilRecipe(temperature=1.0, size=48))  # type: ignore[list-item]
    small, large = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 64, 64)
    enlarged = torch.nn.functional.interpolate(small, (48, 48), mode="bilinear", align_corners=False)
    assert torch.allclose(group.targets(small), torch.softmax(network(enlarged), 1), atol=1e-5)
    assert not torch.allclose(group.targets(small), torch.softmax(network(small), 1), atol=1e-3)
    assert torch.allclose(group.targets(large), torch.softmax(network(large), 1), atol=1e-5)  # never reduced


def test_teachers_alone_can_run_in_bfloat16() -> None:
    torch.manual_seed(0)
    network, images = Convolution(), torch.randn(2, 3, 64, 64)
    exact, rounded = (
        Teachers([network], DistilRecipe(precision=precision)).targets(images)  # type: ignore[list-item]
        for precision in (None, "bf16-mixed")
    )
    assert rounded.dtype == torch.float32
    assert 0 < float((exact - rounded).abs().max()) < 0.02


def test_teachers_never_learn() -> None:
    group = teachers(2.0)
    logits = torch.randn(4, 3, requires_grad=True)
    group.loss(logits, torch.randn(4, 3, 32, 32)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert all(p.grad is None for network in group.networks for p in network.parameters())
    assert not any(network.training for network in group.networks)


def test_student_follows_its_teacher() -> None:
    torch.manual_seed(0)
    teacher, student = (create_network("mobilenetv3_small_none", classes=3) for _ in range(2))
    teacher.head.output.bias.data = torch.tensor([2.0, 0.0, -2.0])  # it has an opinion
    images = torch.randn(12, 3, 32, 32)
    group = Teachers([teacher], DistilRecipe(temperature=1.0))
    optimiser = torch.optim.Adam(student.parameters(), 2e-3)
    losses = []
    for _ in range(30):
        loss = group.loss(student(images), images)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.1
    assert losses[-1] < 0.3 * losses[0]


def test_a_run_learns_from_teachers_alone(tmp_path: Path) -> None:
    distil = {"teachers": [str(whole_run())], "weight": 1.0, "views": 2}
    folder = run_into(tmp_path / "taught", recipe(epochs=2, distil=distil))
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert set(checkpoint["learner"]) == {"network", "optimiser", "precision", "average"}
    assert not any("teacher" in key for part in checkpoint["learner"].values() for key in part)
    taught = load_run(folder).log
    untaught = load_run(run_into(tmp_path / "untaught", recipe(epochs=2))).log
    assert (taught["train_loss"] != untaught["train_loss"]).all()


def test_teacher_of_other_images_or_classes_is_refused(tmp_path: Path) -> None:
    taught = tmp_path / "teacher"
    shutil.copytree(whole_run(), taught)
    distil = {"teachers": [str(taught)]}
    split = pd.read_csv(taught / "split.csv", dtype=str)
    held_out = split.index[split["split"] == "test"][0]
    split.loc[held_out, "split"] = "train"
    split.to_csv(taught / "split.csv", index=False)
    with pytest.raises(
        TrainingError, match=r"trained on 1 of the images that validate or test this run.*the same split"
    ):
        run_into(tmp_path / "a", recipe(distil=distil))
    (taught / "split.csv").rename(taught / "elsewhere.csv")
    with pytest.raises(DataError, match=r"split\.csv: no such file"):
        run_into(tmp_path / "d", recipe(distil=distil))
    (taught / "elsewhere.csv").rename(taught / "split.csv")
    record = (taught / "run.json").read_text().replace('"code": "melanoma"', '"code": "mole"')
    (taught / "run.json").write_text(record)
    with pytest.raises(
        TrainingError, match=r"a teacher for mole, naevus, wart, but the data has melanoma, naevus, wart"
    ):
        run_into(tmp_path / "b", recipe(distil=distil))
    with pytest.raises(TrainingError, match="not a run folder"):
        run_into(tmp_path / "c", recipe(distil={"teachers": [str(tmp_path / "nobody")]}))
    assert not any((tmp_path / name).exists() for name in "abcd")


def test_teacher_named_by_its_recipe_is_trained_first_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught = recipe(
        name="tutor", epochs=3, seed=5, data={"protocol": "image", "fractions": [0.5, 0.25, 0.25], "split_seed": 9}
    )
    monkeypatch.setattr(teachers_module, "recipe_names", lambda: ["tutor"])
    monkeypatch.setattr(teachers_module, "load_recipe", lambda name: taught if name == "tutor" else load_recipe(name))
    pupil = recipe(distil={"teachers": ["tutor"]}, epochs=3)
    with pytest.raises(TrainingError, match="not trained yet; train it first: lentigo train tutor"):
        run.train(
            pupil, data(), out=tmp_path / "many", devices=2, accelerator="cpu", progress=False, cache=cache_folder()
        )
    student = run_into(tmp_path / "student", pupil)
    teacher = load_run(tmp_path / "tutor")
    assert teacher.finished
    assert (teacher.recipe.seed, teacher.recipe.data) == (5, pupil.data)  # its own seed, the student's split
    assert (student / "split.csv").read_bytes() == (tmp_path / "tutor" / "split.csv").read_bytes()
    weights = (tmp_path / "tutor" / "checkpoints" / "best.ckpt").read_bytes()
    other = run_into(tmp_path / "other", pupil)
    assert (tmp_path / "tutor" / "checkpoints" / "best.ckpt").read_bytes() == weights
    assert load_run(other).log[LOG].equals(load_run(student).log[LOG])
    monkeypatch.chdir(tmp_path / "student")
    run_into(Path("here"), pupil)  # beside which the teacher's path is its bare name
    assert load_run("tutor").finished
