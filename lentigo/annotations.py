"""Read the classes of images from COCO, VIA, Label Studio and Labelbox, as one record per image."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Record = dict[str, Any]
"""Column -> value, or a list of the values of an image with several."""

_Image = tuple[Any, list[tuple[str, Any]], Record]
"""Its name, its attributes, and further columns."""
_IMAGE = re.compile(r".+\.(jpe?g|png|webp|bmp|tiff?|gif|hei[cf]|dcm)", re.IGNORECASE)
_FORMS = "COCO, VIA, Label Studio or Labelbox, nor a list of objects, one an image"


def records(content: Any) -> list[Record]:
    """Return one record per image of a JSON file.

    Args:
        content: of COCO (``images``, ``annotations``, ``categories``), VIA, Label Studio, Labelbox; a list of objects,
            alone or as the one list of an object; several such lists with the same columns, whose names become the
            column ``set``; an object of ``{file name: class}`` or ``{file name: {column: value}}``; or what pandas
            writes.

    Raises:
        ValueError: none of these.

    Example:
        >>> records({"a.jpg": "nevus", "b.jpg": "melanoma"})[1]
        {'image': 'b.jpg', 'label': 'melanoma'}
    """
    if isinstance(content, dict):
        content = _listed(content)
    if not (isinstance(content, list) and content and all(isinstance(one, dict) for one in content)):
        raise ValueError(f"it is none of {_FORMS}")
    for reads, keys in _READS:
        if all(keys <= one.keys() for one in content):
            try:
                return _merged(map(reads, content))
            except (AttributeError, KeyError, TypeError) as error:
                raise ValueError(f"as annotations of {reads.__name__.strip('_')} it is not whole: {error}") from None
    return content


def _listed(content: dict[str, Any]) -> Any:
    """Return the records of a file that is one object; None for other objects."""
    if {"images", "annotations", "categories"} <= content.keys():
        return _coco(content)
    if isinstance(via := content.get("_via_img_metadata"), dict):
        content = via
    values = list(content.values())
    if values and all(isinstance(value, dict) for value in values):
        if all("filename" in value for value in values):
            return values
        if all(value.keys() == values[0].keys() for value in values):  # as pandas writes columns, or rows
            if all(key.isdigit() for key in values[0]):
                return [{column: content[column][row] for column in content} for row in values[0]]
            named = not any(key.isdigit() for key in content)  # by the images, unless rows are numbered
            return [{"image": key, **value} if named else value for key, value in content.items()]
    if content and all(map(_IMAGE.fullmatch, content)) and all(isinstance(v, str | int) for v in values):
        return [{"image": name, "label": value} for name, value in content.items()]
    lists = {
        name: value
        for name, value in content.items()
        if isinstance(value, list) and value and isinstance(value[0], dict)
    }
    if len(lists) > 1 and all(value[0].keys() == next(iter(lists.values()))[0].keys() for value in lists.values()):
        return [{"set": name, **one} for name, value in lists.items() for one in value]
    return next(iter(lists.values())) if len(lists) == 1 else None


def _coco(content: Mapping[str, Any]) -> list[Record]:
    try:
        names = {one["id"]: one["name"] for one in content["categories"]}
        found: dict[Any, Record] = {one["id"]: {"image": one["file_name"], "label": []} for one in content["images"]}
        for one in content["annotations"]:
            found[one["image_id"]]["label"].append(names[one["category_id"]])
    except (KeyError, TypeError) as error:
        raise ValueError(f"as COCO it lacks {error}") from None
    return _merged((one["image"], [("label", name) for name in one["label"]], {}) for one in found.values())


def _via(one: Record) -> _Image:
    regions = one.get("regions") or ()
    listed = [region["region_attributes"] for region in (regions.values() if isinstance(regions, dict) else regions)]
    listed += [one.get("region_attributes") or {}, one.get("file_attributes") or {}]
    return one["filename"], [pair for attributes in listed for pair in attributes.items()], {}


def _label_studio(one: Record) -> _Image:
    data = dict(one["data"])
    image = next((data.pop(key) for key in ("image", "img", "photo", *data) if key in data), "")
    said = [
        (result.get("from_name", "label"), name)
        for annotation in one["annotations"]
        if not annotation.get("was_cancelled")
        for result in annotation.get("result", ())
        for key, names in result.get("value", {}).items()
        if key == "choices" or key.endswith("labels")
        for name in names
    ]
    return image, said, data


def _labelbox(one: Record) -> _Image:
    row = one.get("data_row", one)
    image = next((row[key] for key in ("external_id", "External ID", "global_key", "row_data") if row.get(key)), "")
    labels = [label["annotations"] for project in one.get("projects", {}).values() for label in project["labels"]]
    said: list[tuple[str, Any]] = []
    for label in labels or [one.get("Label") or {}]:
        objects = label.get("objects", ())
        for question in (
            *label.get("classifications", ()),
            *(c for o in objects for c in o.get("classifications", ())),
        ):
            answers = question.get("radio_answer") or question.get("answer") or question.get("checklist_answers") or ()
            for answer in answers if isinstance(answers, list) else (answers,):
                said.append((_name(question), _name(answer)))
        said += [("object", _name(found)) for found in objects]
    answered = [pair for pair in said if pair[0] != "object"]
    return image, answered or said, {}


def _name(one: Any) -> str:
    return str(one.get("name") or one.get("title") or one.get("value")) if isinstance(one, dict) else str(one)


_READS: tuple[tuple[Callable[[Record], _Image], set[str]], ...] = (
    (_via, {"filename", "file_attributes"}),
    (_label_studio, {"data", "annotations"}),
    (_labelbox, {"data_row", "projects"}),
    (_labelbox, {"External ID", "Label"}),
)


def _merged(images: Iterable[_Image]) -> list[Record]:
    """Merge annotations into one record per image; the only attribute of a file is the class."""
    found: dict[str, dict[str, list[Any]]] = {}
    others: dict[str, Record] = {}
    for image, said, more in images:
        others.setdefault(str(image), {}).update(more)
        tags = found.setdefault(str(image), {})
        for name, value in said:
            # A checkbox of VIA is {"melanoma": true}.
            values = [key for key, on in value.items() if on] if isinstance(value, dict) else [value]
            tags.setdefault(name, []).extend(v for v in values if v not in ("", None, *tags.get(name, ())))
    names = sorted({name for tags in found.values() for name, values in tags.items() if values})
    calls = {name: "label" if len(names) == 1 else name for name in names}
    return [
        {"image": image, **others[image]}
        | {calls[name]: values[0] if len(values) == 1 else values for name, values in tags.items() if values}
        for image, tags in found.items()
    ]
