"""Read a user's own table of images and labels, or one table for each split."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from lentigo.data.diagnoses import BENIGN, MALIGNANT, is_known, label_key
from lentigo.data.groups import UNKNOWN, GroupSource
from lentigo.data.readers.annotated import read_annotations
from lentigo.data.readers.build import (
    MARKS,
    add_metadata,
    aligned,
    group_column,
    make_samples,
    one_hot,
    own_classes,
    with_groups,
)
from lentigo.data.readers.place import Place
from lentigo.data.readers.split_words import split_word
from lentigo.data.samples import SPLITS, Samples
from lentigo.errors import DataError, did_you_mean
from lentigo.tables import (
    IMAGE_COLUMNS,
    NOTHING,
    PATH_COLUMNS,
    column_key,
    find_column,
    image_columns,
    is_file,
    no_image_column,
    shown_columns,
    some,
)

LABEL_COLUMNS = (
    "label", "diagnosis", "dx", "diagnostic", "class", "class_name", "class_label", "label_name", "category",
    "diagnosis_name", "target", "benign_malignant", "malignant", "is_malignant", "disease", "labels", "classes",
    "class_id", "label_id", "choice", "y", "diagnose", "diagnóstico", "diagnostico", "diagnosi", "klasse", "clase",
    "classe", "tanı", "tani", "teşhis", "诊断", "类别", "标签", "診斷", "診断", "类型",
)  # fmt: skip
_LOOKED_FOR = ", ".join((*LABEL_COLUMNS[:14], "..."))
SPLIT_COLUMNS = (
    "split", "set", "subset", "partition", "phase", "part", "fold", "dataset", "data_split", "dataset_split",
    "split_set", "usage",
)  # fmt: skip
_DIAGNOSIS = re.compile("diagn|诊断|診斷|診断|진단|диагноз")
_NO_DIAGNOSIS = re.compile("date|datum|fecha|data|year|age|type|method|confirm|certain|conf|by|code|icd|comment|note")
_FOLD = re.compile(r"k?folds?(id|no|nr)?|cvfolds?")
_SLICE_3D = {"isic_id", "iddx_full"}
_SEX = re.compile(r"(is)?(sex|gender|geschlecht|sexo)?(male|female|man|woman)|(sex|gender|geschlecht|sexo)\w?")
_MOST_PARTS = 12
_SPLIT_FLAG = re.compile(r"(is|in|for)?(train|training|val|valid|validation|test|testing)(set)?")


@dataclass(frozen=True)
class Roles:
    """The roles of a table's columns.

    Attributes:
        image: the id; None if only ``path`` names the image.
        path: the file; None if only ``image`` names it.
        label: the class; None if it is in ``one_hot``.
        one_hot: one column per class.
    """

    image: str | None
    path: str | None
    label: str | None
    one_hot: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether image and class are known."""
        return (self.image or self.path) is not None and (self.label is not None or len(self.one_hot) > 1)


def roles_of(place: Place, name: str, table: pd.DataFrame | None = None) -> Roles:
    """Find the roles of a table's columns by their names and cells.

    Args:
        place: where the images are.
        name: of the table.
        table: its content; None for the table as it was read.
    """
    table = place.table(name) if table is None else table
    path, image = image_columns({str(c): table[c].tolist() for c in table.columns}, place.names)
    label = find_column(table.columns, (place.label_by,) if place.label_by else LABEL_COLUMNS)
    if label is not None or (path is None and image is None):
        return Roles(image, path, label)
    bits = _bits(table, path, image)
    # Other columns of 0 and 1, such as the sex, may stand beside the classes.
    for columns in (bits, [c for c in bits if is_known(c)]):
        marks = table[columns].apply(lambda cells: cells.str.lower().map(MARKS))
        if len(columns) > 1 and (marks.sum(axis=1) == 1).mean() > 0.5:
            return Roles(image, path, None, tuple(columns))
    named = [c for c in table.columns if is_known(str(c)) and label_key(str(c)) not in _NO_DISEASE]
    if len(named) == 1 and _tells_one_disease(str(named[0]), table[named[0]]):
        return Roles(image, path, str(named[0]))
    diagnoses = [str(c) for c in table.columns if _may_be_diagnosis(str(c), table[c])]
    return Roles(image, path, diagnoses[0] if len(diagnoses) == 1 else None)


