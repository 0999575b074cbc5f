"""The canvas of phantoms: absorbing layers on skin, and the shapes of lesions.

A canvas has maps of absorbers and covers: melanin (brown), blood (red), deep melanin (blue-grey by the Tyndall effect),
white (scar, keratin, depigmentation) and keratin (yellow). The colour follows from the Beer-Lambert law,
``skin * exp(-sum of absorbances)``, so layers mix as pigments do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Map = NDArray[np.float32]

MELANIN = np.array([0.52, 0.98, 1.38], np.float32)
BLOOD = np.array([0.13, 0.95, 0.82], np.float32)
DEEP = np.array([1.05, 0.66, 0.34], np.float32)
WHITE = np.array([0.95, 0.91, 0.89], np.float32)
KERATIN = np.array([0.88, 0.74, 0.46], np.float32)
TAU = 2 * np.pi


def smoothstep(low: float, high: float, values: Map) -> Map:
    """Compute a smooth ramp from 0 at ``low`` to 1 at ``high``; it falls if ``low`` is the larger."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    ramp: Map = t * t * (3 - 2 * t)
    return ramp


def to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Clip to 0 to 255 and round half up."""
    rounded: NDArray[np.uint8] = (np.clip(values, 0, 255) + 0.5).astype(np.uint8)
    return rounded


def blend(pixels: NDArray[np.uint8], fill: NDArray[np.floating], opacity: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Blend colours of 0 to 255 over an image.

    Args:
        pixels: (H, W, 3) uint8.
        fill: (H, W, 3) or (3,).
        opacity: (H, W, 1) or (H, W, 3), 0 to 1.
    """
    return to_uint8(pixels + opacity * (fill - pixels))


