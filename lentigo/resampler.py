"""Resize to the network's square: Pillow's resampler, which is the reference, and the same filter in vector instructions."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

_GROWTH = 4
"""How many times more pixels than the image (or the square) the result of the first pass may have."""

PILLOW = 13
"""The newest major version of Pillow whose images `cykooz_resizer` is known to read: it looks into their memory."""

_local = threading.local()


def resize(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Resize straight to a square with Pillow's antialiased bilinear filter: the reference of the contract.

    Args:
        image: an RGB image, as `lentigo.imaging.open_image` returns it.
        size: side of the square in pixels.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    # One call a pass fixes their order: Pillow 13 takes the passes of tall images the other way round than older
    # versions, and the rounding to 8 bits between them would make the pixels depend on the version.
    for extent in _passes(image, size):
        image = image.resize(extent, Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def resize_fast(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """`resize` in a fifth of the time, to one level of 255: what classifies.

    The same filter by the Rust library fast_image_resize, whose coefficients have 16 bits where Pillow's have 22: of 600 x 450
    photographs, one value in 800 differs. Where `cykooz_resizer` is not installed (it has no wheels for Linux on ARM), this is
    `resize` itself.

    Args:
        image: an RGB image, as `lentigo.imaging.open_image` returns it.
        size: side of the square in pixels.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    if not hasattr(_local, "resizer"):
        _local.resizer = _make_resizer()  # one a thread: a resizer works for one caller at a time
    if _local.resizer is None:
        return resize(image, size)
    resizer, options = _local.resizer
    for extent in _passes(image, size):
        resized = Image.new("RGB", extent)
        resizer.resize_pil(image, resized, options)
        image = resized
    return np.asarray(image, dtype=np.uint8)


def _passes(image: Image.Image, size: int) -> list[tuple[int, int]]:
    """The (width, height) after each pass: the width first, unless that would make a strip many times larger."""
    width, height = image.size
    tall = size * height > _GROWTH * max(width * height, size * size)  # 1 x 60,000 must not go through 224 x 60,000
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
