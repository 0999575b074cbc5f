"""`lentigo predict` when the world is against it: a full disk, a folder that cannot be read, a model that vanishes;
nothing is lost."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
from broken import write_broken
from tiny_bundle import blob_image, tiny_bundle

from lentigo.bundle import Bundle
from lentigo.cli import main
from lentigo.errors import BundleError
from lentigo.inference import Classifier, Row, predict_paths
from lentigo.inference.distributed import ray_stream


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(12):
        blob_image(seed).save(folder / f"{seed:02}.png")
    return folder


def predict(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and the lines on standard error of ``lentigo predict``."""
    with pytest.raises(SystemExit) as stopped:
        main(["predict", *map(str, arguments), "--quiet"])
    return int(stopped.value.code or 0), capsys.readouterr().err


def one_line(errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.strip()]
    assert len(lines) == 1, errors
    assert lines[0].startswith("lentigo: error: ")
    return lines[0]


def listed(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        return [Path(name).name for name in pyarrow.parquet.read_table(path)["path"].to_pylist()]
    with path.open(newline="", encoding="utf-8") as file:
        return [Path(row["path"]).name for row in csv.DictReader(file)]


NAMES = [f"{seed:02}.png" for seed in range(12)]
SMALL_DISK = (
    "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    " resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900)); "
)


@pytest.mark.skipif(sys.platform == "win32", reason="no file-size limit there")
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_disk_that_fills_up_ends_the_command_with_a_way_on(
    suffix: str, bundle: Bundle, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"out.{suffix}"
    arguments = ["predict", str(pictures), "--model", str(bundle.path), "--out", str(out), "--batch", "1", "--quiet"]
    program = SMALL_DISK + f"from lentigo.cli import main; main({arguments!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    told = one_line(done.stderr)
    assert "cannot be written" in told
    assert f"the rows so far are in {out}.part, go on with --resume" in told
    assert not out.exists()
    code, _ = predict(capsys, pictures, "--model", bundle.path, "--out", out, "--resume")
    assert code == 0
    assert listed(out) == NAMES
    assert not Path(f"{out}.part").exists()


def test_a_disk_that_is_full_at_the_very_end_loses_no_row(
    bundle: Bundle, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"

    class Full(pyarrow.parquet.ParquetWriter):  # type: ignore[misc]
        def write_table(self, *arguments: object, **options: object) -> None:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pyarrow.parquet, "ParquetWriter", Full)
        code, errors = predict(capsys, pictures, "--model", bundle.path, "--out", out)
    assert code == 2
    assert "No space left on device" in one_line(errors)
    assert "go on with --resume" in errors
    assert [p.name for p in tmp_path.glob("*.parquet*")] == ["out.parquet.part"]
    code, _ = predict(capsys, pictures, "--model", bundle.path, "--out", out, "--resume")
    assert code == 0
    assert listed(out) == NAMES


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_device_without_room_is_told(
    bundle: Bundle, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.csv.part").symlink_to("/dev/full")
    code, errors = predict(capsys, pictures, "--model", bundle.path, "--out", tmp_path / "out.csv")
    assert code == 2
    assert "cannot be written (No space left on device)" in one_line(errors)


def test_a_model_that_vanishes_while_it_runs_is_not_missed(bundle: Bundle, pictures: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    predict_paths(Classifier(bundle), pictures, out=whole, progress=False, batch=1)
    classifier = Classifier(bundle)

    def vanish(row: Row) -> None:
        shutil.rmtree(bundle.path, ignore_errors=True)

    summary = predict_paths(classifier, pictures, out=out, progress=False, batch=1, on_row=vanish)
    assert not bundle.path.exists()
    assert (summary.images, summary.failed) == (12, 0)
    assert out.read_bytes() == whole.read_bytes()


def test_a_model_that_is_gone_ends_the_command_and_keeps_what_was_done(
    bundle: Bundle, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, aside = tmp_path / "out.csv", tmp_path / "aside"
    assert predict(capsys, pictures / "00.png", "--model", bundle.path, "--out", out)[0] == 0
    kept = out.read_bytes()
    bundle.path.rename(aside)
    code, errors = predict(capsys, pictures, "--model", bundle.path, "--out", out, "--resume")
    assert code == 2
    assert "no bundle here" in one_line(errors)
    assert out.read_bytes() == kept
    shutil.copytree(aside, bundle.path)
    (bundle.path / "model.onnx").unlink()
    code, errors = predict(capsys, pictures, "--model", bundle.path, "--out", out, "--resume")
    assert code == 2
    assert "model.onnx: missing from the bundle; fetch or export the bundle again" in one_line(errors)
    shutil.rmtree(bundle.path)
    aside.rename(bundle.path)
    assert predict(capsys, pictures, "--model", bundle.path, "--out", out, "--resume")[0] == 0
    assert listed(out) == NAMES


def test_a_model_that_vanishes_before_it_is_sent_to_a_cluster_is_told(bundle: Bundle, pictures: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'lentigo[ray]')")
    from lentigo.inference import Sources

    classifier = Classifier(bundle)
    shutil.rmtree(bundle.path)
    with pytest.raises(BundleError, match=r"spec\.json: cannot be read .*; fetch or export the bundle again"):
        next(ray_stream(classifier, Sources(pictures)))


def test_a_folder_that_cannot_be_read(
    bundle: Bundle, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: str) -> object:  # the tests may run as root, whom no permission stops
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    locked = pictures / "locked"
    locked.mkdir()
    out = tmp_path / "out.csv"
    assert predict(capsys, locked, "--model", bundle.path, "--out", out)[0] == 2
    with out.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert "the folder cannot be read (Permission denied)" in row["error"]
    assert predict(capsys, pictures, "--model", bundle.path, "--out", out)[0] == 0
    assert listed(out) == [*NAMES, "locked"]


def test_broken_files_alone_end_with_2_and_among_good_ones_with_0(
    bundle: Bundle, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = write_broken(tmp_path / "broken")
    out = tmp_path / "out.csv"
    assert predict(capsys, tmp_path / "broken", "--model", bundle.path, "--out", out)[0] == 2
    assert sorted(listed(out)) == sorted(expected)
    assert predict(capsys, tmp_path / "broken", pictures, "--model", bundle.path, "--out", out)[0] == 0
    assert sorted(listed(out)) == sorted([*expected, *NAMES])


def test_a_place_that_cannot_be_written(
    bundle: Bundle, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    code, errors = predict(capsys, pictures, "--model", bundle.path, "--out", tmp_path / "file" / "out.csv")
    assert code == 2
    assert "cannot be written" in one_line(errors)
