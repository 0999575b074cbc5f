"""Read users' tables as frames (`lentigo.tables`), and write lentigo's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from lentigo.errors import DataError, did_you_mean
from lentigo.files import atomic_path
from lentigo.tables import find_column, read_cells, shown_columns
from lentigo.text import csv_line, unguard_cell


def read_table(path: Path) -> pd.DataFrame:
    """Read a table as text, as `lentigo.tables.read_cells` does.

    Returns:
        One row per record; its index is the last line (or row of the sheet) of the record. ``attrs["note"]`` is the
        note about its sheet or code page, ``attrs["sheets"]`` the rows of a workbook's other sheets.
    """
    cells = read_cells(path)
    table = pd.DataFrame(cells.columns, index=pd.Index(cells.lines, dtype=int), dtype=object)
    table.attrs |= {key: value for key, value in (("note", cells.note), ("sheets", cells.sheets)) if value}
    return table


def write_table(path: str | Path, frame: pd.DataFrame, *, float_format: str = "%.9g") -> None:
    """Write a table as CSV, atomically; no text runs as a spreadsheet formula (`unguard` gives it back).

    Raises:
        OutputError: the disk refuses.
    """

    def cell(value: Any) -> str:
        if isinstance(value, str):
            return value
        if pd.isna(value):
            return ""
        return float_format % value if isinstance(value, float) else str(value)

    columns = [map(cell, frame.iloc[:, place].tolist()) for place in range(frame.shape[1])]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        file.write(csv_line(map(str, frame.columns)))
        file.writelines(map(csv_line, zip(*columns, strict=True)))


def unguard(frame: pd.DataFrame) -> pd.DataFrame:
    """Undo the protection against formulas of `write_table`."""
    texts = {
        name: frame[name].map(unguard_cell, na_action="ignore")
        for name in frame.columns
        if not is_numeric_dtype(frame[name])
    }
    return frame.assign(**texts).rename(columns=unguard_cell)


def need_columns(table: pd.DataFrame, columns: Sequence[str], path: str | Path) -> pd.DataFrame:
    """Rename columns to these names, from which the file may differ in case, or in blanks for ``_``.

    Raises:
        DataError: one is missing; the message names it, the nearest, and what is there.
    """
    renamed = {}
    for column in columns:
        found = find_column(table.columns, (column,))
        if found is None:
            near = did_you_mean(column, table.columns)
            hint = near if near.startswith("; did") else ""
            raise DataError(f"{path}: has no column {column!r}{hint} (found: {shown_columns(table.columns)})")
        renamed[found] = column
    return table.rename(columns=renamed)
