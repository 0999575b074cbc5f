"""Escape untrusted text for one line of a table, a terminal or a page.

File names, class names and messages may contain characters that control a terminal, reverse the direction of a line,
end a line of a table, or make a spreadsheet execute a cell as a formula.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import Any

# Control characters (C0, DEL, C1), marks and overrides of direction, line and paragraph separators, lone surrogates.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_BUT_LAYOUT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# Starts of formulas in Excel, LibreOffice and Sheets (OWASP, "CSV Injection"), except numbers and single signs.
_FORMULA = re.compile(r"'*(?:[=@\t\r\n\uff1d\uff0b\uff0d\uff20]|[+-](?!(?:\d+\.?\d*(?:[eE][+-]?\d+)?)?\Z))")


def is_line(text: str) -> bool:
    """Return whether a text has no control characters and no marks that change its direction."""
    return _CONTROL.search(text) is None


def one_line(text: str) -> str:
    r"""Escape control characters and marks of direction, as in ``\x1b`` and ``\u202e``."""
    return _CONTROL.sub(_escape, text)


def lines(text: str) -> str:
    """Escape as `one_line` does, except line feeds and tabs."""
    return _CONTROL_BUT_LAYOUT.sub(_escape, text)


def counted(number: int, noun: str) -> str:
    """Format a number with its noun.

    Example:
        >>> counted(1, "epoch"), counted(2000, "epoch")
        ('1 epoch', '2,000 epochs')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def json_line(text: str) -> str:
    r"""Escape control characters in a JSON document: those that JSON allows unescaped become ``\uXXXX``."""
    return _CONTROL_BUT_LAYOUT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def guard_cell(text: str) -> str:
    """Prefix a cell that a spreadsheet would execute as a formula with an apostrophe; `unguard_cell` removes it.

    >>> guard_cell("=cmd|' /C calc'!A0"), guard_cell("-1.5"), guard_cell("photo.jpg")
    ("'=cmd|' /C calc'!A0", '-1.5', 'photo.jpg')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unguard_cell(text: str) -> str:
    """Undo `guard_cell`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def csv_line(cells: Iterable[str]) -> str:
    r"""Format one line of a CSV table, with cells quoted if necessary and guarded (`guard_cell`).

    Example:
        >>> csv_line(["=1+1", "a,b", "-1.5"])
        '\'=1+1,"a,b",-1.5\n'
    """
    line: str = _formatter.writerow(list(map(guard_cell, cells)))
    return line[:-2] + "\n"


class _Echo:
    """A file whose `write` returns the text, which is how the csv module formats one line."""

    def write(self, text: str) -> str:
        return text


# The csv module quotes a carriage return in a cell only if the line terminator contains one.
_formatter: Any = csv.writer(_Echo(), lineterminator="\r\n")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
