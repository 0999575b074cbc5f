"""HAM10000, PAD-UFES-20, derm7pt and DermaMNIST, as published."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from lentigo.data.groups import UNKNOWN, GroupSource
from lentigo.data.readers.build import add_metadata, make_samples, published_frame, with_groups
from lentigo.data.readers.place import Place
from lentigo.data.samples import SPLITS, Samples, read_array
from lentigo.data.tables import need_columns
from lentigo.errors import DataError
from lentigo.labels import HAM10000, PAD_UFES_20, LabelSet
from lentigo.tables import find_column

# One photograph under two lesion ids (HAM10000_metadata.csv), found by the audit: kept together, or the lesion split
# would leak.
HAM_SAME_LESION = (("ISIC_0025226", "ISIC_0030074"),)
HAM_TABLE = r"HAM10000_metadata(\.csv|\.tab|\.tsv)?"
DERM7PT = LabelSet("derm7pt", tuple(c for c in HAM10000 if c.code != "akiec"))
_DERM7PT_CODES = {
    "basal cell carcinoma": "bcc",
    "seborrheic keratosis": "bkl",
    "dermatofibroma": "df",
    "vascular lesion": "vasc",
}
_DERM7PT_PARTS = {"train_indexes.csv": "train", "valid_indexes.csv": "val", "test_indexes.csv": "test"}


def read_ham10000(place: Place) -> Samples:
    """HAM10000 (Tschandl et al. 2018): the metadata table as published, images anywhere below, groups are lesions.

    Images that ``low_resolution.csv`` (where it exists) names are for training only.
    """
    source = next(iter(place.find(HAM_TABLE)), None)
    if source is None:
        source = next((t for t in place.tables if is_ham(place, t)), None)
    if source is None:
        raise DataError(f"{place.path}: has no HAM10000_metadata.csv")
    table = need_columns(place.table(source), ("lesion_id", "image_id", "dx"), place.root / source)
    frame = published_frame(place, table["image_id"], table["dx"].str.lower(), HAM10000, source)
    lesion = dict(zip(table["image_id"], table["lesion_id"], strict=True))
    lesions = table["lesion_id"]
    for first, second in HAM_SAME_LESION:
        if first in lesion and second in lesion:
            lesions = lesions.replace(lesion[second], lesion[first])
    for low in place.find(r"low_resolution\.csv"):
        listed = need_columns(place.table(low), ("image_id",), place.root / low)
        frame["train_only"] = table["image_id"].isin(listed["image_id"]).to_numpy()
    place.rows = table.assign(image=table["image_id"])
    place.reading.columns |= {"image": "image_id", "label": "dx"}
    frame = add_metadata(frame, table, ("age", "sex", "site", "dx_type"))
    frame, groups = with_groups(place, frame, lesions.tolist(), GroupSource("layout", "lesion_id"))
    return make_samples(place, "ham10000", HAM10000, frame, groups)


def is_ham(place: Place, table: str) -> bool:
    """Return whether a table of another name has HAM10000's columns and classes."""
    columns = place.columns(table)
    if not {"lesion_id", "image_id", "dx"} <= set(columns):
        return False
    return set(place.table(table)["dx"].str.lower()) <= set(HAM10000.codes)


def read_pad_ufes_20(place: Place) -> Samples:
    """PAD-UFES-20 (Pacheco et al. 2020): metadata and photographs anywhere below; groups are patients."""
    source = next((t for t in place.tables if is_pad(place.columns(t))), None)
    if source is None:
        raise DataError(f"{place.path}: has no metadata.csv with img_id, patient_id and diagnostic")
    table = need_columns(place.table(source), ("img_id", "patient_id", "diagnostic"), place.root / source)
    stems = table["img_id"].map(lambda name: PurePosixPath(name).stem)
    frame = published_frame(place, stems, table["diagnostic"].str.lower(), PAD_UFES_20, source)
    place.rows = table.assign(image=stems)
    table = table.assign(**{c: table[c].str.lower() for c in ("gender", "region") if c in table.columns})
    table = table.rename(columns={"lesion_id": "lesion"})
    used = {"img_id", "patient_id", "diagnostic", "age", "gender", "region", "fitspatrick"}
    frame = add_metadata(
        frame, table, ("age", "sex", "site", "fitzpatrick"), rest=[c for c in table.columns if c not in used]
    )
    place.reading.columns |= {"image": "img_id", "label": "diagnostic"}
    frame, groups = with_groups(place, frame, table["patient_id"].tolist(), GroupSource("layout", "patient_id"))
    return make_samples(place, "pad_ufes_20", PAD_UFES_20, frame, groups)