def _may_be_diagnosis(name: str, cells: pd.Series[str]) -> bool:
    """Return whether a column is a diagnosis by its name, such as ``Final diagnosis``, and has few different values."""
    key = column_key(name)
    few = 2 <= cells.nunique() <= len(cells) / 2
    return few and _DIAGNOSIS.search(key) is not None and not _NO_DIAGNOSIS.search(key) and not _is_numbers(cells)


def _bits(table: pd.DataFrame, *others: str | None) -> list[str]:
    """Return the columns of marks, such as 0 and 1, except ``others``."""
    return [
        str(c)
        for c in table.columns
        if c not in others
        and len(table)
        and table[c].str.lower().isin([*MARKS]).all()
        and not _SEX.fullmatch(column_key(str(c)))
    ]


def _tells_one_disease(name: str, cells: pd.Series[str]) -> bool:
    """Return whether a column has a disease's name and marks its presence or absence in every image."""
    said = set(cells.str.lower())
    return is_known(name) and label_key(name) not in _NO_DISEASE and len(said) == 2 and said <= _SAID


_NO_DISEASE = frozenset(("malignant", "other", "others", "true", "false", "yes", "no"))
_SAID = frozenset((*MARKS, *MALIGNANT, *BENIGN)) - {"malignant", "benign", "m", "b"}


def fitting_tables(place: Place) -> list[str]:
    """Return the tables with columns for image and class, and note what the others lack."""
    roles = {name: roles_of(place, name) for name in place.tables if place.columns(name)}
    if not any(one.complete for one in roles.values()):
        _join(place, roles)
    found = _fitting(place, place.tables)
    return found or _fitting(place, read_annotations(place))


def _join(place: Place, roles: Mapping[str, Roles]) -> None:
    """Add to a table that names images the columns of another with the class of each case, patient or lesion."""
    columns = {name: one.path or one.image for name, one in roles.items()}
    for name, other in product([n for n in roles if columns[n]], [n for n in roles if not columns[n]]):
        table, more = place.table(name), place.table(other)
        for key in map(str, more.columns):
            own = find_column(table.columns, (key,))
            if own is None or not more[key].is_unique or not (there := table[own].isin(more[key])).mean() > 0.5:
                continue
            added = more.drop(columns=[c for c in more.columns if c in table.columns and c != key])
            joined = table[there].join(added.set_index(key), on=own)
            if not roles_of(place, name, joined).complete:
                continue
            for image in table[columns[name]][~there]:
                place.reading.ignore(image, f"{other} has no row of its {own}")
            place.add_columns(name, joined)
            place.reading.use(other)
            place.reading.note(f"{name} names the images; {other} has the other columns, by {own}")
            return


def _fitting(place: Place, tables: Iterable[str]) -> list[str]:
    found = []
    for name in tables:
        columns = place.columns(name)
        if not columns or name in place.reading.tables:
            continue
        roles = roles_of(place, name)
        if roles.complete and not (place.label_by is None and _folders_tell_more(place, name, roles)):
            found.append(name)
        elif place.file is None:
            what = "image" if roles.image is None and roles.path is None else "label"
            looked = ", ".join(PATH_COLUMNS[:1] + IMAGE_COLUMNS) if what == "image" else _LOOKED_FOR
            place.reading.note(
                f"{name} is not used: no column for the {what} (found: {shown_columns(columns)}; looked for:"
                f" {looked})"
                + (f"{_several_marks(place, name, roles)}; name it with --label-by COLUMN" if what == "label" else "")
            )
    return found


