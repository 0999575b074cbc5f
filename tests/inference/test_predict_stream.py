"""Streams: sources, tables, broken files, breaking off and going on."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken import write_broken
from PIL import Image
from tiny_bundle import blob_image, png_bytes, tiny_bundle

from lentigo.bundle import Bundle, Metadata
from lentigo.errors import BundleError, DataError, MissingExtraError, OutputError
from lentigo.inference import Classifier, Row, Sources, predict_paths, predict_stream
from lentigo.inference.table import open_table
from lentigo.labels import LabelSet
from lentigo.text import is_line, unguard_cell

CODES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
ANSWER = ["label", "malignant_share", "flagged", "prediction_set", "atypicality", "reasons", "hints", "error"]
COLUMNS = ["path", *CODES, *ANSWER]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def classifier(bundle: Bundle) -> Classifier:
    return Classifier(bundle, threads=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images in three folders, with some files that are none."""
    root = tmp_path / "images"
    for i in range(10):
        path = root / ("", "a", "b/c")[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        blob_image(i).save(path)
    (root / "labels.csv").write_text("path\n")
    (root / ".hidden.png").write_bytes(b"")
    return root


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def paths(sources: object) -> list[str]:
    return [item.path for item in Sources(sources)]  # type: ignore[arg-type]


# Sources


def test_folder_is_sorted_and_skips_what_is_no_image(folder: Path) -> None:
    found = [Path(p).relative_to(folder).as_posix() for p in paths(folder)]
    assert found == [
        "0.png",
        "3.png",
        "6.png",
        "9.png",
        "a/1.png",
        "a/4.png",
        "a/7.png",
        "b/c/2.png",
        "b/c/5.png",
        "b/c/8.png",
    ]
    assert Sources(folder).count() == 10


def test_globs_lists_and_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(paths(str(folder / "**" / "*.png"))) == 10
    assert len(paths(str(folder / "[03].png"))) == 2
    listing = folder / "list.csv"
    listing.write_text("id,Image\nx,0.png\ny,b/c/2.png\nz,\n", encoding="utf-8-sig")
    items = list(Sources(listing))
    assert [i.path for i in items] == ["0.png", "b/c/2.png", f"{listing}#4"]
    assert items[1].source == str(folder / "b/c/2.png")
    assert "no path in this row" in (items[2].error or "")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{folder / '0.png'}\n\n{folder / 'none.png'}\n"))
    assert paths("-") == [str(folder / "0.png"), str(folder / "none.png")]
    assert Sources("-").count() is None


@pytest.mark.parametrize("listed", ["b\\\\c\\\\2.png", "2.PNG", "2", "C:/shots/b/c/2.jpg", "b%2Fc/2.png", "c/2.png"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".xlsx"])
def test_lists_find_images_as_data_sets_do(folder: Path, listed: str, suffix: str) -> None:
    listing = folder / f"list{suffix}"
    if suffix == ".xlsx":
        from openpyxl import Workbook

        book = Workbook()
        for cells in (("Visits of 2025",), ("No.", "Image ID"), (1.0, listed), (2.0, "gone.png")):
            book.active.append(cells)
        book.save(listing)
    else:
        lines = (
            f"sep=|\nNo.|Image ID\n\n1|{listed}\n2|gone.png\n"
            if suffix == ".csv"
            else f"No\tfile\n1\t{listed}\n2\tgone.png\n"
        )
        listing.write_text(lines, encoding="utf-16")
    found, gone = Sources(listing)
    assert (found.path, found.source) == (listed, str(folder / "b/c/2.png"))
    assert gone.source == str(folder / "gone.png")


def test_metadata_of_a_list_count_and_a_bad_value_is_a_row(folder: Path, tmp_path: Path) -> None:
    known = Metadata(log_ratios={"age": {"80": (2.0, *[0.0] * 6)}, "site": {"nose": (0.0,) * 7}}, groups={})
    classifier = Classifier(tiny_bundle(tmp_path / "told", metadata=known), threads=1)
    listed = folder / "visits.csv"
    listed.write_text("image,age_approx,localization\n0.png,85,Nose\n0.png,,\n0.png,old,\n0.png,85,heel\n")
    rows = [row for rows in predict_stream(classifier, Sources(listed, metadata=True)) for row in rows]
    alone = classifier.predict(folder / "0.png")
    told = classifier.predict(folder / "0.png", {"age": 85})
    assert rows[0].probabilities == pytest.approx(told.probabilities.tolist())
    assert rows[1].probabilities == pytest.approx(alone.probabilities.tolist())
    assert rows[0].probabilities != rows[1].probabilities
    assert rows[2].error == "0.png: age 'old': give years, from 0 to 130 (or leave it out)"
    assert rows[3].error == "0.png: site 'heel' is not known; known: nose (or leave it out)"
    plain = [row for rows in predict_stream(classifier, Sources(listed)) for row in rows]
    assert [row.error for row in plain] == [""] * 4
    with pytest.raises(DataError, match="columns age, sex or site of a list"):
        Sources(folder, metadata=True)


def test_a_name_in_a_list_that_fits_several_images_is_an_error(folder: Path) -> None:
    blob_image(1).save(folder / "a" / "2.png")
    (folder / "list.csv").write_text("image\n2.png\n", encoding="utf-8")
    (item,) = Sources(folder / "list.csv")
    assert "'2.png' may be a/2.png, b/c/2.png" in (item.error or "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds neither an image nor paths"),
        (b"\r\n \n"[:2], "holds neither an image nor paths"),
        (bytes(400), "neither an image that can be read here nor paths"),
    ],
)
def test_standard_input_without_images_is_an_error(monkeypatch: pytest.MonkeyPatch, content: bytes, said: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    (item,) = Sources("-")
    assert said in (item.error or "")


def test_standard_input_that_is_closed_or_a_terminal_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert "closed" in (next(iter(Sources("-"))).error or "")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert "a terminal" in (next(iter(Sources("-"))).error or "")


def test_an_image_may_come_in_pieces_and_paths_in_quotes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            return super().read1(min(size or 1, 1))

    image = (folder / "0.png").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Slow(image)))
    (item,) = Sources("-")
    assert item.source == image
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Slow('\ufeff"a b.png"\r\nc.png'.encode())))
    assert paths("-") == ["a b.png", "c.png"]


