"""The app's check of spec.json follows the bundle's schema."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import app_spec  # noqa: E402


def test_the_committed_file_is_what_the_schema_gives() -> None:
    def plain(text: str) -> str:
        return re.sub(r"[\s,()]", "", text)  # prettier sets spaces, commas and brackets

    written = app_spec.TARGET.read_text(encoding="utf-8")
    assert plain(written) == plain(app_spec.generate()), "run python scripts/app_spec.py, then npm run format in app/"


def test_what_the_app_cannot_be_told_is_refused() -> None:
    with pytest.raises(ValueError, match="multipleOf"):
        app_spec._type({"type": "integer", "multipleOf": 2})
    with pytest.raises(ValueError, match="without further keys"):
        app_spec._type({"type": "object", "title": "Loose", "properties": {}})
