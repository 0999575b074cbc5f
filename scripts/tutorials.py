"""Run the tutorials of the documentation, and write what their commands print into their pages.

    python scripts/tutorials.py [PAGE...]

A page's blocks of ``sh`` and ``python`` run in order in one shell and an empty folder. What a block prints follows it
as a block titled "output"; a picture behind ``<!-- made: PATH -->`` is copied from PATH in that folder. A test runs the
pages in the same way.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs/tutorials"
OUTPUT = re.compile(r'\n```text title="output"\n(.*?)```\n', flags=re.DOTALL)
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```\n", flags=re.DOTALL | re.MULTILINE)
FIGURE = re.compile(r"^<!-- made: (\S+) -->\n!\[[^\]]*\]\(([^)]+)\)", flags=re.MULTILINE)
MARK = "=== end of block {} ==="
STATUS = re.compile(r"\d+ of \d+ runs done, .* left")
"""Lines that tell how far a long job is; how many there are depends on the machine."""
LONGEST = 24
"""Lines of an output that are shown; of a longer one the first and the last."""
WIDEST = 720
"""Width of a figure in the site, pixels."""


@dataclass(frozen=True)
class Outcome:
    """What running a page gave.

    Attributes:
        code: the exit status.
        outputs: what each block printed, up to the one that failed.
        log: all that was printed.
    """

    code: int
    outputs: list[str]
    log: str


def run_page(page: str, folder: Path, timeout: float = 3600) -> Outcome:
    """Run a page's blocks in ``folder``; nothing that they started is left running."""
    port = str(_free_port())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    surroundings = {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "110"}
    command = ["bash", "-euo", "pipefail", "-c", _as_script(page).replace("8000", port)]
    with (folder / ".output").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=timeout)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        log = output.read()
    parts = re.split(MARK.format(r"\d+") + "\n", log)[:-1]
    return Outcome(code, [_tidy(part.replace(port, "8000"), folder) for part in parts], log)


def shown_outputs(page: str) -> list[str]:
    """The outputs that a page shows, one a block; empty where it shows none."""
    after = [OUTPUT.match(page, match.end()) for match in BLOCK.finditer(page)]
    return [match.group(1) if match else "" for match in after]


def with_outputs(page: str, outputs: list[str]) -> str:
    """The page with other outputs."""
    found = iter(outputs)

    def follow(match: re.Match[str]) -> str:
        output = next(found)
        return match.group() + (f'\n```text title="output"\n{output}```\n' if output else "")

    return BLOCK.sub(follow, OUTPUT.sub("", page))


def figures(page: str) -> list[tuple[str, str]]:
    """Each picture that the commands make: where they write it, and where it is in the site."""
    return FIGURE.findall(page)


def shape(output: str) -> list[str]:
    """The first words of the lines, sorted; figures and the order of classes may differ between machines."""
    return sorted(word[0] for line in output.splitlines() if (word := re.findall(r"[^\W\d_]{2,}", line)))


def _as_script(page: str) -> str:
    blocks = [
        code if kind == "sh" else f"python - <<'END_OF_BLOCK'\n{code}END_OF_BLOCK\n"
        for kind, code in BLOCK.findall(page)
    ]
    return "".join(f"{code}echo '{MARK.format(number)}'\n" for number, code in enumerate(blocks))


def _tidy(output: str, folder: Path) -> str:
    """An output without outer empty lines, trailing blanks, status lines and paths; a long one cut in the middle."""
    for path, name in ((folder.resolve(), "."), (folder, "."), (ROOT / "lentigo", "lentigo")):
        output = output.replace(str(path), name)
    lines = [line.rstrip() for line in output.splitlines() if not STATUS.fullmatch(line.strip())]
    while lines and not lines[0]:
        del lines[0]
    while lines and not lines[-1]:
        del lines[-1]
    if len(lines) > LONGEST:
        lines = [*lines[: LONGEST - 5], "...", *lines[-4:]]
    return "".join(f"{line}\n" for line in lines)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _keep_figure(made: Path, kept: Path) -> None:
    """Store a picture small: no wider than the site's column, 64 colours."""
    kept.parent.mkdir(exist_ok=True)
    with Image.open(made) as image:
        small = image.convert("RGB")
        small.thumbnail((WIDEST, 2 * WIDEST))
        small.quantize(64, dither=Image.Dither.NONE).save(kept, optimize=True)


def main(names: list[str]) -> int:
    """Run the named pages, or all of them, and write their outputs."""
    for path in [Path(name) for name in names] or sorted(FOLDER.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory(prefix="tutorial-") as folder:
            outcome = run_page(page, Path(folder))
            if outcome.code:
                print(outcome.log, f"{path}: failed; nothing is written", sep="\n", file=sys.stderr)
                return 1
            for made, kept in figures(page):
                _keep_figure(Path(folder) / made, path.parent / kept)
        path.write_text(with_outputs(page, outcome.outputs), encoding="utf-8")
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
