"""The card says of the split what is known of the groups, and no more."""

from __future__ import annotations

import pytest

from lentigo.bundle import Grouping, Provenance
from lentigo.export.card import _protocol


@pytest.mark.parametrize(
    ("protocol", "groups", "said", "unsaid"),
    [
        ("patient", Grouping(kind="column", name="patient_id"), "no patient has images on two sides", "unknown"),
        ("patient", Grouping(kind="layout", name="lesion_id"), "no lesion has images on two sides", "no patient"),
        ("patient", Grouping(kind="unknown"), "patients unknown: a leak", "on two sides"),
        ("patient", Grouping(kind="column", name="patient_id", blank=2), "patients unknown: a leak", "on two sides"),
        ("lesion", None, "patients unknown: a leak", "on two sides"),
        ("image", Grouping(kind="column", name="patient_id"), "other photographs of a test patient", "unknown"),
        ("official", None, "the split published with the data; patients unknown", "on two sides"),
    ],
)
def test_what_is_said_of_the_split(protocol: str, groups: Grouping | None, said: str, unsaid: str) -> None:
    text = _protocol(Provenance.model_construct(data="folder", protocol=protocol, groups=groups))
    assert said in text
    assert unsaid not in text
