"""Readers: data sets in published layouts, and own folders and tables, as one table of samples.

The layout is detected from the files; see :func:`read_samples`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from lentigo.data.groups import ASK, GroupSource, match_pattern
from lentigo.data.readers.build import doubt, with_groups
from lentigo.data.readers.folder import has_class_folders, read_folder
from lentigo.data.readers.isic import (
    ISIC2018_TASK3,
    ISIC2019_CHALLENGE,
    NAMES_2017,
    TRUTH_2016,
    TRUTH_2017,
    TRUTH_2020,
    is_archive,
    is_isic2020,
    read_archive,
    read_isic2016,
    read_isic2017,
    read_isic2020,
    read_one_hot_challenge,
)
from lentigo.data.readers.place import Place
from lentigo.data.readers.published import (
    HAM_TABLE,
    is_derm7pt,
    is_ham,
    is_pad,
    read_derm7pt,
    read_dermamnist,
    read_ham10000,
    read_pad_ufes_20,
)
from lentigo.data.readers.table import add_table, fitting_tables, read_csv
from lentigo.data.samples import Samples
from lentigo.errors import DataError, ImageError, did_you_mean
from lentigo.extra_formats import patient_of
from lentigo.imaging import FOREIGN_SUFFIXES, has_several
from lentigo.labels import LabelSet
from lentigo.machine import available_cores
from lentigo.tables import TABLE_SUFFIXES, find_column, some
from lentigo.text import counted

Missing = Literal["error", "keep", "skip"]
_EXPLAINS = re.compile(
    r"(readme|licen[cs]e|attribution|citation)[^/]*$|(^|/)(classes|split|sample_submission)\.csv$|(^|/)phantoms\.json$",
    re.IGNORECASE,
)
_LOOKED_INTO = 200
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".hdf5", ".h5", ".tfrec", ".parquet", ".lmdb")

READERS: dict[str, Callable[[Place], Samples]] = {
    "ham10000": read_ham10000,
    "isic2016": read_isic2016,
    "isic2017": read_isic2017,
    "isic2018": partial(read_one_hot_challenge, challenge=ISIC2018_TASK3),
    "isic2019": partial(read_one_hot_challenge, challenge=ISIC2019_CHALLENGE),
    "isic2020": read_isic2020,
    "isic-archive": read_archive,
    "pad_ufes_20": read_pad_ufes_20,
    "derm7pt": read_derm7pt,
    "dermamnist": read_dermamnist,
    "folder": read_folder,
    "csv": read_csv,
}
OWN_LAYOUTS = ("folder", "csv", "isic-archive")
"""Layouts whose classes are the user's own."""


