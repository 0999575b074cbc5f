"""The images of the golden vectors."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from lentigo.export.golden import _CASES, _render


@pytest.mark.parametrize("size", [16, 32, 224])
def test_images_of_any_input_size_can_be_drawn(size: int) -> None:
    for seed, (_, code, across, down) in enumerate(_CASES):
        png, width, height = _render(code, seed, round(across * size), round(down * size))
        assert (width, height) == (round(across * size), round(down * size))
        assert Image.open(io.BytesIO(png)).size == (width, height)
