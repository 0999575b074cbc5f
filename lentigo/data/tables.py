"""Reading CSV tables as they come: text cells, comma or tab, with or without a byte-order mark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lentigo.errors import DataError, did_you_mean


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV (or tab-separated) table as text, empty cells as empty strings.

    Raises:
        DataError: missing, empty or not a table.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
            separator = "\t" if "\t" in header and "," not in header else ","
            file.seek(0)
            table = pd.read_csv(file, dtype=str, keep_default_na=False, sep=separator)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise DataError(f"{path}: cannot be read as a CSV table ({str(error).strip()})") from None
    table.columns = pd.Index([str(c).strip() for c in table.columns])
    for column in table.columns:
        table[column] = table[column].str.strip()
    return table


def need_columns(table: pd.DataFrame, columns: Sequence[str], path: str | Path) -> None:
    """Check that a table has these columns.

    Raises:
        DataError: one is missing; the message names it, the nearest, and what is there.
    """
    for column in columns:
        if column not in table.columns:
            near = did_you_mean(column, table.columns)
            hint = near if near.startswith("; did") else ""
            raise DataError(f"{path}: has no column {column!r}{hint} (found: {', '.join(table.columns)})")
