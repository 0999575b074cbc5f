"""Tables of the command line: the quick layout is rich's."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Sequence

import pytest

from lentigo.cli import output

TABLES: dict[str, tuple[Sequence[str], Sequence[Sequence[object]], str, str]] = {
    "plain": (("image", "answer", "p"), [("a.jpg", "can't tell: [dark]", 0.25), ("b.jpg", "nevus", None)], "", ""),
    "title": (("image", "n", "yes"), [("Émile.png", 12345, True)], "model: %", "below"),
    "no rows": (("image", "answer"), [], "t", ""),
    "empty cells": (("image", "error"), [("", ""), ("x", "")], "", ""),
    "title wider than the table": (("a", "b"), [(1, 2)], "longer than all the cells", ""),
    "wider than the terminal": (("image", "answer"), [("x" * 90, "y" * 150)], "", ""),
    "wide letters": (("图像", "answer"), [("痣.jpg", "黑色素瘤")], "", ""),
    "marks": (("image", "answer"), [("e\u0301.jpg", "soft\u00adhyphen")], "", ""),
}


class Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize("name", TABLES)
def test_both_layouts_are_the_same(monkeypatch: pytest.MonkeyPatch, name: str, terminal: bool) -> None:
    columns, rows, title, caption = TABLES[name]
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    shown = []
    for quick in (True, False):
        if not quick:
            monkeypatch.setattr(output, "_simple_table", lambda *values, **more: "")
        monkeypatch.setattr(sys, "stdout", Stream(terminal))
        output.print_table(columns, rows, title=title, caption=caption)
        shown.append(re.sub(r"\x1b\[[\d;]*m", "", sys.stdout.getvalue()))  # type: ignore[attr-defined]
    assert shown[0] == shown[1] != ""
