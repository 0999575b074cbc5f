"""Phantom recipes of hypopigmented skin: the ten classes of the Hypo recipe by their clinical signs.

The canvas is pigmented skin, with melanin and blood set. A recipe removes pigment or blood. The diseases differ in the
amount, sharpness, number and arrangement of patches; tone, light and size overlap between them.
"""

from __future__ import annotations

import numpy as np

from lentigo.synthetic.canvas import TAU, Canvas, Map, smoothstep


def _pale(c: Canvas, cover: Map, fraction: float) -> None:
    """Remove a fraction of the pigment where ``cover`` is 1."""
    c.melanin *= 1 - np.float32(fraction) * np.clip(cover, 0, 1)


def _centre(c: Canvas, reach: float = 0.25) -> tuple[float, float]:
    return c.uniform(-reach, reach), c.uniform(-reach, reach)


def _patches(
    c: Canvas, count: int, low: float, high: float, *, irregularity: float, edge: float, reach: float = 0.6
) -> Map:
    """Draw the union of several patches, (S, S), 0 to 1; ``edge`` is the depth over which a border fades."""
    cover = np.zeros((c.size, c.size), np.float32)
    for _ in range(count):
        depth = c.lesion(
            c.uniform(low, high), irregularity=irregularity, elongation=c.uniform(0, 0.4), centre=_centre(c, reach)
        )
        np.maximum(cover, smoothstep(-edge / 2, edge / 2, depth), out=cover)
    return cover


def vitiligo(c: Canvas) -> None:
    """Vitiligo: chalk-white patches with sharp convex borders, sometimes a darker rim and islands of pigment."""
    cover = _patches(c, int(c.rng.integers(2, 6)), 0.2, 0.5, irregularity=c.uniform(0.06, 0.14), edge=0.12)
    if c.chance(0.4):
        rim = smoothstep(0.02, 0.5, cover) * smoothstep(0.98, 0.5, cover)
        c.melanin *= 1 + np.float32(0.5) * rim
    _pale(c, cover, c.uniform(0.93, 1.0))
    c.white += cover * c.amount(0.15, 0.35)
    if c.chance(0.5):
        places = c.apart(c.scatter(40, cover - np.float32(0.9)), 0.08)
        c.melanin += c.amount(0.3, 0.6) * c.spots(places, c.rng.uniform(0.014, 0.03, len(places)), softness=0.6)


def pityriasis_alba(c: Canvas) -> None:
    """Pityriasis alba: a few faint round patches with a fading border and fine scale, initially slightly red."""
    cover = _patches(c, int(c.rng.integers(1, 4)), 0.28, 0.5, irregularity=0.05, edge=0.9, reach=0.4)
    _pale(c, cover, c.uniform(0.35, 0.6))
    c.blood += cover * c.amount(0, 0.2)
    powder = smoothstep(0.4, 1.4, c.noise(45)) * cover
    c.white += powder * c.amount(0.2, 0.45)


def pityriasis_versicolor(c: Canvas) -> None:
    """Pityriasis versicolor: many small confluent oval macules with fine scale and clear borders."""
    focus = smoothstep(-1.2, 0.6, c.noise(1.4))
    places = c.scatter(int(c.rng.integers(35, 90)), focus - c.amount(0.3, 0.7))
    cover = c.spots(places, c.rng.gamma(6, 0.012, len(places)) + 0.02, softness=0.3)
    _pale(c, cover, c.uniform(0.45, 0.75))
    c.blood += cover * c.amount(0, 0.15)
    c.white += cover * smoothstep(0.2, 1.2, c.noise(30, 2)) * c.amount(0.15, 0.35)


def naevus_depigmentosus(c: Canvas) -> None:
    """Naevus depigmentosus: one off-white patch with a jagged border, surrounded by small splashes."""
    depth = c.lesion(
        c.uniform(0.4, 0.65), irregularity=c.uniform(0.2, 0.28), elongation=c.uniform(0.1, 0.5), centre=_centre(c, 0.15)
    )
    depth = depth + c.amount(0.12, 0.2) * c.noise(13, 3)
    near = smoothstep(-0.9, -0.1, depth)
    splashes = smoothstep(0.75, 0.95, c.noise(8, 2) * near)
    cover = np.maximum(smoothstep(-0.03, 0.07, depth), splashes)
    _pale(c, cover, c.uniform(0.5, 0.75))


def naevus_anaemicus(c: Canvas) -> None:
    """Naevus anaemicus: pale by lack of blood, pigment unchanged; a border of small round lobes in reddish skin."""
    c.blood += c.amount(0.2, 0.45) * (1 + np.float32(0.25) * c.noise(10, 2))
    depth = c.lesion(c.uniform(0.35, 0.6), irregularity=0.15, elongation=c.uniform(0, 0.4), centre=_centre(c, 0.15))
    places = c.scatter(int(c.rng.integers(70, 120)), depth + c.amount(0.05, 0.3))
    cover = c.spots(places, c.rng.uniform(0.05, 0.11, len(places)), softness=0.4)
    c.blood *= 1 - c.amount(0.85, 1.0) * cover
    c.white += cover * np.float32(0.08)