class Canvas:
    """Layers over a square piece of skin.

    Attributes:
        rng: random numbers of every choice.
        size: S, side in pixels.
        x: (S, S) float32, -1 at the left edge and 1 at the right.
        y: (S, S) float32, -1 at the top and 1 at the bottom.
        melanin: absorbance of pigment in the epidermis, (S, S); about 2 is black-brown, below 0 is paler than skin.
        blood: absorbance of vessels and redness, (S, S); below 0 is blanched.
        deep: absorbance of pigment in the dermis (blue-grey), (S, S).
        white: fraction covered by white, (S, S), 0 to 1.
        keratin: fraction covered by yellow keratin, (S, S), 0 to 1.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng = rng
        self.size = size
        ticks = np.linspace(-1, 1, size, dtype=np.float32)
        self.x, self.y = (np.ascontiguousarray(a) for a in np.meshgrid(ticks, ticks))
        self.melanin, self.blood, self.deep, self.white, self.keratin = np.zeros((5, size, size), np.float32)

    def uniform(self, low: float, high: float) -> float:
        """Draw a number in [low, high)."""
        return float(self.rng.uniform(low, high))

    def amount(self, low: float, high: float) -> np.float32:
        """Draw a number in [low, high) as float32, so that products with maps stay float32."""
        return np.float32(self.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """Draw True with this probability."""
        return bool(self.rng.random() < probability)

    def noise(self, cells: float, octaves: int = 1) -> Map:
        """Draw smooth noise (S, S), mean about 0, deviation about 1; ``cells`` bumps across, doubled per octave."""
        total = np.zeros((self.size, self.size), np.float32)
        for octave in range(octaves):
            count = max(2, round(cells * 2**octave)) + 3
            grid = Image.fromarray(self.rng.standard_normal((count, count), dtype=np.float32))
            inner = (1.5, 1.5, count - 1.5, count - 1.5)  # away from the edge, where the spline flattens
            total += np.asarray(grid.resize((self.size, self.size), Image.Resampling.BICUBIC, box=inner)) * np.float32(
                0.55**octave
            )
        return total * np.float32(1.5 if octaves == 1 else 1.3)

    def lesion(
        self, radius: float, *, irregularity: float, elongation: float = 0.2, centre: tuple[float, float] = (0, 0)
    ) -> Map:
        """Draw the outline of a lesion as a map of depth.

        Args:
            radius: mean radius; 1 reaches the canvas edge.
            irregularity: 0 for an ellipse; 0.1 is a smooth border, 0.3 a notched one.
            elongation: 0 for round.
            centre: x and y of the centre, -1 to 1.

        Returns:
            (S, S), 1 at the centre, 0 on the border, below 0 outside.
        """
        angle = self.uniform(0, TAU)
        dx, dy = self.x - np.float32(centre[0]), self.y - np.float32(centre[1])
        u = (dx * np.cos(angle) + dy * np.sin(angle)) * np.float32(1 + elongation)
        v = (dy * np.cos(angle) - dx * np.sin(angle)) / np.float32(1 + elongation)
        distance = np.sqrt(u * u + v * v)
        theta = np.arctan2(v, u)
        border = np.full_like(distance, radius)
        for order in range(2, 7):
            border += np.float32(radius * irregularity * self.rng.standard_normal() / order**0.7) * np.cos(
                order * theta + self.amount(0, TAU)
            )
        border += self.noise(5 / max(radius, 0.15), 2) * np.float32(radius * irregularity * 0.35)
        depth: Map = (1 - distance / np.maximum(border, np.float32(0.25 * radius))).astype(np.float32)
        return depth

    def lattice(self, spacing: float, warp: float) -> Map:
        """Draw a honeycomb, (S, S): 1 on its lines and 0 in its holes.

        Three plane waves at 60 degrees make a hexagonal grid of holes, ``spacing`` apart on a canvas of width 2. A
        smooth ``warp``, a fraction of the spacing, makes it natural; above 0.5 it looks irregular.
        """
        angle = self.uniform(0, TAU)
        bump = 0.4 / spacing
        u = self.x + self.noise(bump) * np.float32(warp * spacing)
        v = self.y + self.noise(bump) * np.float32(warp * spacing)
        wave = np.zeros_like(u)
        for turn in range(3):
            direction = angle + turn * np.pi / 3
            k = TAU / (spacing * 0.866)
            wave += np.cos(u * np.float32(k * np.cos(direction)) + v * np.float32(k * np.sin(direction)))
        return smoothstep(0.7, -0.8, wave + self.noise(0.6 / spacing) * np.float32(0.35 + 0.3 * warp))

    def spots(
        self,
        centres: Sequence[tuple[float, float]],
        radii: Sequence[float] | NDArray[np.floating[Any]],
        *,
        softness: float = 0.35,
    ) -> Map:
        """Draw uneven round spots, (S, S), 1 inside, 0 outside; ``softness`` is the fading fraction of the radius."""
        cover = np.zeros((self.size, self.size), np.float32)
        half = self.size / 2
        for (cx, cy), radius in zip(centres, radii, strict=True):
            px, py, reach = (cx + 1) * half, (cy + 1) * half, radius * half
            margin = reach * 1.5 + 1.5
            x0, x1 = max(0, int(px - margin)), min(self.size, int(px + margin) + 2)
            y0, y1 = max(0, int(py - margin)), min(self.size, int(py + margin) + 2)
            if x0 >= x1 or y0 >= y1:
                continue
            dx = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(px)
            dy = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(py)
            turn, stretch = self.uniform(0, TAU), self.uniform(1, 1.35)
            u, v = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
            distance = np.sqrt(u * u * np.float32(stretch) + v * v / np.float32(stretch)).astype(np.float32)
            if reach > 3:  # large spots get an irregular outline
                theta = np.arctan2(v, u)
                lobes = np.cos(2 * theta + self.amount(0, TAU)) + np.cos(3 * theta + self.amount(0, TAU))
                distance *= 1 + np.float32(0.045) * lobes
            fade = max(reach * softness, 0.7)  # at least 0.7 pixels, to avoid aliasing of small spots
            patch = np.clip((np.float32(reach) + np.float32(fade / 2) - distance) / np.float32(fade), 0, 1)
            np.maximum(cover[y0:y1, x0:x1], patch, out=cover[y0:y1, x0:x1])
        return cover

    def strokes(self, paths: Iterable[Sequence[tuple[float, float]]], widths: Iterable[float | Sequence[float]]) -> Map:
        """Draw antialiased lines, (S, S), 0 to 1, with a width (canvas units) per path, or per segment to taper it."""
        scale = 3 if self.size <= 200 else 2
        side = self.size * scale
        image = Image.new("L", (side, side))
        draw = ImageDraw.Draw(image)
        for path, width in zip(paths, widths, strict=True):
            points = [((px + 1) * side / 2, (py + 1) * side / 2) for px, py in path]
            if isinstance(width, int | float):
                draw.line(points, fill=255, width=max(1, round(width * side / 2)), joint="curve")
                continue
            for start, end, part in zip(points[:-1], points[1:], width, strict=True):
                draw.line((start, end), fill=255, width=max(1, round(part * side / 2)))
        small = image.reduce(scale)
        return np.asarray(small, dtype=np.float32) / np.float32(255)

    def scatter(self, count: int, within: Map) -> list[tuple[float, float]]:
        """Draw ``count`` positions where ``within`` (S, S) is above 0; none if it nowhere is."""
        places = np.argwhere(within > 0)
        if len(places) == 0:
            return []
        chosen = places[self.rng.integers(0, len(places), count)] + self.rng.random((count, 2))
        return [(float(px) / self.size * 2 - 1, float(py) / self.size * 2 - 1) for py, px in chosen]

    def apart(self, places: Sequence[tuple[float, float]], distance: float) -> list[tuple[float, float]]:
        """Return the positions that are more than a distance from all earlier returned ones."""
        kept: list[tuple[float, float]] = []
        for px, py in places:
            if all((px - qx) ** 2 + (py - qy) ** 2 > distance**2 for qx, qy in kept):
                kept.append((px, py))
        return kept

    def colour(self, skin: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the colour of all layers over skin of a reflectance (3,): (S, S, 3) float32, about 0 to 1."""
        # (S, S, 3).
        absorbed = self.melanin[..., None] * MELANIN + self.blood[..., None] * BLOOD + self.deep[..., None] * DEEP
        image: NDArray[np.float32] = skin * np.exp(-absorbed)
        for cover, tone in ((self.keratin, KERATIN), (self.white, WHITE)):
            opacity = np.clip(cover, 0, 1)[..., None]
            image += opacity * (tone * np.float32(0.35) + tone * skin * np.float32(0.7) - image)
        return image


def curl(
    rng: np.random.Generator, start: tuple[float, float], heading: float, length: float, *, bend: float, steps: int = 14
) -> list[tuple[float, float]]:
    """Draw a random path of ``steps`` segments; ``bend`` is the standard deviation of its total turn in radians."""
    turning = rng.normal(0, bend / steps) + np.cumsum(rng.normal(0, bend / steps, steps)) * 0.5
    angles = heading + np.cumsum(np.broadcast_to(turning, steps))
    xs = start[0] + np.cumsum(np.cos(angles)) * length / steps
    ys = start[1] + np.cumsum(np.sin(angles)) * length / steps
    return [start, *zip(xs.tolist(), ys.tolist(), strict=True)]
