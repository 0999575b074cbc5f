"""The table of samples: one row an image, with its label, group and split."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from lentigo.data.groups import UNKNOWN, GroupSource
from lentigo.data.reading import Reading
from lentigo.errors import DataError, ImageError, did_you_mean
from lentigo.imaging import open_image
from lentigo.labels import LabelSet
from lentigo.pixels.variant import Variant
from lentigo.text import one_line

SPLITS = ("train", "val", "test")
COLUMNS = ("image", "path", "label", "group", "split", "train_only")
"""The columns that every frame has, in this order; metadata columns follow."""
VARIANT = "variant"
"""Column with the transform of a copy (``lentigo.data.balance``); empty for originals, absent without copies."""


@dataclass(frozen=True, repr=False)
class Samples:
    """A data set as a table, before any image is decoded.

    Attributes:
        name: the data set's name, such as ``ham10000``.
        root: the folder that ``path`` is relative to.
        labels: the classes, in the order of ``targets``.
        frame: one row an image, index 0..N-1: ``image`` (unique id), ``path`` (relative to ``root``;
            ``file.npz#array/row`` where images lie in an array), ``label`` (class code), ``group`` (lesion or patient;
            the image id where unknown), ``split`` (``train``, ``val``, ``test`` or empty), ``train_only`` (bool: never
            in val or test under a grouped protocol), then metadata columns (``age``, ``sex``, ``site``, ...).
        groups: the source of the groups.
        reading: the record of how it was read; None for samples without a reader.
        stats: path -> bytes and modification time, as first looked up.
    """

    name: str
    root: Path
    labels: LabelSet
    frame: pd.DataFrame
    groups: GroupSource = UNKNOWN
    reading: Reading | None = None
    stats: dict[str, tuple[int, int]] = field(default_factory=dict, compare=False)

    @property
    def title(self) -> str:
        """Display name: the published name, or the folder of an own data set."""
        return one_line(self.root.resolve().name) if self.is_own else self.name

    @property
    def is_own(self) -> bool:
        """Whether it is an own data set, without a published name."""
        return self.name in ("folder", "csv")

    def __post_init__(self) -> None:
        missing = [c for c in COLUMNS if c not in self.frame.columns]
        if missing:
            raise DataError(f"{self.name}: the table of samples lacks {', '.join(missing)}")
        others = [c for c in self.frame.columns if c not in COLUMNS]
        frame = self.frame[[*COLUMNS, *others]].reset_index(drop=True)
        for column in COLUMNS[:5]:
            frame[column] = frame[column].astype(str).astype(object)
        frame["train_only"] = frame["train_only"].astype(bool)
        repeated = frame["image"][frame["image"].duplicated()]
        if len(repeated):
            raise DataError(f"{self.name}: image ids must be unique; {repeated.iloc[0]!r} is there more than once")
        for code in frame["label"].unique():
            self.labels.index(code)
        for split in frame["split"].unique():
            if split not in (*SPLITS, ""):
                raise DataError(f"{self.name}: unknown split {split!r}{did_you_mean(split, SPLITS)}")
        object.__setattr__(self, "frame", frame)

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """Class positions, (N,) int64, in the order of ``labels``."""
        index = {code: i for i, code in enumerate(self.labels.codes)}
        return np.asarray(self.frame["label"].map(index), dtype=np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the sorted image ids with their labels and sizes in bytes.

        It identifies the data of a result on every machine. No image is decoded: a file that changes but keeps its size
        keeps the fingerprint (the cache also compares modification times). Copies made for balancing do not count.
        """
        rows = zip(
            self.frame["image"][~self.copies], self.frame["label"][~self.copies], self.sizes(~self.copies), strict=True
        )
        digest = hashlib.sha256()
        for image, label, size in sorted(rows):
            digest.update(f"{image}\t{label}\t{size}\n".encode())
        return digest.hexdigest()

    @cached_property
    def copies(self) -> NDArray[np.bool_]:
        """(N,) bool, True for copies made for balancing."""
        if VARIANT not in self.frame.columns:
            return np.zeros(len(self), dtype=bool)
        return np.asarray(self.frame[VARIANT] != "", dtype=bool)

    @property
    def shared_groups(self) -> int:
        """Number of known groups with images in more than one part of the split."""
        placed = self.frame[self.frame["split"] != ""]
        return 0 if self.groups.kind == "unknown" else int((placed.groupby("group")["split"].nunique() > 1).sum())

    def sizes(self, rows: NDArray[np.bool_] | None = None) -> list[int]:
        """Return the bytes of each image (or of the chosen ones); -1 if the file is missing."""
        return [self._stat(path)[0] for path in (self.frame["path"] if rows is None else self.frame["path"][rows])]

    def modified(self) -> list[int]:
        """Return the modification time of each image's file in nanoseconds; -1 if it is missing."""
        return [self._stat(path)[1] for path in self.frame["path"]]

    def _stat(self, path: str) -> tuple[int, int]:
        if path not in self.stats:
            self.stats[path] = _stat(self.root, path)
        return self.stats[path]

    def counts(self) -> pd.DataFrame:
        """Count the images per class (rows, in label order) and split (columns), with totals."""
        splits = [s for s in (*SPLITS, "") if (self.frame["split"] == s).any()]
        table = pd.crosstab(self.frame["label"], self.frame["split"]).reindex(
            index=list(self.labels.codes), columns=splits, fill_value=0
        )
        table = table.rename(columns={"": "unassigned"})
        table["total"] = table.sum(axis=1)
        table.loc["total"] = table.sum(axis=0)
        return table.rename_axis(index="class", columns=None).astype(int)

    def remarks(self) -> list[str]:
        """Return the reader's notes, and what it left out, as lines of text."""
        return [] if self.reading is None else self.reading.remarks()

    def subset(self, split: str) -> Samples:
        """Return the images of one split, in the same order.

        Raises:
            DataError: no such split, or no image in it.
        """
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r}{did_you_mean(split, SPLITS)}")
        chosen = self.frame[self.frame["split"] == split]
        if chosen.empty:
            raise DataError(f"{self.name}: no image is in split {split!r}; split the samples first (split_samples)")
        return replace(self, frame=chosen)

    def without(self, images: Iterable[str]) -> Samples:
        """Return the samples without the images of these ids."""
        return replace(self, frame=self.frame[~self.frame["image"].isin(list(images))])

    def with_split(self, split: pd.Series[str]) -> Samples:
        """Return the samples with other splits.

        Args:
            split: the split of each image, indexed by image id; every image must be there.

        Raises:
            DataError: an image has no split, or a split is not one of train, val, test or empty.
        """
        assigned = split.reindex(self.frame["image"].tolist())
        if assigned.isna().any():
            absent = assigned.index[assigned.isna()]
            raise DataError(
                f"{self.name}: no split given for {len(absent)} of {len(self)} images, the first {absent[0]!r}"
            )
        return replace(self, frame=self.frame.assign(split=assigned.to_numpy()))

    def file(self, row: int) -> Path:
        """Return the file of a row's image."""
        return self.root / split_key(str(self.frame["path"].iloc[row]))[0]

    def read(self, row: int) -> Image.Image:
        """Open the image of a row, RGB, EXIF-oriented; for a copy, rotated, mirrored and zoomed.

        Raises:
            ImageError: missing, damaged or no image.
        """
        image = open_sample(self.root, str(self.frame["path"].iloc[row]))
        return Variant.of(str(self.frame[VARIANT].iloc[row])).apply(image) if self.copies[row] else image

    def _repr_html_(self) -> str:
        """Format the first line and the counts for a notebook."""
        return f"<div><p>{escape(repr(self).splitlines()[0])}</p>{self.counts().to_html()}</div>"

    def __repr__(self) -> str:
        groups = self.frame["group"].nunique()
        kind = f" in {groups:,} groups" if groups < len(self) or self.groups.known else ""
        kind += f" ({self.groups})" if self.groups.kind != "unknown" else ""
        only = int(self.frame["train_only"].sum())
        note = f"; {only:,} for training only" if only else ""
        head = f"Samples {self.name}: {len(self):,} images{kind}, {len(self.labels)} classes{note} ({self.root})"
        counts = self.counts()
        rows = [["class", *map(str, counts.columns)]]
        rows += [
            [str(code), *(f"{n:,}" for n in row)] for code, row in zip(counts.index, counts.to_numpy(), strict=True)
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
            )
            for row in rows
        ]
        return "\n".join(map(one_line, [head, *lines]))


