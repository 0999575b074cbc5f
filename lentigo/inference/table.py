"""Tables of results, written as rows come, in CSV, JSON Lines or Parquet; an interrupted table can be resumed.

Rows are appended to ``<out>.part``, which becomes the result at the end, or when the user stops. After a crash or a
full disk, ``resume`` continues the part file without its last line if that is incomplete. Parquet is made from a CSV
part file at the end.
"""

from __future__ import annotations

import csv
import json
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from lentigo.errors import MissingExtraError, OutputError
from lentigo.files import atomic_path, replace_synced
from lentigo.inference.verdict import Verdict
from lentigo.text import csv_line, json_line, unguard_cell

SUFFIXES = (".csv", ".jsonl", ".parquet")
_PARQUET_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the results.

    Attributes:
        path: the image.
        probabilities: one per class; empty if the image could not be read.
        label: code of the most probable class; empty with an error.
        malignant_share: summed probability of the malignant classes; None if the malignancy of a class is unknown.
        flagged: names of the operating points that it reaches.
        prediction_set: codes of the classes in the conformal set, the most probable first; None without such sets.
        atypicality: OOD score; None if the model has none.
        reasons: why the answer is "can't tell"; empty without abstention.
        hints: minor faults of the image.
        error: why the image could not be read; empty otherwise.
        embedding: the input of the last layer, if requested; not a column.
        image_alone: probabilities before age, sex and site, if these changed them; not a column.
    """

    path: str
    probabilities: tuple[float, ...] = ()
    label: str = ""
    malignant_share: float | None = None
    flagged: tuple[str, ...] = ()
    prediction_set: tuple[str, ...] | None = None
    atypicality: float | None = None
    reasons: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    error: str = ""
    embedding: tuple[float, ...] = field(default=(), repr=False)
    image_alone: tuple[float, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, path: str, probabilities: Sequence[float], label: str, verdict: Verdict) -> Row:
        """Make the row of a classified image."""
        return cls(
            path,
            tuple(probabilities),
            label,
            verdict.malignant,
            tuple(name for name, reached in verdict.operating_points.items() if reached),
            verdict.prediction_set,
            verdict.atypicality,
            verdict.reasons,
            verdict.hints,
            image_alone=verdict.image_alone,
        )

    def cells(self, classes: int) -> tuple[float | str | None, ...]:
        """Return the values in the order of the columns; lists are joined with ``"; "``, missing values are None.

        Args:
            classes: number of probability columns.
        """
        numbers = self.probabilities or (None,) * classes
        joined = (
            _joined(self.flagged),
            _joined(self.prediction_set),
            self.atypicality,
            _joined(self.reasons),
            _joined(self.hints),
        )
        return (self.path, *numbers, self.label or None, self.malignant_share, *joined, self.error or None)


COLUMNS = ("label", "malignant_share", "flagged", "prediction_set", "atypicality", "reasons", "hints", "error")
"""Columns after the probabilities."""
NUMBERS = ("malignant_share", "atypicality")


def _joined(values: Sequence[str] | None) -> str | None:
    return "; ".join(values) if values else None


class Table(ABC):
    """A table that is being written; made by `open_table`.

    Attributes:
        path: the result.
        part: the file until then.
        codes: the class codes, which are column names.
        done: number of rows of each path in a resumed table.
    """

    def __init__(self, path: Path, codes: Sequence[str], *, resume: bool) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self.codes = tuple(codes)
        self.columns = ("path", *self.codes, *COLUMNS)
        self.done: Counter[str] = Counter()
        self._replaces = resume or not path.exists()
        self._broken = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise OutputError(f"{path}: a folder; name a file, such as {path / 'results.csv'}")
            fresh = not (resume and self._take_up())
            # Unbuffered, so that a failed write leaves nothing for later.
            self._file = self.part.open("wb" if fresh else "ab", buffering=0)
            if fresh:
                self._append(self._header())
        except OSError as error:
            raise self._refused(error) from None

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows.

        Raises:
            OutputError: they cannot be written; the rows before can be resumed.
        """
        try:
            self._append("".join(self._line(row) for row in rows))
        except OSError as error:
            self._broken = True  # the last line may be incomplete, which only `resume` repairs
            raise self._refused(error) from None

    def _append(self, text: str) -> None:
        rest = memoryview(text.encode("utf-8"))
        while rest:  # a disk that fills up writes a part
            rest = rest[self._file.write(rest) :]

    def close(self, *, complete: bool = True) -> Path:
        """Turn the part file into the result.

        An incomplete table (``complete=False``) does not replace an older result: it remains the part file.

        Returns:
            The file with the rows.

        Raises:
            OutputError: it cannot be written; the part file remains.
        """
        try:
            self._file.close()
            if self._broken or (not complete and not self._replaces):
                return self.part
            self._finish()
        except OSError as error:
            raise self._refused(error) from None
        except OutputError as error:
            raise OutputError(f"{error}{self._kept()}") from None
        return self.path

    def _take_up(self) -> bool:
        """Continue the part file, or else the result, of an earlier run; return False if there is neither."""
        if not self.part.is_file():
            if not self.path.is_file():
                return False
            self._reopen()
        with self.part.open("r+b") as file:
            file.truncate(_whole_length(file, quoted=isinstance(self, CsvTable)))
        if self.part.stat().st_size == 0:
            return False
        for path in self._paths():
            self.done[path] += 1
        return True

    def _refused(self, error: OSError) -> OutputError:
        return OutputError(f"{self.path}: cannot be written ({error.strerror or error}){self._kept()}")

    def _kept(self) -> str:
        there = self.part.is_file() and self.part.stat().st_size
        return f"; the rows so far are in {self.part}, go on with --resume" if there else ""

    def _other_columns(self, found: Sequence[str]) -> OutputError:
        return OutputError(
            f"{self.path}: holds results of another model (columns {', '.join(found)}; expected"
            f" {', '.join(self.columns)}); choose another --out or do without --resume"
        )

    def _finish(self) -> None:
        replace_synced(self.part, self.path)

    def _reopen(self) -> None:
        """Move an earlier result to the part file."""
        self.path.replace(self.part)

    @abstractmethod
    def _header(self) -> str: ...

    @abstractmethod
    def _line(self, row: Row) -> str: ...

    @abstractmethod
    def _paths(self) -> Iterator[str]:
        """Yield the paths in the part file.

        Raises:
            OutputError: it has other columns.
        """


