"""Perturbations for counterfactual tests: hide the lesion or its surroundings, or add an artifact.

After Bissoto et al., *(De)Constructing bias on skin lesion datasets* (CVPR workshops, 2019), where networks kept much
of their score on images without the lesion. This module needs only numpy, scipy and Pillow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lentigo.pixels.artifacts import ARTIFACTS, detect_artifacts
from lentigo.pixels.corruptions import REFERENCE
from lentigo.pixels.drawing import Pixels, add_ink, add_ruler, add_vignette
from lentigo.pixels.segmentation import Lesion, Mask, segment_lesion
from lentigo.synthetic.canvas import blend
from lentigo.synthetic.phantom import add_hair

HAIRS = 20
_AROUND_LESION, _AROUND_SKIN = 14, 16  # dilation of the lesion's mask in pixels, to hide it or to keep it
_SOFT = 4.0  # half the width of the blended edge, in pixels
_REACH = 16.0  # standard deviation of the weights for filling the lesion from the surrounding skin, in pixels


@dataclass(frozen=True)
class Perturbation:
    """One change of an image.

    Attributes:
        name: its short name, as in files; the artifact's name if it adds one.
        title: its display name.
        adds: whether it adds an artifact; otherwise it hides an area, which needs the lesion's mask.
    """

    name: str
    title: str
    adds: bool


PERTURBATIONS = {
    c.name: c
    for c in (
        Perturbation("lesion", "lesion hidden", False),
        Perturbation("surroundings", "surroundings hidden", False),
        Perturbation("vignette", "dark corners added", True),
        Perturbation("ruler", "ruler added", True),
        Perturbation("ink", "pen marks added", True),
        Perturbation("hair", f"{HAIRS} hairs added", True),
    )
}

_PAINT: dict[str, Callable[[Pixels, int], Pixels]] = {
    "vignette": add_vignette,
    "ruler": add_ruler,
    "ink": add_ink,
    "hair": lambda pixels, seed: add_hair(pixels, seed, HAIRS),
}


def perturb(pixels: Pixels, seed: int) -> dict[str, Pixels]:
    """Apply every possible perturbation to an image.

    The lesion and its surroundings are hidden only if the segmentation passes its checks. An artifact is added only if
    it was not detected.

    Args:
        pixels: (S, S, 3) uint8 RGB; not changed.
        seed: seed of the artifacts.

    Returns:
        The changed images, (S, S, 3) uint8, by name of the perturbation.
    """
    lesion, found = segment_lesion(pixels), detect_artifacts(pixels)
    changed = (
        {}
        if lesion.doubt
        else {"lesion": hide_lesion(pixels, lesion), "surroundings": hide_surroundings(pixels, lesion)}
    )
    return changed | {
        name: paint(pixels, seed) for name, paint in _PAINT.items() if found[name] < ARTIFACTS[name].threshold
    }


def hide_lesion(pixels: Pixels, lesion: Lesion) -> Pixels:
    """Fill the lesion's mask, dilated to include its edge, smoothly from the surrounding skin."""
    unit = len(pixels) / REFERENCE
    mask = _widen(lesion.mask, _AROUND_LESION * unit)
    weight = ndimage.gaussian_filter((~mask).astype(np.float32), _REACH * unit)[..., None]
    seen = np.where(mask[..., None], 0, pixels).astype(np.float32)
    around = ndimage.gaussian_filter(seen, (_REACH * unit, _REACH * unit, 0))
    fill = (around + 1e-3 * lesion.skin) / (weight + 1e-3)  # the skin's colour deep inside a large lesion
    return _blend(pixels, fill, mask, unit)


def hide_surroundings(pixels: Pixels, lesion: Lesion) -> Pixels:
    """Fill everything but the lesion and a rim of skin with the skin's colour."""
    unit = len(pixels) / REFERENCE
    return _blend(pixels, np.broadcast_to(lesion.skin, pixels.shape), ~_widen(lesion.mask, _AROUND_SKIN * unit), unit)


def _widen(mask: Mask, pixels: float) -> Mask:
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~mask)
    return distance <= pixels


def _blend(pixels: Pixels, fill: NDArray[np.floating], mask: Mask, unit: float) -> Pixels:
    """Blend another image over the mask, with an edge so soft that it adds no structure."""
    distance = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    opacity = np.clip(0.5 + distance / (2 * _SOFT * unit), 0, 1)[..., None]
    return blend(pixels, fill, opacity)
