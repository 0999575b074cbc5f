"""The challenge's own scorer agrees: with the submission that predict writes, and with evaluate's balanced accuracy."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from tiny_bundle import blob_image, tiny_bundle

from lentigo.cli import main
from lentigo.errors import DataError
from lentigo.inference.isic import CHALLENGES, Submission
from lentigo.inference.table import Row
from lentigo.labels import HAM10000
from lentigo.workflow import evaluate

scoring = pytest.importorskip("isic_challenge_scoring.classification")


@pytest.fixture(scope="module")
def challenge(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A bundle, and ISIC2018_Task3_Test with 42 pictures, 6 a class, one of them without weight in the score."""
    root = tmp_path_factory.mktemp("challenge")
    bundle = tiny_bundle(root / "tiny", labels=HAM10000, size=32).path
    data = root / "ISIC2018_Task3_Test"
    (data / "ISIC2018_Task3_Test_Input").mkdir(parents=True)
    columns, rows = CHALLENGES["isic2018"], []
    for n in range(42):
        image = "ISIC_0035068" if n == 41 else f"ISIC_{n:07d}"
        blob_image(n).save(data / "ISIC2018_Task3_Test_Input" / f"{image}.jpg")
        rows.append([image, *(float(column == n % 7) for column in range(7))])
    truth = pd.DataFrame(rows, columns=["image", *columns])
    (data / "ISIC2018_Task3_Test_GroundTruth").mkdir()
    truth.to_csv(data / "ISIC2018_Task3_Test_GroundTruth" / "ISIC2018_Task3_Test_GroundTruth.csv", index=False)
    return bundle, data


def test_the_scorer_gives_the_number_that_evaluate_gives(
    challenge: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, data = challenge
    out = tmp_path / "submission.csv"
    command = [
        "predict",
        str(data / "ISIC2018_Task3_Test_Input"),
        "--model",
        str(bundle),
        "--format",
        "isic",
        "--out",
        str(out),
        "-q",
    ]
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert not stopped.value.code
    assert "42 images in the format of isic2018" in " ".join(capsys.readouterr().out.split())
    # The scorer calls DataFrame.map by the name it had before pandas 2.1.
    monkeypatch.setattr(pd.DataFrame, "applymap", pd.DataFrame.map, raising=False)
    truth = data / "ISIC2018_Task3_Test_GroundTruth" / "ISIC2018_Task3_Test_GroundTruth.csv"
    score = scoring.ClassificationScore.from_file(truth, out, scoring.ClassificationMetric.BALANCED_ACCURACY)
    result = evaluate(bundle, data=data, out=tmp_path / "run", progress=False)
    own = result.metrics["metrics"]["overall"]["balanced_accuracy"]["value"]
    assert own == pytest.approx(score.overall, abs=1e-12)
    assert 0 < own < 1
    assert ("the ISIC 2018 challenge's score: balanced accuracy", f"{100 * own:.1f} %") in [
        row[:2] for row in result.headline
    ]


def test_a_model_of_other_classes_is_refused() -> None:
    with pytest.raises(DataError, match="classes vitiligo are none of isic2018's"):
        Submission(("mel", "vitiligo"))
    with pytest.raises(DataError, match="no such format; did you mean 'isic2018'"):
        Submission(("mel", "nv"), "isic_2018")
    assert Submission(("mel", "scc", "nv")).challenge == "isic2019"
    assert Submission(HAM10000.codes).challenge == "isic2018"


def test_failed_images_are_counted_and_names_must_differ(tmp_path: Path) -> None:
    made = Submission(("mel", "akiec"), "isic2019")
    made.add(Row("a/ISIC_1.jpg", (0.25, 0.75), "akiec"))
    made.add(Row("a/ISIC_2.jpg", error="no image"))
    with pytest.raises(DataError, match="a second image named ISIC_1"):
        made.add(Row("archive.zip#b/ISIC_1.png", (0.5, 0.5), "mel"))
    assert made.write(tmp_path / "s.csv") == 1
    assert made.failed == 1
    table = pd.read_csv(tmp_path / "s.csv").iloc[0]
    assert (table["image"], table["MEL"], table["AK"], table["UNK"]) == ("ISIC_1", 0.25, 0.75, 0.0)


@pytest.mark.parametrize("kind", ["image", "paths", "neither"])
def test_standard_input_holds_an_image_or_paths(
    challenge: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    bundle, data = challenge
    image = next(iter(sorted((data / "ISIC2018_Task3_Test_Input").iterdir())))
    content = {"image": image.read_bytes(), "paths": f"{image}\n".encode(), "neither": b"\x01\0\x02\0" * 50}[kind]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    with pytest.raises(SystemExit) as stopped:
        main(["predict", "-", "--model", str(bundle), "--json", "-q"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == 1
    assert bool(stopped.value.code) == (kind == "neither")
    assert ("neither an image that can be read here nor paths" in rows[0]["error"]) == (kind == "neither")
