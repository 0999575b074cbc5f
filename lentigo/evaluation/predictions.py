"""Saved predictions, which training writes and evaluation reads.

A CSV with one row per image: ``image, path, group, target, <one column per class code>, <metadata>``.
Class-activation maps are stored next to ``test.csv`` in ``test_maps.npz``. See docs/architecture.md,
"Files of a run".
"""

from __future__ import annotations

import csv
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lentigo.data.tables import write_table
from lentigo.errors import DataError, did_you_mean
from lentigo.evaluation.intervals import FloatArray, IntArray
from lentigo.files import atomic_path
from lentigo.text import unguard_cell

REQUIRED = ("image", "path", "group", "target")
STATE = "probabilities"
"""Column that records whether the temperature has been applied; not metadata."""

# Accepts tables with three decimals, and rejects logits and other scores.
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class PredictionTable:
    """Predictions of a model for N labelled images.

    Attributes:
        frame: one row per image: image, path, group, target (code), one column per class code, then metadata.
        codes: class codes, in the order of the probability columns.
        probabilities: (N, K) float64, rows sum to 1.
        targets: (N,) int64, index of the true class in ``codes``.
        groups: (N,) str, lesion or patient of each image (the image id if unknown).
        source: file it was read from, for messages; None for a table in memory.
        state: recorded state of the probabilities, ``before temperature`` or ``after temperature``; empty if not
            recorded.
    """

    frame: pd.DataFrame
    codes: tuple[str, ...]
    probabilities: FloatArray
    targets: IntArray
    groups: npt.NDArray[np.str_]
    source: Path | None = None
    state: str = ""

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def images(self) -> npt.NDArray[np.str_]:
        """Return the image ids, (N,) str."""
        return self.frame["image"].to_numpy(dtype=np.str_)

    @property
    def metadata(self) -> pd.DataFrame:
        """Return the columns after the probabilities, such as age, sex and site."""
        return self.frame.drop(columns=[*REQUIRED, *self.codes])

    @property
    def grouped(self) -> bool:
        """Return whether any group holds more than one image."""
        return len(np.unique(self.groups)) < len(self.groups)

    def subset(self, rows: npt.NDArray[np.bool_] | IntArray) -> PredictionTable:
        """Return a table of the selected rows.

        Args:
            rows: boolean mask (N,) or row positions.
        """
        frame = self.frame.iloc[np.flatnonzero(rows) if rows.dtype == bool else rows].reset_index(drop=True)
        return PredictionTable(
            frame, self.codes, self.probabilities[rows], self.targets[rows], self.groups[rows], self.source
        )

    @classmethod
    def pooled(cls, tables: Sequence[PredictionTable]) -> PredictionTable:
        """Concatenate one or more tables of the same classes."""
        return cls(
            pd.concat([table.frame for table in tables], ignore_index=True),
            tables[0].codes,
            np.concatenate([table.probabilities for table in tables]),
            np.concatenate([table.targets for table in tables]),
            np.concatenate([table.groups for table in tables]),
        )

    def matched(self, frame: pd.DataFrame, columns: Sequence[str], what: str) -> tuple[PredictionTable, FloatArray]:
        """Return the rows whose images another table has, and columns of that table in the same order.

        Args:
            frame: the other table, one row per image (column ``image``).
            columns: M numeric columns of it.
            what: name of its file, for messages.

        Returns:
            The n rows, and (n, M) float64.

        Raises:
            DataError: an image is not in this table, or is repeated.
        """
        images = frame["image"].astype(str)
        if foreign := set(images) - set(self.images):
            raise DataError(
                f"{what}: {len(foreign):,} images are not in the table of predictions, the first {min(foreign)!r}"
            )
        if images.duplicated().any():
            raise DataError(f"{what}: image {images[images.duplicated()].iloc[0]!r} is there twice; write it again")
        part = self.subset(np.isin(self.images, images))
        return part, frame.set_index(images).loc[part.images.tolist(), list(columns)].to_numpy(np.float64)

    def with_probabilities(self, probabilities: FloatArray) -> PredictionTable:
        """Return the table with other probabilities, such as calibrated ones.

        Args:
            probabilities: (N, K) float64, rows sum to 1.
        """
        frame = self.frame.copy()
        frame[list(self.codes)] = probabilities
        return PredictionTable(frame, self.codes, probabilities, self.targets, self.groups, self.source)


