"""How commands show results: a table for people, ``--json`` for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from lentigo.text import json_line, lines, one_line

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def print_json(value: Any) -> None:
    """Print a JSON document with no NaN in it (those become null)."""
    print(json_line(json.dumps(_finite(value), indent=2, ensure_ascii=False)))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "", caption: str = ""
) -> None:
    """Print a table; columns whose cells are all numbers are set to the right."""
    from rich import box
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
    for i, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[i], (int, float)) or row[i] is None for row in rows)
        table.add_column(Text(one_line(name)), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))  # as text: brackets are no markup here
    # A pipe has no width of its own: give it room, so that no cell is cut.
    Console(width=None if sys.stdout is not None and sys.stdout.isatty() else 200).print(table)


def say(text: str) -> None:
    """Print plain text; control characters in it, which could drive a terminal, are shown as escapes."""
    print(lines(text))


def complaint(kind: str, message: str) -> str:
    """An error or a warning as one line."""
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
