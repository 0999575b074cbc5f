"""Segment the lesion approximately, to hide it or its surroundings; not for measurements.

Each pixel's CIELAB distance from the skin's colour, weighted towards the middle, is thresholded by Otsu's method (IEEE
Trans. SMC, 1979). Hairs are removed by a closing first, and the black surround of a round field is excluded. The method
fails for a lesion that fills the frame, has no edge or lies at the side; checks report such failures. This module needs
only numpy, scipy and Pillow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from lentigo.pixels.skin_tone import lab, otsu

_SIDE = 112  # side of the square to which images are resized
_BAND = 10  # width of the border whose median is the skin's colour
_DARK = 45  # a pixel whose brightest channel is below this may belong to the black surround
_BRIGHTER = 0.25  # weight of pixels brighter than the skin: the middle of a round field is brighter than its edge
_SPREAD = 0.7  # standard deviation of the Gaussian weight of the middle, in half sides
SMALLEST, LARGEST = 0.005, 0.6
"""Smallest and largest fraction of the image that a lesion may cover."""
_CONTRAST = 8.0  # minimum difference between lesion and skin, CIELAB units
_EDGE = 0.25  # maximum fraction of the image's border that a lesion may touch

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Lesion:
    """An approximate segmentation.

    Attributes:
        mask: (H, W) bool, True on the lesion; may be all False.
        skin: (3,) float64, RGB colour of the surrounding skin, 0 to 255.
        doubt: the failed check; empty if all passed.
    """

    mask: Mask
    skin: NDArray[np.float64]
    doubt: str


def surround(pixels: NDArray[np.uint8]) -> Mask:
    """Find the black surround (H, W) of a round field: dark pixels connected to a dark corner."""
    parts, _ = ndimage.label(pixels.max(axis=2) < _DARK)
    corners = set(parts[[0, 0, -1, -1], [0, -1, 0, -1]].tolist()) - {0}
    return np.isin(parts, list(corners))


def segment_lesion(pixels: NDArray[np.uint8]) -> Lesion:
    """Segment the lesion in a square (S, S, 3) uint8 RGB."""
    side = len(pixels)
    small = np.asarray(Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BOX))
    closed = np.stack([ndimage.grey_closing(small[..., i], 5) for i in range(3)], axis=-1)  # without hairs
    outside = ndimage.binary_dilation(surround(small), iterations=4)
    colours = lab(closed)  # (s, s, 3)
    band = np.ones((_SIDE, _SIDE), bool)
    band[_BAND:-_BAND, _BAND:-_BAND] = False
    ring = ndimage.binary_dilation(outside, iterations=_BAND) | band
    around = ring & ~outside
    if around.sum() < 100:
        return Lesion(
            np.zeros(pixels.shape[:2], bool), np.median(pixels.reshape(-1, 3), axis=0), "no skin is seen at the border"
        )
    # A lesion or a shadow that reaches the border is darker.
    light = colours[..., 0] >= np.quantile(colours[around, 0], 0.3)
    skin = around & light
    reference = np.median(colours[skin], axis=0)
    apart = colours - reference
    apart[..., 0] = np.where(apart[..., 0] > 0, _BRIGHTER * apart[..., 0], apart[..., 0])
    difference = ndimage.gaussian_filter(np.sqrt((apart**2).sum(axis=2)), 1.5)
    ticks = np.linspace(-1, 1, _SIDE)
    weighted = difference * np.exp(-(ticks[:, None] ** 2 + ticks**2) / (2 * _SPREAD**2))
    weighted[outside] = 0
    threshold, _ = otsu(weighted[~outside])
    parts, count = ndimage.label(ndimage.binary_opening(weighted > threshold, iterations=2))
    if not count:
        return Lesion(
            np.zeros(pixels.shape[:2], bool), np.median(small[skin], axis=0), "nothing stands out from the skin"
        )
    weights = ndimage.sum_labels(weighted, parts, np.arange(1, count + 1))
    kept = np.flatnonzero(weights >= 0.3 * weights.max()) + 1
    found = ndimage.binary_fill_holes(np.isin(parts, kept))
    mask = (
        np.asarray(Image.fromarray(found.astype(np.uint8) * 255).resize((side, side), Image.Resampling.BILINEAR)) > 127
    )
    return Lesion(mask, np.median(small[skin], axis=0), _doubt(found, difference, outside))


def _doubt(found: Mask, difference: NDArray[np.float64], outside: Mask) -> str:
    fraction = float(found.sum() / (~outside).sum())
    if not SMALLEST <= fraction <= LARGEST:
        return f"it would cover {fraction:.1%} of the image"
    near = ndimage.binary_dilation(found, iterations=3)
    contrast = float(difference[found].mean() - difference[~near & ~outside].mean())
    if contrast < _CONTRAST:
        return f"it differs too little from the skin ({contrast:.0f} CIELAB units)"
    edge = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
    if edge.mean() > _EDGE:
        return f"it lies along {edge.mean():.0%} of the border"
    return ""