def make_predictions(
    *,
    images: Sequence[str],
    paths: Sequence[str],
    groups: Sequence[str],
    targets: Sequence[str],
    probabilities: FloatArray,
    codes: Sequence[str],
    metadata: pd.DataFrame | None = None,
) -> PredictionTable:
    """Check predictions and build a table.

    Args:
        images: N unique image ids.
        paths: N paths, relative to the data root.
        groups: N lesion or patient ids; the image id if unknown.
        targets: N class codes.
        probabilities: (N, K) float64; rows sum to 1.
        codes: K class codes, in the order of the probability columns.
        metadata: N rows of further columns (age, sex, site, ...); its index is ignored.

    Raises:
        DataError: lengths differ, a code is unknown or repeated, ids repeat, or rows are not probabilities.
    """
    classes = tuple(str(code) for code in codes)
    matrix = np.asarray(probabilities, dtype=np.float64)
    taken = [code for code in classes if code in REQUIRED]
    if len(classes) < 2 or len(set(classes)) < len(classes) or taken:
        raise DataError(
            f"class codes must be two or more, unique and none of {', '.join(REQUIRED)}; got"
            f" {', '.join(classes) or 'none'}"
        )
    if len(images) == 0:
        raise DataError("no predictions: the table has no rows")
    if matrix.shape != (len(images), len(classes)):
        raise DataError(
            f"probabilities have shape {matrix.shape}; {len(images)} images and {len(classes)} classes need another"
        )
    for name, values in (("paths", paths), ("groups", groups), ("targets", targets)):
        if len(values) != len(images):
            raise DataError(f"{len(values)} {name} for {len(images)} images")
    frame = pd.DataFrame(
        {"image": _text(images), "path": _text(paths), "group": _text(groups), "target": _text(targets)}
    )
    frame = pd.concat([frame, pd.DataFrame(matrix, columns=list(classes))], axis=1)
    if metadata is not None and len(metadata.columns):
        if len(metadata) != len(images):
            raise DataError(f"{len(metadata)} rows of metadata for {len(images)} images")
        clash = [str(c) for c in metadata.columns if c in frame.columns]
        if clash or metadata.columns.has_duplicates:
            raise DataError(
                f"metadata columns must be unique and not take the name of another column: {', '.join(clash)}"
            )
        frame = pd.concat([frame, metadata.reset_index(drop=True)], axis=1)
    return _checked(frame, classes, None)


def write_predictions(path: str | Path, table: PredictionTable) -> Path:
    """Write predictions as CSV, atomically; the last column records the state ``before temperature``.

    Args:
        path: output file; its folder is created.
        table: result of `make_predictions`, with a float64 softmax and without temperature.

    Returns:
        Path of the file.

    Raises:
        OutputError: the file cannot be written.
    """
    said = {} if STATE in table.frame.columns else {STATE: "before temperature"}
    write_table(path, table.frame.assign(**said))
    return Path(path)


def read_predictions(path: str | Path, *, codes: Sequence[str] | None = None) -> PredictionTable:
    """Read and check a table of predictions.

    Args:
        path: a CSV as written by :func:`write_predictions`.
        codes: the class codes, if known; by default the columns after ``target`` whose sum is 1 in every row.

    Returns:
        The table, rows in file order, probabilities rescaled to sum to exactly 1.

    Raises:
        DataError: no such file, not a CSV, empty, a missing column, an unknown target, a repeated image, or
            probabilities that are not numbers, are negative or do not sum to 1.
    """
    source = Path(path)
    header, rows = _read_rows(source)
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        hint = did_you_mean(missing[0], header) if len(missing) == 1 else ""
        raise DataError(
            f"{source}: no column {', '.join(missing)}{hint}; a prediction table starts with {','.join(REQUIRED)}"
        )
    if not rows:
        raise DataError(f"{source}: has a header but no rows; predict at least one image")
    # Read all columns as text: a class may be called "nan", an id may look like a number.
    raw = pd.DataFrame(rows, columns=header, dtype=str)
    if codes is None:
        classes = _find_codes(raw, source)
    else:
        classes = tuple(codes)
        absent = [code for code in classes if code not in raw.columns]
        if absent:
            raise DataError(
                f"{source}: no probability column for class {', '.join(absent)}{did_you_mean(absent[0], raw.columns)}"
            )
    numbers = {code: _numbers(raw[code], code, source) for code in classes}
    others = [name for name in raw.columns if name not in (*REQUIRED, STATE) and name not in classes]
    columns: dict[str, object] = {name: raw[name] for name in REQUIRED}
    columns |= numbers
    columns |= {name: _metadata(raw[name]) for name in others}
    states = set(raw[STATE]) if STATE in raw.columns and STATE not in classes else set()
    return replace(_checked(pd.DataFrame(columns), classes, source), state=states.pop() if len(states) == 1 else "")


