"""Textures: seeded images without a lesion, for testing out-of-distribution detection.

The kinds imitate objects that a camera may capture by mistake: cloud-like noise with the spectrum of natural scenes,
wood, marble, cloth, bricks, stripes, checks, pebbles, a gradient, a page of text. This module needs only numpy and
Pillow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lentigo.errors import DataError, did_you_mean

Map = NDArray[np.float32]


def render_texture(kind: str, seed: int, size: int) -> Image.Image:
    """Render one texture.

    Args:
        kind: a key of `TEXTURES` (structured) or `BLANKS` (``noise``, ``blank``: without structure).
        seed: at least 0; the same kind, seed and size give the same image.
        size: side in pixels, 16 to 4096.

    Returns:
        RGB, (size, size).

    Raises:
        DataError: the kind is unknown, or a number is out of range.
    """
    recipes = TEXTURES | BLANKS
    if kind not in recipes:
        raise DataError(f"no texture {kind!r}{did_you_mean(kind, recipes)}")
    if seed < 0 or not 16 <= size <= 4096:
        raise DataError(f"a texture needs seed >= 0 and a size of 16 to 4096 pixels; found {seed} and {size}")
    rng = np.random.default_rng([seed, list(recipes).index(kind)])
    return Image.fromarray(np.clip(255 * recipes[kind](rng, size), 0, 255).astype(np.uint8))


def render_textures(kinds: tuple[str, ...], count: int, size: int) -> Iterator[Image.Image]:
    """Yield ``count`` textures of alternating kinds.

    Args:
        kinds: keys of `TEXTURES` or `BLANKS`.
        count: number of images.
        size: side in pixels.
    """
    for i in range(count):
        yield render_texture(kinds[i % len(kinds)], i // len(kinds), size)


def _field(rng: np.random.Generator, size: int, slope: float) -> Map:
    """Draw a random field with amplitude spectrum ``1 / f ** slope``, (size, size) in [0, 1].

    Natural scenes have a slope of about 1 (Field, JOSA A 1987).
    """
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = 1.0
    phases = np.exp(2j * np.pi * rng.random(frequency.shape)) / frequency**slope
    phases[0, 0] = 0
    field = np.fft.irfft2(phases, (size, size))
    low, high = np.percentile(field, (1, 99))
    result: Map = np.clip((field - low) / (high - low), 0, 1).astype(np.float32)
    return result


def _blend(rng: np.random.Generator, t: Map) -> Map:
    """Interpolate between two random colours, (size, size, 3)."""
    first, second = rng.random((2, 3)).astype(np.float32)
    result: Map = first + t[..., None] * (second - first)
    return result


def _grid(rng: np.random.Generator, size: int) -> tuple[Map, Map]:
    """Return coordinates in [-0.5, 0.5], rotated by a random angle."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    angle = rng.uniform(0, np.pi)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cosine * x + sine * y, cosine * y - sine * x


def _clouds(rng: np.random.Generator, size: int) -> Map:
    return np.stack([_field(rng, size, rng.uniform(0.8, 1.6)) for _ in range(3)], axis=-1)


def _wood(rng: np.random.Generator, size: int) -> Map:
    x, y = _grid(rng, size)
    rings = np.hypot(x + rng.uniform(0.5, 1), y * 0.15) + 0.06 * _field(rng, size, 1.8)
    grain = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(15, 40) * rings)
    tone = np.array([0.62, 0.42, 0.24], np.float32) * np.float32(rng.uniform(0.6, 1.3))
    result: Map = tone * (0.6 + 0.4 * grain + 0.08 * _field(rng, size, 0.4))[..., None]
    return result


def _marble(rng: np.random.Generator, size: int) -> Map:
    x, _ = _grid(rng, size)
    veins = np.abs(np.sin(2 * np.pi * (rng.uniform(2, 6) * x + rng.uniform(0.8, 2) * _field(rng, size, 1.6)))) ** 0.4
    return _blend(rng, veins.astype(np.float32))


def _cloth(rng: np.random.Generator, size: int) -> Map:
    x, y = _grid(rng, size)
    threads = rng.uniform(12, 60)
    over = np.sign(np.sin(np.pi * threads * x) * np.sin(np.pi * threads * y))
    weave = np.where(over > 0, np.abs(np.sin(np.pi * threads * x)), np.abs(np.sin(np.pi * threads * y)))
    return _blend(rng, (0.8 * weave + 0.2 * _field(rng, size, 0.6)).astype(np.float32))


def _bricks(rng: np.random.Generator, size: int) -> Map:
    x, y = _grid(rng, size)
    rows = rng.uniform(5, 12)
    row = np.floor(y * rows)
    across, down = (x * rows / 2 + 0.5 * (row % 2)) % 1, (y * rows) % 1
    mortar = (across < 0.05) | (down < 0.1)
    wall = _blend(rng, 0.6 * _field(rng, size, 0.8))
    wall[mortar] = rng.random(3)
    return wall


def _stripes(rng: np.random.Generator, size: int) -> Map:
    x, _ = _grid(rng, size)
    return _blend(rng, (0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(3, 30) * x)).astype(np.float32))


def _checks(rng: np.random.Generator, size: int) -> Map:
    x, y = _grid(rng, size)
    cells = rng.uniform(3, 20)
    return _blend(rng, ((np.floor(cells * x) + np.floor(cells * y)) % 2).astype(np.float32))


def _pebbles(rng: np.random.Generator, size: int) -> Map:
    """Draw cells around random points (Worley, SIGGRAPH 1996)."""
    points, shades = rng.random((60, 2)).astype(np.float32), rng.random((60, 3)).astype(np.float32)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    distance = np.hypot(x[..., None] - points[:, 0], y[..., None] - points[:, 1])  # (size, size, 60)
    nearest = distance.argmin(axis=-1)
    result: Map = shades[nearest] * (1.1 - 6 * distance.min(axis=-1))[..., None]
    return result


def _gradient(rng: np.random.Generator, size: int) -> Map:
    x, _ = _grid(rng, size)
    return _blend(rng, x + np.float32(0.5))


def _text(rng: np.random.Generator, size: int) -> Map:
    page = Image.new("L", (size, size), 250)
    draw = ImageDraw.Draw(page)
    height = max(8, round(size * rng.uniform(0.04, 0.12)))
    font = ImageFont.load_default(height)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz     "))
    for top in range(0, size, round(1.3 * height)):
        draw.text((0, top), "".join(rng.choice(letters, 80)), font=font, fill=20)
    return np.repeat(np.asarray(page, np.float32)[..., None] / 255, 3, axis=-1)


def _noise(rng: np.random.Generator, size: int) -> Map:
    centre, spread = rng.random(3), rng.uniform(0.05, 0.4)
    result: Map = (centre + spread * rng.standard_normal((size, size, 3))).astype(np.float32)
    return result


def _blank(rng: np.random.Generator, size: int) -> Map:
    return np.broadcast_to(rng.random(3).astype(np.float32), (size, size, 3))


TEXTURES: dict[str, Callable[[np.random.Generator, int], Map]] = {
    "clouds": _clouds,
    "wood": _wood,
    "marble": _marble,
    "cloth": _cloth,
    "bricks": _bricks,
    "stripes": _stripes,
    "checks": _checks,
    "pebbles": _pebbles,
    "gradient": _gradient,
    "text": _text,
}
"""Structured kinds."""

BLANKS: dict[str, Callable[[np.random.Generator, int], Map]] = {"noise": _noise, "blank": _blank}
"""Kinds without structure."""
