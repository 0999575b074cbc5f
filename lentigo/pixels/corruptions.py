"""Seeded corruptions of images at graded strengths.

They are applied to the network's square input, so a strength does not depend on the size of the original. After
Hendrycks and Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions and Perturbations*, ICLR 2019,
with rotation and hair, which occur in dermoscopy, instead of weather. This module needs only numpy and Pillow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lentigo.errors import DataError, did_you_mean
from lentigo.synthetic.canvas import to_uint8
from lentigo.synthetic.phantom import add_hair

Pixels = NDArray[np.uint8]

REFERENCE = 224
"""Side in pixels to which lengths refer; they scale with the square."""


@dataclass(frozen=True)
class Corruption:
    """One kind of degradation.

    Attributes:
        name: its short name, as in files.
        title: its display name.
        unit: unit of the strengths.
        strengths: from mild to severe (brightness: from dark to light).
        neutral: the strength that changes nothing.
        apply: function (pixels (S, S, 3) uint8, strength, seed) -> pixels of the same shape.
    """

    name: str
    title: str
    unit: str
    strengths: tuple[float, ...]
    neutral: float
    apply: Callable[[Pixels, float, int], Pixels]


def corrupt(pixels: Pixels, name: str, strength: float, seed: int = 0) -> Pixels:
    """Apply a corruption to an image.

    Args:
        pixels: (S, S, 3) uint8 RGB; not changed.
        name: a key of `CORRUPTIONS`.
        strength: in the corruption's unit; its neutral value returns the image.
        seed: seed of noise and hair.

    Returns:
        (S, S, 3) uint8.

    Raises:
        DataError: the name is unknown.
    """
    if name not in CORRUPTIONS:
        raise DataError(f"unknown corruption {name!r}{did_you_mean(name, CORRUPTIONS)}")
    chosen = CORRUPTIONS[name]
    return pixels if strength == chosen.neutral else chosen.apply(pixels, strength, seed)


def blur(pixels: Pixels, sigma: float) -> Pixels:
    """Apply a Gaussian blur to (S, S, 3) uint8; ``sigma`` is in pixels of a square of `REFERENCE`."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma * len(pixels) / REFERENCE)))


def _noise(pixels: Pixels, deviation: float, seed: int) -> Pixels:
    drawn = np.random.default_rng(seed).standard_normal(pixels.shape, dtype=np.float32)
    return to_uint8(pixels + np.float32(deviation) * drawn)


def _jpeg(pixels: Pixels, quality: float, seed: int) -> Pixels:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=round(quality))
    return np.asarray(Image.open(buffer).convert("RGB"))


def _brightness(pixels: Pixels, factor: float, seed: int) -> Pixels:
    return to_uint8(pixels * np.float32(factor))


def _rotation(pixels: Pixels, degrees: float, seed: int) -> Pixels:
    """Rotate about the centre; corners are filled by reflection."""
    if degrees % 90 == 0:
        return np.ascontiguousarray(np.rot90(pixels, round(degrees / 90)))
    size = len(pixels)
    margin = int(np.ceil(size * (np.sqrt(2) - 1) / 2)) + 1
    wide = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    turned = Image.fromarray(wide).rotate(degrees, Image.Resampling.BILINEAR)
    return np.asarray(turned.crop((margin, margin, margin + size, margin + size)))


def _hair(pixels: Pixels, count: float, seed: int) -> Pixels:
    return add_hair(pixels, seed, round(count))


CORRUPTIONS: dict[str, Corruption] = {
    c.name: c
    for c in (
        Corruption(
            "blur",
            "Gaussian blur",
            f"standard deviation, pixels of {REFERENCE}",
            (0.5, 1, 2, 3, 5),
            0,
            lambda p, s, _: blur(p, s),
        ),
        Corruption("noise", "Gaussian noise", "standard deviation, of 255", (5, 10, 20, 35, 50), 0, _noise),
        Corruption("jpeg", "JPEG compression", "quality", (75, 50, 30, 15, 7), 100, _jpeg),
        Corruption("brightness", "Brightness", "factor", (0.4, 0.6, 0.8, 1.2, 1.4), 1, _brightness),
        Corruption("rotation", "Rotation", "degrees", (5, 15, 30, 45, 90), 0, _rotation),
        Corruption("hair", "Hair (drawn)", "hairs", (5, 15, 30, 60, 100), 0, _hair),
    )
}
