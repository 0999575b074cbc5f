"""Read users' tables without pandas: cells of text in any encoding, and the images that rows name."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice, zip_longest
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote

from lentigo.annotations import records
from lentigo.errors import DataError, MissingExtraError
from lentigo.text import counted

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".json", ".jsonl", ".ndjson", ".xlsx", ".xls", ".ods"})
PATH_COLUMNS = (
    "path", "image_path", "img_path", "file_path", "file", "file_name", "fname", "image_file", "image_filename",
    "img_file",
)  # fmt: skip
IMAGE_COLUMNS = ("image", "image_id", "img_id", "isic_id", "image_name", "img_name", "img", "photo", "id")
"""Columns that name the images, the first that is there; a path comes before a name."""
_NAMES = (*PATH_COLUMNS, *IMAGE_COLUMNS)
_DELIMITERS = ",;\t|"
_PROBED = 20
_LABEL_STUDIO = re.compile(r"/data/(local-files/\?d=|upload/(\d+/)?[0-9a-f]{8}-)")
"""Prefix that Label Studio adds to a file's name."""
_NAMELESS = re.compile(r"column_\d+")
NOTHING = frozenset(
    ("", "?", "??", "-", "--", ".", "/", "na", "n/a", "n.a.", "#n/a", "nan", "<na>", "null", "nil", "none")
)
"""Values of empty cells, in lower case."""
_UNKNOWN = NOTHING | {
    "-1", "unknown", "unk", "missing", "unlabeled", "unlabelled", "undetermined", "indeterminate", "tbd", "todo",
    "not available", "not known", "unbekannt", "desconocido", "desconhecido", "inconnu", "未知",
}  # fmt: skip


MetadataField = Literal["age", "sex", "site"]
METADATA_COLUMNS = {
    "age": ("age", "age_approx", "age_approximate"),
    "sex": ("sex", "gender"),
    "site": ("site", "anatom_site_general", "anatom_site_general_challenge", "localization", "location", "region"),
}
"""Age, sex and body site -> columns of published tables."""


def is_unknown(cell: str) -> bool:
    """Return whether a cell means that its value is unknown."""
    return cell.strip().lower() in _UNKNOWN


@dataclass(frozen=True)
class Cells:
    """A table as text.

    Attributes:
        path: the file.
        columns: name -> its cells, without surrounding blanks.
        lines: the last line (or row of the sheet) of each record.
        note: note about the sheets that were read, or about a code page that was recognised.
        sheets: the rows of a workbook's other sheets.
    """

    path: Path
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    note: str = ""
    sheets: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)


def read_cells(path: Path) -> Cells:
    """Read a table as text, cells without surrounding blanks, empty cells as empty strings.

    Comma, semicolon, tab or bar between the cells; UTF-8, UTF-16 or a code page of Windows; a ``sep=`` line; ``.xlsx``;
    ``.jsonl`` with an object a line; ``.json`` (`lentigo.annotations`). Blank lines, repeated headers, empty columns,
    and title lines above the header are left out. Of a workbook's sheets the largest that names images is read, with
    those of the same columns, whose names are the column ``sheet``; cells that are merged downwards all have the value.

    Raises:
        DataError: missing, empty, no table, a row longer than the header, or a column that stands there twice.
        MissingExtraError: ``.xlsx`` without openpyxl.
    """
    suffix = path.suffix.lower()
    if suffix in (".xls", ".ods"):
        raise DataError(f"{path}: {suffix} is not read; save it as .csv or .xlsx")
    sheets: dict[str, list[list[str]]] = {}
    try:
        rows, note = _sheet_rows(path, sheets) if suffix == ".xlsx" else _text_rows(path, suffix)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except PermissionError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (OSError, ValueError, csv.Error, zipfile.BadZipFile, KeyError, RecursionError) as error:
        what = {
            ".xlsx": "an Excel workbook",
            ".json": "JSON",
            **dict.fromkeys((".jsonl", ".ndjson"), "JSON, an object a line"),
        }.get(suffix, "a CSV table")
        raise DataError(f"{path}: cannot be read as {what} ({str(error).strip()})") from None
    return replace(_cells(rows, path, note), sheets=sheets)


def find_column(columns: Iterable[str], names: Iterable[str]) -> str | None:
    """Return the first of these names that is a column, as written in the table; case, blanks and ``_`` are ignored."""
    there: dict[str, str] = {}
    for column in columns:
        there.setdefault(column_key(column), column)
    return next((there[column_key(name)] for name in names if column_key(name) in there), None)


