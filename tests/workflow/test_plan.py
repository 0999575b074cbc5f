"""The plan for data of which nothing else is known: what it chooses, what it says, and what it refuses."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_data import folder, write_csv, write_image

from lentigo.config import load_recipe, to_yaml
from lentigo.data import read_samples
from lentigo.errors import DataError, OutputError, RecipeError, TrainingError
from lentigo.training import preflight
from lentigo.training.preflight import check_run
from lentigo.training.samples import prepare_samples
from lentigo.workflow import plan_training
from lentigo.workflow.plan import FEATURES, name_of

PATTERN = r"PAT_(\d+)_"


def photographs(root: Path, *, names: str = "PAT_{patient}_{n}.png") -> Path:
    """60 pictures of 24 patients in three classes, in unequal numbers; a patient's pictures may be of two classes."""
    n = 0
    for code, count in {"ack": 30, "bcc": 21, "mel": 9}.items():
        for one in range(count):
            patient = (one if code == "mel" else n) % 24
            write_image(root / code / names.format(patient=100 + patient, n=n), n, 40)
            n += 1
    return root


def test_patients_told_by_file_names_stand_on_one_side(tmp_path: Path) -> None:
    plan = plan_training(photographs(tmp_path / "My Photos"), [f"data.group_by='{PATTERN}'"])
    assert plan.recipe.name == "my-photos"
    assert plan.recipe.data.protocol in ("patient", "lesion")
    frame = prepare_samples(plan.recipe, tmp_path / "My Photos").frame
    assert set(frame["split"]) == {"train", "val", "test"}
    patients = frame["path"].str.extract(r"PAT_(\d+)_")[0]
    assert patients.nunique() == 24
    assert (frame["split"].groupby(patients).nunique() == 1).all()


def test_a_column_of_patients_stands_on_one_side(tmp_path: Path) -> None:
    place = photographs(tmp_path / "images")
    files = sorted(place.rglob("*.png"))
    rows = [(f.relative_to(tmp_path).as_posix(), f.parent.name, f.name.split("_")[1]) for f in files]
    write_csv(tmp_path / "table.csv", ("path", "label", "patient_id"), rows)
    plan = plan_training(tmp_path / "table.csv")
    assert plan.recipe.name == "table"
    assert plan.recipe.data.protocol == "patient"
    frame = prepare_samples(plan.recipe, tmp_path / "table.csv").frame
    assert (frame.groupby("group")["split"].nunique() == 1).all()
    assert "patient_id" in plan.lines[1]


def test_unknown_patients_are_said_to_be_unknown(tmp_path: Path) -> None:
    plan = plan_training(photographs(tmp_path))
    assert plan.recipe.data.protocol == "image"
    assert "patients unknown" in str(plan)
    assert "cannot be excluded" in str(plan)
    assert "--group-by" in str(plan)


def test_ten_lines_with_what_was_asked_for_in_them(tmp_path: Path) -> None:
    plan = plan_training(photographs(tmp_path), ["epochs=7", "batch=8", "seed=3", "data.domain=clinical"])
    assert len(plan.lines) == 10
    assert (plan.recipe.epochs, plan.recipe.batch, plan.recipe.seed) == (7, 8, 3)
    assert "7 epochs, batch 8" in str(plan)
    assert re.search(r"split: protocol image, seed 0: \d+ training, \d+ validation, \d+ test", str(plan))
    assert "pictures: clinical" in str(plan)
    assert "mel with 9" in str(plan)
    assert plan.recipe.sampling > 0
    assert "it needs 20 validation images" in str(plan)  # too few for abstention, and said