@dataclass(frozen=True)
class Maps:
    """Class-activation maps of the images of a table.

    Attributes:
        images: (N,) str, image ids.
        predicted: (N, h, w) float16, maps of the predicted classes.
        target: (N, h, w) float16, maps of the true classes.
    """

    images: npt.NDArray[np.str_]
    predicted: npt.NDArray[np.float16]
    target: npt.NDArray[np.float16]


def maps_path(predictions: str | Path) -> Path:
    """Return the path of a prediction table's maps: ``test.csv`` -> ``test_maps.npz``."""
    path = Path(predictions)
    return path.with_name(f"{path.stem}_maps.npz")


def write_maps(path: str | Path, *, images: Sequence[str], predicted: npt.ArrayLike, target: npt.ArrayLike) -> Path:
    """Write class-activation maps, atomically and without pickle.

    Args:
        path: output ``.npz`` file, see :func:`maps_path`.
        images: N image ids.
        predicted: (N, h, w), maps of the predicted classes.
        target: (N, h, w), maps of the true classes.

    Raises:
        DataError: the shapes do not match.
        OutputError: the file cannot be written.
    """
    first, second = np.asarray(predicted, dtype=np.float16), np.asarray(target, dtype=np.float16)
    if first.ndim != 3 or first.shape != second.shape or len(first) != len(images):
        raise DataError(
            f"maps have shapes {first.shape} and {second.shape} for {len(images)} images; (N, h, w) twice is right"
        )
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, image=np.asarray(images, dtype=np.str_), predicted=first, target=second)
    return Path(path)


def read_maps(path: str | Path) -> Maps:
    """Read class-activation maps, without pickle.

    Raises:
        DataError: no such file, a damaged file, missing arrays, or shapes that do not match.
    """
    source = Path(path)
    try:
        with np.load(source, allow_pickle=False) as stored:
            images, predicted, target = stored["image"], stored["predicted"], stored["target"]
    except FileNotFoundError:
        raise DataError(f"{source}: no such file") from None
    except KeyError as error:
        raise DataError(f"{source}: lacks an array ({error}); maps hold image, predicted and target") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{source}: cannot be read as maps ({error})") from None
    if predicted.ndim != 3 or predicted.shape != target.shape or len(predicted) != len(images):
        raise DataError(
            f"{source}: arrays do not fit: image {images.shape}, predicted {predicted.shape}, target {target.shape}"
        )
    return Maps(images.astype(np.str_), predicted.astype(np.float16), target.astype(np.float16))