def column_key(name: str) -> str:
    """Return a column's name in lower case, without blanks, ``_``, ``-`` and ``.``: ``ImageID`` is ``image_id``."""
    return re.sub(r"[\s\-_.]+", "", name.lower())


def shown_columns(columns: Iterable[str]) -> str:
    """Format the names of a table's first twenty columns for a message."""
    names = [str(c) for c in columns]
    return ", ".join(names[:20]) + (f", ... {len(names) - 20} more" if len(names) > 20 else "")


def image_columns(columns: Mapping[str, Sequence[str]], names: ImageNames) -> tuple[str | None, str | None]:
    """Find the columns of the images' paths and names; None for a column that is missing.

    They are found by their names, or, if those lead to no existing image, by their cells.

    Args:
        columns: name -> its cells.
        names: the images that are there.
    """
    path, image = find_column(columns, PATH_COLUMNS), find_column(columns, IMAGE_COLUMNS)
    if any(named is not None and leads(columns[named], names, any) for named in (path, image)):
        return path, image
    leading = [c for c, cells in columns.items() if 2 * len(set(cells)) >= len(cells) and leads(cells, names, all)]
    header = len(leading) == 1 and not leads(leading, names, all)  # else the first image stands where it should be
    return (leading[0], None) if header else (path, image)


def leads(cells: Sequence[str], names: ImageNames, so_many: Callable[[Iterable[bool]], bool]) -> bool:
    """Return whether any or all of the first cells of a column name existing images."""

    def found(cell: str) -> bool:
        try:
            return names.locate(cell, by_number=False) is not None
        except DataError:  # several fit, or one outside
            return False

    probe = list(islice(filter(None, cells), _PROBED))
    return bool(probe) and so_many(map(found, probe))


def no_image_column(columns: Iterable[str], source: object) -> DataError:
    """Create the error for a table in which no column names images."""
    listed = [str(column) for column in columns]
    headless = any(re.search(r"\.(jpe?g|png|webp|bmp|tiff?|gif|hei[cf]|dcm)$", name.lower()) for name in listed)
    return DataError(
        f"{source}: has no column 'image' or 'path' (found: {shown_columns(listed)}; looked for: {', '.join(_NAMES)}),"
        " and none in which every cell leads to an image; "
        + (
            "its first line is no header: put one above it, such as path,label"
            if headless
            else "rename the column that names the images"
            + ", and keep one line of header where there are two" * any(map(_NAMELESS.fullmatch, listed))
        )
    )


def some(names: Iterable[str], most: int = 4) -> str:
    """Format a few of many names for a message."""
    listed = sorted(set(names))
    return ", ".join(listed[:most]) + (f" and {len(listed) - most:,} more" if len(listed) > most else "")


def _text_rows(path: Path, suffix: str) -> tuple[list[tuple[int, list[str]]], str]:
    from lentigo.code_pages import decode  # `predict photo.jpg` reads no table

    text, page = decode(path.read_bytes())
    note = f"it is no Unicode and is read as {page}; where words look wrong, save it as UTF-8" if page else ""
    if suffix in (".json", ".jsonl", ".ndjson"):
        return _object_rows(text, by_line=suffix != ".json"), note
    first, _, rest = text.partition("\n")
    skipped = 0
    if declared := re.fullmatch(r'"?sep=(.)"?\s*', first, re.IGNORECASE):
        text, delimiter, skipped = rest, declared[1], 1
    else:
        delimiter = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    rows = [(reader.line_num + skipped, [cell.strip() for cell in row]) for row in reader]
    if rows and {"filename", *(attributes := ("file_attributes", "region_attributes"))} <= {*rows[0][1]}:  # of VIA
        regions = [dict(zip(rows[0][1], row, strict=False)) for _, row in rows[1:]]
        rows = _records_rows(
            list(enumerate(records([r | {a: json.loads(r[a] or "{}") for a in attributes} for r in regions]), start=1))
        )
    return rows, note


def _object_rows(text: str, *, by_line: bool) -> list[tuple[int, list[str]]]:
    """Return the rows of JSON, after a row with the names of all members; lists and objects stay JSON."""
    if by_line:
        lines = {n: json.loads(one) for n, one in enumerate(text.splitlines(), start=1) if one.strip()}
        if strange := [n for n, one in lines.items() if not isinstance(one, dict)]:
            raise ValueError(f"line {strange[0]} is no object")
        objects = records(list(lines.values())) if lines else []
        numbered = list(zip(lines if len(lines) == len(objects) else range(1, len(objects) + 1), objects, strict=True))
    else:
        numbered = list(enumerate(records(json.loads(text)), start=1))
    return _records_rows(numbered)


