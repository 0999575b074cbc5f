"""Output of commands: tables, JSON and messages."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from lentigo.text import json_line, lines, one_line

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def print_json(value: Any) -> None:
    """Print a JSON document; NaN becomes null."""
    print(json_line(json.dumps(_finite(value), indent=2, ensure_ascii=False)))


def print_rows(rows: Sequence[Mapping[str, object]], *, as_json: bool, caption: str = "") -> None:
    """Print mappings with the same keys as a table, or as JSON."""
    if as_json:
        print_json(rows)
    else:
        print_table(list(rows[0]), [list(row.values()) for row in rows], caption=caption)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "", caption: str = ""
) -> None:
    """Print a table; columns of numbers are right-aligned."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    # A pipe has no width: this one cuts no cell.
    width = shutil.get_terminal_size().columns if terminal else 200
    cells = [[one_line(name) for name in columns], *([_cell(value) for value in row] for row in rows)]
    right = [
        bool(rows) and all(isinstance(row[i], (int, float)) or row[i] is None for row in rows)
        for i in range(len(columns))
    ]
    if text := _simple_table(cells, right, one_line(title), one_line(caption), width, styled=terminal):
        print(text)
        return
    from rich import box  # here, since importing it takes longer than a prediction
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(one_line(title)) if title else None,
        caption=Text(one_line(caption)) if caption else None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )
    for name, numeric in zip(cells[0], right, strict=True):
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in cells[1:]:
        table.add_row(*map(Text, row))  # as text: brackets are no markup here
    Console(width=None if terminal else width).print(table)


def _simple_table(
    cells: Sequence[Sequence[str]], right: Sequence[bool], title: str, caption: str, width: int, *, styled: bool
) -> str:
    """Format a table as rich does, if it has plain letters only and fits; empty otherwise.

    Args:
        cells: the names of the columns, then the rows.
        right: columns to align right.
        title: text above.
        caption: text below.
        width: columns of the terminal.
        styled: whether to mark title and names by escape sequences.
    """
    everything = "".join([title, caption, *(cell for row in cells for cell in row)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    total = sum(widths) + 3 * len(widths) + 1
    if (
        max(everything, default="") >= "\u0300"  # letters may be two columns wide, or none
        or not everything.isprintable()
        or max(total, len(title), len(caption)) > min(width, total)
        or not (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
        or (styled and (os.name == "nt" or os.environ.get("TERM", "dumb") in ("dumb", "unknown")))
        or "FORCE_COLOR" in os.environ
    ):
        return ""
    blank = " " * total
    lines = [
        "  "
        + "   ".join(f"{cell:{'>' if r else '<'}{w}}" for cell, r, w in zip(row, right, widths, strict=True))
        + "  "
        for row in cells
    ]
    bold, italic, dim, end = ("\033[1m", "\033[3m", "\033[2;3m", "\033[0m") if styled else ("",) * 4
    parts = [blank, f"{bold}{lines[0]}{end}", f" {'─' * (total - 2)} ", *lines[1:], blank]
    if title:
        parts.insert(0, f"{italic}{title:<{total}}{end}")
    if caption:
        parts.append(f"{dim}{caption:<{total}}{end}")
    return "\n".join(parts)


def say(text: str) -> None:
    """Print plain text with control characters escaped, since they could control the terminal."""
    print(lines(text))


def message_line(kind: str, message: str) -> str:
    """Format an error or a warning as one line."""
    return f"lentigo: {kind}: " + one_line(" ".join(message.split()))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return one_line(str(value))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
