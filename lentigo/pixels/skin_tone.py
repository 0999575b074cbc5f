"""Estimate skin tone from an image: the individual typology angle of the skin around a lesion.

Chardon, Cretois and Hourseau, *Skin colour typology and suntanning pathways*, International Journal of Cosmetic Science
13, 1991: ``ITA = arctan((L* - 50) / b*)`` in degrees, of CIELAB colour. Without a colour chart the result depends on
lighting and white balance, so it is an estimate for groups, not a measurement of a person.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BORDER = 0.1
"""Width of the evaluated band along the edges, as a fraction of the side."""
_DARKEST = 25.0  # L*: black corners of a round field, and hair, are darker
_LEAST = 0.05  # minimum fraction of skin in the band
_CONTRAST = 8.0  # L*: with a smaller difference across the threshold, the band is even skin

# sRGB (IEC 61966-2-1) to XYZ, divided by the white point D65.
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _TO_XYZ.sum(axis=1)


def lab(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Convert sRGB to CIELAB (D65).

    Args:
        pixels: (..., 3) uint8.

    Returns:
        (..., 3) float64: L* in 0 to 100, a*, b*.
    """
    encoded = pixels / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    relative = linear @ _TO_XYZ.T / _WHITE
    f = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def typology_angle(lightness: float, b: float) -> float:
    """Compute ``arctan((L* - 50) / b*)`` in degrees; NaN unless b* is above 0, as it is for skin in white light."""
    return float(np.degrees(np.arctan((lightness - 50) / b))) if b > 0 else float("nan")


def estimate_angle(pixels: NDArray[np.uint8]) -> float:
    """Estimate the individual typology angle of the skin along an image's border.

    The lesion is in the middle and darker than the skin. The estimate uses the median colour of the border band,
    without pixels darker than the image's Otsu threshold, black corners and hair.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        Degrees, about -90 (dark) to 90 (light); NaN if the border shows no skin.
    """
    step = max(1, round(min(pixels.shape[:2]) / 112))  # a median needs no more pixels than this
    colours = lab(pixels[::step, ::step])  # (h, w, 3)
    lightness = colours[..., 0]
    height, width = lightness.shape
    rows, columns = max(1, round(height * BORDER)), max(1, round(width * BORDER))
    band = np.ones((height, width), bool)
    band[rows : height - rows, columns : width - columns] = False
    skin = band & (lightness > _DARKEST)
    seen = lightness[lightness > _DARKEST]
    if len(seen):
        threshold, contrast = otsu(seen)
        if contrast > _CONTRAST:
            skin &= lightness > threshold
    if skin.sum() < _LEAST * band.sum():
        return float("nan")
    middle = np.median(colours[skin], axis=0)
    return typology_angle(float(middle[0]), float(middle[2]))


def otsu(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return Otsu's threshold, and the difference between the means of its two sides."""
    counts, edges = np.histogram(values, bins=64)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = below[-1] + counts[-1] - below
    sums = np.cumsum(counts * centres)
    low = sums[:-1] / np.maximum(below, 1)
    high = (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = np.where((below > 0) & (above > 0), below * above * (high - low) ** 2, 0.0)
    best = int(between.argmax())
    return float(edges[best + 1]), float(high[best] - low[best])