def _folders_tell_more(place: Place, name: str, roles: Roles) -> bool:
    """Return whether folder names describe the classes better than a column of one disease or value."""
    folders = {image.rpartition("/")[0] for image in place.images}
    if roles.label is None:
        return any(is_known(part) for f in folders for part in f.split("/")) and not any(map(is_known, roles.one_hot))
    table = place.table(name)
    return len(folders) > 1 and (find_column(table.columns, LABEL_COLUMNS) is None or table[roles.label].nunique() == 1)


def _several_marks(place: Place, name: str, roles: Roles) -> str:
    """Describe columns of marks that are not classes, because rows have none or several, for messages."""
    table = place.table(name)
    bits = _bits(table, roles.path, roles.image)
    if len(bits) < 2:
        return ""
    return (
        f"; columns {some(bits)} hold marks, but most rows have none or several, and each image must have one class:"
        " add a column label"
    )


def read_csv(place: Place) -> Samples:
    """Read a table with ``path`` or ``image`` (relative to it), ``label``; optional ``group``, ``split``, others.

    With both, ``image`` is the id and ``path`` the file. Other usual names, and one column per class, are accepted.

    Raises:
        DataError: no such table or several, a column that is missing, a row without a label, or an image that two rows
            call differently.
    """
    sources = _sources(place)
    frames = []
    for source, part in sources.items():
        frame = _rows(place, source)
        frames.append(frame if not part or (frame["split"] != "").any() else frame.assign(split=part))
    rows = pd.concat(frames).fillna("")
    place.reading.tables += list(sources)
    if not sources.keys().isdisjoint(place.annotated):
        place.use_annotations()
    frame = rows[["image", "path", "written", "split"]].reset_index(drop=True)
    rows = rows.drop(columns=["path", "written", "split"], errors="ignore").reset_index(drop=True)
    first = next(iter(sources))
    where = place.path if len(sources) > 1 else place.root / first
    labels, frame["label"] = own_classes(place, PurePosixPath(first).stem, frame.pop("written").tolist(), where)
    frame, rows = _without_repeated(place, frame, rows)
    if not frame["path"].duplicated().any() and frame["image"].duplicated().any():
        frame["image"] = rows["image"] = frame["path"]  # the same names in several folders
    _check_unique(frame, where)
    frame["group"] = frame["image"]
    if (frame["split"] != "").any():
        frame["official_split"] = frame["split"]
    only = find_column(rows.columns, ("train_only",))
    frame["train_only"] = rows[only].str.lower().isin(["1", "true", "yes"]) if only else False
    place.rows = rows
    rest = [c for c in rows.columns if c not in (only, "group", *frame.columns)]
    frame = add_metadata(frame, rows, ("age",), rest=rest)
    group = group_column(rows, place.reading)
    if group is None:
        return make_samples(place, "csv", labels, frame, UNKNOWN)
    frame, groups = with_groups(place, frame, rows[group].tolist(), GroupSource("column", group))
    return make_samples(place, "csv", labels, frame, groups)


def _check_unique(frame: pd.DataFrame, where: Path) -> None:
    """Check that each image has one row.

    Raises:
        DataError: two rows name the same file, or have the same id.
    """
    shared = frame[frame["path"].duplicated(keep=False) & ~frame["image"].duplicated(keep=False)]
    if len(shared):
        first, second = shared["image"][shared["path"] == shared["path"].iloc[0]].iloc[:2]
        raise DataError(
            f"{where}: {first!r} and {second!r} lead to the same image, {shared['path'].iloc[0]}; "
            "keep one row of each image, or write the folders into the table where two are meant"
        )
    again = frame[frame["image"].duplicated(keep=False)]
    if len(again):
        image = again["image"].iloc[0]
        rows = again[again["image"] == image].itertuples()
        classes = ", ".join(f"{row.label!r}" + (f" ({row.split})" if row.split else "") for row in rows)
        raise DataError(
            f"{where}: image ids must be unique; {image!r} is there as {classes}; keep one row of each image"
        )


