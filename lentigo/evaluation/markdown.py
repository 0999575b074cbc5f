"""Tables in Markdown, for cards, reports and the pages of `results/`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lentigo.text import one_line

_RULES = {"l": "---", "r": "---:"}


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str = "lr") -> list[str]:
    """The lines of a Markdown table.

    Args:
        head: the columns' names.
        rows: cells, as many as columns in each.
        align: ``l`` (text) or ``r`` (numbers), column by column; the last letter holds for the columns that follow,
            too.
    """
    rule = [_RULES[align[min(i, len(align) - 1)]] for i in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in ([*map(_cell, head)], rule, *([*map(_cell, row)] for row in rows))]


def _cell(text: str) -> str:
    """Text that ends no cell, no line and no table; tags in it are shown, not obeyed."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", one_line(text).replace("|", "\\|"))
