"""Tables made of annotations: a file for each image (Pascal VOC, YOLO, LabelMe, JSON), CVAT, and lists of text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from lentigo.code_pages import decode
from lentigo.data.readers.place import Place
from lentigo.data.readers.split_words import split_word
from lentigo.data.tables import read_table
from lentigo.errors import LentigoError
from lentigo.imaging import is_image_name
from lentigo.tables import IMAGE_COLUMNS, PATH_COLUMNS, find_column, some

Record = dict[str, Any]
_KINDS = {".xml": "Pascal VOC", ".txt": "YOLO", ".json": "JSON", "": "JSON"}
_YOLO = re.compile(r"(\d+)(\s+-?\d[\d.e+-]*){4,}", re.IGNORECASE)
_PH2 = re.compile(r"\|\|\s*(IMD\d+)\s*\|\|[^|]*\|\|\s*([012])\s*\|\|")
_PH2_CLASSES = ("common nevus", "atypical nevus", "melanoma")
_LINE = re.compile(r"(.+?\.(?:jpe?g|png|webp|bmp|tiff?|gif))[\s,;]+(.+)|([^\s,;]+)[\s,;]+(.+)", re.IGNORECASE)
_CLASSES, _SPLIT = ("labels.txt", "image_class_labels.txt"), "train_test_split.txt"
_MOST_BYTES = 2**24


def read_annotations(place: Place) -> list[str]:
    """Add tables with one row per image to a place, from annotation files; ``broken`` lists ambiguous files."""
    if place.annotated or place.file is not None:
        return place.annotated
    found = dict(_one_file_an_image(place))
    for file in place.files:
        with suppress(OSError, ValueError, LentigoError, ElementTree.ParseError):
            if file not in place.annotations and (rows := _listed(place, file)) is not None and len(rows) > 1:
                found[file] = rows
                place.annotations.add(file)
    place.add(found)
    return place.annotated


def _one_file_an_image(place: Place) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield one table for each kind of annotation files that have the name of an image."""
    stems: dict[str, list[str]] = {}
    for image in place.images:
        stems.setdefault(PurePosixPath(image).stem.lower(), []).append(image)
    pairs: dict[str, dict[str, str]] = {}
    for file in place.files:
        name = PurePosixPath(file)
        if name.suffix.lower() in _KINDS and not is_image_name(name.name):
            stem = PurePosixPath(name.stem).stem if is_image_name(name.stem) else name.stem
            if (nearest := _nearest(file, stems.get(stem.lower(), ()))) is not None:
                pairs.setdefault(_KINDS[name.suffix.lower()], {})[file] = nearest
    splits = _splits(place) if pairs else {}
    for kind, files in pairs.items():
        records = {}
        for file, image in files.items():
            with suppress(OSError, ValueError, LentigoError, ElementTree.ParseError, RecursionError):
                if record := _record(_text(place, file), kind):
                    records[file] = {"image": image, **record} | ({"split": splits[image]} if image in splits else {})
        if len(records) < 2:
            continue
        place.annotations |= records.keys()
        several = [f for f, record in records.items() if isinstance(record.get("label"), list) and record["label"][1:]]
        title = f"{next(iter(records))} and {len(records) - 1:,} more"
        if several:
            place.broken[several[0]] = (
                f"as {kind}, {len(several):,} of {len(records):,} images have several classes, such as"
                f" {some(records[several[0]]['label'])}, and each must have one; take these files away, or write the"
                " classes into a CSV with path and label"
            )
            continue
        for file in [f for f, record in records.items() if record.get("label") == []]:
            place.reading.ignore(file, "an annotation without a class")
            del records[file]
        yield title, _frame([_plain(record) for record in records.values()])


def _nearest(file: str, images: Sequence[str]) -> str | None:
    """Return the image of a file's name: in its folder, or one folder of the path differs (``labels``, ``images``)."""
    if len(images) < 2:
        return images[0] if images else None
    parts = file.split("/")[:-1]
    for most in (0, 1):
        near = [
            image
            for image in images
            if len(within := image.split("/")[:-1]) == len(parts)
            and sum(a != b for a, b in zip(within, parts, strict=True)) == most
        ]
        if near:
            return near[0] if len(near) == 1 else None
    return None


def _record(text: str, kind: str) -> Record:
    """Return the annotation of an image; empty for a file of another kind."""
    if kind == "Pascal VOC":
        root = ElementTree.fromstring(text)
        if root.tag != "annotation":
            return {}
        return {"label": _distinct(one.findtext("name") for one in root.iter("object"))}
    if kind == "YOLO":
        boxes = [_YOLO.fullmatch(line.strip()) for line in text.splitlines() if line.strip()]
        return {"label": _distinct(box[1] for box in boxes if box)} if all(boxes) else {}
    content = json.loads(text)
    if not isinstance(content, dict):
        return {}
    for objects in (content.get("shapes"), content.get("objects")):  # LabelMe, Supervisely
        if isinstance(objects, list) and all(isinstance(one, dict) for one in objects):
            flags = [name for name, on in (content.get("flags") or {}).items() if on is True]
            return {"label": _distinct(one.get("label") or one.get("classTitle") for one in objects) or flags}
    return dict(_leaves(content))


