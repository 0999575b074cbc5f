"""Phantom recipes for dermoscopy: the seven classes of HAM10000, by their dermoscopic structures.

Redness, pigment and size are drawn from wide ranges that overlap between the classes, so that classes differ by
structure, not by mean colour.
"""

from __future__ import annotations

import numpy as np

from lentigo.synthetic.canvas import TAU, Canvas, Map, curl, smoothstep


def _pigment(c: Canvas, low: float = 0.25, high: float = 1.3) -> np.float32:
    """Draw the overall darkness of a pigmented lesion."""
    return c.amount(low, high)


def _flush(c: Canvas, mask: Map, most: float = 0.55) -> None:
    """Add some redness to a lesion."""
    c.blood += mask * c.amount(0, most) * (1 + np.float32(0.3) * c.noise(4))


def _disc(c: Canvas, *, irregularity: float, low: float = 0.45, high: float = 0.78) -> Map:
    return c.lesion(
        c.uniform(low, high),
        irregularity=irregularity,
        elongation=c.uniform(0, 0.3),
        centre=(c.uniform(-0.08, 0.08), c.uniform(-0.08, 0.08)),
    )


def nevus(c: Canvas) -> None:
    """Melanocytic nevus: symmetric, one or two colours, regular network, globules or neither, fading border."""
    depth = _disc(c, irregularity=c.uniform(0.03, 0.08), low=0.4)
    mask = smoothstep(0, c.uniform(0.25, 0.5), depth)
    dark = _pigment(c)
    _flush(c, mask)
    pattern = c.rng.choice(["network", "globules", "homogeneous"], p=[0.6, 0.25, 0.15])
    core = c.amount(-0.3, 0.45)  # darker or lighter centre, symmetric
    body = mask * (1 + core * smoothstep(0.1, 0.8, depth))
    if pattern == "network":
        lines = c.lattice(c.uniform(0.085, 0.13), c.uniform(0.25, 0.45)) * smoothstep(0, 0.2, depth)
        c.melanin += dark * body * (0.45 + c.amount(0.55, 1.0) * lines)
    elif pattern == "globules":
        step = c.uniform(0.1, 0.15)
        places = c.apart(c.scatter(320, depth - np.float32(0.06)), step)
        globules = c.spots(places, c.rng.uniform(0.3, 0.42, len(places)) * step, softness=0.5)
        c.melanin += dark * (0.5 * body + c.amount(0.7, 1.1) * globules)
    else:
        c.melanin += dark * body * (np.float32(0.95) + np.float32(0.07) * c.noise(14, 2))


def melanoma(c: Canvas) -> None:
    """Melanoma: asymmetric in shape and colour, irregular network, streaks, blue-white veil, dots, regression."""
    depth = _disc(c, irregularity=c.uniform(0.16, 0.27), low=0.5, high=0.85)
    mask = smoothstep(0, c.uniform(0.06, 0.22), depth)
    dark = _pigment(c, 0.4, 1.4)
    _flush(c, mask)
    patches = np.clip(1 + c.amount(0.4, 0.65) * c.noise(2.2, 2), 0.12, 2.2)
    lines = c.lattice(c.uniform(0.11, 0.19), c.uniform(0.5, 0.8)) * smoothstep(-0.5, 0.7, c.noise(2.5))
    c.melanin += dark * mask * patches * (0.55 + c.amount(0.5, 1.0) * lines)
    if c.chance(0.6):  # radial streaks on one side of the border
        side, paths, widths = c.uniform(0, TAU), [], []
        rim = np.argwhere(np.abs(depth - np.float32(0.06)) < 0.04)
        for row, column in rim[c.rng.integers(0, len(rim), 60)] if len(rim) else []:
            px, py = column / c.size * 2 - 1, row / c.size * 2 - 1
            outward = np.arctan2(py, px)
            if np.cos(outward - side) > 0.2:
                path = curl(
                    c.rng,
                    (px - 0.05 * np.cos(outward), py - 0.05 * np.sin(outward)),
                    outward,
                    c.uniform(0.1, 0.22),
                    bend=0.5,
                    steps=5,
                )
                paths.append(path)
                widths.append(np.linspace(0.035, 0.008, 5).tolist())
        c.melanin += dark * np.float32(1.1) * c.strokes(paths, widths)
    if c.chance(0.7):  # blue-white veil: structureless, off the centre
        veil = smoothstep(0.2, 1.3, c.noise(1.8, 2)) * smoothstep(0.1, 0.35, depth)
        strength = c.amount(0.5, 1.1)
        c.melanin *= 1 - np.float32(0.75) * veil
        c.deep += strength * veil
        c.white += np.float32(0.25) * veil
    if c.chance(0.4):  # regression: white scar with grey pepper
        scar = smoothstep(0.5, 1.2, c.noise(2.0)) * smoothstep(0.05, 0.3, depth)
        c.melanin *= 1 - np.float32(0.8) * scar
        c.white += np.float32(0.5) * scar
        pepper = c.scatter(90, scar - np.float32(0.4))
        c.deep += np.float32(0.9) * c.spots(pepper, c.rng.uniform(0.008, 0.016, len(pepper)))
    count = int(c.rng.integers(6, 30))
    dots = c.scatter(count, depth - np.float32(0.03))
    c.melanin += np.float32(0.9) * c.spots(dots, c.rng.uniform(0.012, 0.05, len(dots)), softness=0.4)


