"""The place of a data set: its files, its tables (each read once), and a search for images by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

import pandas as pd

from lentigo.data.groups import GROUP_COLUMNS
from lentigo.data.reading import Reading
from lentigo.data.tables import read_table
from lentigo.errors import DataError
from lentigo.extra_formats import is_extra_name
from lentigo.imaging import FOREIGN_SUFFIXES, is_image_name
from lentigo.labels import LabelSet
from lentigo.tables import (
    IMAGE_COLUMNS,
    PATH_COLUMNS,
    TABLE_SUFFIXES,
    ImageNames,
    column_key,
    find_column,
    image_columns,
    leads,
)
from lentigo.walk import masks, walk

_NOT_TABLES = frozenset({"split.csv", "classes.csv", "phantoms.json", "sample_submission.csv"})
_JOINED = re.compile(r"\s*[;|,]\s*")
_DERM7PT = {"case_num", "derm", "clinic"}
"""Columns of derm7pt, whose reader separates dermoscopic and clinical images."""
_MOST_JSON = 12
"""With more JSON files, they are taken as one for each image and are not read as tables."""


class Place:
    """A folder with images and tables, or a single table or ``.npz`` file in one.

    Args:
        path: the folder or file.
        labels: the requested classes.
        label_by: column, or pattern on paths, for the class.

    Attributes:
        root: the folder that image paths are relative to.
        file: the single file; None for a folder.
        reading: the record of how it was read.
        rows: the table's rows with the column ``image``, once a reader has read one.
        again: images that have the name of another one.
        broken: tables that cannot be read -> why.
        masks: images that are masks, heat maps or thumbnails of others.
        annotated: names of tables made of annotation files.
        annotations: these files.
    """

    def __init__(self, path: Path, labels: LabelSet | None = None, label_by: str | None = None) -> None:
        self.path, self.labels, self.label_by = path, labels, label_by
        self.file = path if path.is_file() else None
        self.root = path.parent if self.file else path
        self.reading = Reading()
        self.rows: pd.DataFrame | None = None
        self.again: set[str] = set()
        self._read: dict[str, pd.DataFrame] = {}
        self.broken: dict[str, str] = {}
        self.masks: set[str] = set()
        self.annotated: list[str] = []
        self.annotations: set[str] = set()

    @cached_property
    def _walked(self) -> tuple[list[str], list[str]]:
        folders: list[str] = []
        try:
            files = list(walk(str(self.root), self.reading.ignore, folders=folders))
        except OSError as error:
            raise DataError(
                f"{error.filename or self.root}: the folder cannot be read ({error.strerror or error})"
            ) from None
        return files, folders

    @property
    def files(self) -> list[str]:
        """All files below, relative, sorted, without hidden files and files of the system."""
        return self._walked[0]

    @property
    def folders(self) -> list[str]:
        """All folders below, relative, sorted."""
        return self._walked[1]

    @cached_property
    def images(self) -> list[str]:
        """The images below, without masks, heat maps and thumbnails of others."""
        found = []
        for file in self.files:
            name = file.rpartition("/")[2]
            if is_image_name(name) or is_extra_name(name):
                found.append(file)
            elif (suffix := PurePosixPath(name).suffix.lower()) in FOREIGN_SUFFIXES:
                self.reading.ignore(file, f"{suffix} is not read; save it as JPEG or PNG")
        odd = [file for file in found if any("\ud800" <= letter <= "\udfff" for letter in file)]
        if odd:
            raise DataError(
                f"{self.root}: the paths of {len(odd):,} images are no valid UTF-8, the first {odd[0]!r}; rename these"
                " files or folders"
            )
        for image, why in (left_out := masks(found)).items():
            self.reading.ignore(image, why)
        self.masks = set(left_out)
        return [image for image in found if image not in left_out]

    @cached_property
    def tables(self) -> list[str]:
        """The tables, the topmost first, without splits, lists of classes and JSON of other kinds."""
        if self.file is not None:
            return [self.file.name]
        found = [
            f
            for f in self.files
            if PurePosixPath(f).suffix.lower() in TABLE_SUFFIXES and f.rpartition("/")[2].lower() not in _NOT_TABLES
        ]
        several = [f for f in found if f.lower().endswith(".json")]
        if several:
            wanted = [f for f in several if self.columns(f)] if len(several) <= _MOST_JSON else []
            found = [f for f in found if f not in several or f in wanted]
        return sorted(found, key=lambda f: (f.count("/"), f))

    def add(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Add tables made from ``annotations``."""
        self._read |= tables
        self.annotated += tables

    def add_columns(self, name: str, table: pd.DataFrame) -> None:
        """Replace a table by itself with further columns."""
        self._read[name] = table

    def use_annotations(self) -> None:
        """Remove notes about annotation files that are not tables by themselves."""
        for file in self.annotations:
            self.broken.pop(file, None)
        self.reading.notes = [n for n in self.reading.notes if n.partition(" is not used: ")[0] not in self.annotations]

    def find(self, pattern: str) -> list[str]:
        """Return the files whose name matches a regular expression in full, in any case, the topmost first."""
        found = [f for f in self.files if re.fullmatch(pattern, f.rpartition("/")[2], re.IGNORECASE)]
        return sorted(found, key=lambda f: (f.count("/"), f))

    def table(self, name: str) -> pd.DataFrame:
        """Return one of the tables.

        Raises:
            DataError: as `read_table`.
        """
        if name not in self._read:
            table = read_table(self.root / name)
            if "note" in table.attrs:
                self.reading.note(f"{name}: {table.attrs['note']}")
            self._read[name] = self._by_image(name, self._by_folder(name, table))
        return self._read[name]

    def _by_folder(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        """Expand a table of patients or lesions that have a folder each to a row for each of their images."""
        named = [c for c in _group_columns(table) if table[c].is_unique and len(table) > 1]
        if not named or find_column(table.columns, (*PATH_COLUMNS, *IMAGE_COLUMNS)) is not None:
            return table
        below: dict[str, list[str]] = {}
        for image in self.images:
            for folder in image.split("/")[:-1]:
                below.setdefault(folder, []).append(image)
        for column in named:
            if table[column].isin(below).mean() > 0.5:  # the others are missing
                self.reading.note(f"{name} has a row for each folder of {column}, which counts for the images in it")
                return table.assign(image=[below.get(cell, cell) for cell in table[column]]).explode("image")
        return table

    def _by_image(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        """Expand a table that names several images per row, as ``left`` and ``right``, to a row for each."""
        cells = {str(c): table[c].tolist() for c in table.columns}
        if cells.keys() >= _DERM7PT or any(
            leads(cells[c], self.names, any) for c in image_columns(cells, self.names) if c
        ):
            return table
        several = [c for c in cells if leads(cells[c], self.names, all)]
        split = {c: [_JOINED.split(cell) for cell in cells[c]] for c in cells if any(map(_JOINED.search, cells[c]))}
        joined = [c for c, parts in split.items() if leads([one for cell in parts for one in cell], self.names, all)]
        if len(several) < 2 and len(joined) != 1:
            return table
        if not _group_columns(table):
            table = table.assign(group=[f"{name}, line {line}" for line in table.index])
        if joined:
            several, images = joined, pd.Series(split[joined[0]], table.index, dtype=object)
            rows = table.drop(columns=joined).assign(image=images).explode("image")
        else:
            rest = table.drop(columns=several)
            rows = pd.concat([rest.assign(image=table[c], view=c) for c in several]).sort_index(kind="stable")
        self.reading.note(
            f"{name} names several images a row ({', '.join(several)}), each of which is read; those of a row are kept"
            " together" + (", and whether rows share patients is not known" if "group" in table.columns else "")
        )
        return rows[rows["image"] != ""]

    def columns(self, name: str) -> list[str]:
        """Return a table's columns; none if it cannot be read."""
        if name in self.broken:
            return []
        try:
            return [str(c) for c in self.table(name).columns]
        except DataError as error:
            self.broken[name] = str(error).removeprefix(f"{self.root / name}: ")
            return []

    @cached_property
    def names(self) -> ImageNames:
        """The search for the images that tables name."""
        return ImageNames(self.root, self.images)

    def locate(self, name: str) -> str | None:
        """Return the image that a table names; see `lentigo.tables.ImageNames.locate`."""
        return self.names.locate(name)

    @cached_property
    def by_stem(self) -> dict[str, str]:
        """Name without suffix -> image, the first in sorted order of several; for published ids."""
        found: dict[str, str] = {}
        for image in self.images:
            stem = PurePosixPath(image).stem
            if stem in found:
                self.reading.ignore(image, "has the name of an image that was found before it")
                self.again.add(image)
            found.setdefault(stem, image)
            if stem.endswith("_downsampled"):
                found.setdefault(stem.removesuffix("_downsampled"), image)
        return found


def _group_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns with a name of groups, patients, cases or lesions."""
    return [str(c) for c in table.columns if any(re.fullmatch(n, column_key(str(c))) for n in GROUP_COLUMNS)]
