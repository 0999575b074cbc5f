"""Tables in Markdown, for cards, reports and the pages of `results/`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lentigo.estimate import Estimate
from lentigo.text import one_line

_RULES = {"l": "---", "r": "---:"}


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str = "lr") -> list[str]:
    """Return the lines of a Markdown table.

    Args:
        head: column names.
        rows: cells, one per column.
        align: ``l`` (text) or ``r`` (numbers) per column; the last letter also applies to all further columns.
    """
    rule = [_RULES[align[min(i, len(align) - 1)]] for i in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in ([*map(_cell, head)], rule, *([*map(_cell, row)] for row in rows))]


def table_lines(lines: Sequence[Mapping[str, str]], align: str = "lr") -> list[str]:
    """Return the lines of a Markdown table of mappings with the same keys; empty without rows."""
    return markdown_table(list(lines[0]), [list(line.values()) for line in lines], align) if lines else []


def estimate_text(e: Mapping[str, Any] | None, *, percent: bool = True, signed: bool = False) -> str:
    """Format a JSON estimate with its interval: percent with one decimal, or a number with two."""
    if not e or e["value"] is None:
        return "–"
    found = Estimate(e["value"], e.get("low"), e.get("high"))
    return found.text(percent=percent, digits=1 if percent else 2, signed=signed)


def p_text(p: float, *, sign: bool = False) -> str:
    """Format a p value: ``0.034`` (``= 0.034`` with ``sign``) or ``< 0.001``."""
    if p < 0.001:
        return "< 0.001"
    return ("= " if sign else "") + (f"{p:.3f}" if p < 0.1 else f"{p:.2f}")


def _cell(text: str) -> str:
    """Escape pipes, line breaks and HTML tags in the text of a cell."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", one_line(text).replace("|", "\\|"))
