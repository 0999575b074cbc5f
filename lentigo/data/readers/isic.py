"""The ISIC challenges of 2016 to 2020 and the archive's own metadata, as published."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lentigo.data.diagnoses import BENIGN, MALIGNANT, diagnosis_code
from lentigo.data.groups import GroupSource
from lentigo.data.readers.build import (
    add_metadata,
    aligned,
    group_column,
    make_samples,
    one_hot,
    own_classes,
    published_frame,
    with_groups,
)
from lentigo.data.readers.place import Place
from lentigo.data.samples import Samples
from lentigo.data.tables import need_columns
from lentigo.errors import DataError
from lentigo.labels import HAM10000, ISIC2017, ISIC2019, ISIC2020, LabelSet
from lentigo.tables import find_column, shown_columns, some

NAMES_2017 = {"melanoma": "mel", "nevus": "nv", "naevus": "nv", "melanocytic nevus": "nv", "seborrheic keratosis": "sk"}
TRUTH_2017 = r"ISIC[-_]?2017_(Training|Validation|Test(?:_v2)?)_Part3_GroundTruth.*\.csv"
_METADATA_2017 = r"ISIC[-_]?2017_.*_Data_metadata\.csv"
_PARTS = {"training": "train", "train": "train", "validation": "val", "test": "test", "test_v2": "test"}


@dataclass(frozen=True)
class OneHot:
    """A challenge whose ground truth has one column per class.

    Attributes:
        name: of the layout.
        labels: the classes; their codes in capitals are the columns.
        truth: pattern of the ground truth's file name, with the part in brackets.
        beside: pattern of tables with lesion ids and metadata.
        unscored: images that the challenge's score leaves out.
    """

    name: str
    labels: LabelSet
    truth: str
    beside: str
    unscored: tuple[str, ...] = ()


ISIC2018_TASK3 = OneHot(
    "isic2018",
    HAM10000,
    r"ISIC_?2018_Task3_(Training|Validation|Test)_GroundTruth.*\.csv",
    r"ISIC_?2018_Task3_.*(LesionGroupings|Metadata).*\.csv",
    ("ISIC_0035068",),  # weight 0 in isic-challenge-scoring
)
ISIC2019_CHALLENGE = OneHot(
    "isic2019",
    ISIC2019,
    r"ISIC_?2019_(Training|Test)_GroundTruth.*\.csv",
    r"ISIC_?2019_(Training|Test)_Metadata.*\.csv",
)
TRUTH_2016 = r"ISBI2016_ISIC_Part3B?_(Training|Test)_GroundTruth.*\.csv"
TRUTH_2020 = r"ISIC_?2020_Training_(GroundTruth|Metadata).*\.csv"


def read_isic2016(place: Place) -> Samples:
    """ISIC 2016 part 3 (Gutman et al., arXiv 1605.01397): melanoma or benign; its tables have no header."""
    parts = []
    for source in place.find(TRUTH_2016):
        table = place.table(source)
        rows = [[str(c) for c in table.columns], *table.to_numpy().tolist()]
        if len(table.columns) != 2 or not {row[1].lower() for row in rows} <= {*MALIGNANT, *BENIGN}:
            raise DataError(f"{place.root / source}: must have two columns, image and benign or malignant")
        images, said = (pd.Series(cells, dtype=object) for cells in zip(*rows, strict=True))
        codes = said.str.lower().isin(MALIGNANT).map({True: "mel", False: "benign"})
        parts.append(published_frame(place, images, codes, ISIC2020, source).assign(split=_part(source, TRUTH_2016)))
    if not parts:
        raise DataError(f"{place.path}: has no ISBI2016_ISIC_Part3_Training_GroundTruth.csv")
    frame = pd.concat(parts, ignore_index=True)
    frame["official_split"] = frame["split"]
    place.reading.columns |= {"image": "the first", "label": "the second (malignant is melanoma)"}
    return make_samples(place, "isic2016", ISIC2020, frame)


def read_isic2017(place: Place) -> Samples:
    """ISIC 2017 (Codella et al. 2017): the published Part 3 ground truth, or ``labels.csv``.

    The columns of ``labels.csv`` are image_id, split and label.
    """
    sources = place.find(TRUTH_2017)
    if not sources:
        source = next(iter(place.find(r"labels\.csv")), None)
        if source is None:
            raise DataError(f"{place.path}: has no ISIC-2017_Training_Part3_GroundTruth.csv")
        table = need_columns(place.table(source), ("image_id", "split", "label"), place.root / source)
        codes = table["label"].str.lower().str.replace("_", " ").map(lambda text: NAMES_2017.get(text, text))
        frame = published_frame(place, table["image_id"], codes, ISIC2017, source)
        frame["split"] = frame["official_split"] = table["split"].to_numpy()
        return make_samples(place, "isic2017", ISIC2017, frame)
    parts = []
    for source in sources:
        table = need_columns(place.table(source), ("image_id", "melanoma", "seborrheic_keratosis"), place.root / source)
        melanoma, keratosis = (pd.to_numeric(table[c], errors="coerce") for c in ("melanoma", "seborrheic_keratosis"))
        codes = pd.Series(np.select([melanoma == 1, keratosis == 1], ["mel", "sk"], "nv"), index=table.index)
        parts.append(
            published_frame(place, table["image_id"], codes, ISIC2017, source).assign(split=_part(source, TRUTH_2017))
        )
    frame = pd.concat(parts, ignore_index=True)
    if "train" not in set(frame["split"]):
        raise DataError(f"{place.path}: has no ISIC-2017_Training_Part3_GroundTruth.csv")
    frame["official_split"] = frame["split"]
    tables = [need_columns(place.table(t), ("image_id",), t) for t in place.find(_METADATA_2017)]
    if tables:
        frame = add_metadata(frame, aligned(pd.concat(tables), "image_id", frame["image"]))
    return make_samples(place, "isic2017", ISIC2017, frame)


def read_one_hot_challenge(place: Place, challenge: OneHot) -> Samples:
    """ISIC 2018 task 3 (Codella et al., arXiv 1902.03368) or ISIC 2019 (Combalia et al., arXiv 1908.02288).

    The ground truth is one-hot. Lesions are the groups where they are published.

    Images of class ``UNK`` have no diagnosis and are left out, as are those that the challenge's own score gives no
    weight.
    """
    sources = place.find(challenge.truth)
    if not sources:
        raise DataError(f"{place.path}: has no ground truth of {challenge.name} ({challenge.truth})")
    columns = [code.upper() for code in challenge.labels.codes]
    parts = []
    for source in sources:
        table = need_columns(place.table(source), ("image", *columns), place.root / source)
        unknown = find_column(table.columns, ("UNK",))
        marked = one_hot(table, [*columns, unknown] if unknown else columns, place.root / source)
        weight = find_column(table.columns, ("score_weight",))
        unscored = table["image"].isin(challenge.unscored) & (_part(source, challenge.truth) == "test")
        if weight is not None:
            unscored |= pd.to_numeric(table[weight], errors="coerce") == 0
        for rows, why in (
            (marked == unknown, "class UNK, which is no diagnosis"),
            (unscored, "no weight in the challenge's score"),
        ):
            for image in table["image"][rows]:
                place.reading.ignore(image, why)
        kept = ~(unscored | (marked == unknown))
        part = published_frame(place, table["image"][kept], marked[kept].str.lower(), challenge.labels, source)
        parts.append(part.assign(split=_part(source, challenge.truth)))
    frame = pd.concat(parts, ignore_index=True)
    if set(frame["split"]) == {"train"}:
        frame["split"] = ""  # how to divide it was not published
    else:
        frame["official_split"] = frame["split"]
    place.reading.columns |= {"image": "image", "label": f"one-hot columns {', '.join(columns)}"}
    beside = [need_columns(place.table(t), ("image",), place.root / t) for t in place.find(challenge.beside)]
    if not beside:
        return make_samples(place, challenge.name, challenge.labels, frame)
    place.reading.tables += place.find(challenge.beside)
    more = aligned(pd.concat(beside).fillna(""), "image", frame["image"])
    frame = add_metadata(frame, more)
    lesion = find_column(more.columns, ("lesion_id",))
    place.rows = more.assign(image=frame["image"].to_numpy())
    if lesion is None:
        return make_samples(place, challenge.name, challenge.labels, frame)
    frame, groups = with_groups(place, frame, more[lesion].tolist(), GroupSource("layout", "lesion_id"))
    return make_samples(place, challenge.name, challenge.labels, frame, groups)


def read_isic2020(place: Place) -> Samples:
    """ISIC 2020 (Rotemberg et al., Sci. Data 8:34): melanoma or benign; groups are patients."""
    source = next(iter(place.find(TRUTH_2020)), None) or next(
        (t for t in place.tables if is_isic2020(place.columns(t))), None
    )
    if source is None:
        raise DataError(f"{place.path}: has no ISIC_2020_Training_GroundTruth.csv")
    table = need_columns(place.table(source), ("image_name", "benign_malignant"), place.root / source)
    codes = table["benign_malignant"].str.lower().replace({"malignant": "mel"})
    frame = add_metadata(
        published_frame(place, table["image_name"], codes, ISIC2020, source), table, rest=["diagnosis"]
    )
    place.rows = table.assign(image=table["image_name"])
    place.reading.columns |= {"image": "image_name", "label": "benign_malignant (malignant is melanoma)"}
    patient = find_column(table.columns, ("patient_id",))
    if patient is None:
        return make_samples(place, "isic2020", ISIC2020, frame)
    frame, groups = with_groups(place, frame, table[patient].tolist(), GroupSource("layout", "patient_id"))
    return make_samples(place, "isic2020", ISIC2020, frame, groups)


def is_isic2020(columns: list[str]) -> bool:
    """Return whether these are the columns of ISIC 2020's table, whatever its name."""
    return all(find_column(columns, (name,)) for name in ("image_name", "benign_malignant", "target"))


