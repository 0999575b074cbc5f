"""A table's runs on other collections: whose images, which rows, and what is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_data import folder
from tiny_training import whole_run

from lentigo.config.recipe import ExtraRecipe
from lentigo.data.extra import read_extra
from lentigo.evaluation import read_run
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD, normalise
from lentigo.reproduce import external as module
from lentigo.reproduce.external import External, external_result, predict_external
from lentigo.reproduce.result import RowRuns
from lentigo.reproduce.tables import Row
from lentigo.resampler import resize
from lentigo.training import load_run

CLASSES = {"spot": "naevus", "lump": "wart"}


def row_of(runs: Path, slug: str) -> RowRuns:
    place = runs / f"{slug}-seed0"
    if not place.exists():
        shutil.copytree(whole_run(), place)
    return RowRuns(Row(name=slug, slug=slug), slug, {0: read_run(place)})


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another clinic's pictures, one class of which the runs do not know."""
    return folder(tmp_path / "other", {"spot": 14, "lump": 12, "scar": 5}, size=40)


def evaluated(rows: list[RowRuns], tmp_path: Path, said: list[str] | None = None) -> list[External]:
    (tmp_path / "own").mkdir(exist_ok=True)
    chosen = [ExtraRecipe(folder="../other", classes=CLASSES)]
    return predict_external(rows, chosen, tmp_path / "own", (said if said is not None else []).append)


def test_predictions_are_those_of_the_network(tmp_path: Path, other: Path) -> None:
    rows = [row_of(tmp_path, "one")]
    (found,) = evaluated(rows, tmp_path)
    table = found.runs["one"][0]
    assert (found.name, found.classes) == ("folder", ("naevus", "wart"))
    assert len(table) == 26  # scars are no class of the table
    assert sorted(np.array(table.codes)[table.targets]) == ["naevus"] * 14 + ["wart"] * 12
    network = load_run(tmp_path / "one-seed0").network()
    size = load_run(tmp_path / "one-seed0").recipe.final_size
    samples = read_extra(other, CLASSES, rows[0].runs[0].labels).samples
    for i in (0, 13, 25):
        pixels = resize(samples.read(i), size)
        with torch.inference_mode():
            expected = (
                network(torch.from_numpy(normalise(pixels[None], IMAGENET_MEAN, IMAGENET_STD))).double().softmax(1)[0]
            )
        np.testing.assert_allclose(table.probabilities[i], expected.numpy(), atol=1e-5)


def test_they_are_made_once_and_made_anew_where_damaged(
    tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row_of(tmp_path, "one")]
    (first,) = evaluated(rows, tmp_path)
    (path,) = (tmp_path / "one-seed0" / "predictions").glob("elsewhere-*.csv")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_split_predictions", never)
        (second,) = evaluated(rows, tmp_path)
    np.testing.assert_array_equal(first.runs["one"][0].probabilities, second.runs["one"][0].probabilities)
    path.write_text(path.read_text()[:200])
    (third,) = evaluated(rows, tmp_path)
    np.testing.assert_array_equal(first.runs["one"][0].probabilities, third.runs["one"][0].probabilities)


def test_rows_that_were_trained_on_it_are_left_out(tmp_path: Path, other: Path) -> None:
    rows = [row_of(tmp_path, slug) for slug in ("one", "two", "three")]
    (found,) = evaluated(rows[:1], tmp_path)
    record = tmp_path / "three-seed0" / "run.json"
    record.write_text(
        json.dumps(
            json.loads(record.read_text())
            | {"extra": [{"data": "other", "fingerprint": found.fingerprint, "images": 26}]}
        )
    )
    rows[2] = row_of(tmp_path, "three")
    (found,) = evaluated(rows, tmp_path)
    assert (set(found.runs), found.excluded) == ({"one", "two"}, ("three",))
    result = external_result(found, "one", {slug: {0: 1.5} for slug in ("one", "two", "three")}, resamples=100)
    assert (result["images"], result["classes"], result["trained_on_it"]) == (26, ["naevus", "wart"], ["three"])
    (pair,) = result["pairs"]
    assert pair["second"] == "two"
    # One run twice.
    assert all(d["value"] == 0 and not d["real"] for d in pair["differences"].values() if d["value"] is not None)
    answers = found.runs["one"][0]
    right = answers.probabilities.argmax(1) == answers.targets
    recalls = [right[answers.targets == k].mean() for k in sorted(set(answers.targets))]
    assert result["rows"]["one"]["balanced_accuracy"]["value"] == pytest.approx(np.mean(recalls))


def test_a_run_without_its_network_is_told_and_left_out(tmp_path: Path, other: Path) -> None:
    rows = [row_of(tmp_path, slug) for slug in ("one", "two")]
    shutil.rmtree(tmp_path / "two-seed0" / "checkpoints")
    said: list[str] = []
    (found,) = evaluated(rows, tmp_path, said)
    assert set(found.runs) == {"one"}
    assert "two-seed0" in said[-1]
    assert "no such checkpoint" in said[-1]


def test_a_collection_that_is_not_there_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    assert evaluated([row_of(tmp_path, "one")], tmp_path, said) == []
    assert said == [f"{tmp_path / 'own' / '..' / 'other'}: no such folder; the table goes without it"]
