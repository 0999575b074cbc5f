"""Shared fixtures: where the real data lies, and a skip that says so where it is absent."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Bundles are exported often here; the tests of the browser's side of the parity gate ask for it themselves.
os.environ.setdefault("LENTIGO_CHROMIUM", "none")

# A shell that starts the tests in the background has Ctrl-C ignored, and children inherit that; some tests send it to
# them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real data sets; skips where it is absent."""
    folder = Path(os.environ.get("LENTIGO_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not at {folder} (set LENTIGO_DATA)")
    return folder


@pytest.fixture(scope="session")
def shared_weights(shared_data: Path) -> Path:
    """The folder with the ImageNet features; skips where it is absent."""
    folder = shared_data.parent / "weights"
    if not folder.is_dir():
        pytest.skip(f"pretrained weights not at {folder}")
    return folder
