"""Image quality: exposure, sharpness, and whether anything stands out.

Measured on the very pixels that the network sees. ``quality.json`` holds the thresholds, for this module and for the
phone app alike; the golden vectors hold both to the same measures. Two levels: *hint* (the answer stands, the picture
could be better) and *refuse* ("can't tell"). How often each fires on real and on spoilt images is in docs/predict.md.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lentigo.imaging import Floats, Pixels

_RULES: dict[str, Any] = json.loads((Path(__file__).with_name("quality.json")).read_text(encoding="utf-8"))

_LUMA = np.array([77, 150, 29], np.float32) / np.float32(256)

HINTS = {
    "dark": "the image is rather dark",
    "bright": "the image is rather bright",
    "flat": "hardly anything stands out: is the lesion in the frame?",
    "blurred": "the image is not sharp",
}
FIRST_OF_SEVERAL = "the file has several pages or frames, of which the first is read"
REASONS = {
    "dark": "the image is too dark",
    "bright": "the image is too bright",
    "flat": "no lesion in the frame",
    "blurred": "the image is blurred",
}


Faults = tuple[tuple[str, ...], tuple[str, ...]]
"""Reasons to refuse an image, and hints about it, in words."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of one image.

    Attributes:
        brightness: mean luma, 0 to 255.
        overexposed: fraction of pixels with a luma of 250 or more.
        structure: how much a 14 x 14 grid of block means varies in luma and colour, levels of 255: low where nothing
            stands out.
        sharpness: variance of the luma's Laplacian (Pech-Pacheco et al., ICPR 2000): low where nothing is sharp.
    """

    brightness: float
    overexposed: float
    structure: float
    sharpness: float

    def to_dict(self) -> dict[str, float]:
        """As plain numbers."""
        return asdict(self)


def measure_quality(pixels: Pixels) -> Quality:
    """Measure what the network sees.

    Args:
        pixels: (S, S, 3) uint8 RGB, S at least 16.
    """
    exact = pixels.astype(np.float32)  # whole numbers, so that sums are exact in any order
    # Luma (ITU-R BT.601) in steps of 1/256, which every runtime computes alike.
    luma = (exact.reshape(-1, 3) @ _LUMA).reshape(exact.shape[:2])  # (S, S), at most 65,280 / 256
    return Quality(
        brightness=float(luma.mean(dtype=np.float64)),
        overexposed=float(np.count_nonzero(luma >= _RULES["overexposed_from"])) / luma.size,
        structure=_structure(exact),
        sharpness=_sharpness(luma),
    )


def find_faults(quality: Quality, size: int, level: str) -> str | None:
    """Return the fault of an image, as a key of `HINTS` and `REASONS`; None without a fault.

    Args:
        quality: its measures.
        size: side of the square they were taken on.
        level: ``hint`` or ``refuse``.
    """
    limits = _RULES[level]
    if quality.brightness < limits["dark"]:
        return "dark"
    if quality.brightness > limits["bright"] or quality.overexposed > limits["overexposed"]:
        return "bright"
    if quality.structure < limits["structure"]:
        return "flat"
    # Enlarging an image reduces the variance of its Laplacian by the fourth power of the scale.
    if quality.sharpness < limits["sharpness"] * min(1.0, (_RULES["sharpness_side"] / size) ** 4):
        return "blurred"
    return None


def assess_quality(pixels: Pixels) -> Faults:
    """Reasons to refuse an image, and hints about it, in words; at most one of either.

    Args:
        pixels: (S, S, 3) uint8 RGB.
    """
    quality, size = measure_quality(pixels), len(pixels)
    if fault := find_faults(quality, size, "refuse"):
        return (REASONS[fault],), ()
    fault = find_faults(quality, size, "hint")
    return (), (HINTS[fault],) if fault else ()


def _sharpness(luma: Floats) -> float:
    height, width = luma.shape
    flat, count = luma.ravel(), (height - 2) * width
    inner = 4 * flat[width : width + count]
    # Whole rows at once, which is quicker than a window; what wraps round at both ends of a row is taken out below.
    inner -= flat[:count]
    inner -= flat[2 * width :]
    inner[1:] -= flat[width : width + count - 1]
    inner[:-1] -= flat[width + 1 : width + count]
    rows = inner.reshape(height - 2, width)
    rows[:, 0] = rows[:, -1] = 0
    size = (height - 2) * (width - 2)
    mean_square: float = float(np.dot(inner, inner)) / size
    mean: float = float(inner.sum()) / size
    return mean_square - mean**2


def _structure(pixels: Floats) -> float:
    grid = _RULES["grid"]
    block = len(pixels) // grid  # what is left over at the right and lower edge does not count
    side = grid * block
    # Sums as products: NumPy's own over short axes take five times as long.
    rows = np.ones((1, block), np.float32) @ pixels[:side, :side].reshape(grid, block, side * 3)  # (14, 1, side * 3)
    axes = rows.reshape(grid * grid, block * 3).astype(np.float64) @ _axes(block)  # (196, 3) means
    return float(np.sqrt(axes.var(axis=0).sum()))


@cache
def _axes(block: int) -> NDArray[np.float64]:
    """(3 * block, 3): from a row of a block's pixels to its means of luma and two opponent colours."""
    axes = np.array([[77 / 256, 150 / 256, 29 / 256], [1, -1, 0], [0.5, 0.5, -1]])
    found: NDArray[np.float64] = np.tile(axes.T, (block, 1)) / block**2
    return found
