"""The Chinese README beside the English one: the same commands, the same pages, and a link each way."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh.md").read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """The lines of the blocks of code, without their comments."""
    lines = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)).splitlines()
    return [re.split(r"\s+# ", line)[0] for line in lines]


def test_the_commands_are_the_same() -> None:
    assert len(commands(ENGLISH)) > 20
    assert commands(CHINESE) == commands(ENGLISH)


def test_they_name_the_same_pages() -> None:
    def linked(text: str) -> set[str]:
        return set(re.findall(r"\]\(([^)]+)\)", text)) - {"README.md", "README.zh.md"}

    assert linked(CHINESE) == linked(ENGLISH)


def test_each_leads_to_the_other() -> None:
    assert "](README.zh.md)" in ENGLISH
    assert "](README.md)" in CHINESE


def test_both_say_that_it_is_no_medical_device() -> None:
    assert "not a medical device" in ENGLISH
    assert "不是医疗器械" in CHINESE
