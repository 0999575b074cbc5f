"""A copy of an image: turned, mirrored, zoomed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lentigo.errors import DataError

_FORM = re.compile(r"m([01])t([0-3])z(\d\.\d{4})")


@dataclass(frozen=True, slots=True)
class Variant:
    """What a copy is of its image.

    Attributes:
        mirrored: flipped left to right, first.
        turns: quarter turns, then.
        zoom: above 1 enlarges (the edges are cut off), below 1 shrinks (mirror images fill the edges).
    """

    mirrored: bool
    turns: int
    zoom: float

    def __str__(self) -> str:
        return f"m{int(self.mirrored)}t{self.turns}z{self.zoom:.4f}"

    @classmethod
    def of(cls, text: str) -> Self:
        """From its text, such as ``m1t2z1.0500``.

        Raises:
            DataError: it is none.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise DataError(f"{text!r} describes no copy of an image; such as m1t2z1.0500 does")
        return cls(found[1] == "1", int(found[2]), float(found[3]))

    def apply(self, image: Image.Image) -> Image.Image:
        """The copy of an image."""
        pixels = _zoomed(np.asarray(image), self.zoom)  # (H, W, 3)
        if self.mirrored:
            pixels = pixels[:, ::-1]
        return Image.fromarray(np.ascontiguousarray(np.rot90(pixels, self.turns)))


def _zoomed(pixels: NDArray[np.uint8], zoom: float) -> NDArray[np.uint8]:
    """Cut away the edges, or add mirror images there; resizing to the square completes the zoom."""
    height, width = pixels.shape[:2]
    tall, wide = max(1, round(height / zoom)), max(1, round(width / zoom))
    if zoom >= 1:
        top, left = (height - tall) // 2, (width - wide) // 2
        return pixels[top : top + tall, left : left + wide]
    top, left = (tall - height) // 2, (wide - width) // 2
    return np.pad(pixels, ((top, tall - height - top), (left, wide - width - left), (0, 0)), mode="symmetric")