def read_samples(
    path: str | Path,
    name: str | None = None,
    *,
    labels: LabelSet | None = None,
    missing: Missing = "error",
    group_by: str | None = None,
    label_by: str | None = None,
    skip_unreadable: bool = False,
    lone_groups: bool = False,
) -> Samples:
    """Read a data set; its layout is detected.

    Args:
        path: a folder, an ``.npz`` file (MedMNIST) or a table (``.csv``, ``.tsv``, ``.xlsx``).
        name: the layout instead of the detected one: one of ``READERS`` (docs/data.md describes them).
        labels: the classes and their order, for ``folder`` and ``csv`` (such as those of a trained model). Without it
            they are those of ``classes.csv``, else the sorted class names found.
        missing: what to do with rows whose image file is not there: ``error``; ``keep`` them (for an audit); or
            ``skip`` them.
        group_by: a column of the table, or a regular expression on the file names, for the lesion or patient of an
            image; ``PatientID`` takes it from DICOM headers. The default is that of the layout, or a column of a
            known name (`lentigo.data.groups`).
        label_by: a column of the table, or a regular expression on the paths, for the class, in ``folder`` and ``csv``.
        skip_unreadable: decode every image once and leave out those that cannot be read.
        lone_groups: a pattern may give each class one group, as lesions that are evaluated may be.

    Returns:
        At least two images, sorted by id. A published split is in ``split`` and ``official_split``. ``reading``
        describes how they were read.

    Raises:
        DataError: no such folder, no known layout, a table that lacks a column, an unknown or empty class, missing
            image files, or fewer than two images.
    """
    if not str(path).strip():
        raise DataError("the path of the data set is empty")
    given = Path(path)
    if not given.exists():
        raise DataError(f"{given}: no such file or folder{_near(given)}")
    if name is not None and name not in READERS:
        raise DataError(f"unknown data set layout {name!r}{did_you_mean(name, READERS)}")
    place = Place(given, labels, label_by)
    chosen = name or _detect(place)
    if chosen not in OWN_LAYOUTS and (labels is not None or label_by is not None):
        what = "a label set" if labels is not None else "--label-by"
        raise DataError(f"{given}: the classes of {chosen} are fixed; {what} can be given for folder and csv only")
    try:
        samples = READERS[chosen](place)
    except DataError as error:
        raise DataError("; ".join([str(error), *(_unused(place) if chosen == "folder" else ())])) from None
    if samples.is_own and place.file is None:
        samples = add_table(place, samples)
    samples = _present(place, samples, missing)
    if skip_unreadable:
        samples = _readable(place, samples)
    elif missing != "keep":  # an audit keeps them
        _check_files(place, samples)
    if group_by is not None:
        samples = _group_by(place, samples, group_by, lone_groups)
    _note_risks(place, samples)
    if len(samples) < 2:
        raise DataError(f"{given}: only one image there; a data set needs at least two")
    if place.file is None:
        _note_unused(place, samples)
    return samples


def _unused(place: Place) -> list[str]:
    """List unused files that may contain the classes, for the error of the folder reader."""
    unused = [note for note in place.reading.notes if "is not used: no column" in note]
    unused += [f"{table}: {why}" for table, why in place.broken.items()]
    if not unused and (others := _others(place)):
        unused.append(
            f"{some(others, 3)}: neither images nor tables by their names; write the classes into a CSV with path"
            f" and label{_packed(place)}"
        )
    return unused[:2]


def _note_risks(place: Place, samples: Samples) -> None:
    """Warn of faults that make figures on these data too good."""
    if samples.is_own:
        _note_copies(place, samples)
        _note_pages(place, samples)
    trained = set(samples.frame["label"][samples.frame["split"] == "train"])
    if trained and samples.is_own and (untrained := [code for code in samples.labels.codes if code not in trained]):
        place.reading.note(
            f"WARNING: the part train has no image of {some(map(repr, untrained))}, so that a model trained on it"
            " cannot know what others are tested with"
        )
    if samples.shared_groups:
        place.reading.note(
            f"WARNING: {samples.shared_groups:,} {samples.groups.units} have images in more than one part of the split"
            " that the data tell, so that figures on it are too good; --protocol patient, or --set"
            " data.protocol=patient, divides them anew"
        )


_BY_NAME = {
    "ham10000": HAM_TABLE,
    "isic2016": TRUTH_2016,
    "isic2017": TRUTH_2017,
    "isic2018": ISIC2018_TASK3.truth,
    "isic2019": ISIC2019_CHALLENGE.truth,
    "isic2020": TRUTH_2020,
}
"""Layout -> pattern of the name of its table."""
_BY_COLUMNS = {"isic2020": is_isic2020, "derm7pt": is_derm7pt, "pad_ufes_20": is_pad, "isic-archive": is_archive}


def _detect(place: Place) -> str:
    """Return the layout of a data set.

    Raises:
        DataError: it has none that can be read.
    """
    if place.file is not None and place.file.suffix.lower() == ".npz":
        return "dermamnist"
    if place.file is not None and place.file.suffix.lower() not in TABLE_SUFFIXES:
        raise DataError(
            f"{place.path}: a data set is a folder, a .csv or an .npz file (tables may be .tsv and .xlsx too)"
        )
    return _published_layout(place) or _own_layout(place)


