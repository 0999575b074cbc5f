"""Phantoms: rendered, seeded pictures that look like skin lesions, so that demo and tests run anywhere.

Each class has a recipe of the structures it is known by. No figure measured on phantoms is ever a result. Needs numpy and Pillow only.
"""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lentigo.data import phantom_dermoscopy as dermoscopy
from lentigo.data.phantom_canvas import Canvas, curl, smoothstep
from lentigo.data.progress import Progress, shown
from lentigo.errors import DataError, OutputError, did_you_mean

DERMOSCOPY: dict[str, Callable[[Canvas], None]] = {
    "akiec": dermoscopy.actinic_keratosis,
    "bcc": dermoscopy.basal_cell_carcinoma,
    "bkl": dermoscopy.benign_keratosis,
    "df": dermoscopy.dermatofibroma,
    "mel": dermoscopy.melanoma,
    "nv": dermoscopy.nevus,
    "vasc": dermoscopy.vascular,
}

KINDS: dict[str, tuple[str, ...]] = {"ham10000": tuple(DERMOSCOPY)}
"""Sets that can be written, with their classes."""

_MARGIN = 1.3  # the canvas is this much larger than the view, so that a view can turn and zoom
_TONES = np.array([[0.95, 0.80, 0.73], [0.90, 0.70, 0.60], [0.79, 0.59, 0.47], [0.62, 0.44, 0.34]], np.float32)


def render_phantom(code: str, seed: int, size: int, *, view: int = 0) -> Image.Image:
    """Render one phantom.

    Args:
        code: a class of HAM10000 (dermoscopy).
        seed: the lesion; the same code, seed, size and view give the same picture.
        size: side in pixels.
        view: another photograph of the same lesion: turned, zoomed, lit and overgrown with hair differently.

    Returns:
        RGB, (size, size).

    Raises:
        DataError: no recipe for this class.
    """
    if code not in DERMOSCOPY:
        raise DataError(f"no phantom for class {code!r}{did_you_mean(code, DERMOSCOPY)}")
    number = sorted(DERMOSCOPY).index(code)
    canvas = Canvas(np.random.default_rng([seed, number]), max(16, round(size * _MARGIN)))
    tone = canvas.uniform(0, 2.4)
    skin = _TONES[int(tone)] + (tone % 1) * (_TONES[int(tone) + 1] - _TONES[int(tone)])
    canvas.melanin += np.float32(0.03) * canvas.noise(3, 3) + np.float32(0.02) * canvas.noise(40)
    canvas.blood += np.float32(0.06) * canvas.noise(4, 2) + np.float32(canvas.uniform(0, 0.15))
    DERMOSCOPY[code](canvas)
    image = canvas.colour(skin)
    return _photograph(image, np.random.default_rng([seed, number, view + 1]), size)


