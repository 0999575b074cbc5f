"""Read tables in any encoding, delimiter or case of headers, and Excel files; write lentigo's own."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from lentigo.errors import DataError, MissingExtraError, did_you_mean
from lentigo.files import atomic_path
from lentigo.text import csv_line, unguard_cell

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".xlsx", ".xls", ".ods"})
_DELIMITERS = ",;\t|"
_SNIFFED = 65536
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# What people's spreadsheets write where it is no Unicode; a longer list makes short texts guesswork.
_CODE_PAGES = ["cp1252", "gb18030", "cp1251", "big5"]
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table as text, cells without surrounding blanks, empty cells as empty strings.

    Comma, semicolon, tab or bar between the cells; UTF-8, UTF-16 or a code page of Windows; a ``sep=`` line; ``.xlsx``.
    Blank lines, repeated headers, empty columns, and title lines above the header are left out; of a workbook's sheets
    the largest is read, and ``attrs["sheet"]`` names it where there are several.

    Returns:
        One row a record; its index is the line (or the sheet's row) that the record ends in.

    Raises:
        DataError: missing, empty, no table, a row longer than the header, or a column that stands there twice.
        MissingExtraError: ``.xlsx`` without openpyxl.
    """
    suffix = path.suffix.lower()
    if suffix in (".xls", ".ods"):
        raise DataError(f"{path}: {suffix} is not read; save it as .csv or .xlsx")
    try:
        rows, sheet = _sheet_rows(path) if suffix == ".xlsx" else (_text_rows(path), "")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, csv.Error, zipfile.BadZipFile, KeyError) as error:
        what = "an Excel workbook" if suffix == ".xlsx" else "a CSV table"
        raise DataError(f"{path}: cannot be read as {what} ({str(error).strip()})") from None
    table = _table(rows, path)
    if sheet:
        table.attrs["sheet"] = sheet
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
    """The table as `write_table` was given it, all texts without what guards them."""
    texts = {
        name: frame[name].map(unguard_cell, na_action="ignore")
        for name in frame.columns
        if not is_numeric_dtype(frame[name])
    }
    return frame.assign(**texts).rename(columns=unguard_cell)


def need_columns(table: pd.DataFrame, columns: Sequence[str], path: str | Path) -> pd.DataFrame:
    """A table with columns of these names; in the file they may differ in case, or have blanks for ``_``.

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


def find_column(columns: Iterable[str], names: Iterable[str]) -> str | None:
    """The first of these names that is a column, as the table writes it; case, blanks and ``_`` are ignored."""
    there: dict[str, str] = {}
    for column in columns:
        there.setdefault(column_key(column), column)
    return next((there[column_key(name)] for name in names if column_key(name) in there), None)


def column_key(name: str) -> str:
    """A column's name in lower case, without blanks, ``_``, ``-`` and ``.``: ``ImageID`` is ``image_id``."""
    return re.sub(r"[\s\-_.]+", "", name.lower())


def shown_columns(columns: Sequence[str] | pd.Index[str]) -> str:
    """The names of a table's columns for a message, the first twenty of them."""
    names = [str(c) for c in columns]
    return ", ".join(names[:20]) + (f", ... {len(names) - 20} more" if len(names) > 20 else "")


def decode(content: bytes) -> str:
    """The text of a table's file, whatever it is encoded in.

    Raises:
        ValueError: no text.
    """
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return _checked(content.decode(encoding))
    try:
        return _checked(content.decode("utf-8"))
    except ValueError:  # a UnicodeDecodeError is one
        pass
    from charset_normalizer import from_bytes

    head = content[: _SNIFFED - _SNIFFED % 4]
    if b"\0" in head:
        little = head[1::2].count(0) >= head[::2].count(0)
        return _checked(content.decode("utf-16-le" if little else "utf-16-be"))
    best = from_bytes(head, cp_isolation=_CODE_PAGES).best()
    try:
        return _checked(content.decode(best.encoding if best is not None else "cp1252"))
    except UnicodeDecodeError:  # a character cut at the end of the head, or a rarer one later on
        return _checked(content.decode("cp1252"))


def _checked(text: str) -> str:
    if _CONTROL.search(text[:_SNIFFED]):
        raise ValueError("it holds control characters, so it is no text")
    return text.removeprefix("\ufeff")


def _text_rows(path: Path) -> list[tuple[int, list[str]]]:
    text = decode(path.read_bytes())
    first, _, rest = text.partition("\n")
    skipped = 0
    if declared := re.fullmatch(r'"?sep=(.)"?\s*', first, re.IGNORECASE):
        text, delimiter, skipped = rest, declared[1], 1
    else:
        delimiter = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    return [(reader.line_num + skipped, [cell.strip() for cell in row]) for row in reader]


def _delimiter(text: str) -> str:
    """What stands between the cells: the sniffer's word, where the header bears it out."""
    header = next((line for line in text.splitlines() if any(one in line for one in _DELIMITERS)), "")
    try:
        found = csv.Sniffer().sniff("\n".join(text[:8192].splitlines()[:20]), _DELIMITERS).delimiter
    except csv.Error:
        found = ""
    return found if found and found in header else max(_DELIMITERS, key=header.count)


def _sheet_rows(path: Path) -> tuple[list[tuple[int, list[str]]], str]:
    try:
        sheets = pd.read_excel(path, sheet_name=None, header=None, dtype=str, keep_default_na=False, engine="openpyxl")
    except ImportError:
        raise MissingExtraError(f"{path}: reading .xlsx", "train") from None
    name, sheet = max(sheets.items(), key=lambda item: item[1].size * (item[1].shape[1] > 1))
    told = f"the sheet {name!r} is read, the largest of {len(sheets)}" if len(sheets) > 1 else ""
    return [
        (number, [str(cell).strip() for cell in row])
        for number, row in enumerate(sheet.itertuples(index=False), start=1)
    ], told


def _table(rows: list[tuple[int, list[str]]], path: Path) -> pd.DataFrame:
    rows = [(line, row) for line, row in rows if any(row)]
    if not rows:
        raise DataError(f"{path}: cannot be read as a CSV table (it is empty)")
    filled = [sum(map(bool, row)) for _, row in rows]
    if max(filled) > 1:
        rows = rows[next(n for n, count in enumerate(filled) if count > 1) :]  # one cell alone is a title or a comment
    header = rows[0][1]
    if len(rows) == 1 and len(header) == 1:
        raise DataError(f"{path}: cannot be read as a CSV table (it has one line and no delimiter)")
    body = [(line, row) for line, row in rows[1:] if row[: len(header)] != header]
    for line, row in body:
        if any(row[len(header) :]):
            raise DataError(
                f"{path}: line {line} has {len(row)} cells, the header {len(header)} ({shown_columns(header)}); "
                "put cells that hold the delimiter in double quotes"
            )
    columns = list(zip_longest(*(row[: len(header)] for _, row in body), fillvalue="")) or [()] * len(header)
    columns += [("",) * len(body)] * (len(header) - len(columns))
    data: dict[str, tuple[str, ...]] = {}
    for number, (name, cells) in enumerate(zip(header, columns, strict=False), start=1):
        if not name and not any(cells):
            continue  # a trailing delimiter
        name = name or f"column_{number}"
        if name in data and data[name] != cells:
            raise DataError(
                f"{path}: column {name!r} stands there twice and differs (columns {header.index(name) + 1} and"
                f" {number}); rename one"
            )
        data[name] = cells
    return pd.DataFrame(data, index=pd.Index([line for line, _ in body], dtype=int), dtype=object)
