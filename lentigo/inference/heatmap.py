"""Class-activation maps as pictures: upsampling, a perceptually uniform colour map, an overlay.

numpy and Pillow only, so that a prediction can be drawn wherever it can be made.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lentigo.errors import OutputError
from lentigo.files import atomic_path
from lentigo.imaging import Floats, Pixels, is_image_name

ALPHA = 0.6

# Matplotlib's "inferno" (N. Smith and S. van der Walt, CC0) as the sixth-degree polynomial in [0, 1]
# fitted by M. Zucker (CC0), lowest degree first; one row a degree, columns red, green, blue.
_INFERNO = (
    (0.0002189403691192265, 0.001651004631001012, -0.01948089843709184),
    (0.1065134194856116, 0.5639564367884091, 3.932712388889277),
    (11.60249308247187, -3.972853965665698, -15.9423941062914),
    (-41.70399613139459, 17.43639888205313, 44.35414519872813),
    (77.162935699427, -33.40235894210092, -81.80730925738993),
    (-71.31942824499214, 32.62606426397723, 73.20951985803202),
    (25.13112622477341, -12.24266895238567, -23.07032500287172),
)


@cache
def colour_table() -> Pixels:
    """The colour map as a table: (256, 3) uint8 RGB, dark violet (0) to pale yellow (255)."""
    t = np.linspace(0.0, 1.0, 256)[:, None]  # (256, 1)
    rgb = np.zeros((256, 3))
    for row in reversed(_INFERNO):  # Horner's scheme
        rgb = rgb * t + np.asarray(row)
    table = np.rint(np.clip(rgb, 0.0, 1.0) * 255.0).astype(np.uint8)
    table.setflags(write=False)  # shared by every caller
    return table


def upsample(cam: NDArray[Any], size: int | tuple[int, int]) -> Floats:
    """Enlarge a class-activation map bilinearly.

    Args:
        cam: (h, w), non-negative.
        size: side of the square, or (width, height), in pixels.

    Returns:
        (height, width) float32, scaled so that the map's largest value is 1; all zero where the map is.
    """
    if cam.ndim != 2:
        raise ValueError(f"one map at a time, (h, w), not {cam.shape}")
    values = np.clip(np.asarray(cam, dtype=np.float32), 0.0, None)
    peak = float(values.max(initial=0.0))
    if peak > 0.0:
        values = values / peak
    target = (size, size) if isinstance(size, int) else size
    return np.array(Image.fromarray(values).resize(target, Image.Resampling.BILINEAR), dtype=np.float32)


def overlay(pixels: Pixels, cam: NDArray[Any], alpha: float = ALPHA) -> Pixels:
    """Draw a class-activation map over an image; the warmer a place, the more of it is covered.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        cam: (h, w), of any size.
        alpha: how much of the image the hottest place hides, in [0, 1].

    Returns:
        (H, W, 3) uint8 RGB.
    """
    heat = upsample(cam, (pixels.shape[1], pixels.shape[0]))  # (H, W)
    colours = colour_table()[np.rint(heat * 255.0).astype(np.uint8)].astype(np.float32)  # (H, W, 3)
    weight = (alpha * heat)[..., None]
    blended: Floats = pixels * (1.0 - weight) + colours * weight
    return np.rint(blended).astype(np.uint8)


def save_heatmap(path: str | Path, pixels: Pixels, cam: NDArray[Any], alpha: float = ALPHA) -> Path:
    """Write an overlay as an image file, whole or not at all.

    Args:
        path: where to; the suffix decides the format (.png, .jpg, .webp, ...).
        pixels: (H, W, 3) uint8 RGB.
        cam: (h, w).
        alpha: as in `overlay`.

    Returns:
        The path.

    Raises:
        OutputError: an unknown suffix, or the disk refuses.
    """
    save_image(path, Image.fromarray(overlay(pixels, cam, alpha)))
    return Path(path)


def save_image(path: str | Path, image: Image.Image) -> None:
    """Write an image file atomically.

    Raises:
        OutputError: a suffix that is no image's, or the disk refuses.
    """
    if not is_image_name("x" + Path(path).suffix):
        raise OutputError(f"{path}: no image format with this suffix; use .png or .jpg")
    with atomic_path(path, sync=False) as temporary:  # one an image, and they can be drawn again
        image.save(temporary)