def basal_cell_carcinoma(c: Canvas) -> None:
    """Basal cell carcinoma: no network; arborising vessels, blue-grey ovoid nests, shiny white lines, ulceration."""
    depth = _disc(c, irregularity=c.uniform(0.08, 0.16), low=0.5, high=0.85)
    mask = smoothstep(-0.05, 0.4, depth)
    c.melanin += mask * c.amount(0.0, 0.7) * np.clip(0.7 + np.float32(0.5) * c.noise(3, 2), 0, 2)
    c.white += mask * c.amount(0.0, 0.25)
    _flush(c, mask, 0.5)
    if c.chance(0.75):
        places = c.scatter(int(c.rng.integers(3, 13)), depth - np.float32(0.08))
        nests = c.spots(places, c.rng.uniform(0.05, 0.15, len(places)), softness=0.5)
        nests = nests * (np.float32(0.85) + np.float32(0.15) * c.noise(12))
        c.deep += nests * c.amount(0.6, 1.2)
        c.melanin += nests * c.amount(0.1, 0.6)
    paths: list[list[tuple[float, float]]] = []
    widths: list[list[float]] = []
    for px, py in c.scatter(int(c.rng.integers(2, 5)), smoothstep(-0.1, 0.15, depth) - np.float32(0.5)):
        _branch(
            c,
            paths,
            widths,
            (px, py),
            np.arctan2(-py, -px) + c.uniform(-0.9, 0.9),
            c.uniform(0.5, 0.95),
            c.uniform(0.02, 0.034),
            3,
        )
    vessels = c.strokes(paths, widths)
    c.blood += vessels * c.amount(0.75, 1.3)
    c.melanin += vessels * np.float32(0.12)
    if c.chance(0.3):  # a small ulcer: orange-red crust
        (place,) = c.scatter(1, depth - np.float32(0.2)) or [(0.0, 0.0)]
        ulcer = smoothstep(0, 0.3, c.lesion(c.uniform(0.12, 0.22), irregularity=0.25, centre=place))
        c.blood += ulcer * np.float32(0.8)
        c.melanin += ulcer * np.float32(0.5)
    if c.chance(0.35):  # shiny white lines, crossing at right angles
        turn = c.uniform(0, TAU)
        lines = []
        for px, py in c.scatter(9, depth - np.float32(0.1)):
            heading = turn + (np.pi / 2 if c.chance(0.5) else 0)
            dx, dy = 0.07 * np.cos(heading), 0.07 * np.sin(heading)
            lines.append([(px - dx, py - dy), (px + dx, py + dy)])
        c.white += np.float32(0.5) * c.strokes(lines, [0.018] * len(lines))


def _branch(
    c: Canvas,
    paths: list[list[tuple[float, float]]],
    widths: list[list[float]],
    start: tuple[float, float],
    heading: float,
    length: float,
    width: float,
    generations: int,
) -> None:
    """Draw a tapering, branching vessel."""
    path = curl(c.rng, start, heading, length, bend=1.3, steps=10)
    paths.append(path)
    widths.append(np.linspace(width, width * 0.55, 10).tolist())
    if generations > 1:
        for at in c.rng.choice(np.arange(3, 11), size=3, replace=False):
            side = 1 if c.chance(0.5) else -1
            _branch(
                c,
                paths,
                widths,
                path[at],
                heading + side * c.uniform(0.5, 1.1),
                length * 0.5,
                width * 0.55,
                generations - 1,
            )