def _published_layout(place: Place) -> str | None:
    for layout, pattern in _BY_NAME.items():
        if place.find(pattern) if place.file is None else re.fullmatch(pattern, place.file.name, re.IGNORECASE):
            return layout
    tables = {table: place.columns(table) for table in place.tables}
    for layout, fits in _BY_COLUMNS.items():
        if any(map(fits, tables.values())):
            return layout
    for table, columns in tables.items():
        if is_ham(place, table):
            return "ham10000"
        if table.rpartition("/")[2] == "labels.csv" and {"image_id", "split", "label"} <= set(columns):
            written = place.table(table)["label"].str.lower().str.replace("_", " ")
            if set(written) <= {*NAMES_2017, *NAMES_2017.values()}:
                return "isic2017"
    if place.file is None and any(f.lower().endswith(".npz") for f in place.files):
        return "dermamnist"
    return None


def _own_layout(place: Place) -> str:
    if place.file is not None:
        return "csv"
    by_table = place.label_by is None or any(find_column(place.columns(t), (place.label_by,)) for t in place.tables)
    if by_table and fitting_tables(place):
        return "csv"
    if has_class_folders(place) or (place.label_by is not None and place.images):
        return "folder"
    if len(place.tables) == 1:
        return "csv"  # its reader says which column is missing
    if place.images:
        raise DataError(
            f"{place.path}: {len(place.images):,} images lie there, but nothing tells their classes; put each class"
            " into a folder of its "
            r"own, write a CSV with path and label, or, where the file names tell it, say how: --label-by '^([a-z]+)_'"
            f"{_unread(place)}"
        )
    raise DataError(
        f"{place.path}: no known data set here; lentigo reads HAM10000 (HAM10000_metadata.csv), the ISIC challenges of"
        " 2016 to 2020 and isic-cli's metadata.csv, PAD-UFES-20, derm7pt, DermaMNIST (.npz), a folder with one"
        f" sub-folder of images a class, or a CSV with path and label{_unread(place)}"
    )


def _unread(place: Place) -> str:
    """Describe the files that cannot be read, for the error that no layout fits."""
    place.images  # noqa: B018  (notes what it passes over)
    found = [
        f"{place.reading.examples[why]}: {why}"
        for why in place.reading.ignored
        if why not in ("hidden", "left by the system")
    ]
    found += [f"{table}: {why}" for table, why in place.broken.items()] + place.reading.notes
    others = [file for file in _others(place) if not file.lower().endswith(_ARCHIVES)]
    if others:
        found.append(f"{some(others, 3)}: neither images nor tables by their names; tables end in .csv, .tsv or .xlsx")
    return (f" (found: {'; '.join(found[:3])})" if found else "") + _packed(place)


def _present(place: Place, samples: Samples, missing: Missing) -> Samples:
    """Check that the image files exist, or leave out those that do not."""
    absent = samples.frame["image"][[size < 0 for size in samples.sizes()]]
    if samples.name == "folder" and len(absent) and missing == "error":
        raise DataError(
            f"{place.path / absent.iloc[0]}: a link that leads nowhere; take it away, or leave such images out"
            " (--missing skip)"
        )
    if len(absent) == len(samples):
        there = (
            f"; images lie there under other names, such as {place.images[0]!r}"
            if place.images
            else ", nor any other image below"
        )
        raise DataError(
            f"{place.path}: none of the {len(samples):,} images in the table is there (the first:"
            f" {absent.iloc[0]!r}){there}{_packed(place)}"
        )
    if len(absent) and missing == "error":
        raise DataError(
            f"{place.path}: {len(absent):,} of {len(samples):,} images in the table are missing, the first"
            f" {absent.iloc[0]!r}; complete the download, or leave these rows out (--missing skip){_packed(place)}"
        )
    if missing == "skip" and len(absent):
        for image in absent:
            place.reading.ignore(str(image), "in the table, but the file is missing")
        samples = samples.without(absent)
    return samples