def guttate_hypomelanosis(c: Canvas) -> None:
    """Idiopathic guttate hypomelanosis: porcelain-white drops of 2 to 5 mm, scattered and sharp, in sun-worn skin."""
    c.melanin *= 1 + np.float32(0.1) * c.noise(9, 3)
    freckles = c.scatter(int(c.rng.integers(0, 20)), np.ones_like(c.melanin))
    c.melanin += np.float32(0.25) * c.spots(freckles, c.rng.uniform(0.015, 0.035, len(freckles)), softness=0.8)
    places = c.apart(c.scatter(int(c.rng.integers(14, 60)), np.ones_like(c.melanin)), 0.11)
    cover = c.spots(places, c.rng.uniform(0.02, 0.048, len(places)), softness=0.2)
    _pale(c, cover, c.uniform(0.9, 1.0))
    c.white += cover * c.amount(0.15, 0.35)


def postinflammatory_hypopigmentation(c: Canvas) -> None:
    """Post-inflammatory hypopigmentation: mottled pale and dark, blurred, in the former lesion's shape."""
    cover = _patches(c, int(c.rng.integers(2, 6)), 0.15, 0.4, irregularity=0.2, edge=0.5)
    mottle = c.noise(c.uniform(6, 10), 2)
    _pale(c, cover * smoothstep(-0.5, 0.7, mottle), c.uniform(0.45, 0.75))
    c.melanin *= 1 + c.amount(0.5, 0.9) * smoothstep(0.1, 0.5, cover) * smoothstep(0.1, -1.0, mottle)
    c.blood += cover * c.amount(0.05, 0.35) * smoothstep(-0.5, 1.0, c.noise(5))


def macular_hypomelanosis(c: Canvas) -> None:
    """Progressive macular hypomelanosis: faint confluent round macules around the midline, without scale."""
    turn = c.uniform(-0.3, 0.3)
    cover = np.zeros((c.size, c.size), np.float32)
    for _ in range(int(c.rng.integers(9, 18))):
        along, across = c.uniform(-0.95, 0.95), abs(float(c.rng.normal(0, 0.4)))
        radius = c.uniform(0.1, 0.22)
        for side in (-1, 1):  # both sides of the midline, not exactly symmetric
            px, py = side * across + c.uniform(-0.07, 0.07), along + c.uniform(-0.07, 0.07)
            x, y = (
                c.x - np.float32(px * np.cos(turn) - py * np.sin(turn)),
                c.y - np.float32(px * np.sin(turn) + py * np.cos(turn)),
            )
            macule = smoothstep(1.25, 0.35, np.sqrt(x * x + y * y) / np.float32(radius))
            cover = 1 - (1 - cover) * (1 - np.float32(0.8) * macule)
    _pale(c, cover, c.uniform(0.35, 0.6))


def halo_naevus(c: Canvas) -> None:
    """Halo naevus: a brown naevus in the middle of a round white ring."""
    side = c.uniform(0, TAU)
    away = c.uniform(0.35, 0.5) * np.array([np.cos(side), np.sin(side)])
    centres = [tuple(away), tuple(-away)] if c.chance(0.2) else [_centre(c, 0.3)]
    for centre in centres:  # all halos before the naevi, because they may overlap
        halo = c.lesion(c.uniform(0.35, 0.6), irregularity=0.04, elongation=c.uniform(0, 0.15), centre=centre)
        ring = smoothstep(-0.02, c.uniform(0.06, 0.15), halo)
        _pale(c, ring, c.uniform(0.8, 1.0))
        c.white += ring * c.amount(0, 0.25)
    for centre in centres:
        naevus = smoothstep(0, 0.3, c.lesion(c.uniform(0.1, 0.24), irregularity=0.07, centre=centre))
        c.melanin += naevus * c.amount(0.5, 1.3) * (1 + np.float32(0.15) * c.noise(20, 2))
        c.blood += naevus * c.amount(0, 0.5)


def piebaldism(c: Canvas) -> None:
    """Piebaldism: a large white area at the midline with islands of normal and darker skin, and white hair."""
    turn = c.uniform(0, TAU)
    along = c.x * np.float32(np.cos(turn)) + c.y * np.float32(np.sin(turn))
    across = c.y * np.float32(np.cos(turn)) - c.x * np.float32(np.sin(turn))
    width = c.amount(0.45, 0.75) * (1 - c.amount(0, 0.6) * (along + 1) / 2)
    depth = width - np.abs(across) + np.float32(0.1) * c.noise(3, 3)
    area = smoothstep(-0.02, 0.05, depth)
    places = c.apart(c.scatter(int(c.rng.integers(12, 40)), depth - np.float32(0.04)), 0.14)
    islands = c.spots(places, c.rng.gamma(4, 0.018, len(places)) + 0.02, softness=0.45)
    dark = c.melanin * c.amount(0.8, 1.3)
    _pale(c, area, c.uniform(0.93, 1.0))
    c.melanin += islands * area * dark
    c.white += area * (1 - islands) * c.amount(0.1, 0.3)
    if c.chance(0.6):
        strands = []
        for px, py in c.scatter(int(c.rng.integers(8, 30)), area - np.float32(0.9)):
            heading = turn + c.uniform(-0.4, 0.4)
            length = c.uniform(0.08, 0.2)
            strands.append([(px, py), (px + length * np.cos(heading), py + length * np.sin(heading))])
        c.white += np.float32(0.5) * c.strokes(strands, [0.009] * len(strands))