def add_table(place: Place, samples: Samples) -> Samples:
    """Add groups and metadata from another table that names the images but no class."""
    for name in place.tables:
        table = place.table(name) if name not in place.reading.tables and place.columns(name) else pd.DataFrame()
        if table.empty:
            continue
        roles = roles_of(place, name)
        named = roles.path or roles.image
        if named is None or (roles.complete and samples.name == "csv"):
            continue
        ids = dict(zip(samples.frame["path"], samples.frame["image"], strict=True))
        found = [ids.get(_located_or_none(place, text, name) or "") for text in table[named]]
        rows = table.assign(image=pd.Series(found, index=table.index, dtype=object)).dropna(subset="image")
        if rows.empty:
            continue
        place.reading.use(name)
        facts = aligned(rows, "image", samples.frame["image"])
        rows = facts.assign(image=samples.frame["image"].to_numpy())
        if place.rows is not None:
            before = aligned(place.rows, "image", samples.frame["image"])
            rows = pd.concat([rows, before[[c for c in before.columns if c not in rows.columns]]], axis=1)
        place.rows = rows
        absent = len(samples) - len(set(filter(None, found)))
        place.reading.note(
            f"{'the folders tell' if samples.name == 'folder' else place.reading.tables[0] + ' tells'} the classes,"
            f" {name} what else is known"
            + (f"; {absent:,} of {len(samples):,} images have no row in it" if absent else "")
        )
        frame = add_metadata(samples.frame, facts, rest=[str(c) for c in facts.columns])
        group = group_column(facts, place.reading) if samples.groups.kind == "unknown" else None
        groups = samples.groups
        if group is not None:
            frame, groups = with_groups(place, frame, facts[group].tolist(), GroupSource("column", group))
        return replace(samples, frame=frame, groups=groups)
    return samples


def _located_or_none(place: Place, text: str, table: str) -> str | None:
    try:
        return _located(place, text, table, 0)
    except DataError:  # several images fit, or the path leads outside
        return None


def _folder_of_part(place: Place, table: str, text: str) -> str | None:
    """Return an image in the folder of a table's part, as ``train`` for ``train.csv``."""
    within, _, name = table.rpartition("/")
    part = split_word(PurePosixPath(name).stem)[0]
    folders = [f for f in place.folders if f.rpartition("/")[0] == within and part and split_word(f)[0] == part]
    found = [inside for f in folders if is_file(place.root / (inside := f"{f}/{text}"))]
    return found[0] if len(found) == 1 and ".." not in text.split("/") else None


def _sources(place: Place) -> dict[str, str]:
    """Return the tables to read, each with its split if there are several."""
    if place.file is not None:
        return {place.file.name: ""}
    fitting = fitting_tables(place)
    splits = {
        name: next(filter(None, (split_word(part)[0] for part in PurePosixPath(name).with_suffix("").parts[::-1])), "")
        for name in fitting
    }
    if len(fitting) > 1 and all(splits.values()) and len(set(splits.values())) == len(fitting):
        return splits
    tables = fitting or place.tables
    shallow = [t for t in tables if t.count("/") == min(t.count("/") for t in tables)]
    if len(shallow) != 1:
        raise DataError(f"{place.path}: {len(shallow)} CSV tables there ({some(shallow)}); name the one to read")
    for other in fitting:
        if other != shallow[0]:
            place.reading.ignore(other, f"a table below {shallow[0]}")
    return {shallow[0]: ""}