def _packed(place: Place) -> str:
    """Name the archives in the folder, for messages."""
    packed = [file for file in place.files if file.lower().endswith(_ARCHIVES)]
    return f"; unpack the images of {some(packed, 2)} (archives are not looked into)" if packed else ""


def _readable(place: Place, samples: Samples) -> Samples:
    """Leave out the images that cannot be decoded, with a note for each."""

    def trouble(row: int) -> str:
        try:
            samples.read(row)
        except ImageError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(available_cores()) as pool:
        found = list(pool.map(trouble, range(len(samples))))
    unreadable = [image for image, why in zip(samples.frame["image"], found, strict=True) if why]
    for why in filter(None, found):
        place.reading.note(f"left out: {why}")
    return samples.without(unreadable) if unreadable else samples


def _check_files(place: Place, samples: Samples) -> None:
    """Check that no image file is empty, as after an interrupted copy, or without permission to read.

    Raises:
        DataError: there are such files.
    """
    files = [samples.file(row) for row in range(len(samples))]
    for why, mend, found in (
        ("of no bytes", "copy them anew", [f for f, size in zip(files, samples.sizes(), strict=True) if size == 0]),
        ("without permission to read", "change their permissions", [f for f in files if not os.access(f, os.R_OK)]),
    ):
        if found:
            raise DataError(
                f"{place.path}: {counted(len(found), 'image file')} {why}, such as {found[0]}; {mend}, or leave out"
                " what cannot be read (--skip-unreadable)"
            )


def _note_copies(place: Place, samples: Samples) -> None:
    """Warn of files with the same content in several classes, or perhaps in several parts of a split."""
    frame = samples.frame
    same: dict[object, list[int]] = {}
    for row, size in enumerate(samples.sizes()):
        same.setdefault(size, []).append(row)
    for part in (_middle, _whole):  # few files of one size agree in the middle too, so few are read in full
        finer: dict[object, list[int]] = {}
        for key, rows in same.items():
            for row in rows if len(rows) > 1 and key not in (-1, 0) else ():
                finer.setdefault((key, part(samples.file(row))), []).append(row)
        same = finer
    copies = [frame.iloc[rows] for rows in same.values() if len(rows) > 1 and frame["path"].iloc[rows].nunique() > 1]
    for column, where, mend in (
        ("label", "under different classes", "keep the right one"),
        ("split", "in several parts of the split", "keep one, since figures on its copies are too good"),
        ("group", "more than once", "keep one, since its copies may fall into several parts of a split"),
    ):
        if column == "group" and (frame["split"] != "").all():
            continue
        found = [rows for rows in copies if rows[column].nunique() > 1]
        copies = [rows for rows in copies if rows[column].nunique() == 1]
        if found:
            place.reading.note(
                f"WARNING: the same file is stored {where}, {len(found):,} such "
                f"({' = '.join(found[0]['path'].iloc[:2])}); {mend}"
            )


def _note_pages(place: Place, samples: Samples) -> None:
    paths = [path for path in samples.frame["path"] if path.lower().endswith((".tif", ".tiff", ".gif"))][:_LOOKED_INTO]
    several = [path for path in paths if has_several(place.root / path)]
    if several:
        place.reading.note(
            f"{len(several):,} of {len(paths):,} TIFF and GIF files looked into have several pages or frames, such as"
            f" {several[0]}; of each the first is read, so save others as files of their own"
        )