def benign_keratosis(c: Canvas) -> None:
    """Seborrheic and other benign keratoses: sharp border, milia-like cysts, comedo openings, ridges."""
    depth = _disc(c, irregularity=c.uniform(0.06, 0.16), low=0.45, high=0.85)
    if c.chance(0.5):  # moth-eaten edge
        depth -= np.float32(0.09) * smoothstep(0.3, 1.2, c.noise(7)) * c.amount(0.6, 1.6)
    mask = smoothstep(0, 0.05, depth)
    dark = _pigment(c, 0.2, 1.25)
    _flush(c, mask)
    c.melanin += dark * mask * np.clip(0.75 + np.float32(0.22) * c.noise(6, 3), 0.2, 2)
    c.keratin += mask * c.amount(0, 0.3)
    if c.chance(0.55):  # ridges and fissures, as on a brain, or fine parallel lines, as on a fingertip
        wander = c.noise(c.uniform(2.0, 3.2)) * c.amount(3.5, 5.5)
        turn, pitch = c.uniform(0, TAU), c.uniform(16, 30)
        wave = np.sin((c.x * np.cos(turn) + c.y * np.sin(turn)) * np.float32(pitch) + wander)
        c.melanin += dark * c.amount(0.35, 0.7) * mask * smoothstep(0.25, 0.95, wave.astype(np.float32))
    inside = depth - np.float32(0.08)
    cysts = c.apart(c.scatter(int(c.rng.integers(8, 36)), inside), 0.07)
    bright = c.spots(cysts, c.rng.uniform(0.018, 0.042, len(cysts)), softness=0.7)
    c.white += bright * c.amount(0.6, 0.9)
    plugs = c.apart(c.scatter(int(c.rng.integers(4, 26)), inside), 0.1)
    comedos = c.spots(plugs, c.rng.uniform(0.025, 0.06, len(plugs)), softness=0.35)
    c.melanin += comedos * c.amount(0.6, 1.2)
    c.white *= 1 - comedos
    c.keratin *= 1 - comedos


def dermatofibroma(c: Canvas) -> None:
    """Dermatofibroma: a white scar-like centre, surrounded by a delicate network that fades into the skin."""
    centre = (c.uniform(-0.08, 0.08), c.uniform(-0.08, 0.08))
    depth = c.lesion(
        c.uniform(0.55, 0.85), irregularity=c.uniform(0.03, 0.07), elongation=c.uniform(0, 0.2), centre=centre
    )
    mask = smoothstep(-0.05, 0.55, depth)
    inner = c.uniform(0.42, 0.66)
    scar = smoothstep(inner - 0.12, inner + 0.14, depth + np.float32(0.05) * c.noise(5, 2))
    dark = _pigment(c, 0.25, 1.15)
    lines = c.lattice(c.uniform(0.065, 0.085), c.uniform(0.2, 0.3))
    c.melanin += dark * mask * (1 - scar) * (0.4 + np.float32(0.75) * lines)
    _flush(c, mask)
    c.white += scar * c.amount(0.3, 0.65) * np.clip(0.85 + np.float32(0.25) * c.noise(9, 2), 0.2, 1.2)
    if c.chance(0.6):  # a white network
        c.white += scar * np.float32(0.3) * c.lattice(c.uniform(0.1, 0.15), 0.6)
    c.blood += scar * c.amount(0, 0.45)