def _records_rows(numbered: Sequence[tuple[int, Mapping[str, object]]]) -> list[tuple[int, list[str]]]:
    names = list(dict.fromkeys(name for _, one in numbered for name in one))
    naming = [name for name in names if find_column((name,), _NAMES)]
    # Objects may call the image differently, each by one name.
    mixed = len(naming) > 1 and all(sum(name in one for name in naming) == 1 for _, one in numbered)
    columns = [naming, *([n] for n in names if n not in naming)] if mixed else [[n] for n in names]

    def row(one: Mapping[str, object]) -> list[str]:
        return [_cell(next((one[name] for name in column if name in one), None)) for column in columns]

    return [(0, [column[0] for column in columns]), *((line, row(one)) for line, one in numbered)]


def _delimiter(text: str) -> str:
    """Find the delimiter: that of the sniffer if it is in the header."""
    header = next((line for line in text.splitlines() if any(one in line for one in _DELIMITERS)), "")
    try:
        found = csv.Sniffer().sniff("\n".join(text[:8192].splitlines()[:20]), _DELIMITERS).delimiter
    except csv.Error:
        found = ""
    return found if found and found in header else max(_DELIMITERS, key=header.count)


def _sheet_rows(path: Path, sheets: dict[str, list[list[str]]]) -> tuple[list[tuple[int, list[str]]], str]:
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise MissingExtraError(f"{path}: reading .xlsx", "train") from None
    workbook = load_workbook(path, data_only=True).worksheets
    shown = [sheet for sheet in workbook if sheet.sheet_state == "visible"] or workbook
    for sheet in shown:
        rows = sheets[sheet.title] = [[_cell(value) for value in row] for row in sheet.iter_rows(values_only=True)]
        for merged in sheet.merged_cells.ranges:
            for row in rows[merged.min_row : merged.max_row]:
                row[merged.min_col - 1] = rows[merged.min_row - 1][merged.min_col - 1]

    def size(name: str) -> tuple[bool, int]:
        listed = any(find_column(row, _NAMES) for row in sheets[name][:_PROBED])
        return listed, sum(sum(map(bool, row)) for row in sheets[name] if len(row) > 1)

    name = max(sheets, key=size)
    listed, header = size(name)[0], _header(sheets[name])
    alike = [title for title, rows in sheets.items() if title == name or (header and _header(rows) == header)]
    hidden = sum(row.hidden for sheet in shown if sheet.title in alike for row in sheet.row_dimensions.values())
    notes = [
        f"the sheet {name!r} of {len(sheets)} is read, the largest{' that names images' * listed}"
        * (len(sheets) > 1 == len(alike)),
        f"the sheets {some(map(repr, alike))} have the same columns and are read as one table" * (len(alike) > 1),
        f"left out: {counted(len(workbook) - len(shown), 'hidden sheet')}" * (len(workbook) > len(shown)),
        f"{counted(hidden, 'hidden row')} read like the others" * (hidden > 0),
    ]
    parts = {title: sheets.pop(title) for title in alike}
    rows = parts[name]
    if len(alike) > 1:  # numbered through all sheets
        rows = [[*row[: len(header)], title] for title, part in parts.items() for row in part[1:] if any(row)]
        rows.insert(0, [*header, "sheet"])
    return list(enumerate(rows, start=1)), "; ".join(filter(None, notes))


def _header(rows: Sequence[list[str]]) -> list[str]:
    """Return the first row of a sheet if it is the header of all columns; empty otherwise."""
    width = max((n for n, cell in enumerate(rows[0], start=1) if cell), default=0) if rows else 0
    return rows[0][:width] if width > 1 and not any(any(row[width:]) for row in rows) else []


