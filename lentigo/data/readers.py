"""Readers: from a folder or file in a published layout to one table of samples.

The layouts are told apart by the files that lie there; see :func:`read_samples`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from lentigo.data.groups import GROUP_COLUMNS, UNKNOWN, GroupSource, groups_by_pattern
from lentigo.data.samples import SPLITS, Samples, read_array
from lentigo.data.tables import need_columns, read_table
from lentigo.errors import DataError, did_you_mean
from lentigo.imaging import IMAGE_SUFFIXES
from lentigo.labels import HAM10000, ISIC2017, ISIC2019, PAD_UFES_20, LabelSet

Missing = Literal["error", "keep", "skip"]

# One photograph under two lesion ids (HAM10000_metadata.csv), found by the audit: kept together, or the lesion split would leak.
HAM_SAME_LESION = (("ISIC_0025226", "ISIC_0030074"),)
HAM_TABLES = ("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab")
ISIC_TABLES = {
    "train": "ISIC-2017_Training_Part3_GroundTruth.csv",
    "val": "ISIC-2017_Validation_Part3_GroundTruth.csv",
    "test": "ISIC-2017_Test_v2_Part3_GroundTruth.csv",
}
ISIC_METADATA = (
    "ISIC-2017_Training_Data_metadata.csv",
    "ISIC-2017_Validation_Data_metadata.csv",
    "ISIC-2017_Test_v2_Data_metadata.csv",
)
ISIC2019_TABLE = "ISIC_2019_Training_GroundTruth.csv"
ISIC2019_METADATA = "ISIC_2019_Training_Metadata.csv"
_SPLIT_FOLDERS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
ISIC_NAMES = {"melanoma": "mel", "nevus": "nv", "naevus": "nv", "melanocytic nevus": "nv", "seborrheic keratosis": "sk"}


def read_samples(
    path: str | Path,
    name: str | None = None,
    *,
    labels: LabelSet | None = None,
    missing: Missing = "error",
    group_by: str | None = None,
) -> Samples:
    """Read a data set; its layout is detected.

    Args:
        path: a folder, an ``.npz`` file (MedMNIST) or a ``.csv`` file.
        name: the layout, where detection shall be overruled: ``ham10000``, ``isic2017``, ``isic2019``, ``pad_ufes_20``, ``dermamnist``,
            ``folder`` (one sub-folder a class) or ``csv`` (columns ``image`` or ``path``, ``label``; optional ``group``,
            ``split``, and metadata).
        labels: the classes and their order, for ``folder`` and ``csv`` (such as those of a trained model). Without it they are
            the sorted class names found.
        missing: what to do with rows whose image file is not there: ``error``; ``keep`` them (for an audit); or ``skip`` them.
        group_by: a column of the table, or a regular expression on the file names, that tells the lesion or patient of an image;
            without it, what the layout or a column of a known name says (`lentigo.data.groups`).

    Returns:
        At least two images, sorted by id. Where a split was published, it is in ``split`` and ``official_split``.

    Raises:
        DataError: no such folder, no known layout, a table that lacks a column, an unknown or empty class, missing image
            files, or fewer than two images.
    """
    place = Path(path)
    if not place.exists():
        raise DataError(f"{place}: no such file or folder{_near(place)}")
    if name is not None and name not in READERS:
        raise DataError(f"unknown data set layout {name!r}{did_you_mean(name, READERS)}")
    chosen = name or detect_layout(place)
    own = chosen in ("folder", "csv")
    if labels is not None and not own:
        raise DataError(f"{place}: the classes of {chosen} are fixed; a label set can be given for folder and csv only")
    samples = READERS[chosen](place, labels)
    if group_by is not None:
        samples = _group_by(samples, group_by)
    absent = samples.frame["image"][[size < 0 for size in samples.sizes()]]
    if len(absent) == len(samples):
        raise DataError(f"{place}: none of the {len(samples):,} images in the table is there (the first: {absent.iloc[0]!r})")
    if len(absent) and missing == "error":
        raise DataError(
            f"{place}: {len(absent):,} of {len(samples):,} images in the table are missing, the first {absent.iloc[0]!r}; "
            "complete the download, or leave these rows out (missing='skip')"
        )
    if missing == "skip":
        samples = samples.without(absent)
    if len(samples) < 2:
        raise DataError(f"{place}: only one image there; a data set needs at least two")
    return samples


def _group_by(samples: Samples, wanted: str) -> Samples:
    """The samples grouped by a column or a pattern."""
    frame = samples.frame
    if wanted in frame.columns:
        return replace(samples, frame=frame.assign(group=_filled(frame[wanted], frame["image"])), groups=_by_column(frame, wanted))
    if re.fullmatch(r"[\w ]+", wanted):
        columns = [c for c in frame.columns if c not in ("image", "path", "split", "train_only", "official_split")]
        raise DataError(f"{samples.root}: --group-by {wanted!r} is no column of the table{did_you_mean(wanted, columns)}")
    return replace(
        samples, frame=frame.assign(group=groups_by_pattern(wanted, frame["path"].tolist())), groups=GroupSource("pattern", wanted)
    )


def _by_column(table: pd.DataFrame, column: str) -> GroupSource:
    return GroupSource("column", column, int((table[column] == "").sum()))


def _filled(groups: pd.Series[str], images: pd.Series[str]) -> pd.Series[str]:
    """The groups; an image without one stands alone."""
    return groups.where(groups != "", images)


def detect_layout(path: Path) -> str:
    """Name the layout of a folder or file.

    Raises:
        DataError: none of the known ones; the message says what they look like.
    """
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return "dermamnist"
        if path.suffix.lower() in (".csv", ".tsv"):
            return "csv"
        raise DataError(f"{path}: a data set is a folder, a .csv or an .npz file")
    files = {p.name: p for p in sorted(path.iterdir()) if p.is_file()}
    if any(name in files for name in HAM_TABLES):
        return "ham10000"
    if ISIC_TABLES["train"] in files or (path / "ISIC-2017_Training_Data").is_dir():
        return "isic2017"
    if ISIC2019_TABLE in files:
        return "isic2019"
    if "metadata.csv" in files and {"diagnostic", "img_id"} <= set(_header(files["metadata.csv"])):
        return "pad_ufes_20"
    if "labels.csv" in files and {"image_id", "split", "label"} <= set(_header(files["labels.csv"])):
        return "isic2017"
    if any(name.endswith(".npz") for name in files):
        return "dermamnist"
    tables = [p for n, p in files.items() if n.lower().endswith(".csv") and n != "split.csv"]
    if any({"image", "path"} & set(_header(p)) and "label" in _header(p) for p in tables):
        return "csv"
    if any(_images_below(p) for p in _class_folders(path)):
        return "folder"
    if len(tables) == 1:
        return "csv"  # its reader says which column is missing
    raise DataError(
        f"{path}: no known data set here; lentigo reads HAM10000 (HAM10000_metadata.csv), ISIC 2017 "
        "(ISIC-2017_Training_Part3_GroundTruth.csv), PAD-UFES-20 (metadata.csv), DermaMNIST (.npz), a folder with one sub-folder "
        "of images a class, and a CSV with image and label"
    )


def read_ham10000(path: Path, labels: LabelSet | None = None) -> Samples:
    """HAM10000 (Tschandl et al. 2018): ``HAM10000_metadata.csv`` and the images anywhere below.

    Groups are lesions (``lesion_id``; two ids that one photograph carries are joined). Images
    named in ``low_resolution.csv`` (where it exists) are for training only.
    """
    source = _one_of(path, HAM_TABLES)
    table = read_table(source)
    need_columns(table, ("lesion_id", "image_id", "dx"), source)
    frame = _frame(path, table["image_id"], table["dx"].str.lower(), HAM10000, source)
    frame["group"] = table["lesion_id"]
    lesion = dict(zip(table["image_id"], table["lesion_id"], strict=True))
    for first, second in HAM_SAME_LESION:
        if first in lesion and second in lesion:
            frame.loc[frame["group"] == lesion[second], "group"] = lesion[first]
    low = path / "low_resolution.csv"
    if low.is_file():
        listed = read_table(low)
        need_columns(listed, ("image_id",), low)
        frame["train_only"] = table["image_id"].isin(listed["image_id"])
    _add(frame, table, {"age": "age", "sex": "sex", "localization": "site", "dx_type": "dx_type"})
    return _samples("ham10000", path, HAM10000, frame, GroupSource("layout", "lesion_id"))


def read_isic2017(path: Path, labels: LabelSet | None = None) -> Samples:
    """ISIC 2017 (Codella et al. 2017): the Part 3 ground truth as published, or ``labels.csv`` (image_id, split, label)."""
    if (path / "labels.csv").is_file():
        source = path / "labels.csv"
        table = read_table(source)
        need_columns(table, ("image_id", "split", "label"), source)
        codes = table["label"].str.lower().str.replace("_", " ").map(lambda text: ISIC_NAMES.get(text, text))
        frame = _frame(path, table["image_id"], codes, ISIC2017, source)
        frame["split"] = frame["official_split"] = table["split"]
        return _samples("isic2017", path, ISIC2017, frame)
    parts = []
    for split, file in ISIC_TABLES.items():
        found = _find(path, file)
        if found is None:
            if split == "train":
                raise DataError(f"{path}: has no {file}")
            continue
        table = read_table(found)
        need_columns(table, ("image_id", "melanoma", "seborrheic_keratosis"), found)
        melanoma, keratosis = (pd.to_numeric(table[c], errors="coerce") for c in ("melanoma", "seborrheic_keratosis"))
        codes = pd.Series(np.select([melanoma == 1, keratosis == 1], ["mel", "sk"], "nv"), index=table.index)
        part = _frame(path, table["image_id"], codes, ISIC2017, found)
        part["split"] = part["official_split"] = split
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    tables = [read_table(p) for p in (_find(path, f) for f in ISIC_METADATA) if p is not None]
    if tables:
        metadata = pd.concat(tables, ignore_index=True).drop_duplicates("image_id").set_index("image_id")
        aligned = metadata.reindex(frame["image"]).reset_index()
        _add(frame, aligned, {"age_approximate": "age", "sex": "sex"})
    return _samples("isic2017", path, ISIC2017, frame)


def read_isic2019(path: Path, labels: LabelSet | None = None) -> Samples:
    """ISIC 2019 (Combalia et al. 2019): the one-hot ground truth, and lesion ids from the metadata where they are there.

    Images of class ``UNK`` are left out: the class has no diagnosis.
    """
    source = path / ISIC2019_TABLE
    table = read_table(source)
    columns = [code.upper() for code in ISIC2019.codes]
    need_columns(table, ("image", *columns), source)
    marks = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy() == 1
    unknown = pd.to_numeric(table["UNK"], errors="coerce").to_numpy() == 1 if "UNK" in table.columns else np.zeros(len(table), bool)
    wrong = np.flatnonzero(marks.sum(1) + unknown != 1)
    if len(wrong):
        raise DataError(f"{source}: line {wrong[0] + 2} has {int(marks[wrong[0]].sum())} classes; each image must have one")
    table, marks = table[~unknown].reset_index(drop=True), marks[~unknown]
    frame = _frame(path, table["image"], pd.Series(np.array(ISIC2019.codes)[marks.argmax(1)]), ISIC2019, source)
    if (metadata := path / ISIC2019_METADATA).is_file():
        aligned = read_table(metadata).drop_duplicates("image").set_index("image").reindex(frame["image"]).fillna("").reset_index()
        if "lesion_id" in aligned.columns:
            frame["group"] = aligned["lesion_id"].where(aligned["lesion_id"] != "", frame["image"])
        _add(frame, aligned, {"age_approx": "age", "sex": "sex", "anatom_site_general": "site"})
    return _samples("isic2019", path, ISIC2019, frame)


def read_pad_ufes_20(path: Path, labels: LabelSet | None = None) -> Samples:
    """PAD-UFES-20 (Pacheco et al. 2020): ``metadata.csv`` and smartphone photographs anywhere below; groups are patients."""
    source = path / "metadata.csv"
    table = read_table(source)
    need_columns(table, ("img_id", "patient_id", "diagnostic"), source)
    stems = table["img_id"].map(lambda name: Path(name).stem)
    frame = _frame(path, stems, table["diagnostic"].str.lower(), PAD_UFES_20, source)
    frame["group"] = table["patient_id"]
    table = table.assign(gender=table.get("gender", pd.Series("", table.index)).str.lower())
    table = table.assign(region=table.get("region", pd.Series("", table.index)).str.lower())
    names = {"age": "age", "gender": "sex", "region": "site", "fitspatrick": "fitzpatrick", "lesion_id": "lesion"}
    rest = [c for c in table.columns if c not in (*names, "img_id", "patient_id", "diagnostic")]
    _add(frame, table, {**names, **{c: c for c in rest}})
    return _samples("pad_ufes_20", path, PAD_UFES_20, frame, GroupSource("layout", "patient_id"))


def read_dermamnist(path: Path, labels: LabelSet | None = None) -> Samples:
    """DermaMNIST (Yang et al. 2023), any size: an ``.npz`` with ``train_images``, ``train_labels``, ...; HAM10000's classes.

    The published split is by image and leaks lesions; lesion ids are not published with it, so that groups are unknown.
    """
    file = path
    if path.is_dir():
        found = sorted(path.glob("*.npz"))
        if len(found) != 1:
            raise DataError(f"{path}: {len(found)} .npz files there; name the one to read")
        file = found[0]
    rows = []
    for split in SPLITS:
        images, targets = read_array(file, f"{split}_images"), read_array(file, f"{split}_labels").reshape(-1)
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) != len(targets):
            raise DataError(f"{file}: {split}_images must be (N, H, W, 3) uint8 with one label each; found {images.shape} {images.dtype}")
        for row, target in enumerate(targets.tolist()):
            if not 0 <= target < len(HAM10000):
                raise DataError(f"{file}: {split}_labels holds class {target}; DermaMNIST has 0 to {len(HAM10000) - 1}")
            rows.append((f"{split}_{row:05d}", f"{file.name}#{split}_images/{row}", HAM10000.codes[target], split))
    frame = pd.DataFrame(rows, columns=["image", "path", "label", "split"])
    frame["group"], frame["train_only"], frame["official_split"] = frame["image"], False, frame["split"]
    return _samples("dermamnist", file.parent, HAM10000, frame)


def read_folder(path: Path, labels: LabelSet | None = None) -> Samples:
    """A folder with one sub-folder of images a class; the sub-folder's name is the class code.

    Where the sub-folders are ``train``, ``test`` and perhaps ``val``, the classes are looked for inside them, and the split is kept.
    """
    if not path.is_dir():
        raise DataError(f"{path}: not a folder")
    rows = []
    codes = set()
    top = _class_folders(path)
    divided = {"train", "test"} <= {_SPLIT_FOLDERS.get(p.name.lower()) for p in top} <= set(SPLITS)
    for folder in (inner for p in top for inner in _class_folders(p)) if divided else top:
        files = _images_below(folder)
        if not files:
            raise DataError(f"{folder}: class {folder.name!r} is empty; put images there or remove the folder")
        codes.add(folder.name)
        split = _SPLIT_FOLDERS[folder.parent.name.lower()] if divided else ""
        rows += [(file.relative_to(path).as_posix(), folder.name, split) for file in files]
    if not rows:
        raise DataError(f"{path}: has no sub-folders of images (one a class)")
    labels = _labels(path.resolve().name, sorted(codes), labels, path)
    frame = pd.DataFrame(rows, columns=["path", "label", "split"])
    frame["image"] = frame["group"] = frame["path"]
    frame["train_only"] = False
    if divided:
        frame["official_split"] = frame["split"]
    return _samples("folder", path, labels, frame)


def read_csv(path: Path, labels: LabelSet | None = None) -> Samples:
    """A CSV with ``path`` or ``image`` (a file, relative to the CSV) and ``label``; optional ``group``, ``split``, metadata.

    Where both are there, ``image`` is the id and ``path`` the file. An id without a suffix is looked up by stem below the folder.
    """
    source = path
    if path.is_dir():
        tables = [p for p in sorted(path.glob("*.csv")) if p.name != "split.csv"]
        fitting = [p for p in tables if {"image", "path"} & set(_header(p)) and "label" in _header(p)] or tables
        if len(fitting) != 1:
            raise DataError(f"{path}: {len(fitting)} CSV tables there; name the one to read")
        source = fitting[0]
    table = read_table(source)
    if "path" not in table.columns and "image" not in table.columns:
        raise DataError(f"{source}: has no column 'image' or 'path' (found: {', '.join(table.columns)})")
    need_columns(table, ("label",), source)
    if table.empty:
        raise DataError(f"{source}: the table has no rows")
    unlabelled = table.index[table["label"] == ""]
    if len(unlabelled):
        raise DataError(f"{source}: {len(unlabelled)} rows have no label, the first in line {int(unlabelled[0]) + 2}")
    root = source.parent
    labels = _labels(source.stem, sorted(table["label"].unique()), labels, source)
    frame = pd.DataFrame({"image": table["image"] if "image" in table.columns else table["path"], "label": table["label"]})
    if "path" in table.columns:
        frame["path"] = table["path"]
    else:
        plain = [Path(p).suffix.lower() in IMAGE_SUFFIXES for p in frame["image"]]
        files = {} if all(plain) else _stems(root)
        frame["path"] = [image if whole else files.get(image, image) for image, whole in zip(frame["image"], plain, strict=True)]
    column = next((name for name in GROUP_COLUMNS if name in table.columns), None)
    frame["group"] = frame["image"] if column is None else _filled(table[column], frame["image"])
    frame["split"] = table["split"] if "split" in table.columns else ""
    if "split" in table.columns:
        frame["official_split"] = table["split"]
    frame["train_only"] = table["train_only"].str.lower().isin(["1", "true", "yes"]) if "train_only" in table.columns else False
    known = {"image", "path", "label", "group", "split", "train_only"}
    _add(frame, table, {c: c for c in table.columns if c not in known})
    return _samples("csv", root, labels, frame, UNKNOWN if column is None else _by_column(table, column))


READERS: dict[str, Callable[[Path, LabelSet | None], Samples]] = {
    "ham10000": read_ham10000,
    "isic2017": read_isic2017,
    "isic2019": read_isic2019,
    "pad_ufes_20": read_pad_ufes_20,
    "dermamnist": read_dermamnist,
    "folder": read_folder,
    "csv": read_csv,
}


def _frame(root: Path, images: pd.Series[str], codes: pd.Series[str], labels: LabelSet, source: Path) -> pd.DataFrame:
    """The fixed columns for a published table: files found by stem, each image its own group."""
    if images.empty:
        raise DataError(f"{source}: the table has no rows")
    for code in codes.unique():
        if code not in labels.codes:
            count = int((codes == code).sum())
            raise DataError(f"{source}: unknown class {code!r} in {count} rows{did_you_mean(str(code), labels.codes)}")
    files = _stems(root)
    return pd.DataFrame(
        {
            "image": images,
            "path": [files.get(image, f"{image}.jpg") for image in images],
            "label": codes,
            "group": images,
            "split": "",
            "train_only": False,
        }
    )


def _add(frame: pd.DataFrame, table: pd.DataFrame, names: dict[str, str]) -> None:
    """Copy metadata columns under their common names; ``age`` becomes a number."""
    for source, name in names.items():
        if source in table.columns:
            values = table[source].to_numpy()
            frame[name] = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy() if name == "age" else values


def _samples(name: str, root: Path, labels: LabelSet, frame: pd.DataFrame, groups: GroupSource = UNKNOWN) -> Samples:
    return Samples(name, root, labels, frame.sort_values("image", kind="stable"), groups)


def _labels(name: str, found: Iterable[str], given: LabelSet | None, source: Path) -> LabelSet:
    codes = list(found)
    if given is None:
        if len(codes) < 2:
            raise DataError(f"{source}: only one class there ({codes[0]!r}); a classifier needs at least two")
        return LabelSet.of(name, codes)
    for code in codes:
        if code not in given.codes:
            raise DataError(f"{source}: unknown class {code!r}{did_you_mean(code, given.codes)}")
    return given


def _stems(root: Path) -> dict[str, str]:
    """File stem -> path relative to ``root``, for every image below; the first in sorted order where a stem is there twice."""
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        relative = Path(folder).relative_to(root)
        for file in sorted(files):
            stem, dot, suffix = file.rpartition(".")
            if dot + suffix.lower() in IMAGE_SUFFIXES and not file.startswith("."):
                found.setdefault(stem, (relative / file).as_posix())
    return found


def _images_below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") and p.is_file())


def _class_folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _one_of(path: Path, names: Iterable[str]) -> Path:
    for name in names:
        if (path / name).is_file():
            return path / name
    raise DataError(f"{path}: has no {next(iter(names))}")


def _find(path: Path, name: str) -> Path | None:
    return next((p for p in (path / name, *sorted(path.glob(f"*/{name}"))) if p.is_file()), None)


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            return [c.strip().strip('"') for c in file.readline().replace("\t", ",").split(",")]
    except (OSError, UnicodeDecodeError):
        return []


def _near(place: Path) -> str:
    try:
        beside = [p.name for p in place.parent.iterdir()]
    except OSError:
        return ""
    hint = did_you_mean(place.name, beside)
    return hint if hint.startswith("; did") else ""
