"""Files that are always whole: a disk that fills up in the middle of a write, a process without file descriptors, and
room again."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from tiny_bundle import tiny_bundle

from lentigo.bundle import Bundle
from lentigo.cli.predict import Embeddings
from lentigo.data.tables import write_table
from lentigo.errors import OutputError
from lentigo.evaluation import make_predictions, read_predictions, write_maps, write_predictions
from lentigo.evaluation.panels import confusion_panels, save_svg
from lentigo.evaluation.plots import save_plot
from lentigo.files import atomic_path, read_regular, write_bytes, write_json, write_text
from lentigo.inference.heatmap import save_image
from lentigo.inference.table import Row, open_table
from lentigo.training.rundir import read_checkpoint, save_checkpoint

resource = pytest.importorskip("resource", reason="no limits of this kind on Windows")

IMAGES = [f"image-{i}" for i in range(60)]


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes: the system writes what fits, and refuses the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """No more than ``count`` further files may be open at once."""
    probe = os.open(os.devnull, os.O_RDONLY)
    os.close(probe)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def predictions(path: Path, version: int) -> None:
    probabilities = np.random.default_rng(version).dirichlet([1, 1], len(IMAGES))
    labels = ["mel", "nv"] * (len(IMAGES) // 2)
    made = make_predictions(
        images=IMAGES,
        paths=IMAGES,
        groups=IMAGES,
        targets=labels,
        probabilities=probabilities,
        codes=("mel", "nv"),
    )
    write_predictions(path, made)


def read_back(path: Path) -> object:
    if path.suffix == ".csv":
        return read_predictions(path).probabilities.tolist()
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: arrays[name].tolist() for name in arrays.files}
    if path.suffix == ".ckpt":
        return {name: value.tolist() for name, value in read_checkpoint(path)["network"].items()}
    if path.suffix == ".png":
        return np.asarray(Image.open(path)).tolist()
    if path.name in ("plots", "fresh") and (path / "plot.png").exists():
        return {file.name: file.read_bytes() for file in path.iterdir()}
    return Bundle.open(path).spec if path.is_dir() else path.read_bytes()


def maps(path: Path, version: int) -> None:
    found = np.random.default_rng(version).random((len(IMAGES), 7, 7))
    write_maps(path, images=IMAGES, predicted=found, target=found)


def embeddings(path: Path, version: int) -> None:
    gathered = Embeddings(path)
    gathered.paths = list(IMAGES)
    gathered.vectors = [tuple(row) for row in np.random.default_rng(version).random((len(IMAGES), 16)).tolist()]
    gathered.write()


def plots(path: Path, version: int) -> None:
    figure = Figure(figsize=(0.5, 0.5))
    figure.text(0.5, 0.5, str(version))
    save_plot(figure, path / "plot")


ARTEFACTS: dict[str, Callable[[Path, int], object]] = {
    "note.txt": lambda path, version: write_text(path, f"{version} 皮肤\n" * 3000),
    "blob.bin": lambda path, version: write_bytes(path, bytes([version]) * 30_000),
    "test.csv": predictions,
    "test_maps.npz": maps,
    "last.ckpt": lambda path, version: save_checkpoint(
        path, {"network": {"weight": torch.full((999,), float(version))}}
    ),
    "figure.svg": lambda path, version: save_svg(
        confusion_panels({"run": np.eye(2, dtype=np.int64) + version}, ("mel", "nv")), path
    ),
    "map.png": lambda path, version: save_image(
        path, Image.fromarray(np.random.default_rng(version).integers(0, 256, (64, 64), dtype=np.uint8))
    ),
    "plots": plots,
    "embeddings.parquet": embeddings,
    "embeddings.npz": embeddings,
    "table.tab": lambda path, version: write_table(path, pd.DataFrame({"a": [version] * 500})),
    "notes.ipynb": lambda path, version: write_json(path, {"cells": [{"source": [f"{version}"] * 500}]}),
    "bundle": lambda path, version: tiny_bundle(path, seed=version),
}
FAULTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    **{f"disk of {size} bytes": partial(disk_of, size) for size in (0, 1, 100, 1000)},
    **{f"{count} descriptors": partial(descriptors_left, count) for count in (0, 1)},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ARTEFACTS)
def test_a_write_that_fails_leaves_what_was_there_and_can_be_made_again(name: str, fault: str, tmp_path: Path) -> None:
    path, write = tmp_path / name, ARTEFACTS[name]
    write(path, 1)
    before = read_back(path)
    failed = False
    with FAULTS[fault]():
        try:
            write(path, 2)
        except Exception:  # whichever library met it first
            failed = True
    if "disk" in fault:
        assert failed
        assert read_back(path) == before
    assert read_back(path) is not None
    left = [p.name for p in tmp_path.iterdir()]
    # A folder cannot be removed without descriptors.
    assert left == [name] or (path.is_dir() and "descriptors" in fault)
    write(path, 2)
    fresh = tmp_path / f"fresh{path.suffix}"
    write(fresh, 2)
    assert read_back(path) == read_back(fresh) != before


def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss of power leaves the old file or the new one: without the first sync the new name can stand for an empty
    file."""
    seen: list[object] = []
    fsync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        facts = os.fstat(handle)
        seen.append(("sync", facts.st_ino, facts.st_size if stat.S_ISREG(facts.st_mode) else "folder"))
        fsync(handle)

    def replaced(source: Path, target: Path) -> Path:
        seen.append(("replace", source.stat().st_ino, source.stat().st_size))
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    folder = tmp_path.stat().st_ino
    for name in ("note.txt", "last.ckpt", "test.csv", "rows.csv"):
        seen.clear()
        if name == "rows.csv":
            table = open_table(tmp_path / name, ("mel", "nv"))
            table.write(rows())
            table.close()
        else:
            ARTEFACTS[name](tmp_path / name, 1)
        facts = (tmp_path / name).stat()
        whole = (facts.st_ino, facts.st_size)
        assert seen == [("sync", *whole), ("replace", *whole), ("sync", folder, "folder")]