def test_archives_and_arrays_give_the_same_answers(folder: Path, tmp_path: Path, classifier: Classifier) -> None:
    names = [Path(p) for p in paths(folder)]
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("__MACOSX/._0.png", b"x")
        archive.writestr("readme.txt", b"x")
        for name in names:
            archive.write(name, name.relative_to(folder))
    for suffix, mode in ((".tar", "w"), (".tar.gz", "w:gz"), (".tar.xz", "w:xz")):
        with tarfile.open(tmp_path / f"set{suffix}", mode) as archive_:  # type: ignore[call-overload]
            archive_.add(folder, "images", filter=lambda info: None if info.name.endswith(".csv") else info)
    pixels = np.stack([np.asarray(Image.open(name)) for name in names])
    np.save(tmp_path / "set.npy", pixels)
    np.savez(tmp_path / "set.npz", images=pixels)
    np.savez_compressed(
        tmp_path / "many.npz", train_images=pixels[:4], train_labels=np.zeros(4), test_images=pixels[4:]
    )

    def answers(source: Path) -> dict[str, tuple[float, ...]]:
        rows: list[Row] = []
        summary = predict_paths(classifier, source, progress=False, on_row=rows.append)
        assert summary.failed == 0
        return {row.path: row.probabilities for row in rows}

    expected = answers(folder)
    wanted = sorted(expected.values())
    for name in ("set.zip", "set.tar", "set.tar.gz", "set.tar.xz", "set.npy", "set.npz", "many.npz"):
        found = answers(tmp_path / name)
        np.testing.assert_allclose(sorted(found.values()), wanted, atol=1e-6)
        assert all(path.startswith(f"{tmp_path / name}#") for path in found)
    assert f"{tmp_path / 'set.npy'}#9" in answers(tmp_path / "set.npy")
    assert f"{tmp_path / 'many.npz'}#test_images/5" in answers(tmp_path / "many.npz")
    assert f"{tmp_path / 'set.zip'}#b/c/2.png" in answers(tmp_path / "set.zip")


