"""Standard output that is a closed pipe, a full disk or closed: commands end quietly or with one line, never with a
traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_bundle import blob_image, tiny_bundle

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    tiny_bundle(folder / "tiny", size=32)
    (folder / "images").mkdir()
    for i in range(40):
        blob_image(i, 40, 30).save(folder / "images" / f"{i}.png")
    return folder


COMMANDS = {
    "short": ["predict", "images/1.png", "--model", "tiny"],
    "longer than a buffer": ["predict", "images", "--model", "tiny", "--json", "--quiet"],
    "table": ["recipes"],
}


def run(folder: Path, command: list[str], stdout: int) -> tuple[int, str]:
    """The exit code and what stands on standard error."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-m", "lentigo", *command],
        cwd=folder,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        timeout=300,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_pipe_whose_reader_is_gone_ends_quietly(folder: Path, command: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert run(folder, command, writer) == (0, "")
    finally:
        os.close(writer)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_full_disk_is_told_in_one_line(folder: Path, command: list[str]) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        code, errors = run(folder, command, full.fileno())
    assert (code, errors) == (2, "lentigo: error: the output cannot be written (No space left on device)\n")


def test_a_closed_output_keeps_no_command_from_its_work(folder: Path) -> None:
    command = f"exec '{sys.executable}' -m lentigo predict images --model tiny --out rows.csv >&-"
    done = subprocess.run(["sh", "-c", command], cwd=folder, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len((folder / "rows.csv").read_text().splitlines()) == 41