def _rows(place: Place, name: str) -> pd.DataFrame:
    """Return one table's rows with ``image``, ``path``, ``written`` (the class) and ``split`` besides its columns."""
    source, table = place.root / name, place.table(name)
    if place.label_by is not None and find_column(table.columns, (place.label_by,)) is None:
        raise DataError(
            f"{source}: has no column {place.label_by!r} to take the class from (found: {shown_columns(table.columns)})"
        )
    roles = roles_of(place, name)
    found = shown_columns(table.columns)
    if roles.path is None and roles.image is None:
        raise no_image_column(table.columns, source)
    if table.empty:
        raise DataError(f"{source}: the table has no rows")
    if not roles.complete:
        near = did_you_mean("label", table.columns)
        hint = near if near.startswith("; did") else ""
        raise DataError(
            f"{source}: has no column 'label'{hint}, nor a column a class with 1 (or x, or true) in one of them a row"
            f" (found: {found}; looked for: {_LOOKED_FOR}){_several_marks(place, name, roles)}; name it"
            " with --label-by COLUMN"
        )
    table, written = _classified(place, table, roles, source)
    named = roles.path or roles.image
    assert named is not None
    nameless = table.index[table[named] == ""]
    if len(nameless):
        raise DataError(
            f"{source}: {len(nameless)} rows name no image (column {named!r}), the first in line {int(nameless[0])}"
        )
    image = roles.image or named
    place.reading.columns["image"] = image
    if roles.path and roles.image:
        place.reading.columns["path"] = roles.path
    own = pd.DataFrame(
        {
            "image": table[image].str.replace("\\", "/").str.removeprefix("./"),
            "path": [_located(place, text, name, line) for line, text in table[named].items()],
            "written": written,
            "split": _split(place, table, source),
        },
        dtype=object,
    )
    _compare_split(place, own)
    _compare_class(place, own)
    spoken_for = {roles.image, roles.path, roles.label, place.reading.columns.get("split"), *own.columns}
    return pd.concat([own, table.drop(columns=[c for c in table.columns if c in spoken_for])], axis=1)


def _classified(place: Place, table: pd.DataFrame, roles: Roles, source: Path) -> tuple[pd.DataFrame, pd.Series[str]]:
    """Return the rows that name an image or a class, and the class of each."""
    if roles.label is None:
        written = one_hot(table, roles.one_hot, source)
        place.reading.columns["label"] = f"one-hot columns {', '.join(roles.one_hot)}"
        table = table.drop(columns=list(roles.one_hot))
    else:
        idle = (table[[c for c in (roles.path, roles.image, roles.label) if c]] == "").all(axis=1)
        for line in table.index[idle & (not idle.all())]:
            place.reading.ignore(f"{source.name}, line {line}", "a row that names neither an image nor a class")
        table = table[~idle] if not idle.all() else table
        written = _written(place, table, roles.label, source)
        unlabelled = table.index[written.str.lower().isin(NOTHING)]
        if len(unlabelled):
            raise DataError(
                f"{source}: {len(unlabelled)} rows have no label, the first in line {int(unlabelled[0])}; fill in"
                f" column {roles.label!r}, or take these rows out of the table"
            )
    open_quote = table.index[written.str.contains("\n")]
    if len(open_quote):
        raise DataError(
            f"{source}: the class of the row that ends in line {int(open_quote[0])} goes over several lines; close the"
            " double quote in front of it"
        )
    return table, written


