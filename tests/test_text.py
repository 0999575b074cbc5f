"""Untrusted text: nothing in it drives a terminal, ends a line or runs in a spreadsheet, and tables give it back as it
was."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lentigo.text import guard_cell, is_line, json_line, lines, one_line, unguard_cell

HOSTILE = ["\x1b[2J", "a\rb", "a\nb", "\x9b31m", "\u202egnp.exe", "\u2028", "\x7f", "\x00", "\udcff", "\u2066x"]


@pytest.mark.parametrize("text", HOSTILE)
def test_control_characters_are_shown_not_obeyed(text: str) -> None:
    assert not is_line(text)
    shown = one_line(text)
    assert is_line(shown)
    assert "\\" in shown
    shown.encode("utf-8")


def test_ordinary_text_of_any_language_stays() -> None:
    for text in ("melanoma", "黑色素瘤", "naïve – ß", "क्‍ष", "👩‍⚕️", "سلام", "[bold]"):
        assert is_line(text)
        assert one_line(text) == lines(text) == json_line(text) == text
    assert lines("two\n\tlines\r") == "two\n\tlines\\x0d"


@given(st.text())
def test_no_text_keeps_a_control_character(text: str) -> None:
    shown = one_line(text)
    assert not any(
        unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(c) in BIDI for c in shown
    )


BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "'=1", "''@x", "+cmd|x"]
)
def test_formulas_are_guarded(text: str) -> None:
    assert guard_cell(text) == "'" + text


@pytest.mark.parametrize("text", ["", "-", "+", "-1.5", "+1e-7", "photo.jpg", "'quoted'", "a=b", "./-x.png", "-12"])
def test_numbers_and_other_text_are_left_as_they_are(text: str) -> None:
    assert guard_cell(text) == text


@given(st.text(alphabet="'=+-@\t\r1ax.") | st.text())
@example("'=")
@example("''+1")
def test_guarded_cells_come_back_as_they_were(text: str) -> None:
    assert unguard_cell(guard_cell(text)) == text