def split_key(path: str) -> tuple[str, str]:
    """Split a path into its file and, for an ``.npz``, the place of the image in it (``array/row``)."""
    match = re.fullmatch(r"(.+\.npz)#(\w+/\d+)", path, re.IGNORECASE)
    return (match[1], match[2]) if match else (path, "")


def open_sample(root: Path, path: str) -> Image.Image:
    """Open the image of a table's path, RGB, EXIF-oriented: a file, or a row of an array in an ``.npz``.

    Raises:
        ImageError: missing, damaged or no image.
    """
    file, key = split_key(path)
    if not key:
        return open_image(root / file)
    array, _, row = key.partition("/")
    try:
        images = read_array(root / file, array)
    except DataError as error:
        raise ImageError(str(error)) from None
    pixels = np.asarray(images[int(row)])
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=-1)  # (H, W) -> (H, W, 3)
    return Image.fromarray(np.ascontiguousarray(pixels))


@lru_cache(maxsize=3)  # train, val and test of one file
def _load_array(path: Path, name: str, modified: int) -> NDArray[np.generic]:
    with np.load(path, allow_pickle=False) as file:
        if name not in file.files:
            raise DataError(f"{path}: has no array {name!r}{did_you_mean(name, file.files)}")
        loaded: NDArray[np.generic] = file[name]
        return loaded


def read_array(path: Path, name: str) -> NDArray[np.generic]:
    """Read one array of an ``.npz`` file, never unpickling.

    Raises:
        DataError: the file is missing, damaged, or has no such array.
    """
    try:
        return _load_array(path, name, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and numpy each raise their own kinds on a damaged archive
        raise DataError(f"{path}: cannot be read as an .npz file of arrays ({error})") from None


def _stat(root: Path, path: str) -> tuple[int, int]:
    file, key = split_key(path)
    try:
        found = (root / file).stat()
    except OSError:
        return -1, -1
    if not key:
        return found.st_size, found.st_mtime_ns
    try:
        images = read_array(root / file, key.partition("/")[0])
    except DataError:
        return -1, found.st_mtime_ns
    return images.nbytes // max(len(images), 1), found.st_mtime_ns