def _written(place: Place, table: pd.DataFrame, column: str, source: object) -> pd.Series[str]:
    """Return the class of each row in a column; values of a column ``malignant`` become benign or malignant."""
    others = [other for name in LABEL_COLUMNS if (other := find_column(table.columns, (name,))) and other != column]
    if place.label_by is None and _is_numbers(table[column]):
        pairs = (table[[column, o]].drop_duplicates() for o in others if not _is_numbers(table[o]))
        named = [str(p.columns[1]) for p in pairs if not any(p[c].duplicated().any() for c in p.columns)]
        if named:  # the names of the very same classes
            others = [column, *(other for other in others if other != named[0])]
            column = named[0]
    if others and place.label_by is None:
        place.reading.note(
            f"the class is taken from the column {column}; --label-by {others[0]} takes it from that column"
        )
    place.reading.columns["label"] = column
    written = _without_lists(table[column], source)
    if column_key(column) == "target" and set(table.columns) >= _SLICE_3D:
        place.reading.note("ISIC 2024: target 1 is read as malignant, 0 as benign")
        return written.map({"1": "malignant", "0": "benign"}).fillna(written)
    if column_key(column) in ("malignant", "ismalignant"):
        strange = table.index[~written.str.lower().isin([*MALIGNANT, *BENIGN, *NOTHING])]
        if len(strange):
            raise DataError(
                f"{source}: column {column!r}: {written[strange[0]]!r} in line {int(strange[0])} is neither yes nor"
                f" no; take these {len(strange):,} rows out, or name another column with --label-by"
            )
        said = written.str.lower().isin(MALIGNANT).map({True: "malignant", False: "benign"})
        return said.where(~written.str.lower().isin(NOTHING), "")
    if _tells_one_disease(column, written):
        place.reading.columns["label"] = f"{column} alone: {column}, or not {column}"
        place.reading.note(
            f"column {column} alone tells the class, which is {column!r} or 'not {column}'; --label-by COLUMN takes it"
            " from another"
        )
        return written.str.lower().isin([*MALIGNANT, "x"]).map({True: column, False: f"not {column}"})
    if _is_numbers(written):  # as a column of numbers with a gap is written
        return written.str.removesuffix(".0")
    decimal = table.index[written.str.fullmatch(r"-?\d*[.,]\d+(e-?\d+)?")]
    if len(decimal):
        raise DataError(
            f"{source}: column {column!r} holds decimal numbers, such as {written[decimal[0]]!r} in line"
            f" {int(decimal[0])}, no classes; write each image's class, or name another column with --label-by"
        )
    return written


def _without_lists(cells: pd.Series[str], source: object) -> pd.Series[str]:
    """Remove the brackets of cells such as ``["nevus"]``.

    Raises:
        DataError: a list of several classes.
    """
    found = {}
    for line, cell in cells[cells.str.startswith("[")].items():
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            found[line] = [str(one) for one in ast.literal_eval(cell)]
    if several := [line for line, classes in found.items() if len(classes) > 1]:
        raise DataError(
            f"{source}: {len(several):,} images have several classes, the first in line {several[0]}"
            f" ({some(found[several[0]])}), and each must have one; keep one of them, or take these images out"
        )
    return cells.mask(
        cells.index.isin(found), pd.Series({line: "".join(one) for line, one in found.items()}, dtype=object)
    )


def _is_numbers(cells: pd.Series[str]) -> bool:
    return bool(cells.str.fullmatch(r"\d+(\.0)?").all())


def _located(place: Place, text: str, table: str, line: object) -> str:
    """Return the image that a row names, searched beside the table first."""
    folder = table.rpartition("/")[0]
    beside = f"{folder}/{text}".replace("\\", "/")
    if folder and ".." not in beside.split("/") and is_file(place.root / beside):
        return beside
    if (inside := _folder_of_part(place, table, text.replace("\\", "/"))) is not None:
        return inside
    try:
        return place.locate(text) or text.replace("\\", "/")
    except DataError as error:
        raise DataError(f"{place.root / table}: line {line}: {error}") from None


