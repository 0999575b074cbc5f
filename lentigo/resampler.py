"""Resize to the network's square in integer arithmetic that is bit-identical in every runtime."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

_GROWTH = 4
"""Maximum ratio of the pixels after the first pass to those of the image or the square."""

PILLOW = 13
"""The newest major version of Pillow with which `cykooz_resizer`, which accesses its memory, is known to work."""

_local = threading.local()


def resize(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Resize to a square with the antialiased bilinear filter (the triangle filter, widened by the scale).

    The arithmetic is that of the Rust library fast_image_resize: 16-bit weights and one pass per side, each rounded to
    8 bits. The library uses vector instructions. Without its wheel, NumPy computes the same result in about ten times
    the time. The browser computes the same result (`app/src/core/resize.ts`). Pillow's filter has 22-bit weights: for
    photographs of 600 x 450, one value in 800 differs from Pillow's by one level of 255 per pass.

    Args:
        image: an RGB image, as `lentigo.imaging.open_image` returns it.
        size: side of the square in pixels.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    if not hasattr(_local, "resizer"):
        _local.resizer = _make_resizer()  # one per thread, because a resizer is not thread-safe
    for extent in _passes(image, size):
        if _local.resizer is None:
            resized = _resize_side(image, extent)
        else:
            resizer, options = _local.resizer
            resized = Image.new("RGB", extent)
            resizer.resize_pil(image, resized, options)
        image = resized
    return np.asarray(image, dtype=np.uint8)


def _passes(image: Image.Image, size: int) -> list[tuple[int, int]]:
    """Return (width, height) after each pass: the width first, unless that would make a strip many times larger."""
    width, height = image.size
    tall = size * height > _GROWTH * max(width * height, size * size)  # avoids 1 x 60,000 -> 224 x 60,000
    extents = [(width, size) if tall else (size, height), (size, size)]
    return [extent for before, extent in zip([image.size, extents[0]], extents, strict=True) if extent != before]


def _make_resizer() -> tuple[Any, Any] | None:
    if int(PIL.__version__.partition(".")[0]) > PILLOW:
        return None
    try:
        from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer  # here, since only images need it
    except ImportError:
        return None
    return Resizer(), ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.bilinear))


def _resize_side(image: Image.Image, extent: tuple[int, int]) -> Image.Image:
    """Resize one side in NumPy; `extent` differs from the image's in one side."""
    pixels = np.asarray(image)
    axis = 0 if extent[0] == image.width else 1
    pixels = pixels.swapaxes(0, axis)
    first, weights, shift = _weights(len(pixels), extent[1 - axis])
    sums = np.full((len(first), *pixels.shape[1:]), 1 << (shift - 1), dtype=np.int32)
    for k in range(weights.shape[1]):
        sums += weights[:, k, None, None] * pixels[np.minimum(first + k, len(pixels) - 1)]
    return Image.fromarray(np.clip(sums >> shift, 0, 255).astype(np.uint8).swapaxes(0, axis).copy())


@lru_cache(maxsize=16)
def _weights(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int32], int]:
    """Return (T,) first positions, (T, K) integer weights, and their shift: weights are in units of 2^-shift.

    The shift is the largest for which the weights fit into 16 bits.
    """
    scale = source / target
    reach = max(scale, 1.0)
    centre = (np.arange(target) + 0.5) * scale
    first = np.maximum(np.floor(centre - reach + 0.5), 0).astype(np.int64)
    last = np.minimum(np.floor(centre + reach + 0.5), source).astype(np.int64)
    position = first[:, None] + np.arange(int((last - first).max()))
    weights = np.maximum(0.0, 1 - np.abs((position - centre[:, None] + 0.5) * (1 / reach)))
    weights[position >= last[:, None]] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    shift = 0
    while shift < 22 and int(0.5 + weights.max() * (1 << (shift + 1))) < 1 << 15:
        shift += 1
    return first, np.floor(0.5 + weights * (1 << shift)).astype(np.int32), shift
