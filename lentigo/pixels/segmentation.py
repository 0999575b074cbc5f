"""Estimate where the lesion lies, well enough to hide it or the rest; not a measurement.

Each pixel's distance in CIELAB from the skin's colour, weighted towards the middle, is cut by Otsu's threshold (IEEE
Trans. SMC, 1979). Hairs are closed first and the black surround of a round field is left out. On images whose lesion
fills the frame, has no edge or lies at the side this fails, and says so. numpy, scipy and Pillow only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from lentigo.pixels.skin_tone import lab, otsu

_SIDE = 112  # the square in which is looked
_BAND = 10  # width of the border whose median is the skin's colour
_DARK = 45  # a pixel whose brightest channel is below this may belong to the black surround
_BRIGHTER = 0.25  # how much brighter-than-skin counts: the middle of a round field is brighter than its edge
_SPREAD = 0.7  # of the Gaussian weight of the middle, in half sides
SMALLEST, LARGEST = 0.005, 0.6
"""Fraction of the image that a lesion may cover."""
_CONTRAST = 8.0  # least difference between lesion and skin, CIELAB units
_EDGE = 0.25  # most of the image's border that a lesion may touch

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Lesion:
    """An estimate of the lesion's place.

    Attributes:
        mask: (H, W) bool, True on the lesion; may be empty.
        skin: (3,) float64, the colour of the skin around it, 0 to 255.
        doubt: why the mask is not to be relied on, empty where it passed the checks.
    """

    mask: Mask
    skin: NDArray[np.float64]
    doubt: str


def surround(pixels: NDArray[np.uint8]) -> Mask:
    """The black surround (H, W) of a round field: dark pixels that hang together with a dark corner."""
    parts, _ = ndimage.label(pixels.max(axis=2) < _DARK)
    corners = set(parts[[0, 0, -1, -1], [0, -1, 0, -1]].tolist()) - {0}
    return np.isin(parts, list(corners))


def segment_lesion(pixels: NDArray[np.uint8]) -> Lesion:
    """Estimate where the lesion lies in a square (S, S, 3)."""
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