def test_damaged_archives_and_arrays_become_rows(tmp_path: Path, classifier: Classifier) -> None:
    content = png_bytes(blob_image(0))
    with zipfile.ZipFile(tmp_path / "good.zip", "w") as archive:
        archive.writestr("good.png", content)
        archive.writestr("bad.png", content)
    damaged = bytearray((tmp_path / "good.zip").read_bytes())
    damaged[damaged.rfind(content) + 50] ^= 0xFF
    (tmp_path / "member.zip").write_bytes(damaged)
    (tmp_path / "cut.zip").write_bytes(damaged[:200])
    with tarfile.open(tmp_path / "whole.tar.gz", "w:gz") as tar:
        for i in range(5):
            info = tarfile.TarInfo(f"{i}.png")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    whole = (tmp_path / "whole.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "noise.tar").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "noise.tgz").write_bytes(b"\x1f\x8b\x08" + bytes(range(256)))
    np.save(tmp_path / "floats.npy", np.zeros((2, 8, 8, 3)))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "cut.npy", np.zeros((2, 8, 8, 3), np.uint8))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-10])
    np.savez(tmp_path / "none.npz", labels=np.zeros(3))
    (tmp_path / "text.npy").write_text("text")
    (tmp_path / "empty").mkdir()

    def errors(*names: str) -> dict[str, str]:
        rows: list[Row] = []
        predict_paths(classifier, [tmp_path / name for name in names], progress=False, on_row=rows.append)
        return {row.path.removeprefix(f"{tmp_path}/"): row.error for row in rows}

    member = errors("member.zip")
    assert member["member.zip#good.png"] == ""
    assert "cannot be unpacked" in member["member.zip#bad.png"]
    assert "damaged archive" in errors("cut.zip")["cut.zip"]
    cut = errors("cut.tar.gz")
    assert "damaged archive" in cut["cut.tar.gz"]
    for name in ("noise.tar", "noise.tgz"):
        assert "damaged archive" in errors(name)[name]
    assert "expected uint8" in errors("floats.npy")["floats.npy"]
    assert "damaged array file" in errors("objects.npy")["objects.npy"]
    assert errors("cut.npy")["cut.npy#0"] == ""
    assert "ends at image 1 of 2" in errors("cut.npy")["cut.npy"]
    assert "no uint8 images" in errors("none.npz")["none.npz"]
    assert "damaged array file" in errors("text.npy")["text.npy"]
    assert "no images in this folder" in errors("empty")["empty"]
    assert "nothing matches" in errors("*.webp")["*.webp"]
    assert "no such file" in errors("none.jpg")["none.jpg"]


def test_a_packed_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lentigo.inference.sources.MAX_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(2**21))
    (item,) = Sources(tmp_path / "bomb.zip")
    assert item.source is None
    assert "more than 1 MiB" in (item.error or "")


def test_lists_are_checked_before_anything_is_written(tmp_path: Path, classifier: Classifier) -> None:
    (tmp_path / "list.csv").write_text("where,label\na.png,nv\n")
    with pytest.raises(DataError, match=r"no column 'image' or 'path' \(found: where, label; looked for"):
        predict_paths(classifier, tmp_path / "list.csv", out=tmp_path / "out.csv", progress=False)
    with pytest.raises(DataError, match="nothing to classify"):
        predict_paths(classifier, [], out=tmp_path / "out.csv", progress=False)
    with pytest.raises(DataError, match="once only"):
        Sources(["-", "-"])
    assert [p.name for p in tmp_path.iterdir()] == ["list.csv"]


