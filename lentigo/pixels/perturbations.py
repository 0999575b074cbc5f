"""Hide the lesion or its surroundings, or add an artifact: what a network's answers depend on.

After Bissoto et al., *(De)Constructing bias on skin lesion datasets* (CVPR workshops, 2019), where networks kept much
of their score on images without the lesion. numpy, scipy and Pillow only.
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
from lentigo.synthetic.phantom import add_hair

HAIRS = 20
_AROUND_LESION, _AROUND_SKIN = 14, 16  # pixels by which the lesion's estimate is widened to hide it, or to keep it
_SOFT = 4.0  # half the width of the edge of what is hidden
_REACH = 16.0  # of the weights with which the skin around fills the lesion's place


@dataclass(frozen=True)
class Perturbation:
    """One change of a picture.

    Attributes:
        name: its short name, as it stands in files; an artifact's name where one is added.
        title: what is done.
        adds: whether an artifact is added; else something is hidden, and the lesion's place must be known.
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
    """Every change that can be made to a picture (S, S, 3), by name.

    The lesion and its surroundings are hidden only where the lesion's estimated place passes its checks. An artifact
    is added only where it was not found.
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
    """The lesion's place, widened a little for its edge, filled smoothly from the skin around it."""
    unit = len(pixels) / REFERENCE
    mask = _widen(lesion.mask, _AROUND_LESION * unit)
    weight = ndimage.gaussian_filter((~mask).astype(np.float32), _REACH * unit)[..., None]
    seen = np.where(mask[..., None], 0, pixels).astype(np.float32)
    around = ndimage.gaussian_filter(seen, (_REACH * unit, _REACH * unit, 0))
    fill = (around + 1e-3 * lesion.skin) / (weight + 1e-3)  # deep inside a large lesion, the skin's colour
    return _blend(pixels, fill, mask, unit)


def hide_surroundings(pixels: Pixels, lesion: Lesion) -> Pixels:
    """All but the lesion and a rim of skin painted in the skin's colour."""
    unit = len(pixels) / REFERENCE
    return _blend(pixels, np.broadcast_to(lesion.skin, pixels.shape), ~_widen(lesion.mask, _AROUND_SKIN * unit), unit)


def _widen(mask: Mask, pixels: float) -> Mask:
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~mask)
    return distance <= pixels


def _blend(pixels: Pixels, fill: NDArray[np.floating], mask: Mask, unit: float) -> Pixels:
    """The picture with another where the mask is, with an edge so soft that it adds no structure."""
    distance = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    opacity = np.clip(0.5 + distance / (2 * _SOFT * unit), 0, 1)[..., None]
    mixed: Pixels = (np.clip(pixels + opacity * (fill - pixels), 0, 255) + 0.5).astype(np.uint8)
    return mixed