def actinic_keratosis(c: Canvas) -> None:
    """Actinic keratosis and Bowen's disease: red pseudonetwork, rosettes, scale, coiled vessels."""
    depth = _disc(c, irregularity=c.uniform(0.1, 0.2), low=0.55, high=0.95)
    mask = smoothstep(-0.1, 0.45, depth)
    c.melanin += mask * c.amount(0, 0.75) * np.clip(0.6 + np.float32(0.4) * c.noise(4, 2), 0, 2)
    c.blood += mask * c.amount(0.1, 0.5) * np.clip(0.9 + np.float32(0.35) * c.noise(9, 2), 0, 2)
    if c.chance(0.7):
        step = c.uniform(0.17, 0.25)
        follicles = c.apart(c.scatter(200, depth + np.float32(0.08)), step)
        reach = c.rng.uniform(0.26, 0.36, len(follicles)) * step
        halo = c.spots(follicles, reach, softness=0.5)
        vessels = c.lattice(c.uniform(0.05, 0.07), 0.7) * mask * (1 - halo)
        c.blood += vessels * c.amount(0.4, 0.8)
        c.blood *= 1 - np.float32(0.8) * halo
        c.melanin *= 1 - np.float32(0.8) * halo
        c.white += halo * c.amount(0.3, 0.6)
        plugs = c.spots(follicles, reach * 0.42, softness=0.4)
        c.white *= 1 - plugs
        c.keratin += plugs * c.amount(0.6, 0.9)
        c.melanin += plugs * np.float32(0.15)
    else:  # Bowen: clusters of coiled vessels
        paths = []
        for px, py in c.apart(c.scatter(60, depth - np.float32(0.1)), 0.09):
            turn, size = c.uniform(0, TAU), c.uniform(0.02, 0.032)
            steps = np.linspace(0, 1.6 * TAU, 13)
            paths.append(
                [(px + size * s / 10 * np.cos(turn + s), py + size * s / 10 * np.sin(turn + s)) for s in steps]
            )
        c.blood += c.strokes(paths, [0.013] * len(paths)) * c.amount(0.9, 1.4)
    if c.chance(0.45):  # rosettes: four bright points about a follicle
        for px, py in c.scatter(int(c.rng.integers(3, 9)), depth - np.float32(0.05)):
            turn = c.uniform(0, TAU)
            petals = [
                (px + 0.026 * np.cos(turn + k * TAU / 4), py + 0.026 * np.sin(turn + k * TAU / 4)) for k in range(4)
            ]
            c.white += np.float32(0.8) * c.spots(petals, [0.013] * 4, softness=0.5)
    if c.chance(0.65):  # scale: torn white and yellow flakes
        patch = smoothstep(0.2, 1.2, c.noise(3)) * smoothstep(0, 0.3, depth)
        flakes = smoothstep(0.1, 0.9, c.noise(11, 3)) * patch
        c.white += flakes * c.amount(0.4, 0.75)
        c.keratin += smoothstep(0.3, 1.3, c.noise(8, 3)) * patch * c.amount(0.2, 0.6)


def vascular(c: Canvas) -> None:
    """Vascular lesion: packed red to near-black lacunae with pale septa, or a red nodule with white rails."""
    depth = _disc(c, irregularity=c.uniform(0.05, 0.12), low=0.38, high=0.75)
    mask = smoothstep(0, 0.18, depth)
    c.melanin += mask * c.amount(0, 0.35)
    if c.chance(0.78):
        step = c.uniform(0.16, 0.27)
        places = c.apart(c.scatter(260, depth - np.float32(0.05)), step)
        lacunae = c.spots(places, c.rng.uniform(0.46, 0.56, len(places)) * step, softness=0.3)
        c.blood += mask * c.amount(0.05, 0.35) + lacunae * c.amount(0.45, 1.0) * (1 + np.float32(0.2) * c.noise(10))
        blue = smoothstep(-0.3, 0.8, c.noise(3) + c.amount(-1.2, 1.0))
        c.deep += lacunae * blue * c.amount(0.3, 1.1)
        if c.chance(0.3):  # thrombosed
            c.melanin += lacunae * smoothstep(0.2, 1, c.noise(2.5)) * np.float32(1.2)
        c.white += mask * (1 - lacunae) * c.amount(0, 0.3)
    else:
        c.blood += mask * c.amount(0.5, 0.9) * np.clip(0.9 + np.float32(0.2) * c.noise(5, 2), 0, 2)
        wander = c.noise(1.6) * np.float32(2.2)
        turn = c.uniform(0, TAU)
        rails = smoothstep(
            0.86, 0.98, np.sin((c.x * np.cos(turn) + c.y * np.sin(turn)) * np.float32(9) + wander).astype(np.float32)
        )
        c.white += rails * mask * np.float32(0.55)
        collar = smoothstep(-0.12, 0, depth) * smoothstep(0.12, 0.02, depth)
        c.white += collar * np.float32(0.6)
