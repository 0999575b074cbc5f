"""Label review: doubtful labels from predictions that are written by hand; no network is trained."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lentigo.cli import main
from lentigo.errors import DataError, MissingExtraError
from lentigo.evaluation.label_review import review_labels
from lentigo.evaluation.predictions import make_predictions, write_predictions

CODES = ("bcc", "mel", "nv")
FLIPPED = {"i03": "mel", "i50": "bcc", "i71": "bcc"}
"""Images labelled otherwise than the predictions say, with confidence."""


def write_run(folder: Path, images: range, *, sure: float = 0.9, codes: tuple[str, ...] = CODES) -> Path:
    """A run folder whose validation part holds these images; image i shows class i modulo 3."""
    names = [f"i{i:02}" for i in images]
    rng = np.random.default_rng(images.start)
    probabilities = np.full((len(names), len(codes)), 0.0)
    for row, i in enumerate(images):
        peak = sure + rng.uniform(-0.05, 0.05) if names[row] not in FLIPPED else 1.1 * sure
        probabilities[row] = (1 - peak) / (len(codes) - 1)
        probabilities[row, i % len(codes)] = peak
    table = make_predictions(
        images=names,
        paths=[f"{name}.png" for name in names],
        groups=[f"lesion {name}" for name in names],
        targets=[FLIPPED.get(name, codes[i % len(codes)]) for name, i in zip(names, images, strict=True)],
        probabilities=probabilities,
        codes=codes,
    )
    write_predictions(folder / "predictions" / "val.csv", table)
    return folder


@pytest.fixture
def folds(tmp_path: Path) -> Path:
    pytest.importorskip("cleanlab")
    for name in FLIPPED:
        Image.new("RGB", (40, 30), (200, 150, 120)).save(tmp_path / f"{name}.png")
    for fold in range(3):
        write_run(tmp_path / "folds" / f"fold-{fold}", range(30 * fold, 30 * fold + 30))
    return tmp_path / "folds"


def test_flipped_labels_are_found_and_written(folds: Path, tmp_path: Path) -> None:
    found = review_labels([folds], tmp_path / "out", data_root=tmp_path)
    assert {one.image: one.given for one in found.candidates} == FLIPPED
    assert all(one.suggested == CODES[int(one.image[1:]) % 3] for one in found.candidates)
    doubts = [one.doubt for one in found.candidates]
    assert doubts == sorted(doubts, reverse=True)
    assert (found.images, found.runs, found.state) == (90, 3, "before temperature")
    with found.table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [one.image for one in found.candidates]
    assert list(rows[0]) == ["image", "path", "group", "given", "suggested", "doubt", "confidence"]
    page = found.page.read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 3
    for words in (
        "3 runs",
        "outside the training part",
        "not calibrated",
        "the epoch was chosen on",
        "not a medical device",
    ):
        assert words in page


def test_correct_labels_leave_nothing_to_look_at(tmp_path: Path) -> None:
    pytest.importorskip("cleanlab")
    run = write_run(tmp_path / "run", range(4, 50))
    found = review_labels([run], tmp_path)
    assert found.candidates == ()
    assert "0 of 46 images" in found.page.read_text(encoding="utf-8")
    assert found.table.read_text(encoding="utf-8").startswith("image,path,group,given")


def test_an_image_in_several_runs_counts_once_by_the_mean(folds: Path, tmp_path: Path) -> None:
    again = write_run(tmp_path / "again", range(30), sure=0.7)
    found = review_labels([folds, again], tmp_path / "out")
    assert (found.images, found.runs) == (90, 4)
    (one,) = (one for one in found.candidates if one.image == "i03")
    assert one.confidence == pytest.approx((1.1 * 0.9 + 1.1 * 0.7) / 2)
    assert "No picture:" in found.page.read_text(encoding="utf-8")  # they are not beside the runs


def test_what_cannot_be_reviewed_is_refused(folds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fold = folds / "fold-0"
    training = fold / "predictions" / "train.csv"
    training.write_bytes((fold / "predictions" / "val.csv").read_bytes())
    with pytest.raises(DataError, match="of training images"):
        review_labels([training])
    with pytest.raises(DataError, match="classes bcc, nv, but"):
        review_labels([write_run(tmp_path / "two", range(4, 9), codes=("bcc", "nv")), fold][::-1])
    relabelled = tmp_path / "other.csv"
    relabelled.write_text((fold / "predictions" / "val.csv").read_text().replace("lesion i00,bcc", "lesion i00,nv"))
    with pytest.raises(DataError, match="image 'i00' has several labels"):
        review_labels([fold, relabelled])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["data", "review", str(tmp_path / "empty"), "--out", str(tmp_path)])
    assert ended.value.code == 2
    assert "no run folder, and no runs with predictions/val.csv" in capsys.readouterr().err


def test_the_command_prints_what_it_found(folds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "review", str(folds), "--out", str(tmp_path / "out"), "--data", str(tmp_path)]
    with pytest.raises(SystemExit):
        main(command)
    assert "3 of 90 images have a doubtful label" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*command, "--json"])
    assert len(json.loads(capsys.readouterr().out)["candidates"]) == 3


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    with pytest.raises(MissingExtraError, match=r"lentigo\[review\]"):
        review_labels([write_run(tmp_path / "run", range(9))])
