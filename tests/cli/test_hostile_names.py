"""File names and table values from elsewhere run in no spreadsheet, drive no terminal, and break no table, page or
report."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from tiny_bundle import blob_image, tiny_bundle

from lentigo.cli import main
from lentigo.evaluation import read_predictions
from lentigo.labels import HAM10000
from lentigo.text import is_line

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")

NAMES = [
    "=1+1",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\r=1",
    "a\nb",
    'q"uote',
    "a,b;c",
    "\x1b[2Jx",
    "\u202egnp",
    "<b>x|y",
    "'=1",
]
RUN = '=HYPERLINK("x")\n| <script>alert(1)</script> \u202e'


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    said = capsys.readouterr()
    assert all(map(is_line, (said.out + said.err).split("\n")))
    return int(stopped.value.code or 0), said.out + said.err


def cells(path: Path) -> list[list[str]]:
    """The rows of a CSV, each as long as the header, no cell of which a spreadsheet runs."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert {len(row) for row in rows} == {len(rows[0])}
    for cell in (cell for row in rows for cell in row):
        try:
            float(cell)
        except ValueError:
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), cell
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of two classes under hostile names; every file is there twice, told apart at its end."""
    for place, code in enumerate(("mel", "nv")):
        (tmp_path / "own" / code).mkdir(parents=True)
        for n, name in enumerate(NAMES):
            blob_image(place * 100 + n).save(tmp_path / "own" / code / f"{name}{place}.png")
    return tmp_path / "own"


@pytest.fixture
def table(folder: Path) -> Path:
    """The same as a table whose paths, patients and notes are hostile from their first character."""
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(("path", "label", "patient", "=note"))
        for code in ("mel", "nv"):
            for path in sorted((folder / code).iterdir()):
                path.rename(folder / path.name)
                if path.name == path.name.strip():  # a table's cells are read without what is blank around them
                    writer.writerow((path.name, code, f"={path.stem[:-1]}", "@x"))
    return folder / "images.csv"


def test_data_commands(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    for command in ("info", "audit"):
        code, out = run(
            capsys, "data", command, folder, *(["--no-cues", "--protocol", "image"] if command == "audit" else [])
        )
        assert code == 0, out
        assert "24 images" in out
    code, out = run(capsys, "data", "split", folder, "--protocol", "image", "--out", tmp_path / "split.csv")
    assert code == 0, out
    named = {row[0] for row in cells(tmp_path / "split.csv")[1:]}
    assert named == {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}


def test_evaluated_and_compared(capsys: pytest.CaptureFixture[str], table: Path, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", labels=HAM10000).path
    split, evaluated = tmp_path / "split.csv", tmp_path / "judged"
    code, out = run(capsys, "data", "split", table, "--protocol", "lesion", "--out", split)
    assert code == 0, out
    cells(split)
    code, out = run(
        capsys, "evaluate", bundle, "--data", table, "--split-file", split, "--split", "train", "--out", evaluated
    )
    assert code == 0, out
    rows = cells(evaluated / "predictions" / "train.csv")
    assert rows[0][-2:] == ["'=note", "probabilities"]
    read = read_predictions(evaluated / "predictions" / "train.csv")
    assert set(read.images) <= {path.name for path in table.parent.iterdir()}
    assert all(group == f"={image[:-5]}" for group, image in zip(read.groups, read.images, strict=True))
    assert list(read.metadata) == ["patient", "=note"]
    cells(evaluated / "predictions" / "train_robustness" / "skin.csv")
    page = (evaluated / "report" / "index.html").read_text(encoding="utf-8")
    assert all(map(is_line, page.replace("\t", "").split("\n")))
    assert "<b>x" not in page

    other = tmp_path / "other"
    shutil.copytree(evaluated, other)
    for place in (evaluated, other):  # compared are the test parts of runs
        (place / "predictions" / "train.csv").rename(place / "predictions" / "test.csv")
        record = json.loads((place / "run.json").read_text(encoding="utf-8"))
        (place / "run.json").write_text(json.dumps(record | {"name": RUN + place.name}), encoding="utf-8")
    code, out = run(capsys, "compare", evaluated, other, "--out", tmp_path / "both")
    assert code == 0, out
    assert any(cell.startswith("'=HYPERLINK") for row in cells(tmp_path / "both.csv") for cell in row)
    text = (tmp_path / "both.md").read_text(encoding="utf-8")
    assert all(map(is_line, text.split("\n")))
    lines = [line.replace("\\|", "") for line in text.split("\n") if line.startswith("|")]
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert not any("<script>" in line for line in lines)


def test_predictions(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny_bundle(tmp_path / "tiny").path
    monkeypatch.chdir(folder / "mel")  # so that paths begin as names do
    odd = os.fsdecode(b"\xff.png")
    shutil.copy("=1+10.png", odd)
    names = sorted(path.name for path in Path().iterdir())

    def rows(out: Path, *options: str | Path) -> list[list[str]]:
        code, said = run(capsys, "predict", "--model", bundle, "--quiet", *options, "--out", out, "--", *names)
        assert code == 0, said
        return cells(out)

    assert len(rows(tmp_path / "out.csv", "--embeddings", tmp_path / "e.npz")) == len(names) + 1
    rows(tmp_path / "by.csv", "--group-by", r"^(..)")
    assert len(rows(tmp_path / "isic.csv", "--format", "isic")) == len(names) + 1


@pytest.mark.parametrize("command", [["info"], ["split", "--out", "s.csv"], ["audit"]])
def test_a_name_that_is_no_unicode_is_refused(
    capsys: pytest.CaptureFixture[str], folder: Path, command: list[str]
) -> None:
    try:
        shutil.copy(folder / "mel" / "=1+10.png", folder / "mel" / os.fsdecode(b"\xff.png"))
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    code, out = run(capsys, "data", command[0], folder, *command[1:])
    assert code == 2
    assert "no valid UTF-8, the first 'mel/\\udcff.png'" in out
    assert len(out.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [("data", "info"), ("train", "--dry-run", "--data"), ("evaluate",), ("parity",), ("recipes",)]
)
def test_a_path_that_is_too_long_is_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    code, said = run(capsys, *arguments, "n" * 300)
    assert code == 2
    assert said.startswith("lentigo: error: nnn")
    assert said.endswith("cannot be used (File name too long)\n")
