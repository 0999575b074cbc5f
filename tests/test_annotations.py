from __future__ import annotations

import json
from typing import Any

import pytest

from lentigo.annotations import records

NAMES = {"a.jpg": "melanoma", "b.jpg": "nevus"}
COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
    "annotations": [{"image_id": 8, "category_id": 2}, {"image_id": 7, "category_id": 1}],
    "categories": [{"id": 0, "name": "lesions"}, {"id": 1, "name": "melanoma"}, {"id": 2, "name": "nevus"}],
}
VIA = {
    f"{image}99": {
        "filename": image,
        "size": 99,
        "regions": [{"shape_attributes": {"name": "rect"}, "region_attributes": {"lesion": name}}] * 2,
        "file_attributes": {"caption": ""},
    }
    for image, name in NAMES.items()
}
VIA_CHECKED = [
    {"filename": image, "file_attributes": {"kind": {name: True, "other": False}}} for image, name in NAMES.items()
]
LABEL_STUDIO = [
    {
        "data": {"image": image},
        "annotations": [
            {"was_cancelled": True, "result": [{"from_name": "dx", "value": {"choices": ["other"]}}]},
            {"result": [{"from_name": "dx", "value": {"x": 1, "rectanglelabels": [name]}}]},
        ],
    }
    for image, name in NAMES.items()
]
LABELBOX = [
    {
        "data_row": {"id": "x", "external_id": image, "row_data": "https://example.org/x"},
        "projects": {
            "p": {
                "labels": [
                    {
                        "annotations": {
                            "objects": [{"name": "lesion"}],
                            "classifications": [{"name": "dx", "radio_answer": {"name": name}}],
                        }
                    }
                ]
            }
        },
    }
    for image, name in NAMES.items()
]
LABELBOX_OLD = [
    {"External ID": image, "Label": {"objects": [{"title": name, "value": "v"}]}} for image, name in NAMES.items()
]


@pytest.mark.parametrize(
    "content",
    [
        COCO,
        VIA,
        {"_via_settings": {}, "_via_img_metadata": VIA},
        VIA_CHECKED,
        LABEL_STUDIO,
        LABELBOX,
        LABELBOX_OLD,
        NAMES,
        {"version": 1, "items": [{"image": image, "label": name} for image, name in NAMES.items()]},
        {"image": {"0": "a.jpg", "1": "b.jpg"}, "label": {"0": "melanoma", "1": "nevus"}},
        {"x": {"image": "a.jpg", "label": "melanoma"}, "y": {"image": "b.jpg", "label": "nevus"}},
    ],
    ids=lambda content: json.dumps(content)[:30],
)
def test_each_form_tells_image_and_class(content: Any) -> None:
    assert records(content) == [{"image": image, "label": name} for image, name in NAMES.items()]


def test_several_attributes_keep_their_names_and_several_values_stay_apart() -> None:
    result = [
        {"from_name": "dx", "value": {"choices": ["nevus", "melanoma"]}},
        {"from_name": "site", "value": {"choices": ["arm"]}},
    ]
    content = [{"data": {"img": "a.jpg", "patient": "P1"}, "annotations": [{"result": result}]}]
    assert records(content) == [{"image": "a.jpg", "patient": "P1", "dx": ["nevus", "melanoma"], "site": "arm"}]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"lr": 3}, "none of COCO, VIA"),
        ([], "none of COCO"),
        ([1, 2], "none of COCO"),
        ("text", "none of COCO"),
        ({"melanoma": 0, "nevus": 1}, "none of COCO"),
        ({**COCO, "images": [{"id": 1}]}, "as COCO it lacks 'file_name'"),
        ({**COCO, "annotations": [{"image_id": 1, "category_id": 1}]}, "as COCO it lacks 1"),
        ({**COCO, "images": [3]}, "as COCO it lacks"),
        ([{"data": 3, "annotations": None}], "not whole"),
        ([{"data_row": {}, "projects": {"p": {}}}], "not whole"),
        ([{"filename": "a.jpg", "file_attributes": {}, "regions": [{}]}], "not whole"),
    ],
)
def test_what_is_no_annotation_file_is_refused(content: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        records(content)