def test_an_unreadable_folder_becomes_a_row(
    folder: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    rows: list[Row] = []
    summary = predict_paths(classifier, folder, progress=False, on_row=rows.append)
    assert (summary.images, summary.failed) == (8, 1)
    (bad,) = [row for row in rows if row.error]
    assert bad.path == str(folder / "a")
    assert "the folder cannot be read (Permission denied)" in bad.error


def test_keys_stay_inside_and_apart(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../etc/x.png", b"x")
        archive.writestr("/abs/y.png", b"x")
    keys = [item.key for item in Sources([tmp_path / "evil.zip", "/etc/../a.png", "elsewhere/a.png"])]
    assert keys == ["evil.zip/__/__/etc/x.png", "evil.zip/abs/y.png", "a.png", "2-a.png"]


# Rows and tables


def test_csv_rows_agree_with_single_predictions(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    summary = predict_paths(classifier, folder, out=tmp_path / "out.csv", progress=False, batch=3, workers=2)
    rows = read_csv(tmp_path / "out.csv")
    assert list(rows[0]) == COLUMNS
    assert [row["path"] for row in rows] == paths(folder)
    for row in rows:
        found = classifier.predict(row["path"])
        assert row["label"] == found.label
        assert row["error"] == ""
        np.testing.assert_allclose([float(row[code]) for code in CODES], found.probabilities, atol=1e-6)
    assert (summary.images, summary.failed, summary.skipped, summary.exit_code) == (10, 0, 0, 0)
    assert summary.labels.total() == 10
    assert summary.out == tmp_path / "out.csv"
    assert "10 images" in str(summary)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["out.csv"]


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (4, 3), (64, 2)])
def test_batch_and_workers_change_nothing(batch: int, workers: int, folder: Path, classifier: Classifier) -> None:
    rows: list[Row] = []
    predict_paths(classifier, folder, progress=False, batch=batch, workers=workers, on_row=rows.append)
    assert [row.path for row in rows] == paths(folder)
    for row in rows:
        np.testing.assert_allclose(row.probabilities, classifier.predict(row.path).probabilities, atol=1e-6)


def test_all_formats_hold_the_same(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    (folder / "broken.png").write_bytes(b"")
    for suffix in ("csv", "jsonl", "parquet"):
        predict_paths(classifier, folder, out=tmp_path / f"out.{suffix}", progress=False)
    rows = read_csv(tmp_path / "out.csv")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    records = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert lines == records
    assert list(records[0]) == COLUMNS
    assert len(rows) == 11
    for row, record in zip(rows, records, strict=True):
        assert row == {
            key: "" if value is None else f"{value:.9g}" if isinstance(value, float) else value
            for key, value in record.items()
        }


def test_every_kind_of_broken_file_becomes_a_clear_row(tmp_path: Path, classifier: Classifier) -> None:
    expected = write_broken(tmp_path / "broken")
    only = predict_paths(classifier, tmp_path / "broken", out=tmp_path / "only.csv", progress=False)
    assert only.exit_code == 2
    blob_image(0).save(tmp_path / "broken" / "good.png")
    summary = predict_paths(classifier, tmp_path / "broken", out=tmp_path / "out.csv", progress=False)
    rows = read_csv(tmp_path / "out.csv")
    assert (summary.images, summary.failed, summary.exit_code) == (len(expected) + 1, len(expected), 0)
    for row in rows:
        name = Path(row["path"]).name
        if name == "good.png":
            assert row["error"] == ""
            assert row["label"] in CODES
        else:
            assert expected[name] in row["error"]
            assert row["label"] == ""
            assert all(row[code] == "" for code in CODES)


def test_a_file_of_several_pages_has_a_hint(tmp_path: Path, classifier: Classifier) -> None:
    blob_image(0).save(tmp_path / "x.tiff", save_all=True, append_images=[blob_image(1)])
    predict_paths(classifier, tmp_path, out=tmp_path / "out.csv", progress=False)
    assert "several pages or frames, of which the first is read" in read_csv(tmp_path / "out.csv")[0]["hints"]


AWKWARD = [
    'comma, quote".png', "皮肤 图.png", "line\nbreak.png", "carriage\rreturn.png", "both\r\n.png",
    "\rfirst.png", "\ttab.png", '".png',
    "\x1b[2Jescape.png", "\u202egnp.png", "\u2028separator\x85.png", "[bold]x[red].png", "'plain'.png",
    "'=apostrophe.png", "=cmd|' C calc'!A0.png", "+1+1.png", "-2+3.png", "@SUM(A1).png", "-7.png", "＝wide.png",
]  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_awkward_names_survive_every_format(
    suffix: str, tmp_path: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(AWKWARD)
    if sys.platform == "linux":
        names.append(os.fsdecode(b"not-utf8-\xff.png"))
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path / "images")  # so that paths begin with the names
    for name in names:
        Path(name).write_bytes(png_bytes(blob_image(0)) if name != "-7.png" else b"broken")
    out = tmp_path / f"out.{suffix}"
    assert (
        predict_paths(
            classifier, [*map(Path, names)], out=out, progress=False, heatmaps=tmp_path / "maps", batch=4
        ).failed
        == 1
    )
    expected = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    assert [row["path"] for row in read_back(out)] == expected
    first = out.read_bytes()
    again = predict_paths(classifier, [*map(Path, names)], out=out, progress=False, resume=True)
    assert (again.images, again.skipped) == (0, len(names))
    assert [row["path"] for row in read_back(out)] == expected
    if suffix != "parquet":
        assert out.read_bytes() == first
    assert len(list((tmp_path / "maps").iterdir())) == len(names) - 1
    if suffix == "csv":
        with out.open(newline="", encoding="utf-8") as file:
            for cells in csv.reader(file):
                assert not [cell for cell in cells if cell[:1] in {*"=+-@\t\r\n＝"}]  # no number here is below 0
    if suffix == "jsonl":
        assert all(is_line(line) for line in out.read_text(encoding="utf-8").split("\n"))


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_awkward_classes_survive_every_format(suffix: str, folder: Path, tmp_path: Path) -> None:
    labels = LabelSet.of("own", ["=cmd|x!A0", "+plus", "@at", 'quote"', "comma, "])
    classifier = Classifier(tiny_bundle(tmp_path / "own", labels=labels), threads=1)
    out = tmp_path / f"out.{suffix}"
    predict_paths(classifier, folder, out=out, progress=False)
    rows = read_back(out)
    assert list(rows[0]) == ["path", *labels.codes, *ANSWER]
    assert {row["label"] for row in rows} <= set(labels.codes)
    assert predict_paths(classifier, folder, out=out, progress=False, resume=True).skipped == 10
    assert read_back(out) == rows


def read_back(path: Path) -> list[dict[str, Any]]:
    """The rows of a table, as another program reads it; guarded cells without their guard."""
    if path.suffix == ".parquet":
        records: list[dict[str, Any]] = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
        return records
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{unguard_cell(key): unguard_cell(value) for key, value in row.items()} for row in read_csv(path)]


def test_heatmaps_mirror_the_folder(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    blob_image(0, 1400, 700).save(folder / "a" / "large.png")
    predict_paths(classifier, folder, heatmaps=tmp_path / "maps", progress=False)
    found = sorted(p.relative_to(tmp_path / "maps").as_posix() for p in (tmp_path / "maps").rglob("*.jpg"))
    assert found == sorted(Path(p).relative_to(folder).as_posix() + ".jpg" for p in paths(folder))
    assert Image.open(tmp_path / "maps" / "a" / "large.png.jpg").size == (512, 256)
    assert Image.open(tmp_path / "maps" / "0.png.jpg").size == (80, 60)


def test_heatmaps_need_a_network_with_maps(folder: Path, tmp_path: Path) -> None:
    plain = Classifier(tiny_bundle(tmp_path / "plain", cam=False), threads=1)
    with pytest.raises(BundleError, match="no class-activation maps"):
        predict_paths(plain, folder, heatmaps=tmp_path / "maps", progress=False)
    assert predict_paths(plain, folder, progress=False).failed == 0


def test_wrong_arguments(folder: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match=r"\.csv, \.jsonl, \.parquet, not \.xlsx"):
        predict_paths(classifier, folder, out=tmp_path / "out.xlsx", progress=False)
    (tmp_path / "taken.csv").mkdir()
    with pytest.raises(OutputError, match="a folder"):
        predict_paths(classifier, folder, out=tmp_path / "taken.csv", progress=False)
    with pytest.raises(ValueError, match="at least 1"):
        predict_paths(classifier, folder, workers=0, progress=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"lentigo\[parquet\]"):
        predict_paths(classifier, folder, out=tmp_path / "out.parquet", progress=False)


def test_progress_is_shown_on_standard_error(
    folder: Path, classifier: Classifier, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict_paths(classifier, folder, progress=True).images == 10
    assert capsys.readouterr().out == ""


# Bounded, broken off, resumed


def test_no_more_than_a_few_chunks_are_under_way(classifier: Classifier) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    taken = 0

    def items() -> object:
        nonlocal taken
        for item in Sources("x.png"):
            for i in range(1000):
                taken += 1
                yield type(item)(str(i), pixels, str(i))

    rows = predict_stream(classifier, items(), batch=4, workers=2)  # type: ignore[arg-type]
    for done in range(10):
        next(rows)
        assert taken <= 4 * (done + 1 + 2 * 2 + 1)
    rows.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("lentigo-predict")]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_interrupt_leaves_a_valid_table_and_resume_goes_on(
    suffix: str, folder: Path, classifier: Classifier, tmp_path: Path
) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    out, whole = tmp_path / f"out.{suffix}", tmp_path / f"whole.{suffix}"
    predict_paths(classifier, folder, out=whole, progress=False, batch=1)

    seen = 0

    def stop(row: Row) -> None:
        nonlocal seen
        seen += 1
        if seen == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_paths(classifier, folder, out=out, progress=False, batch=1, on_row=stop)
    table = open_table(out, CODES, resume=True)
    assert list(table.done) == paths(folder)[:4]
    table.close()
    summary = predict_paths(classifier, folder, out=out, progress=False, batch=1, resume=True)
    assert (summary.images, summary.skipped) == (6, 4)
    assert out.read_bytes() == whole.read_bytes()
    again = predict_paths(classifier, folder, out=out, progress=False, resume=True)
    assert (again.images, again.skipped, again.exit_code) == (0, 10, 0)
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="other signals there")
@pytest.mark.parametrize(
    ("kept", "said"),
    [(True, "the rows so far are in {out}; go on with --resume"), (False, "no rows were kept; --out FILE keeps them")],
)
def test_ctrl_c_says_where_the_rows_are(kept: bool, said: str, folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    out, maps = tmp_path / "out.csv", tmp_path / "maps"
    command = [
        sys.executable,
        "-m",
        "lentigo",
        "predict",
        "-",
        "--model",
        str(bundle.path),
        "--batch",
        "1",
        "--heatmaps",
        str(maps),
    ]
    with subprocess.Popen(
        [*command, *(["--out", str(out)] if kept else [])], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("\n".join(paths(folder)) + "\n")
        process.stdin.flush()  # and more names are waited for, so that the signal comes in its midst
        while process.poll() is None and not any(maps.rglob("*.jpg")):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert process.returncode == 130, told
    assert f"lentigo: stopped; {said.format(out=out)}" in told
    assert "Traceback" not in told
    assert out.is_file() == kept


def test_interrupt_never_replaces_a_finished_table(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    predict_paths(classifier, folder, out=out, progress=False)
    finished = out.read_bytes()

    def stop(row: Row) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_paths(classifier, folder, out=out, progress=False, batch=2, on_row=stop)
    assert out.read_bytes() == finished
    assert len(read_csv(tmp_path / "out.csv.part")) == 2
    assert predict_paths(classifier, folder, out=out, progress=False, resume=True).skipped == 2
    assert len(read_csv(out)) == 10


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_torn_last_line_is_done_again(suffix: str, folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    out = tmp_path / f"out.{suffix}"
    predict_paths(classifier, folder, out=out, progress=False, batch=1)
    content = out.read_bytes()
    for cut in (1, 30, 200, len(content) - 5, len(content)):
        out.unlink(missing_ok=True)
        out.with_name(out.name + ".part").write_bytes(content[: len(content) - cut])
        assert predict_paths(classifier, folder, out=out, progress=False, batch=1, resume=True).failed == 0
        assert out.read_bytes() == content


def test_resume_refuses_results_of_another_model(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    other = Classifier(tiny_bundle(tmp_path / "five", classes=5), threads=1)
    for suffix in ("csv", "jsonl"):
        out = tmp_path / f"out.{suffix}"
        predict_paths(other, folder, out=out, progress=False)
        with pytest.raises(OutputError, match="results of another model"):
            predict_paths(classifier, folder, out=out, progress=False, resume=True)


def test_a_path_listed_twice_is_answered_twice(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    twice = [folder / "0.png", folder / "0.png"]
    assert predict_paths(classifier, twice[:1], out=out, progress=False).images == 1
    assert predict_paths(classifier, twice, out=out, progress=False, resume=True).skipped == 1
    assert len(read_csv(out)) == 2


PROGRAM = """
import resource, signal, sys, time
from lentigo.inference import Classifier, predict_paths
from lentigo.bundle import Bundle
from lentigo.errors import OutputError
bundle, folder, out, mode = sys.argv[1:]
if mode == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))
def slow(row):
    print(row.path, flush=True)
    if mode == "slow":
        time.sleep(0.2)
try:
    predict_paths(Classifier(Bundle.open(bundle), threads=1), folder, out=out, progress=False, batch=1, on_row=slow)
except OutputError as error:
    print(error)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no file-size limit there")
def test_a_full_disk_keeps_what_was_done(folder: Path, bundle: Bundle, classifier: Classifier, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, bundle.path, folder, out, "full"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stdout
    assert "go on with --resume" in done.stdout
    assert not out.exists()
    summary = predict_paths(classifier, folder, out=out, progress=False, resume=True)
    assert summary.skipped >= 1
    assert [row["path"] for row in read_csv(out)] == paths(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="other signals there")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_killed_process_can_be_resumed(
    sent: signal.Signals, code: int, folder: Path, bundle: Bundle, classifier: Classifier, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    arguments = [sys.executable, "-c", PROGRAM, str(bundle.path), str(folder), str(out), "slow"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(sent)
        process.stdout.read()
    assert process.returncode == code
    rows = read_csv(out if sent == signal.SIGINT else tmp_path / "out.csv.part")
    assert 3 <= len(rows) < 10
    summary = predict_paths(classifier, folder, out=out, progress=False, resume=True)
    assert summary.skipped == len(rows)
    assert [row["path"] for row in read_csv(out)] == paths(folder)


def test_fast_decoding_changes_little(tmp_path: Path, classifier: Classifier) -> None:
    blob_image(5, 1600, 1200).save(tmp_path / "photo.jpg", quality=92)
    rows: list[Row] = []
    for fast in (False, True):
        predict_paths(classifier, tmp_path / "photo.jpg", progress=False, fast_decode=fast, on_row=rows.append)
    assert rows[0].probabilities != rows[1].probabilities
    np.testing.assert_allclose(rows[0].probabilities, rows[1].probabilities, atol=0.02)


def test_many_real_images(shared_data: Path, classifier: Classifier, tmp_path: Path) -> None:
    images = sorted((shared_data / "ham10000-400" / "images").iterdir())[:200]
    listing = tmp_path / "list.csv"
    listing.write_text("path\n" + "\n".join(map(str, images)) + "\n")
    assert predict_paths(classifier, listing, out=tmp_path / "out.jsonl", progress=False).failed == 0