def _cell(value: object) -> str:
    """Format a value of a workbook or of JSON as text; a whole number has no ``.0``."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return (
        "" if value is None else str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
    )


def _cells(rows: list[tuple[int, list[str]]], path: Path, note: str) -> Cells:
    rows = [(line, row) for line, row in rows if any(row)]
    if not rows:
        raise DataError(f"{path}: cannot be read as a CSV table (it is empty)")
    filled = [sum(map(bool, row)) for _, row in rows]
    if max(filled) > 1:
        first = next(n for n, count in enumerate(filled) if count > 1)  # one cell alone is a title or a comment
        named = (n for n in range(first, min(len(rows), first + 5)) if find_column(rows[n][1], _NAMES))
        below = next(named, first)
        # Headings that each stand over several columns lie above the header.
        below = below if filled[below] > filled[first] else first
        header = _with_headings(rows[below][1], rows[first][1] if below > first else [])
        rows = rows[below:]
    else:
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
    return Cells(path, data, [line for line, _ in body], note)


def _with_headings(header: list[str], above: list[str]) -> list[str]:
    """Prefix ambiguous names of a header with the heading above, as ``Patient`` for ``ID``."""
    heading, named = "", []
    for name, over in zip_longest(header, above[: len(header)], fillvalue=""):
        heading = over or heading
        alone = column_key(name) in ("id", "no", "nr", "number", "code", "name")
        named.append(f"{heading} {name}" if heading and alone else name)
    return named


def is_file(path: str | Path) -> bool:
    """Return whether a file exists; False for names that are too long for any file."""
    return os.path.isfile(path)  # noqa: PTH113  (Path.is_file raises then)


class ImageNames:
    """Search for the images that a table names.

    Args:
        root: the folder that paths are relative to.
        images: the images below it, relative, with ``/``.
    """

    def __init__(self, root: Path, images: Iterable[str]) -> None:
        self.root, self._images = root, images

    @cached_property
    def _by_path(self) -> dict[str, list[str]]:
        """Lower-case path, each of its ends, and the same without suffix -> matching images."""
        found: dict[str, list[str]] = {}
        for image in self._images:
            parts = _plain(image).split("/")
            for start in range(len(parts)):
                tail = "/".join(parts[start:])
                for key in {tail, str(PurePosixPath(tail).with_suffix(""))}:
                    found.setdefault(key, []).append(image)
        return found

    @cached_property
    def _by_number(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for image in dict.fromkeys(chain.from_iterable(self._by_path.values())):
            stem = PurePosixPath(image).stem
            if stem.isdecimal():
                found.setdefault(int(stem), []).append(image)
        return found

    def locate(self, name: str, *, by_number: bool = True) -> str | None:
        """Return the image that a table names; ``%20`` may mean a blank, and ``7`` or ``7.0`` may mean ``0007``."""
        found = self._locate(name)
        if found is None and "%" in name:
            found = self._locate(unquote(name))
        if found is None and (prefix := _LABEL_STUDIO.match(name)):
            found = self._locate(name[prefix.end() :])
        # Spreadsheets write 7 for 0007.
        if found is None and by_number and (number := re.fullmatch(r"(\d{1,18})(\.0)?", name)):
            fitting = self._by_number.get(int(number[1]), [])
            found = fitting[0] if len(fitting) == 1 else None
        return found

    def _locate(self, name: str) -> str | None:
        """Return the image that a table names: by path, by name in a sub-folder, in other case, or with another suffix.

        Args:
            name: as the table has it, with ``/`` or back-slashes, perhaps absolute and of another machine.

        Returns:
            Its path relative to the root; None where there is none.

        Raises:
            DataError: the path leaves the data set's folder, or several images fit it alike.
        """
        asked = re.sub(r"^(\w+://[^?#]*)[?#].*", r"\1", name.replace("\\", "/"))
        drive = re.match(r"[A-Za-z]:/|/|[a-z][a-z0-9+]*://", asked)
        parts = [p for p in asked[drive.end() if drive else 0 :].split("/") if p not in ("", ".")]
        plain = "/".join(parts)
        if not parts:
            return None
        if not drive and ".." not in parts and is_file(self.root / plain):
            return plain
        if drive and asked.startswith("/"):
            try:
                inside = Path(asked).relative_to(self.root.resolve()).as_posix()
            except ValueError:
                inside = ""
            if inside and ".." not in inside.split("/") and is_file(self.root / inside):
                return inside
        parts = parts[len(parts) - parts[::-1].index("..") :] if ".." in parts else parts
        leading = 2 if len(parts) > 1 and parts[0] == self.root.resolve().name else 1
        for start in range(len(parts) if drive or ".." in asked else leading):
            tail = _plain("/".join(parts[start:]))
            for key in (tail, re.sub(r"\.[a-z]{2,5}$", "", tail)):
                fitting = self._by_path.get(key, [])
                exact = [f for f in fitting if f.endswith("/".join(parts[start:]))]
                if len(exact or fitting) > 1:
                    raise DataError(f"{name!r} may be {some(exact or fitting)}; write the folder into the table too")
                if fitting:
                    return (exact or fitting)[0]
        if (drive and is_file(asked)) or (".." in asked.split("/") and is_file(self.root / asked)):
            raise DataError(
                f"{name!r} lies outside the data set's folder {self.root}; put the table into a folder that holds the"
                " images too"
            )
        return None


def _plain(path: str) -> str:
    """Normalise a path for comparison: lower case, composed letters (macOS stores them decomposed)."""
    return unicodedata.normalize("NFC", path).lower()
