"""The tutorials: the commands on their pages run, in order, in an empty folder, and print what the pages show."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs/tutorials").glob("*.md"))


@pytest.fixture(scope="module")
def tutorials() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tutorials", ROOT / "scripts/tutorials.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tutorials"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_block_runs_and_prints_what_the_page_shows(tutorials: ModuleType, page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    outcome = tutorials.run_page(text, tmp_path)
    assert outcome.code == 0, outcome.log[-4000:]
    assert "Traceback" not in outcome.log, outcome.log[-4000:]
    assert [tutorials.shape(output) for output in outcome.outputs] == [
        tutorials.shape(output) for output in tutorials.shown_outputs(text)
    ]
    for made, kept in tutorials.figures(text):
        with Image.open(tmp_path / made) as image, Image.open(page.parent / kept) as small:
            assert abs(image.width / image.height - small.width / small.height) < 0.05, made


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_page_shows_outputs_without_paths_of_a_machine(tutorials: ModuleType, page: Path) -> None:
    outputs = tutorials.shown_outputs(page.read_text(encoding="utf-8"))
    assert sum(map(bool, outputs)) >= 3
    roots = ("/home/", "/tmp/", "/root/", f"{ROOT.parent}/")
    assert [line for output in outputs for line in output.splitlines() if any(root in line for root in roots)] == []


def test_a_block_that_fails_is_found(tutorials: ModuleType, tmp_path: Path) -> None:
    assert tutorials.run_page("```python\nassert 1 + 1 == 2\n```\n", tmp_path).code == 0
    assert tutorials.run_page("```python\nassert 1 + 1 == 3\n```\n\n```sh\ntrue\n```\n", tmp_path).code != 0
    assert tutorials.run_page("```sh\nlentigo predict nothing-here.jpg\n```\n", tmp_path).code != 0


def test_outputs_are_written_behind_their_blocks_and_replaced(tutorials: ModuleType, tmp_path: Path) -> None:
    page = "Text.\n\n```sh\necho one 1\n```\n\nMore.\n\n```python\nx = 1\n```\n"
    written = tutorials.with_outputs(page, tutorials.run_page(page, tmp_path).outputs)
    assert tutorials.shown_outputs(written) == ["one 1\n", ""]
    assert tutorials.with_outputs(written, ["one 2\n", ""]) == written.replace(
        "one 1\n```\n\nMore", "one 2\n```\n\nMore"
    )
    assert tutorials.shape("two 1 one\n 2.5 %\none 2\n") == ["one", "two"]


def test_there_are_pages() -> None:
    assert {"own-data", "report", "reproduce", "serving"} <= {page.stem for page in PAGES}
