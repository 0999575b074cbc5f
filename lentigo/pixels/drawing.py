"""Draw artifacts of dermoscopy: dark corners, a ruler, pen marks.

A network may learn artifacts instead of the lesion: pen marks raise the melanoma score of a convolutional network
(Winkler et al., JAMA Dermatology 2019), and so do dark corners in some (Sies et al., Journal of Clinical Medicine
2021). Drawn at random on training images, they no longer correlate with a class; drawn on test images, they show the
sensitivity of a network to them. Functions take (S, S, 3) uint8 RGB and a seed, and return a changed copy. This module
needs only numpy and Pillow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lentigo.synthetic.canvas import TAU, Canvas, Map, blend, curl, smoothstep

Pixels = NDArray[np.uint8]

# Violet, blue, green, black.
_INKS = np.array([[0.28, 0.14, 0.45], [0.16, 0.20, 0.52], [0.10, 0.28, 0.30], [0.12, 0.11, 0.16]], np.float32)


def add_vignette(pixels: Pixels, seed: int) -> Pixels:
    """Darken pixels outside a round field with a radius of 0.9 to 1.2 half sides; every corner changes."""
    c = Canvas(np.random.default_rng(seed), len(pixels))
    edge = c.uniform(0.9, 1.2)
    fade = c.uniform(0.02, 0.08) if c.chance(0.5) else c.uniform(0.1, 0.4)
    radius = np.sqrt((c.x - c.amount(-0.08, 0.08)) ** 2 + (c.y - c.amount(-0.08, 0.08)) ** 2)
    dark = c.amount(0.75, 1) * smoothstep(edge, edge + fade, radius)
    return blend(pixels, np.zeros(3, np.float32), dark[..., None])


def add_ruler(pixels: Pixels, seed: int) -> Pixels:
    """Draw the ticks of a scale along one side: straight, or on an arc around the centre as on a dermatoscope."""
    c = Canvas(np.random.default_rng(seed), len(pixels))
    bent, every, width, step = c.chance(0.5), 5 if c.chance(0.5) else 10, c.uniform(0.010, 0.018), c.uniform(0.05, 0.09)
    far, length, corner = (
        c.uniform(0.85, 0.97) * (1.25 if bent else 1),
        c.uniform(0.05, 0.08),
        int(c.rng.integers(4)) + 0.5,
    )
    ticks = []
    for number, along in enumerate(np.arange(-1, 1, step)):
        near = far - length * (1 if number % every else 1.9)
        if bent:  # radial ticks across a corner
            angle = corner * np.pi / 2 + 0.8 * along
            ticks.append([(r * np.cos(angle), r * np.sin(angle)) for r in (far, near)])
        else:
            ticks.append([(float(along), far), (float(along), near)])
    ink: Map = c.strokes(ticks, [width] * len(ticks))
    tone = np.full(3, c.uniform(0.05, 0.25), np.float32) * np.float32(255)
    cover = c.amount(0.7, 0.95) * (ink if bent else np.rot90(ink, int(c.rng.integers(4))))
    return blend(pixels, tone, cover[..., None])


def add_ink(pixels: Pixels, seed: int) -> Pixels:
    """Draw marks of a skin pen outside the middle: an arc, a line, or dots."""
    c = Canvas(np.random.default_rng(seed), len(pixels))
    far, heading, width = c.uniform(0.7, 0.95), c.uniform(0, TAU), c.uniform(0.04, 0.09)
    match int(c.rng.integers(3)):
        case 0:
            angles = heading + np.linspace(0, c.uniform(0.6, 2.5), 20)
            path = [(far * 1.15 * float(np.cos(a)), far * 1.15 * float(np.sin(a))) for a in angles]
            ink = c.strokes([path], [width])
        case 1:
            start = (far * float(np.cos(heading)), far * float(np.sin(heading)))
            ink = c.strokes(
                [curl(c.rng, start, heading + np.pi / 2 - c.uniform(0, 0.5), c.uniform(0.4, 1.0), bend=0.2)], [width]
            )
        case _:
            angles = heading + c.rng.uniform(-1.2, 1.2, int(c.rng.integers(3, 6)))
            ink = c.spots(
                [(far * float(np.cos(a)), far * float(np.sin(a))) for a in angles],
                c.rng.uniform(0.04, 0.09, len(angles)),
            )
    uneven = np.clip(1 + np.float32(0.15) * c.noise(12, 2), 0.5, 1.2)  # a pen wets skin unevenly
    cover = c.amount(0.55, 0.8) * np.clip(ink * uneven, 0, 1)
    return blend(pixels, _INKS[int(c.rng.integers(len(_INKS)))] * np.float32(255), cover[..., None])


def draw_artifacts(pixels: Pixels, seed: int) -> Pixels:
    """Draw a ruler for even seeds, pen marks for odd ones."""
    return add_ink(pixels, seed) if seed % 2 else add_ruler(pixels, seed)
