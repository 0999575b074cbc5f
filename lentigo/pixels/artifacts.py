"""Detect artifacts that a network may learn instead of the lesion: dark corners, ruler, ink, hair.

Each artifact has a score and a threshold, set by inspection of HAM10000 in squares of 224 pixels. The scores are
estimates for comparing rates between classes and splits, not for classifying single images. This module needs only
numpy, scipy and Pillow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.sparse.csgraph import connected_components

from lentigo.pixels.segmentation import Mask, segment_lesion, surround
from lentigo.pixels.skin_tone import lab

SIDE = 224
"""Side of the square to which images are resized, in pixels."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Artifact:
    """One artifact.

    Attributes:
        name: its short name, as in files.
        title: its display name.
        score: description of the score.
        threshold: minimum score of an image with the artifact.
    """

    name: str
    title: str
    score: str
    threshold: float


ARTIFACTS = {
    c.name: c
    for c in (
        Artifact("vignette", "dark corners", "corners below 0.6 of the brightness of the skin between them", 2),
        Artifact("ruler", "ruler", "ticks in one evenly spaced row outside the middle", 4),
        Artifact("ink", "ink", "part of the image, in %, that is blue, violet or green beside the lesion", 0.3),
        Artifact("hair", "hair", "part of the image, in %, in dark lines at least 21 pixels long", 1.0),
    )
}

# 1 in the middle of a side, 1.41 in a corner.
_RADIUS = np.hypot(*np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE)))
_ACROSS = np.add.outer(np.arange(SIDE), np.arange(SIDE))
_CORNER, _CORNER_RATIO = 24, 0.6
_LINE, _LINE_DEPTH = 21, 18  # length of a straight piece of hair, and minimum difference from its surroundings
_DIRECTIONS = 12
_TICK_DEPTH, _TICK_LENGTH, _TICK_WIDTH = 25, (4, 24), 4.5
_TICK_PLACE, _TICK_APART = (
    0.5,
    26,
)  # minimum distance from the middle in half sides; maximum distance between ticks in pixels
_INK_PLACE = 0.5  # minimum distance from the middle in half sides
# CIELAB: minimum distance from the skin's colour, minimum difference in lightness, and maximum b*.
_INK_COLOUR, _INK_DARKER, _INK_YELLOW = (14.0, 6.0, 2.0)