@pytest.mark.skipif(sys.platform == "win32", reason="files in use cannot be replaced there")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_at_the_last_moment_changes_nothing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    for name in ("note.txt", "last.ckpt", "figure.svg", "bundle"):
        ARTEFACTS[name](tmp_path / name, 1)
        before = read_back(tmp_path / name)
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", refuse)
            with pytest.raises(OutputError, match=re.escape(os.strerror(number))):
                ARTEFACTS[name](tmp_path / name, 2)
        assert read_back(tmp_path / name) == before
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_that_ends_at_the_rename_leaves_the_old_or_the_new(moment: str, tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    write_text(path, "old")
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom lentigo.files import write_text\nreplace = Path.replace\n"
        "def ends(source, target):\n    if sys.argv[2] == 'after':\n        replace(source, target)\n    os._exit(9)\n"
        "Path.replace = ends\nwrite_text(sys.argv[1], 'new')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path), moment], check=False, timeout=120)
    assert done.returncode == 9
    assert path.read_text() == {"before": "old", "after": "new"}[moment]
    write_text(path, "newer")
    assert path.read_text() == "newer"


def test_small_files_that_can_be_made_again_need_no_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: pytest.fail("synced"))
    with atomic_path(tmp_path / "map.png", sync=False) as temporary:
        temporary.write_bytes(b"map")
    assert (tmp_path / "map.png").read_bytes() == b"map"


def rows() -> list[Row]:
    return [Row(f"=image\r-{i}.png", (0.25, 0.75), "nv", error="") for i in range(40)]


@pytest.mark.parametrize("size", [0, 1, 60, 700, 1111])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_that_met_a_full_disk_is_gone_on_with(suffix: str, size: int, tmp_path: Path) -> None:
    whole = open_table(tmp_path / f"whole.{suffix}", ("mel", "nv"))
    whole.write(rows())
    whole.close()
    out, written = tmp_path / f"out.{suffix}", 0
    with disk_of(size):
        try:
            table = open_table(out, ("mel", "nv"))
            for row in rows():
                table.write([row])
                written += 1
        except OutputError as error:
            assert "cannot be written" in str(error)  # noqa: PT017
    assert written < len(rows())
    assert not out.exists()
    table = open_table(out, ("mel", "nv"), resume=True)
    assert table.done.total() in (written, written + 1)
    table.write([row for row in rows() if table.done[row.path] == 0])
    table.close()
    assert out.read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()


def test_reading_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    assert read_regular(tmp_path / "file", 100) == bytes(100)
    with pytest.raises(OSError, match="more than"):
        read_regular(tmp_path / "file", 99)
    with pytest.raises(OSError, match="not a regular file"):
        read_regular(tmp_path, 99)
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(tmp_path / "pipe", 99)


def test_json_of_figures_keeps_its_values_in_few_lines(tmp_path: Path) -> None:
    estimates = {code: {"value": 1 / (n + 3), "low": 1e-9 / 3, "high": 12345678.9} for n, code in enumerate("abcdefgh")}
    document = {
        "rows": [estimates, {"p": 0.1, "n": 123456789012, "none": None, "text": "ä\n"}],
        "counts": list(range(200)),
        "empty": {},
    }
    write_json(tmp_path / "figures.json", document, digits=7)
    text = (tmp_path / "figures.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert found["rows"][1] == document["rows"][1]
    assert found["counts"] == document["counts"]
    assert found["rows"][0]["a"] == {"value": 0.3333333, "low": 3.333333e-10, "high": 12345680.0}
    assert len(text.splitlines()) < 20
    write_json(tmp_path / "whole.json", document)
    assert json.loads((tmp_path / "whole.json").read_text(encoding="utf-8")) == document