def is_pad(columns: list[str]) -> bool:
    """Return whether these are the columns of PAD-UFES-20's metadata."""
    return {"diagnostic", "img_id", "patient_id"} <= set(columns)


def read_derm7pt(place: Place) -> Samples:
    """derm7pt (Kawahara et al. 2019): ``meta.csv`` and dermoscopic images, under HAM10000's classes.

    A case is a group.

    Lentigo, melanosis and miscellaneous belong to none of these classes and are left out.
    """
    source = next((t for t in place.tables if is_derm7pt(place.columns(t))), None)
    if source is None:
        raise DataError(f"{place.path}: has no meta.csv with case_num, diagnosis, clinic and derm")
    table = need_columns(place.table(source), ("case_num", "diagnosis", "derm"), place.root / source)
    codes = table["diagnosis"].str.lower().map(_derm7pt_code)
    table, position = table[codes != ""], np.flatnonzero(codes != "")
    for name, diagnosis in zip(
        place.table(source)["derm"][codes == ""], place.table(source)["diagnosis"][codes == ""], strict=True
    ):
        place.reading.ignore(name, f"{diagnosis}, none of the classes")
    if table.empty:
        raise DataError(f"{place.root / source}: no row has a known diagnosis")
    images = table["derm"].map(lambda name: str(PurePosixPath(name).with_suffix("")))
    frame = published_frame(place, images, codes[codes != ""], DERM7PT, source)
    frame["path"] = [place.locate(name) or name for name in table["derm"]]
    frame = add_metadata(
        frame, table, ("sex", "site"), rest=["diagnosis", "elevation", "level_of_diagnostic_difficulty"]
    )
    splits = pd.Series("", index=frame.index)
    for name, part in _DERM7PT_PARTS.items():
        for listed in place.find(name.replace(".", r"\.")):
            rows = need_columns(place.table(listed), ("indexes",), place.root / listed)["indexes"]
            splits[np.isin(position, pd.to_numeric(rows, errors="coerce").to_numpy())] = part
            place.reading.tables.append(listed)
    if (splits != "").any():
        frame["split"] = frame["official_split"] = splits
    cases = table["case_num"]
    if (column := find_column(table.columns, ("case_id",))) is not None:
        cases = table[column].where(table[column] != "", cases)
    place.rows = table.assign(image=images)
    place.reading.columns |= {"image": "derm", "label": "diagnosis"}
    frame, groups = with_groups(place, frame, cases.tolist(), GroupSource("layout", "case"))
    return make_samples(place, "derm7pt", DERM7PT, frame, groups)


def _derm7pt_code(diagnosis: str) -> str:
    if diagnosis.startswith("melanoma"):
        return "mel"
    return "nv" if diagnosis.endswith("nevus") else _DERM7PT_CODES.get(diagnosis, "")


def is_derm7pt(columns: list[str]) -> bool:
    """Return whether these are the columns of derm7pt's metadata."""
    return {"case_num", "diagnosis", "derm", "clinic"} <= set(columns)


def read_dermamnist(place: Place) -> Samples:
    """DermaMNIST (Yang et al. 2023), any size: an ``.npz`` with ``train_images``, ``train_labels``, ...

    Its classes are HAM10000's.

    The published split is by image and leaks lesions; lesion ids are not published with it, so that groups are unknown.
    """
    found = [place.file.name] if place.file else [f for f in place.files if f.lower().endswith(".npz")]
    if len(found) != 1:
        raise DataError(f"{place.path}: {len(found)} .npz files there; name the one to read")
    file = place.root / found[0]
    rows = []
    for split in SPLITS:
        images, targets = read_array(file, f"{split}_images"), read_array(file, f"{split}_labels").reshape(-1)
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) != len(targets):
            raise DataError(
                f"{file}: {split}_images must be (N, H, W, 3) uint8 with one label each; found {images.shape}"
                f" {images.dtype}"
            )
        for row, target in enumerate(targets.tolist()):
            if not 0 <= target < len(HAM10000):
                raise DataError(f"{file}: {split}_labels holds class {target}; DermaMNIST has 0 to {len(HAM10000) - 1}")
            rows.append((f"{split}_{row:05d}", f"{found[0]}#{split}_images/{row}", HAM10000.codes[target], split))
    frame = pd.DataFrame(rows, columns=["image", "path", "label", "split"])
    frame["group"], frame["train_only"], frame["official_split"] = frame["image"], False, frame["split"]
    place.reading.tables.append(found[0])
    return make_samples(place, "dermamnist", HAM10000, frame, UNKNOWN)