def write_phantoms(
    out: str | Path,
    kind: Literal["ham10000", "hypo"] = "ham10000",
    per_class: int = 100,
    size: int = 128,
    seed: int = 0,
    progress: bool | Progress = False,
) -> Path:
    """Write a data set of phantoms.

    ``ham10000`` has the layout of HAM10000 (``HAM10000_metadata.csv`` and ``images/<image_id>.jpg``), and about a third of its lesions
    were photographed twice; ``hypo`` has one folder a class. ``phantoms.json`` says how the set was made.

    Args:
        out: the folder; it appears whole or not at all. A set that was made with the same arguments is left as it is, another set of
            phantoms is replaced.
        kind: which classes.
        per_class: images of each class.
        size: side in pixels.
        seed: the same arguments give the same set.
        progress: True for a bar, or a function called with (done, total).

    Returns:
        The folder.

    Raises:
        DataError: unknown kind, or numbers that make no set.
        OutputError: ``out`` holds something else, or the disk refuses.
    """
    if kind not in KINDS:
        raise DataError(f"unknown kind of phantoms {kind!r}{did_you_mean(kind, KINDS)}")
    if per_class < 1 or not 16 <= size <= 4096 or seed < 0:
        raise DataError(f"phantoms need per_class >= 1, size 16 to 4096 and seed >= 0; found {per_class}, {size} and {seed}")
    target = Path(out)
    record = {"format": 1, "kind": kind, "per_class": per_class, "size": size, "seed": seed}
    note = target / "phantoms.json"
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            if not note.is_file():
                raise OutputError(f"{target}: holds something that is no set of phantoms; choose an empty or new folder")
            if note.read_text(encoding="utf-8") == json.dumps(record) + "\n":
                return target
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            codes = KINDS[kind]
            with shown(progress, "rendering phantoms", len(codes) * per_class) as tick:
                _write_set(staging, kind, codes, per_class, size, seed, tick)
            (staging / "phantoms.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
            staging.chmod(0o755)
            if target.exists():
                shutil.rmtree(target)
            staging.rename(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{target}: cannot write the phantoms ({error.strerror or error})") from None
    return target


def _write_set(folder: Path, kind: str, codes: tuple[str, ...], per_class: int, size: int, seed: int, tick: Progress) -> None:
    rng = np.random.default_rng([seed, 7])
    rows = []
    done = 0
    (folder / "images").mkdir()
    for code in codes:
        lesion, view = 0, 0
        for _ in range(per_class):
            number = done + 1
            image = f"PHANTOM_{number:07d}"
            # The lesion's own seed lies far from that of the set, so that sets of neighbouring seeds share none.
            picture = render_phantom(code, seed * 1_000_003 + lesion, size, view=view)
            place = folder / "images" / f"{image}.jpg"
            picture.save(place, quality=92)
            if view == 0:
                age, sex = int(rng.integers(4, 18)) * 5, str(rng.choice(["male", "female"]))
                site = str(rng.choice(["back", "trunk", "upper extremity", "lower extremity", "face", "abdomen"]))
            rows.append((f"PHANTOM_{code}_{lesion:05d}", image, code, "rendered", age, sex, site))
            again = view == 0 and rng.random() < 1 / 3
            lesion, view = (lesion, 1) if again else (lesion + 1, 0)
            done += 1
            tick(done, len(codes) * per_class)
    with (folder / "HAM10000_metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"))
        writer.writerows(rows)


def _photograph(image: NDArray[np.float32], rng: np.random.Generator, size: int) -> Image.Image:
    """What the camera makes of it: geometry, light, hair, gel, sensor."""
    side = image.shape[0]
    scale = rng.uniform(0.72, 0.88)
    turn = rng.integers(4) * np.pi / 2 + rng.normal(0, 0.07)
    flip = rng.choice([-1, 1])
    shift = rng.normal(0, 0.02, 2) * side
    a, b = np.cos(turn) * scale * side / size, np.sin(turn) * scale * side / size
    cx, cy = side / 2 + shift[0], side / 2 + shift[1]
    h = size / 2
    matrix = (a * flip, -b, cx - a * flip * h + b * h, b * flip, a, cy - b * flip * h - a * h)
    picture = Image.fromarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8))
    view = np.asarray(picture.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))
    if rng.random() < 0.45:
        view = add_hair(view, int(rng.integers(2**31)), int(rng.integers(2, 22)))
    light = np.asarray(view, np.float32) / np.float32(255)
    c = Canvas(rng, size)
    direction = c.uniform(0, 2 * np.pi)
    light *= (1 + np.float32(c.uniform(0, 0.13)) * (c.x * np.cos(direction) + c.y * np.sin(direction)))[..., None]
    radius = np.sqrt(c.x**2 + c.y**2)
    light *= (1 - np.float32(c.uniform(0, 0.16)) * radius**2)[..., None]
    if c.chance(0.12):
        places = c.scatter(int(rng.integers(3, 14)), radius)
        sizes = rng.uniform(0.02, 0.07, len(places))
        ring = np.clip(c.spots(places, sizes) - c.spots(places, sizes * 0.75), 0, 1)
        light += (np.float32(0.25) * ring)[..., None]
    if c.chance(0.1):
        light = _ruler(c, light)
    cast = np.exp(rng.normal(0, 0.09, 3)).astype(np.float32) * np.float32(np.exp(rng.normal(0, 0.1)))
    light = np.clip(light * cast, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.12)))
    if c.chance(0.3):  # the round field of the dermatoscope
        edge = c.uniform(1.02, 1.3)
        light *= smoothstep(edge + 0.03, edge - 0.03, radius)[..., None]
    light += rng.normal(0, rng.uniform(0.004, 0.014), light.shape).astype(np.float32)
    return Image.fromarray((np.clip(light, 0, 1) * 255 + 0.5).astype(np.uint8))


def _ruler(c: Canvas, light: NDArray[np.float32]) -> NDArray[np.float32]:
    step = c.uniform(0.05, 0.08)
    at = c.uniform(0.75, 0.95)
    ticks = []
    for number, along in enumerate(np.arange(-1, 1, step)):
        length = 0.12 if number % 5 == 0 else 0.06
        ticks.append([(float(along), at), (float(along), at - length)])
    ink = c.strokes(ticks, [0.012] * len(ticks))
    for _ in range(int(c.rng.integers(4))):
        ink = np.rot90(ink)
    return light * (1 - np.float32(0.8) * ink)[..., None]


def add_hair(pixels: NDArray[np.uint8], seed: int, count: int) -> NDArray[np.uint8]:
    """Lay hairs over an image.

    Args:
        pixels: (H, W, 3) uint8 RGB; not changed.
        seed: the same seed gives the same hairs.
        count: how many.

    Returns:
        (H, W, 3) uint8.
    """
    rng = np.random.default_rng(seed)
    height, width = pixels.shape[:2]
    c = Canvas(rng, max(height, width))
    heading = rng.uniform(0, 2 * np.pi)
    thickness = rng.uniform(0.008, 0.02)
    paths = []
    for _ in range(count):
        start = (rng.uniform(-1.1, 1.1), rng.uniform(-1.1, 1.1))
        paths.append(curl(rng, start, heading + rng.normal(0, 0.45), rng.uniform(0.6, 2.0), bend=1.0))
    cover = c.strokes(paths, [thickness * float(rng.uniform(0.7, 1.2)) for _ in paths])[:height, :width, None]
    tone = np.array([0.16, 0.1, 0.07], np.float32) * np.float32(rng.uniform(0.4, 2.2)) * 255
    mixed = pixels + np.float32(rng.uniform(0.7, 0.95)) * cover * (tone - pixels)
    return (np.clip(mixed, 0, 255) + 0.5).astype(np.uint8)