class CsvTable(Table):
    """Comma-separated values with a header; cells that spreadsheets would run are guarded (`lentigo.text.csv_line`)."""

    def _header(self) -> str:
        return csv_line(self.columns)

    def _line(self, row: Row) -> str:
        return csv_line(map(_text, row.cells(len(self.codes))))

    def _paths(self) -> Iterator[str]:
        with self.part.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = [unguard_cell(name) for name in next(reader, [])]
            if tuple(header) != self.columns:
                raise self._other_columns(header)
            for row in reader:
                yield unguard_cell(row[0])


class JsonLinesTable(Table):
    """One JSON object per line with the CSV columns as keys; missing values are null."""

    def _header(self) -> str:
        return ""

    def _line(self, row: Row) -> str:
        values = [float(_text(value)) if isinstance(value, float) else value for value in row.cells(len(self.codes))]
        return json_line(json.dumps(dict(zip(self.columns, values, strict=True)), ensure_ascii=False)) + "\n"

    def _paths(self) -> Iterator[str]:
        with self.part.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    record = json.loads(line)
                    keys = tuple(record)
                    path = str(record["path"])
                except (ValueError, TypeError, KeyError):
                    raise OutputError(f"{self.path}: line {number} is not a result; choose another --out") from None
                if keys != self.columns:
                    raise self._other_columns(keys)
                yield path


class ParquetTable(CsvTable):
    """Parquet, made from the CSV part file at the end."""

    def __init__(self, path: Path, codes: Sequence[str], *, resume: bool) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise MissingExtraError("writing Parquet", "parquet") from None
        self._arrow: Any = pyarrow
        self._parquet: Any = pyarrow.parquet
        super().__init__(path, codes, resume=resume)

    def _finish(self) -> None:
        text, number = self._arrow.string(), self._arrow.float64()
        kinds = [text, *[number] * len(self.codes), *(number if name in NUMBERS else text for name in COLUMNS)]
        schema = self._arrow.schema(list(zip(self.columns, kinds, strict=True)))
        with atomic_path(self.path) as temporary, self.part.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            next(reader)
            with self._parquet.ParquetWriter(temporary, schema) as writer:
                for chunk in _chunks(reader, _PARQUET_ROWS):
                    columns = [
                        self._column(kind, values) for kind, values in zip(kinds, zip(*chunk, strict=True), strict=True)
                    ]
                    writer.write_table(self._arrow.table(columns, schema=schema))
        self.part.unlink()

    def _column(self, kind: Any, values: Sequence[str]) -> Any:
        if kind == self._arrow.float64():
            return self._arrow.array([float(v) if v else None for v in values], kind)
        return self._arrow.array([unguard_cell(v) or None for v in values], kind)

    def _reopen(self) -> None:
        try:
            source = self._parquet.ParquetFile(self.path)
        except (self._arrow.ArrowException, OSError) as error:
            raise OutputError(f"{self.path}: cannot be read as Parquet ({error}); choose another --out") from None
        with source, atomic_path(self.part) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            if tuple(source.schema_arrow.names) != self.columns:
                raise self._other_columns(source.schema_arrow.names)
            file.write(self._header())
            for batch in source.iter_batches(_PARQUET_ROWS):
                for record in batch.to_pylist():
                    file.write(csv_line(_text(record[name]) for name in self.columns))


_TABLES: dict[str, type[Table]] = {".csv": CsvTable, ".jsonl": JsonLinesTable, ".parquet": ParquetTable}


def open_table(path: str | Path, codes: Sequence[str], *, resume: bool = False) -> Table:
    """Begin or resume a table of results.

    Args:
        path: the result; the suffix determines the format: .csv, .jsonl or .parquet.
        codes: the class codes, in output order.
        resume: continue an earlier table of this name; its paths are in `Table.done`.

    Raises:
        OutputError: another suffix, a file that cannot be written, or a table of another model to resume.
        MissingExtraError: Parquet without pyarrow.
    """
    target = Path(path)
    kind = _TABLES.get(target.suffix.lower())
    if kind is None:
        raise OutputError(
            f"{target}: results are written as {', '.join(SUFFIXES)}, not {target.suffix or 'a file without a suffix'}"
        )
    return kind(target, codes, resume=resume)


def _text(value: float | str | None) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.9g}"
    return value or ""


def _whole_length(file: IO[bytes], *, quoted: bool) -> int:
    """Return the length of a part file up to its last complete line (in CSV, quoted line feeds end no line)."""
    whole = position = quotes = 0
    for line in file:
        position += len(line)
        quotes += line.count(b'"') if quoted else 0
        if line.endswith(b"\n") and quotes % 2 == 0:
            whole = position
    return whole


def _chunks(reader: Iterator[list[str]], size: int) -> Iterator[list[list[str]]]:
    chunk: list[list[str]] = []
    for row in reader:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
