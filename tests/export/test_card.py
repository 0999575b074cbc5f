"""The card says of the split what is known of the groups, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from lentigo.bundle import Grouping, Provenance
from lentigo.config import parse_recipe
from lentigo.data.readers import READERS
from lentigo.export.card import _protocol
from lentigo.export.provenance import DATA, data_domain, data_licence, model_name, model_title, other_notes
from lentigo.labels import LINE_LENGTH
from lentigo.training import Run


@pytest.mark.parametrize(
    ("protocol", "groups", "said", "unsaid"),
    [
        ("patient", Grouping(kind="column", name="patient_id"), "no patient has images on two sides", "unknown"),
        ("patient", Grouping(kind="layout", name="lesion_id"), "no lesion has images on two sides", "no patient"),
        ("patient", Grouping(kind="unknown"), "patients unknown: a leak", "on two sides"),
        ("patient", Grouping(kind="column", name="patient_id", blank=2), "patients unknown: a leak", "on two sides"),
        ("lesion", None, "patients unknown: a leak", "on two sides"),
        ("image", Grouping(kind="column", name="patient_id"), "other photographs of a test patient", "unknown"),
        ("official", None, "the split that came with the data; patients unknown", "on two sides"),
    ],
)
def test_what_is_said_of_the_split(protocol: str, groups: Grouping | None, said: str, unsaid: str) -> None:
    text = _protocol(Provenance.model_construct(data="folder", protocol=protocol, groups=groups))
    assert said in text
    assert unsaid not in text


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"name": "Mine 2", "data": "folder", "data_name": "Photos"}, "mine-2"),
        ({"name": "皮肤", "data": "csv", "data_name": "Photos"}, "a-recipe"),
        ({"name": "Mine 2", "data": "ham10000"}, "a-recipe"),
    ],
)
def test_a_bundle_of_own_data_has_the_name_of_its_run(tmp_path: Path, record: dict[str, str], name: str) -> None:
    run = Run(tmp_path, parse_recipe({"name": "a-recipe"}), record)
    assert model_name(run) == name
    assert ("Photos" in model_title([None], run)) == ("data_name" in record)


def test_every_published_data_set_has_a_licence_a_source_and_a_kind() -> None:
    published = set(READERS) - {"folder", "csv"}
    assert published <= set(DATA)
    assert all(DATA[name].licence and DATA[name].source and DATA[name].bias for name in published)
    restricted = {name for name in published if DATA[name].non_commercial}
    assert restricted == published - {"isic2016", "isic2017", "pad_ufes_20"}
    run = Run(Path(), parse_recipe({"name": "a-recipe", "data": {"domain": "clinical"}}), {"data": "isic2019"})
    assert data_domain(DATA["isic2019"], run) == "dermoscopy"
    assert data_domain(DATA["isic-archive"], run) == "clinical"  # the archive holds both kinds


def test_the_licences_of_many_data_sets_fit_into_a_line() -> None:
    few, many = data_licence([DATA["pad_ufes_20"], None, DATA["pad_ufes_20"]]), data_licence([*DATA.values(), None])
    assert few.startswith("CC BY 4.0; Pacheco")
    assert few.endswith(" | not stated: a data set of the user's own")
    assert len(many) <= LINE_LENGTH
    assert all(f"{facts.title}: {facts.licence}" in many for facts in DATA.values())


def test_data_of_a_teacher_stand_in_one_sentence() -> None:
    taught = [
        {"data": name, "images": 10, "teacher": "dermoscopy-7", "by": "features"} for name in ("isic2019", "photos")
    ]
    (note,) = other_notes(Run(Path(), parse_recipe({"name": "a-recipe"}), {"data": "folder", "taught": taught}))
    assert note.startswith("Training started from the features of `dermoscopy-7`. It, or a teacher of it, was trained")
    assert "10 images of ISIC 2019 (BCN20000" in note
    assert "licence: CC BY-NC 4.0); 10 images of `photos`. Figures on these data say nothing" in note


def test_patients_on_both_sides_stand_in_the_card(tmp_path: Path) -> None:
    record = {"data": "folder", "groups": {"kind": "folder", "name": "patient"}, "shared_groups": 2}
    run = Run(tmp_path, parse_recipe({"name": "a-recipe"}), record)
    assert other_notes(run) == [
        "2 patients have images in more than one part of the split: figures are too good for new patients."
    ]