def require_columns(frame: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Check that a table has all columns; ``what`` is its file name.

    Raises:
        DataError: a column is missing.
    """
    if missing := [c for c in columns if c not in frame.columns]:
        raise DataError(f"{what}: no column {', '.join(missing)}")


def _text(values: Sequence[str]) -> list[str]:
    return [os.fspath(value) if isinstance(value, os.PathLike) else str(value) for value in values]


def _read_rows(source: Path) -> tuple[list[str], list[list[str]]]:
    """Return the header and all rows as text, each row as long as the header."""
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = list(map(unguard_cell, next(reader, [])))
            rows = [list(map(unguard_cell, row)) for row in reader if row]
    except FileNotFoundError:
        raise DataError(f"{source}: no such file of predictions") from None
    except IsADirectoryError:
        raise DataError(f"{source}: is a folder; name the CSV file of predictions in it") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{source}: cannot be read as a CSV text file ({error})") from None
    if not header:
        raise DataError(f"{source}: is empty; a prediction table starts with {','.join(REQUIRED)}")
    double = sorted({name for name in header if header.count(name) > 1})
    if double:
        raise DataError(f"{source}: column {', '.join(double)} appears more than once")
    uneven = next((i for i, row in enumerate(rows) if len(row) != len(header)), None)
    if uneven is not None:
        raise DataError(
            f"{source}: row {uneven + 2} has {len(rows[uneven])} fields, the header has {len(header)}; is the file cut"
            " off?"
        )
    return header, rows


def _find_codes(raw: pd.DataFrame, source: Path) -> tuple[str, ...]:
    """Return the probability columns: the columns after ``target`` whose sum is 1.

    They include all classes that occur as targets.
    """
    rest = list(raw.columns)[list(raw.columns).index("target") + 1 :]
    if len(rest) < 2:
        raise DataError(f"{source}: no probability columns after target; there must be one for each class")
    seen = set(raw["target"]) & set(rest)
    least = max([2, *(rest.index(code) + 1 for code in seen)])
    total = np.zeros(len(raw))
    found = 0
    for position, name in enumerate(rest, start=1):
        values = pd.to_numeric(raw[name], errors="coerce").to_numpy(dtype=np.float64)
        if not (np.all(values >= 0) and np.all(values <= 1 + SUM_TOLERANCE)):  # also False for NaN
            break
        total += values
        if position >= least and np.all(np.abs(total - 1) <= SUM_TOLERANCE):
            found = position
    # No sum is 1: keep the columns of the targets, so that the check below names the row and the sum.
    return tuple(rest[: found or least])


def _numbers(column: pd.Series[str], code: str, source: Path) -> FloatArray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{source}: row {row + 2}, column {code}: {column.iloc[row]!r} is not a number; probabilities lie in 0 to 1"
        )
    return values


def _metadata(column: pd.Series[str]) -> pd.Series[float] | pd.Series[str]:
    """Convert a column to numbers if all non-empty cells are numbers; empty cells are missing."""
    filled = column.mask(column.str.strip() == "")
    numbers = pd.to_numeric(filled, errors="coerce")
    return numbers if filled.notna().any() and numbers.notna().eq(filled.notna()).all() else filled


def _checked(frame: pd.DataFrame, codes: tuple[str, ...], source: Path | None) -> PredictionTable:
    where = f"{source}: " if source else ""
    matrix = frame[list(codes)].to_numpy(dtype=np.float64)
    outside = ~np.isfinite(matrix) | (matrix < 0) | (matrix > 1 + SUM_TOLERANCE)
    sums = matrix.sum(axis=1)
    bad = np.flatnonzero(outside.any(axis=1) | ~(np.abs(sums - 1) <= SUM_TOLERANCE))
    if len(bad):
        row = int(bad[0])
        raise DataError(
            f"{where}image {frame['image'].iloc[row]!r}: the probabilities of {', '.join(codes)} sum to {sums[row]:.6g}"
            f" (lowest {matrix[row].min():.6g}); each must lie in 0 to 1 and the row must sum to 1 ({len(bad)} of"
            f" {len(frame)} rows do not)"
        )
    positions = {code: k for k, code in enumerate(codes)}
    targets = np.array([positions.get(code, -1) for code in frame["target"]], dtype=np.int64)
    unknown = np.flatnonzero(targets < 0)
    if len(unknown):
        row = int(unknown[0])
        code = str(frame["target"].iloc[row])
        raise DataError(
            f"{where}image {frame['image'].iloc[row]!r}: target {code!r} is no class{did_you_mean(code, codes)}"
        )
    images = frame["image"].astype(str)
    if images.duplicated().any():
        raise DataError(
            f"{where}image {images[images.duplicated()].iloc[0]!r} appears more than once; ids must be unique"
        )
    matrix = matrix / sums[:, None]
    frame = frame.assign(**dict(zip(codes, matrix.T, strict=True)))
    return PredictionTable(frame, codes, matrix, targets, frame["group"].to_numpy(dtype=np.str_), source)
