"""Augmented copies of an image: rotated, mirrored, zoomed."""

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
    """The transform from an image to its copy.

    Attributes:
        mirrored: whether the image is flipped left to right, before the rotation.
        turns: number of quarter turns, 0 to 3.
        zoom: above 1 enlarges (edges are cut off), below 1 shrinks (edges are filled by reflection).
    """

    mirrored: bool
    turns: int
    zoom: float

    def __str__(self) -> str:
        return f"m{int(self.mirrored)}t{self.turns}z{self.zoom:.4f}"

    @classmethod
    def of(cls, text: str) -> Self:
        """Parse a transform from its text, such as ``m1t2z1.0500``.

        Raises:
            DataError: the text has another form.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise DataError(f"{text!r} describes no copy of an image; an example is m1t2z1.0500")
        return cls(found[1] == "1", int(found[2]), float(found[3]))

    def apply(self, image: Image.Image) -> Image.Image:
        """Make the copy of an image."""
        pixels = _zoomed(np.asarray(image), self.zoom)  # (H, W, 3)
        if self.mirrored:
            pixels = pixels[:, ::-1]
        return Image.fromarray(np.ascontiguousarray(np.rot90(pixels, self.turns)))


def _zoomed(pixels: NDArray[np.uint8], zoom: float) -> NDArray[np.uint8]:
    """Crop the edges, or extend them by reflection; resizing to the square completes the zoom."""
    height, width = pixels.shape[:2]
    tall, wide = max(1, round(height / zoom)), max(1, round(width / zoom))
    if zoom >= 1:
        top, left = (height - tall) // 2, (width - wide) // 2
        return pixels[top : top + tall, left : left + wide]
    top, left = (tall - height) // 2, (wide - width) // 2
    return np.pad(pixels, ((top, tall - height - top), (left, wide - width - left), (0, 0)), mode="symmetric")