def detect_artifacts(pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Compute the score of each artifact.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        Score by name; an artifact counts as present from ``ARTIFACTS[name].threshold`` on.
    """
    square = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    lesion = segment_lesion(square)
    black = ndimage.binary_dilation(surround(square), iterations=6)
    # Blood is dark in green and blue only; hair and print are dark in red too.
    red = square[..., 0]
    # Black top-hat with a 9 x 9 square.
    dark = np.clip(ndimage.grey_closing(red, 9).astype(np.int16) - red, 0, 255).astype(np.uint8)
    beside = ~black
    if not lesion.doubt:  # a lesion has dark lines of its own
        beside &= ~ndimage.binary_dilation(lesion.mask, iterations=4)
    ink = find_ink(square, lesion.mask | black)
    beside &= ~ndimage.binary_dilation(ink, iterations=4).repeat(2, 0).repeat(2, 1)  # a thin pen line is not hair
    return {
        "vignette": float(count_dark_corners(square)),
        "ruler": float(count_ticks(dark)),
        "ink": 100 * float(ink.mean()),
        "hair": 100 * float(find_hair(dark)[beside].mean()) if beside.any() else 0.0,
    }


def count_dark_corners(square: NDArray[np.uint8]) -> int:
    """Count the corners (0 to 4) that are much darker than the skin between them."""
    value = square.max(axis=2)
    skin = np.median(value[(_RADIUS > 0.7) & (_RADIUS < 0.95)])
    count = 0
    for turn in range(4):
        corner = np.rot90(value, turn)[_ACROSS < _CORNER]
        count += bool(np.median(corner) < _CORNER_RATIO * skin)
    return count


def find_hair(dark: NDArray[np.uint8]) -> Mask:
    """Find dark lines by an opening with straight pieces in twelve directions, after DullRazor (Lee et al., 1997).

    Args:
        dark: (S, S) uint8, the difference from brighter surroundings (a black top-hat).

    Returns:
        (S, S) bool.
    """
    best = np.zeros_like(dark)
    for step in range(_DIRECTIONS):
        angle = np.pi * step / _DIRECTIONS
        reach = np.arange(_LINE) - _LINE // 2
        offsets = np.unique(np.round(np.stack([reach * np.sin(angle), reach * np.cos(angle)], 1)).astype(int), axis=0)
        np.maximum(best, _over(_over(dark, offsets, np.minimum), -offsets, np.maximum), out=best)
    return best > _LINE_DEPTH


def _over(values: NDArray[np.uint8], offsets: NDArray[np.int64], combine: np.ufunc) -> NDArray[np.uint8]:
    """Compute the minimum or maximum over a few offsets, ten times as fast as scipy; 0 beyond the edge."""
    margin = _LINE
    padded = np.pad(values, margin)
    side = len(values)
    found = values.copy()  # the offset (0, 0) is always among them
    for dy, dx in offsets.tolist():
        combine(found, padded[margin + dy : margin + dy + side, margin + dx : margin + dx + side], out=found)
    return found


def count_ticks(dark: NDArray[np.uint8]) -> int:
    """Count the ticks in the longest evenly spaced row of short, parallel, dark strokes outside the middle.

    A tick belongs to a row if it has a neighbour on each side, at equal distances and of similar length and direction.

    Args:
        dark: (S, S) uint8, the difference from brighter surroundings (a black top-hat).
    """
    parts, count = ndimage.label(dark > _TICK_DEPTH, structure=np.ones((3, 3)))
    if count < 3:
        return 0
    ys, xs = np.nonzero(parts)
    of = parts[ys, xs] - 1
    size = np.bincount(of, minlength=count)
    y, x = np.bincount(of, ys) / size, np.bincount(of, xs) / size
    dy, dx = ys - y[of], xs - x[of]
    yy, xx, xy = (
        np.bincount(of, dy * dy) / size + 1 / 12,
        np.bincount(of, dx * dx) / size + 1 / 12,
        np.bincount(of, dx * dy) / size,
    )
    spread = np.sqrt(((yy - xx) / 2) ** 2 + xy**2)
    # A bar of length L has the variance L^2 / 12 along it.
    length, width = np.sqrt(6 * (yy + xx + 2 * spread)), np.sqrt(6 * np.maximum(yy + xx - 2 * spread, 0))
    heading = 0.5 * np.arctan2(2 * xy, xx - yy)
    off = np.hypot(y / SIDE * 2 - 1, x / SIDE * 2 - 1)
    low, high = _TICK_LENGTH
    kept = (length >= low) & (length <= high) & (width <= _TICK_WIDTH) & (length > 1.5 * width) & (off > _TICK_PLACE)
    return longest_row(np.stack([x, y], 1)[kept], length[kept], heading[kept])


def longest_row(places: Floats, lengths: Floats, headings: Floats) -> int:
    """Count the members of the longest evenly spaced row of parallel strokes.

    Args:
        places: (N, 2), x and y of the centres in pixels.
        lengths: (N,), in pixels.
        headings: (N,), direction along a stroke in radians.
    """
    if len(places) < 3:
        return 0
    along = np.stack([np.cos(headings), np.sin(headings)], 1)  # (N, 2)
    apart = places[None] - places[:, None]  # (N, N, 2), from the first to the second
    distance = np.hypot(apart[..., 0], apart[..., 1])
    np.fill_diagonal(distance, np.inf)
    shift = np.abs((apart * along[:, None]).sum(2)) / distance  # 0: straight across from each other
    alike = np.maximum(lengths[:, None], lengths) / np.minimum(lengths[:, None], lengths)
    mates = (distance <= _TICK_APART) & (shift < 0.6) & (np.abs(along @ along.T) > 0.94) & (alike < 2.5)
    right = apart[..., 0] * along[:, None, 1] - apart[..., 1] * along[:, None, 0] > 0
    near = [np.where(mates & side, distance, np.inf) for side in (right, ~right)]
    first, second = (n.argmin(1) for n in near)
    one, other = (n.min(1) for n in near)
    here = np.arange(len(places))
    opposite = (apart[here, first] * apart[here, second]).sum(1) < -0.85 * distance[here, first] * distance[
        here, second
    ]
    both = np.isfinite(one) & np.isfinite(other)
    even = np.flatnonzero(
        both & opposite & (np.minimum(one, other) > 0.75 * np.where(both, np.maximum(one, other), np.inf))
    )
    if not len(even):
        return 0
    joined = np.zeros(distance.shape)
    joined[even, first[even]] = joined[even, second[even]] = 1
    return int(np.bincount(connected_components(joined, directed=False)[1]).max())


def find_ink(square: NDArray[np.uint8], hidden: Mask) -> Mask:
    """Find patches that are bluer or greener than the skin, darker, not black, and outside the middle.

    The middle is excluded because lesions may be blue.

    Args:
        square: (S, S, 3) uint8.
        hidden: (S, S) bool, excluded pixels: the lesion, which may be blue, and a black surround.

    Returns:
        (S / 2, S / 2) bool.
    """
    hidden = ndimage.binary_dilation(hidden, iterations=8)[::2, ::2]
    small = np.asarray(Image.fromarray(square).reduce(2))
    colours = lab(small)
    looked = ~hidden & (small.max(axis=2) > 60) & (_RADIUS[::2, ::2] > _INK_PLACE)
    if not looked.any():
        return np.zeros_like(hidden)
    apart = colours - np.median(colours[looked], axis=0)
    blue, green = apart[..., 2] < -_INK_COLOUR, apart[..., 1] < -_INK_COLOUR
    found = looked & (blue | green) & (colours[..., 2] < _INK_YELLOW) & (apart[..., 0] < -_INK_DARKER)
    opened: Mask = ndimage.binary_opening(found)
    return opened