def test_a_split_of_ones_own_that_shares_patients_is_divided_anew_and_folds_are_counted(tmp_path: Path) -> None:
    for n in range(48):
        write_image(
            tmp_path / "d" / ("train", "test")[n % 2] / ("mel", "nv")[n // 2 % 2] / f"PAT_{n // 4}" / f"{n}.png", n
        )
    plan = plan_training(tmp_path / "d")
    assert plan.recipe.data.protocol == "patient"
    assert "not the data's own, which has 12 patients in more than one part" in plan.lines[2]
    folds = plan_training(tmp_path / "d", ["data.folds=3"])
    assert folds.lines[2] != plan.lines[2]
    frame = prepare_samples(folds.recipe, tmp_path / "d").frame
    assert f"{(frame['split'] == 'val').sum()} validation" in folds.lines[2]


def test_the_recipe_can_be_written_and_run_again(tmp_path: Path) -> None:
    plan = plan_training(photographs(tmp_path / "data"))
    (tmp_path / "recipe.yaml").write_text(to_yaml(plan.recipe), encoding="utf-8")
    again = load_recipe(tmp_path / "recipe.yaml")
    assert again == plan.recipe
    assert check_run(again, tmp_path / "data", tmp_path / "run") is not None


def test_a_cache_that_is_full_or_locked_is_told_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, cache = folder(tmp_path / "data", {"a": 20, "b": 20}), tmp_path / "cache"
    recipe = plan_training(place).recipe
    cache.mkdir()
    access = os.access
    monkeypatch.setattr(preflight.os, "access", lambda path, mode: path != cache and access(path, mode))
    with pytest.raises(OutputError, match="cache: cannot be written; name another place with LENTIGO_CACHE"):
        check_run(recipe, place, tmp_path / "run", cache=cache)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(OutputError, match=r"too full for the decoded images \(lentigo cache --clear, or .* 0 MB free"):
        check_run(recipe, place, tmp_path / "run", cache=cache)


def test_a_gpu_that_is_not_there_is_refused_before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.sys, "platform", "linux")
    monkeypatch.setattr(preflight, "_GPU_FILES", ("/dev/null",))
    preflight.check_device("gpu")
    monkeypatch.setattr(preflight, "_GPU_FILES", ("/dev/no-such-device",))
    preflight.check_device("auto")
    with pytest.raises(TrainingError, match="no GPU on this machine"):
        preflight.check_device("gpu")


def test_features_are_packaged_and_small_pictures_stay_small(tmp_path: Path) -> None:
    plan = plan_training(folder(tmp_path, {"a": 20, "b": 20}, size=100))
    assert plan.recipe.network.pretrained == FEATURES
    assert plan.recipe.network.bundle is not None
    assert plan.recipe.final_size == 96
    assert plan.recipe.sampling == 0


def test_features_that_have_seen_the_images_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path, {"a": 20, "b": 20})
    from lentigo.bundle import read_spec
    from lentigo.workflow import plan as module

    def seen(bundle: Path) -> object:
        spec = read_spec(bundle)
        origin = spec.provenance.model_copy(update={"fingerprint": read_samples(place).fingerprint})
        return spec.model_copy(update={"provenance": origin})

    monkeypatch.setattr(module, "read_spec", seen)
    assert plan_training(place).recipe.network.pretrained == "imagenet"


@pytest.mark.parametrize(
    ("name", "run"),
    [("Photos 2024", "photos-2024"), ("_x_", "x"), ("皮肤", "own-data"), ("a.b", "a.b"), ("--", "own-data")],
)
def test_names_of_runs(tmp_path: Path, name: str, run: str) -> None:
    (tmp_path / name).mkdir()
    assert name_of(tmp_path / name) == run


def test_what_cannot_be_divided_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"each of 3 parts: b \(2\)"):
        plan_training(folder(tmp_path, {"a": 20, "b": 2}))
    with pytest.raises(RecipeError, match="epochs"):
        plan_training(tmp_path, ["epochs=none"])


def test_a_split_of_ones_own_without_a_test_part_is_said_to_be_divided_anew(tmp_path: Path) -> None:
    for n in range(40):
        write_image(tmp_path / ("train", "val")[n % 2] / ("mel", "nv")[n // 2 % 2] / f"{n}.png", n)
    plan = plan_training(tmp_path)
    assert plan.recipe.data.protocol == "image"
    assert plan.lines[2].endswith("; not the data's own, which has no part but train and val")
    folded = plan_training(tmp_path, ["data.folds=4", "data.fold=1"])
    assert ", fold 2 of 4;" in folded.lines[2]
