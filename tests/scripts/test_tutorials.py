"""The tutorials: every block of commands and of Python on their pages is run, in order, in an empty folder."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs/tutorials"
PAGES = sorted(FOLDER.glob("*.md"))


def as_script(page: str) -> str:
    """The page's blocks as one bash script, so that a service which one block starts is there for the next."""
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    return "\n".join(code if kind == "sh" else f"python - <<'END_OF_BLOCK'\n{code}END_OF_BLOCK" for kind, code in blocks)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_page(page: str, folder: Path) -> tuple[int, str]:
    """Run a page's blocks; nothing that they started is left."""
    script = as_script(page).replace("8000", str(free_port()))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", script]
    surroundings = {**os.environ, "PATH": path}
    with (folder / "output.txt").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=surroundings, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait(timeout=900)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return code, output.read()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_block_runs(page: Path, tmp_path: Path) -> None:
    code, output = run_page(page.read_text(encoding="utf-8"), tmp_path)
    assert code == 0, output[-4000:]
    assert "Traceback" not in output, output[-4000:]


def test_a_block_that_fails_is_found(tmp_path: Path) -> None:
    assert run_page("```python\nassert 1 + 1 == 2\n```\n", tmp_path)[0] == 0
    assert run_page("```python\nassert 1 + 1 == 3\n```\n\n```sh\ntrue\n```\n", tmp_path)[0] != 0
    assert run_page("```sh\nlentigo predict nothing-here.jpg\n```\n", tmp_path)[0] != 0


def test_there_are_pages() -> None:
    assert {"report", "serving"} <= {page.stem for page in PAGES}