def is_archive(columns: list[str]) -> bool:
    """Return whether these are the columns of the archive's metadata, as isic-cli writes them."""
    return find_column(columns, ("isic_id",)) is not None and bool(_diagnoses(columns))


def _diagnoses(columns: list[str]) -> list[str]:
    """Return the columns of the diagnosis, the most specific first."""
    names = ("diagnosis", "diagnosis_5", "diagnosis_4", "diagnosis_3", "diagnosis_2", "diagnosis_1", "benign_malignant")
    return [c for c in (find_column(columns, (name,)) for name in names) if c is not None]


def read_archive(place: Place) -> Samples:
    """The ISIC archive's ``metadata.csv``: the class is the most specific diagnosis that every image has.

    Where all of its values belong to ISIC 2019's classes they become these; otherwise they stay as they are written.
    """
    source = next((t for t in place.tables if is_archive(place.columns(t))), None)
    if source is None:
        raise DataError(f"{place.path}: has no table with isic_id and diagnosis")
    table = need_columns(place.table(source), ("isic_id",), place.root / source)
    columns = _diagnoses(list(table.columns))
    chosen = find_column(table.columns, (place.label_by,)) if place.label_by else None
    column = chosen or next((c for c in columns if (table[c] != "").all()), None)
    if column is None:
        column = max(columns, key=lambda c: np.count_nonzero(table[c] != ""))
        for image in table["isic_id"][table[column] == ""]:
            place.reading.ignore(image, f"no {column}")
        table = table[table[column] != ""]
    if table.empty:
        raise DataError(f"{place.root / source}: no row has a diagnosis (looked at: {shown_columns(columns)})")
    values = table[column]
    codes = values.map(diagnosis_code)
    if codes.notna().all() and codes.nunique() > 1:
        labels, written = LabelSet("isic-archive", tuple(c for c in ISIC2019 if c.code in set(codes))), codes.tolist()
        place.reading.note(f"{column}: {some(values, 6)} are read as {', '.join(labels.codes)}")
    else:
        labels, written = own_classes(place, "isic-archive", values.tolist(), place.root / source)
    place.reading.columns |= {"image": "isic_id", "label": column}
    frame = published_frame(place, table["isic_id"], pd.Series(written, index=table.index), labels, source)
    frame = add_metadata(
        frame, table, rest=[c for c in table.columns if c not in ("isic_id", "attribution", "copyright_license")]
    )
    place.rows = table.assign(image=table["isic_id"])
    group = group_column(table)
    if group is None:
        return make_samples(place, "isic-archive", labels, frame)
    frame, groups = with_groups(place, frame, table[group].tolist(), GroupSource("column", group))
    return make_samples(place, "isic-archive", labels, frame, groups)


def _part(source: str, pattern: str) -> str:
    match = re.fullmatch(pattern, source.rpartition("/")[2], re.IGNORECASE)
    assert match is not None
    return _PARTS[match[1].lower()]
