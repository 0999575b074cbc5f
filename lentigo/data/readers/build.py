"""Build samples from the rows of a table; used by all readers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from lentigo.data.diagnoses import is_known, label_key, read_classes, same_disease
from lentigo.data.groups import GROUP_COLUMNS, UNKNOWN, GroupSource, unify
from lentigo.data.readers.legend import name_classes
from lentigo.data.readers.place import Place
from lentigo.data.reading import Reading
from lentigo.data.samples import Samples
from lentigo.errors import DataError, did_you_mean
from lentigo.imaging import is_image_name
from lentigo.labels import LabelSet
from lentigo.tables import METADATA_COLUMNS, column_key, find_column, is_unknown, some

METADATA = {
    **METADATA_COLUMNS,
    "dx_type": ("dx_type", "diagnosis_confirm_type"),
    "fitzpatrick": ("fitzpatrick", "fitspatrick", "fitzpatrick_skin_type"),
}
"""Metadata by their common names -> columns of published tables."""


_FEW = 9
"""Maximum number of images of which each may have a class of its own."""
MARKS = {"": 0, "0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1, "x": 1}
"""Cell of a column for one class, in lower case -> whether the image is of the class."""


def published_frame(
    place: Place, images: pd.Series[str], codes: pd.Series[str], labels: LabelSet, source: str
) -> pd.DataFrame:
    """Build the fixed columns for a published table: files by their stem, each image a group of its own.

    Raises:
        DataError: no rows, or a class that the data set does not have.
    """
    if images.empty:
        raise DataError(f"{place.root / source}: the table has no rows")
    for code in codes.unique():
        if code not in labels.codes:
            count = int((codes == code).sum())
            raise DataError(
                f"{place.root / source}: unknown class {code!r} in {count} rows{did_you_mean(str(code), labels.codes)}"
            )
    if source not in place.reading.tables:
        place.reading.tables.append(source)
    files = place.by_stem
    return pd.DataFrame(
        {
            "image": images.to_numpy(),
            "path": [files.get(i, files.get(i.removesuffix("_downsampled"), f"{i}.jpg")) for i in images],
            "label": codes.to_numpy(),
            "group": images.to_numpy(),
            "split": "",
            "train_only": False,
        }
    )


def add_metadata(
    frame: pd.DataFrame, table: pd.DataFrame, names: Sequence[str] = tuple(METADATA), rest: Iterable[str] = ()
) -> pd.DataFrame:
    """Add metadata columns under their common names, and others under their own; ``age`` becomes a number.

    Args:
        frame: N rows.
        table: N rows in the same order.
        names: keys of ``METADATA``.
        rest: further columns of the table.
    """
    more: dict[str, object] = {}
    for name in names:
        column = find_column(table.columns, METADATA[name])
        if column is not None:
            more[name] = table[column].to_numpy()
    more |= {
        column: table[column].to_numpy()
        for column in rest
        if column in table.columns and column not in (*frame.columns, *more)
    }
    if "age" in more:
        ages = pd.Series(more["age"]).astype(str).str.replace(",", ".", regex=False)
        more["age"] = pd.to_numeric(ages, errors="coerce").to_numpy()
    return pd.concat([frame, pd.DataFrame(more, index=frame.index)], axis=1) if more else frame


def aligned(table: pd.DataFrame, key: str, images: pd.Series[str]) -> pd.DataFrame:
    """Return the rows of a table for these images, in their order; cells are empty for images without a row."""
    unique = table.drop_duplicates(key).set_index(key)
    return unique.reindex(images.to_numpy()).fillna("").reset_index(drop=True)


_INVISIBLE = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")
_COPY = re.compile(r"(.+?)([\s_\-]*(copy|kopie|copie|copia|backup|bak|old|alt|副本|\(?\d\)))+", re.IGNORECASE)
_DATE = re.compile(
    r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
    r"|((19|20)\d\d([-/.])\d\d?\6\d\d?|\d\d?([-/.])\d\d?\7(\d\d){1,2})([ T].*)?"
)


def doubt(cells: Sequence[str], labels: Sequence[str] = ()) -> str:
    """Describe why the cells of a column cannot be patients or lesions; empty if they can.

    Args:
        cells: one an image.
        labels: the images' classes, where a value for each class is a doubt as well.
    """
    stated = [cell for cell in cells if not is_unknown(cell)]
    unified = unify(stated)[0]
    different = len(set(unified))
    if not stated:
        return ""
    if different == 1 and len(stated) == len(cells) > 1:
        return "one value for all images"
    if different == len(cells):
        return "another value for every image"
    if labels and len(stated) == len(cells) and len({*zip(unified, labels, strict=True)}) == len({*labels}):
        return "one value for each class"
    if all(map(_DATE.fullmatch, stated)):
        return "dates"
    return "file names" if all(map(is_image_name, stated)) else ""


def group_column(table: pd.DataFrame, reading: Reading | None = None) -> str | None:
    """Return the column of patients or lesions by its name: the first without empty cells, else the first with values.

    Args:
        table: one row an image.
        reading: for an own table: columns that tell nothing (`doubt`) are not taken, which is noted there.
    """
    known = {
        str(c): ~table[c].map(is_unknown)
        for name in GROUP_COLUMNS
        for c in table.columns
        if re.fullmatch(name, column_key(str(c)))
    }
    there = [c for c, present in known.items() if present.any()]
    holding = {column: "" if reading is None else doubt(table[column].tolist()) for column in there}
    fit = [column for column in there if not holding[column]]
    chosen = next((c for c in fit if known[c].all()), fit[0] if fit else None)
    for column in there[: there.index(chosen) if chosen else None]:
        if reading is not None and holding[column]:
            reading.note(
                f"WARNING: column {column} holds {holding[column]}, which tells no patients or lesions, and is not"
                f" taken for the group; where it does, say so: --group-by {column!r}"
            )
    return chosen


def with_groups(
    place: Place, frame: pd.DataFrame, groups: Sequence[str], source: GroupSource
) -> tuple[pd.DataFrame, GroupSource]:
    """Set the groups; an image without one is a group of its own, and the source counts such images."""
    unified, several = unify(["" if is_unknown(group) else group for group in groups])
    values = pd.Series(unified, index=frame.index)
    blank = int((values == "").sum())
    if blank == len(values):
        return frame.assign(group=frame["image"]), UNKNOWN
    place.reading.columns["group"] = str(source)
    if several:
        place.reading.note(
            f"{len(several):,} {source.units} are written in several ways (capitals, zeros, blanks), such as "
            f"{some(several)}; each is taken as one"
        )
    if blank:
        place.reading.note(f"{blank:,} images have no {source.name}; each of them is taken as a group of its own")
    return frame.assign(group=values.where(values != "", frame["image"])), GroupSource(source.kind, source.name, blank)


def make_samples(
    place: Place, name: str, labels: LabelSet, frame: pd.DataFrame, groups: GroupSource = UNKNOWN
) -> Samples:
    """Create samples, sorted by image id."""
    place.reading.layout = name
    place.reading.columns.setdefault("group", str(groups))
    return Samples(name, place.root, labels, frame.sort_values("image", kind="stable"), groups, place.reading)


def one_hot(table: pd.DataFrame, columns: Sequence[str], source: object) -> pd.Series[str]:
    """Return the one marked column (``MARKS``) of each row.

    Raises:
        DataError: a row with none or several marks, or a cell that is no mark.
    """
    cells = table[list(columns)].apply(lambda column: column.str.lower().map(MARKS)).to_numpy(dtype=float)  # (N, K)
    odd = np.argwhere(np.isnan(cells))
    if len(odd):
        row, column = odd[0]
        raise DataError(
            f"{source}: line {table.index[row]} has {table[columns[column]].iloc[row]!r} in column {columns[column]};"
            " each must be 0 or 1"
        )
    marks = cells.sum(axis=1)
    wrong = np.flatnonzero(marks != 1)
    if len(wrong):
        raise DataError(
            f"{source}: {len(wrong):,} of {len(table):,} rows have none or several of the classes {some(columns)}, "
            f"the first in line {table.index[wrong[0]]} ({int(marks[wrong[0]])}), and each image must have one; "
            "take these rows out"
        )
    return pd.Series(np.asarray(columns, dtype=object)[cells.argmax(axis=1)], index=table.index, dtype=object)


def own_classes(place: Place, name: str, values: Sequence[str], source: object) -> tuple[LabelSet, list[str]]:
    """Return the classes of an own data set, and each image's class.

    Spellings that differ in case, blanks, ``_`` or ``-`` are one class where they name a class that was asked for or
    that is known; those that look alike (bytes of accents, kinds of blanks, letters of no width) are always one.

    Args:
        place: which may hold a ``classes.csv``.
        name: of the label set.
        values: each image's class as written.
        source: for messages.

    Raises:
        DataError: one class only, a class that is none of those asked for, or a ``classes.csv`` that does not fit.
    """
    values = name_classes(place, values)
    listed = read_classes(place.root, place.reading)
    given = place.labels or (LabelSet(name, tuple(listed.values())) if listed else None)
    values = [" ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", value)).split()) for value in values]
    if given is not None:
        chosen = _codes_of(given, values, source)
        labels = given if place.labels else LabelSet(name, tuple(c for c in given if c.code in chosen.values()))
    else:
        chosen = _one_spelling(place.reading, values)
        labels = LabelSet.of(name, sorted(set(chosen.values())))
    codes = [chosen[value] for value in values]
    if place.labels is None and len(labels) < 2:
        raise DataError(f"{source}: only one class there ({codes[0]!r}); a classifier needs at least two")
    if given is None:
        if len(labels) == len(codes) > _FEW:
            raise DataError(
                f"{source}: every image has a class of its own, such as {some(codes, 2)}; these look like ids; name the"
                " classes in a CSV with path and label, or by --label-by"
            )
        _note_doubtful(place.reading, labels.codes)
    return labels, codes


def _codes_of(labels: LabelSet, values: Sequence[str], source: object) -> dict[str, str]:
    """Map each written class to a code of the label set."""
    by_key = {label_key(text): c.code for c in labels for text in (c.en, c.zh, c.code)}
    found = {}
    for value in sorted(set(values)):
        code = value if value in labels.codes else by_key.get(label_key(value))
        if code is None:
            raise DataError(f"{source}: unknown class {value!r}{did_you_mean(value, labels.codes)}")
        found[value] = code
    return found


def _one_spelling(reading: Reading, values: Sequence[str]) -> dict[str, str]:
    """Map each written class to a class; spellings of one known class become one."""
    spellings: dict[str, list[str]] = {}
    for value in sorted(set(values)):
        spellings.setdefault(label_key(value), []).append(value)
    found: dict[str, str] = {}
    for key, written in spellings.items():
        if len(written) > 1 and is_known(key):
            one = key if key in written else min(written, key=lambda v: (v != v.lower(), v))
            reading.note(f"{', '.join(map(repr, written))} are read as one class, {one!r}")
            found |= dict.fromkeys(written, one)
            continue
        if len(written) > 1:
            reading.note(
                f"WARNING: {', '.join(map(repr, written))} differ in case or blanks only and are read as"
                f" {len(written)} classes; write them alike if they are one"
            )
        found |= {value: value for value in written}
    return found


def _note_doubtful(reading: Reading, found: Sequence[str]) -> None:
    """Warn of names that may not be classes, and of names that may mean the same class."""
    unsure = [code for code in found if is_unknown(label_key(code))]
    if unsure:
        reading.note(
            f"WARNING: {some(map(repr, unsure))} are read as classes of their own; where they say that the class is not"
            " known, take these images out"
        )
    for alike in same_disease(found):
        reading.note(
            f"WARNING: {', '.join(map(repr, alike))} name one disease and are read as {len(alike)} classes; "
            "write them alike if they are one"
        )
    for code in found:
        if (copy := _COPY.fullmatch(code)) and label_key(copy[1]) in map(label_key, found):
            reading.note(
                f"WARNING: {code!r} looks like a copy of {copy[1]!r} and is read as a class of its own; take it away"
                " where it is one"
            )
    keys = {label_key(code) for code in found}
    parts = {code: re.split(r"\s*[|;,/&+]\s*", label_key(code)) for code in found}
    joined = [code for code, names in parts.items() if len(names) > 1 and keys.issuperset(names)]
    if joined:
        reading.note(
            f"WARNING: {some(map(repr, joined))} join classes that stand there too, "
            "and are read as classes of their own"
        )
    if all(code.replace(".", "").isdigit() for code in found):
        reading.note(
            f"the classes are numbers; a classes.csv with the columns code ({some(found)}) and en beside the data names"
            " them"
        )