def _split(place: Place, table: pd.DataFrame, source: object) -> pd.Series[str]:
    """Return the split of each row; empty without a column for it."""
    named = [c for name in SPLIT_COLUMNS if (c := find_column(table.columns, (name,))) is not None]
    taken = (*place.reading.columns.values(), place.label_by)
    for column in dict.fromkeys([*named, *(str(c) for c in table.columns if c not in taken)]):
        values = table[column].unique()
        if len(values) > _MOST_PARTS:
            continue
        said = {value: value if value in (*SPLITS, "") else split_word(value)[0] for value in values}
        strange = [value for value, split in said.items() if value and not split]
        if not strange and len({*said.values()} - {""}) > (0 if column in named else 1):
            place.reading.columns["split"] = column
            return table[column].map(said)
        if column_key(column) == "split" and strange:
            raise DataError(
                f"{source}: unknown split {strange[0]!r}{did_you_mean(strange[0], SPLITS)}; "
                f"write these, or rename column {column!r} where it says something else, such as the fold"
            )
    flags = {str(c): match[2] for c in table.columns if (match := _SPLIT_FLAG.fullmatch(column_key(str(c))))}
    flags = {c: split_word(word)[0] for c, word in flags.items() if table[c].str.lower().isin(_SAID).all()}
    # A lone column "test" may be of another kind of test.
    if "train" in flags.values() or any(not split_word(c)[0] or split_word(c)[1] for c in flags):
        return _flagged(place, table, flags, source)
    named += [column for column in flags if column not in named]
    for column in (*named, *(str(c) for c in table.columns if _FOLD.fullmatch(column_key(str(c))))):
        place.reading.note(
            f"column {column} is not used for the split, since {some(table[column].unique())} name no part; write"
            " train, val and test there to use it"
        )
    return pd.Series("", index=table.index, dtype=object)


def _compare_split(place: Place, rows: pd.DataFrame) -> None:
    """Take the split from the images' folders if no column has it; warn if column and folder differ."""
    splits = [{split_word(part)[0] for part in path.split("/")[:-1]} - {""} for path in rows["path"]]
    within = pd.Series([next(iter(found)) if len(found) == 1 else "" for found in splits], rows.index, dtype=object)
    if (rows["split"] == "").all():
        if (within != "").all() and within.nunique() > 1:
            rows["split"] = within
            place.reading.columns["split"] = "folders of the images"
        return
    other = rows.index[(within != "") & (rows["split"] != "") & (within != rows["split"])]
    if len(other) and within.nunique() > 1:
        place.reading.note(
            f"WARNING: of {len(other):,} images the column of the split says otherwise than the folder, such as"
            f" {rows['path'][other[0]]} ({rows['split'][other[0]]}); the column is used"
        )


def _compare_class(place: Place, rows: pd.DataFrame) -> None:
    """Warn of images in a folder with the name of another class than the table's."""
    keys = {label_key(written) for written in rows["written"]}
    other = [
        (path, written)
        for path, written in zip(rows["path"], rows["written"], strict=True)
        if (within := {label_key(part) for part in path.split("/")[:-1]} & keys) and label_key(written) not in within
    ]
    if other:
        place.reading.note(
            f"WARNING: the table calls {len(other):,} images otherwise than the folders that they lie in, such as"
            f" {other[0][0]} ({other[0][1]}); the table is used"
        )


def _flagged(place: Place, table: pd.DataFrame, flags: Mapping[str, str], source: object) -> pd.Series[str]:
    """Return the split from columns such as ``is_train``; rows that no column marks are of the other part."""
    marked = pd.DataFrame({split: table[c].str.lower().isin([*MALIGNANT, "x"]) for c, split in flags.items()})
    wrong = table.index[marked.sum(axis=1) > 1]
    if len(wrong):
        raise DataError(f"{source}: line {int(wrong[0])} is in several of the parts {', '.join(flags)}; mark one")
    alone = {"train": "test", "test": "train", "val": "train"}
    others = (part for part in (*(alone[split] for split in marked.columns), *SPLITS) if part not in marked.columns)
    rest = next(others, "")
    place.reading.columns["split"] = ", ".join(flags)
    if rest and not marked.any(axis=1).all():
        place.reading.note(f"rows that {', '.join(flags)} does not mark are taken as the part {rest!r}")
    return marked.idxmax(axis=1).where(marked.any(axis=1), rest)


def _without_repeated(place: Place, frame: pd.DataFrame, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Remove rows that repeat image, path, class and split of another."""
    again = np.asarray(frame.duplicated(["image", "path", "label", "split"]))
    for image in frame["image"][again]:
        place.reading.ignore(image, "a row that stands there twice")
    return frame[~again].reset_index(drop=True), rows[~again].reset_index(drop=True)