def _middle(file: Path) -> bytes:
    with suppress(OSError), file.open("rb") as opened:
        opened.seek(file.stat().st_size // 2)
        return opened.read(4096)
    return str(file).encode()


def _whole(file: Path) -> bytes:
    with suppress(OSError), file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()
    return str(file).encode()


def _others(place: Place) -> list[str]:
    """List the files that are neither images nor tables by their names, without documentation."""
    known = {*place.images, *place.masks, *place.tables, *place.broken}
    if not set(place.annotated).isdisjoint(place.reading.tables):
        known |= place.annotations
    return [
        file
        for file in place.files
        if file not in known
        and PurePosixPath(file).suffix.lower() not in FOREIGN_SUFFIXES
        and not _EXPLAINS.search(file)
    ]


def _note_unused(place: Place, samples: Samples) -> None:
    """Note which files below the folder are not used."""
    listed, repeated = set(samples.frame["path"]), set(place.again)
    if samples.name not in ("dermamnist", "folder"):
        for image in place.images:
            if image not in listed and image not in repeated:
                place.reading.ignore(image, "an image that no row of the table is used for")
    for table, why in place.broken.items():
        if table not in place.reading.tables:
            place.reading.ignore(table, why)
    for table in place.tables:
        told_of = (*place.reading.tables, *place.broken, *place.reading.examples.values())
        if table not in told_of and not any(table in note for note in place.reading.notes):
            place.reading.ignore(table, f"a table that {samples.name} does not use")
    for file in _others(place):
        archive = file.lower().endswith(_ARCHIVES)
        if file not in place.reading.tables:
            place.reading.ignore(
                file,
                "an archive, which is not looked into; unpack it" if archive else "neither an image nor a table",
            )


def _group_by(place: Place, samples: Samples, wanted: str, lone_groups: bool) -> Samples:
    """Group samples by a column, by the patients of DICOM headers, or by a pattern on file names."""
    frame, rows = samples.frame, place.rows
    column = None if rows is None else find_column(rows.columns, (wanted,))
    if column is not None and rows is not None:
        cells = rows.drop_duplicates("image").set_index("image")[column].reindex(frame["image"]).fillna("")
        values = cells.tolist()
        source = GroupSource("column", column)
    elif wanted == "PatientID":
        values = [patient_of(place.root / p) if p.lower().endswith((".dcm", ".dicom")) else "" for p in frame["path"]]
        source = GroupSource("column", wanted)
    elif re.fullmatch(r"[\w ]+", wanted):
        columns = [] if rows is None else [str(c) for c in rows.columns if c != "image"]
        near = did_you_mean(wanted, columns)
        raise DataError(
            f"{place.path}: --group-by {wanted!r} is no column of the table{near if near.startswith('; did') else ''} "
            f"(found: {some(columns, 20) or 'none'}); {ASK}"
        )
    else:
        source, paths = GroupSource("pattern", wanted), frame["path"].tolist()
        values, in_names = match_pattern("--group-by", wanted, paths)
        if not in_names:
            place.reading.note(
                f"--group-by {wanted!r} does not match every file name and is looked for in the folders too:"
                f" {paths[0]} is of {values[0]!r}"
            )
    holds = doubt(values, frame["label"].tolist())
    if source.kind == "pattern" and holds.startswith("one value for all" if lone_groups else "one value"):
        raise DataError(
            f"{place.path}: --group-by {wanted!r} gives {holds}, such as {values[0]!r} of {frame['path'].iloc[0]},"
            " which tells no patients or lesions; give a pattern of what differs between them"
        )
    frame, groups = with_groups(place, frame, values, source)
    if holds:
        place.reading.note(f"WARNING: --group-by {wanted!r} gives {holds}; check that it tells the patients or lesions")
    place.reading.columns["group"] = str(groups)
    return replace(samples, frame=frame, groups=groups)


def _near(place: Path) -> str:
    try:
        beside = os.listdir(place.parent)  # noqa: PTH208
    except OSError:
        return ""
    hint = did_you_mean(place.name, beside)
    return hint if hint.startswith("; did") else ""