def _distinct(names: Any) -> list[str]:
    return list(dict.fromkeys(str(name).strip() for name in names if name))


def _leaves(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the values of nested objects by their innermost names, as ``diagnosis`` in ``meta.clinical``."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        elif isinstance(value, str | int | float):
            yield key, value


def _plain(record: Record) -> Record:
    return {key: value[0] if isinstance(value, list) else value for key, value in record.items()}


def _frame(records: Sequence[Record]) -> pd.DataFrame:
    table = pd.DataFrame(records, index=pd.RangeIndex(1, len(records) + 1), dtype=object)
    return table.where(table.notna(), "").astype(str).astype(object)


def _text(place: Place, file: str) -> str:
    path = place.root / file
    return decode(path.read_bytes())[0] if path.stat().st_size <= _MOST_BYTES else ""


def _lines(place: Place, file: str) -> list[str]:
    return [line.strip() for line in _text(place, file).splitlines() if line.strip()]


def _splits(place: Place) -> dict[str, str]:
    """Return the part of each image in lists such as ``ImageSets/Main/train.txt``."""
    found: dict[str, str] = {}
    for file in place.find(r".*\.txt"):
        part, rest = split_word(PurePosixPath(file).stem)
        if part and not rest:
            with suppress(OSError, ValueError, LentigoError):
                images = [place.names.locate(line, by_number=False) for line in _lines(place, file)]
                if images and all(images):
                    place.annotations.add(file)
                    found |= dict.fromkeys(filter(None, images), part)
    return found


def _listed(place: Place, file: str) -> pd.DataFrame | None:
    """Return the rows of CVAT's XML, of a table called ``.txt``, or of a list of images and classes."""
    name = file.rpartition("/")[2].lower()
    if name.endswith(".xml"):
        root = ElementTree.fromstring(_text(place, file))
        images = list(root.iter("image")) if root.tag == "annotations" else []
        marked: list[Record] = [
            {"image": one.get("name"), "label": _distinct(part.get("label") for part in one)}
            | ({"subset": one.get("subset")} if one.get("subset") else {})
            for one in images
        ]
        return _one_class(place, file, [row for row in marked if row["label"]])
    beside = f"{file[: -len(name)]}images.txt" in place.files and name in (*_CLASSES, _SPLIT)
    if not name.endswith(".txt") or name == "classes.txt" or beside:
        return None
    lines = _lines(place, file)
    if ph2 := [match for line in lines if (match := _PH2.match(line))]:
        return _frame([{"image": row[1], "label": _PH2_CLASSES[int(row[2])]} for row in ph2])
    if name == "images.txt":
        return _numbered(place, file, lines)
    rows = [match for line in lines if not _YOLO.fullmatch(line) and (match := _LINE.fullmatch(line))]
    if rows and len(rows) == len(lines) and all(_is_there(place, row[1] or row[3]) for row in rows):
        return _frame([{"image": row[1] or row[3], "label": row[2] or row[4]} for row in rows])
    table = read_table(place.root / file) if len(lines) > 1 and re.search(r"[,;\t|]", lines[0]) else pd.DataFrame()
    return table if find_column(table.columns, (*PATH_COLUMNS, *IMAGE_COLUMNS)) else None


def _is_there(place: Place, image: str) -> bool:
    return place.names.locate(image, by_number=False) is not None


def _one_class(place: Place, file: str, rows: Sequence[Record]) -> pd.DataFrame | None:
    several = [row for row in rows if len(row["label"]) > 1]
    if several:
        place.broken[file] = (
            f"{len(several):,} of {len(rows):,} images have several classes, such as {several[0]['image']}"
            f" ({some(several[0]['label'])}), and each must have one; take the others out of it"
        )
    return None if several or not rows else _frame([_plain(row) for row in rows])


def _numbered(place: Place, file: str, images: Sequence[str]) -> pd.DataFrame | None:
    """Read ``images.txt`` with a list of classes of the same lines or numbers, as in CUB-200 and FGVC."""
    folder = file.rpartition("/")[0]
    beside = {name: f"{folder}/{name}".lstrip("/") for name in (*_CLASSES, _SPLIT)}
    listed = {name: _lines(place, path) for name, path in beside.items() if path in place.files}
    classes = next((listed[name] for name in _CLASSES if name in listed), None)
    if classes is None or len(classes) != len(images):
        return None
    place.annotations |= {beside[name] for name in listed}
    by_number = [
        dict(parts for line in lines if len(parts := line.split(maxsplit=1)) == 2) for lines in (images, classes)
    ]
    if all(len(found) == len(images) for found in by_number) and by_number[0].keys() == by_number[1].keys():
        trained = dict(line.split() for line in listed.get(_SPLIT, ()))
        rows = [{"image": by_number[0][n], "label": by_number[1][n]} for n in by_number[0]]
        if trained.keys() >= by_number[0].keys():
            rows = [row | {"is_train": trained[n]} for n, row in zip(by_number[0], rows, strict=True)]
        return _frame(rows)
    return _frame([{"image": i, "label": c} for i, c in zip(images, classes, strict=True)])
