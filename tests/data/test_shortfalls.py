"""What a data set is too small for is said, and nothing is said where it is large enough."""

from __future__ import annotations

from lentigo.data.shortfalls import recorded_shortfalls, shortfalls


def test_small_parts_are_named() -> None:
    found = shortfalls({"mel": {"train": 9, "val": 1, "test": 2}, "nv": {"train": 40, "val": 8, "test": 1}})
    assert any("it needs 20 validation images, there are 9" in text for text in found)
    assert any("come from 9 validation images" in text for text in found)
    assert any("one validation image only of mel" in text for text in found)
    assert any("one test image only of nv" in text for text in found)


def test_a_large_set_lacks_nothing() -> None:
    assert shortfalls({code: {"train": 500, "val": 60, "test": 60} for code in ("mel", "nv")}) == ()


def test_a_record_is_read_without_its_totals() -> None:
    record = {"counts": {"train": {"mel": 9, "total": 9}, "val": {"mel": 19, "total": 19}}}
    assert any("there are 19" in text for text in recorded_shortfalls(record))
