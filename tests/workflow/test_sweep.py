"""``lentigo sweep``: seeds and folds side by side, the summary, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_training
import yaml
from tiny_data import folder

from lentigo.cli import main
from lentigo.evaluation import read_predictions

RECIPE = tiny_training.RECIPE | {"name": "swept", "epochs": 1, "sizes": [{"from_epoch": 0, "size": 32}]}


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LENTIGO_CACHE", str(tiny_training.cache_folder()))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "swept.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    return tmp_path / "swept.yaml"


@pytest.mark.slow
def test_folds_side_by_side(capsys: pytest.CaptureFixture[str], recipe: Path, tmp_path: Path) -> None:
    arguments = (
        "sweep",
        recipe,
        "--data",
        tiny_training.data(),
        "--seeds",
        1,
        "--folds",
        2,
        "--jobs",
        2,
        "--out",
        tmp_path / "out",
    )
    code, _, errors = call(capsys, *arguments)
    assert code == 0, errors
    result = json.loads((tmp_path / "out" / "sweep.json").read_text(encoding="utf-8"))
    assert [(run["seed"], run["fold"]) for run in result["runs"]] == [(0, 0), (0, 1)]
    accuracy = result["test"]["figures"]["accuracy"]
    values = [run["test"]["accuracy"] for run in result["runs"]]
    assert accuracy["mean"] == pytest.approx(np.mean(values))
    assert accuracy["sd"] == pytest.approx(np.std(values, ddof=1))
    assert accuracy["low"] <= accuracy["mean"] <= accuracy["high"]

    evaluated = [
        set(read_predictions(tmp_path / "out" / f"seed0-fold{k}" / "predictions" / "val.csv").images) for k in range(2)
    ]
    tested = set(read_predictions(tmp_path / "out" / "seed0-fold0" / "predictions" / "test.csv").images)
    assert not evaluated[0] & evaluated[1]
    assert not (evaluated[0] | evaluated[1]) & tested
    assert len(evaluated[0] | evaluated[1]) + len(tested) == 40
    assert result["cross_validation"]["images"] == len(evaluated[0] | evaluated[1])
    assert np.sum(result["cross_validation"]["confusion"]) == len(evaluated[0] | evaluated[1])
    page = (tmp_path / "out" / "sweep.md").read_text(encoding="utf-8")
    assert "out of fold: mean" in page
    assert "| balanced accuracy |" in page

    code, _, errors = call(capsys, *arguments)  # all of it is there
    assert code == 0
    assert "starts" not in errors


def test_a_class_with_fewer_images_than_folds(capsys: pytest.CaptureFixture[str], recipe: Path, tmp_path: Path) -> None:
    code, _, errors = call(
        capsys, "sweep", recipe, "--data", tiny_training.data(), "--folds", 30, "--out", tmp_path / "out"
    )
    assert code == 2
    assert len(errors.strip().splitlines()) == 1
    assert "class 'melanoma' has" in errors
    assert "too few for 30 parts" in errors
    assert not (tmp_path / "out").exists()


def test_what_a_sweep_sets_itself(capsys: pytest.CaptureFixture[str], recipe: Path, tmp_path: Path) -> None:
    code, _, errors = call(
        capsys, "sweep", recipe, "--data", tiny_training.data(), "--set", "data.fold=1", "--out", tmp_path / "out"
    )
    assert code == 2
    assert "--folds" in errors


def test_a_folder_of_other_classes_does_not_fit_the_recipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = folder(tmp_path / "photographs", {"vitilgo": 4, "halo_naevus": 4})
    code, _, errors = call(capsys, "train", "hypo", "--data", data, "--out", tmp_path / "run")
    assert code == 2
    assert len(errors.strip().splitlines()) == 1
    assert "'vitilgo' is none of these; did you mean 'vitiligo'?" in errors
    assert "data.labels=null" in errors
    assert not (tmp_path / "run").exists()
    words = [
        "train",
        "hypo",
        "--data",
        data,
        "--set",
        "data.labels=null",
        "--set",
        "data.fractions=[0.5,0.25,0.25]",
        "--dry-run",
    ]
    code, out, errors = call(capsys, *words)
    assert code == 0, errors
    assert "vitilgo" in out
