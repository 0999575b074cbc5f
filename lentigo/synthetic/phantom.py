"""Phantoms: rendered, seeded images of skin lesions for demonstrations and tests.

Each class has a recipe of its characteristic structures. Figures measured on phantoms are not results. This module
needs only numpy and Pillow.
"""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lentigo.errors import DataError, OutputError, did_you_mean
from lentigo.progress import Progress, shown
from lentigo.synthetic import clinical, dermoscopy
from lentigo.synthetic.canvas import TAU, Canvas, blend, curl, smoothstep, to_uint8

DERMOSCOPY: dict[str, Callable[[Canvas], None]] = {
    "akiec": dermoscopy.actinic_keratosis,
    "bcc": dermoscopy.basal_cell_carcinoma,
    "bkl": dermoscopy.benign_keratosis,
    "df": dermoscopy.dermatofibroma,
    "mel": dermoscopy.melanoma,
    "nv": dermoscopy.nevus,
    "vasc": dermoscopy.vascular,
}

CLINICAL: dict[str, Callable[[Canvas], None]] = {
    "vitiligo": clinical.vitiligo,
    "pityriasis_alba": clinical.pityriasis_alba,
    "pityriasis_versicolor": clinical.pityriasis_versicolor,
    "naevus_depigmentosus": clinical.naevus_depigmentosus,
    "naevus_anaemicus": clinical.naevus_anaemicus,
    "guttate_hypomelanosis": clinical.guttate_hypomelanosis,
    "postinflammatory_hypopigmentation": clinical.postinflammatory_hypopigmentation,
    "macular_hypomelanosis": clinical.macular_hypomelanosis,
    "halo_naevus": clinical.halo_naevus,
    "piebaldism": clinical.piebaldism,
}

KINDS: dict[str, tuple[str, ...]] = {"ham10000": tuple(DERMOSCOPY), "hypo": tuple(sorted(CLINICAL))}
"""The classes of each kind of set."""

PREFIX = "PHANTOM_"
"""Prefix of the ids of rendered images."""
_RECIPES = DERMOSCOPY | CLINICAL
_MARGIN = 1.3  # ratio of canvas to view, so that a view can rotate and zoom
_TONES = np.array([[0.95, 0.80, 0.73], [0.90, 0.70, 0.60], [0.79, 0.59, 0.47], [0.62, 0.44, 0.34]], np.float32)
_SITES = ("back", "trunk", "upper extremity", "lower extremity", "face", "abdomen")
_BARE = np.array([0.95, 0.83, 0.77], np.float32)  # skin without pigment


def render_phantom(code: str, seed: int, size: int, *, view: int = 0) -> Image.Image:
    """Render one phantom.

    Args:
        code: a class of HAM10000 (dermoscopy) or of the hypopigmented set (a photograph).
        seed: seed of the lesion, at least 0; the same code, seed, size and view give the same image.
        size: side in pixels, 16 to 4096.
        view: number of the photograph of the lesion, at least 0; views differ in rotation, zoom, light and hair.

    Returns:
        RGB, (size, size).

    Raises:
        DataError: there is no recipe for the class, or a number is out of range.
    """
    if code not in _RECIPES:
        raise DataError(f"no phantom for class {code!r}{did_you_mean(code, _RECIPES)}")
    if seed < 0 or view < 0 or not 16 <= size <= 4096:
        raise DataError(
            f"a phantom needs seed >= 0, view >= 0 and a size of 16 to 4096 pixels; found {seed}, {view} and {size}"
        )
    number = list(_RECIPES).index(code)
    canvas = Canvas(np.random.default_rng([seed, number]), round(size * _MARGIN))
    skin = _skin(canvas, code in CLINICAL)
    _RECIPES[code](canvas)
    image = canvas.colour(skin)
    return _photograph(image, np.random.default_rng([seed, number, view + 1]), size, code in CLINICAL)


def all_rendered(images: Iterable[str]) -> bool:
    """Return whether all image ids are those of rendered images."""
    return all(PurePath(image).name.startswith(PREFIX) for image in images)


def _skin(c: Canvas, photograph: bool) -> NDArray[np.float32]:
    """Draw plain skin on the canvas, and return the reflectance beneath it, (3,)."""
    c.blood += np.float32(0.06) * c.noise(4, 2) + c.amount(0, 0.15)
    if photograph:  # pigment that a recipe can remove, furrows, unevenness
        c.melanin += c.amount(0.28, 0.95) * (1 + np.float32(0.06) * c.noise(3, 3))
        c.melanin *= (
            1
            + c.amount(0.08, 0.22) * (c.lattice(c.uniform(0.035, 0.055), 0.9) - np.float32(0.5))
            + np.float32(0.05) * c.noise(50)
        )
        return _BARE
    c.melanin += np.float32(0.03) * c.noise(3, 3) + np.float32(0.02) * c.noise(40)
    tone = c.uniform(0, 2.4)
    below = int(tone)
    reflectance: NDArray[np.float32] = _TONES[below] + np.float32(tone - below) * (_TONES[below + 1] - _TONES[below])
    return reflectance


def write_phantoms(
    out: str | Path,
    kind: Literal["ham10000", "hypo"] = "ham10000",
    per_class: int = 100,
    size: int = 128,
    seed: int = 0,
    progress: bool | Progress = False,
) -> Path:
    """Write a data set of phantoms.

    ``ham10000`` has the layout of HAM10000 (``HAM10000_metadata.csv`` and ``images/<image_id>.jpg``), and about a third
    of its lesions have two photographs; ``hypo`` has one folder per class. ``phantoms.json`` records the arguments.

    Args:
        out: the folder, written atomically. A set with the same arguments is kept; another set of phantoms is replaced.
        kind: the classes, a key of `KINDS`.
        per_class: number of images of each class.
        size: side in pixels, 16 to 4096.
        seed: seed of the set, at least 0.
        progress: True for a bar, or a function called with (done, total).

    Returns:
        The folder.

    Raises:
        DataError: the kind is unknown, or a number is out of range.
        OutputError: ``out`` has other content, or cannot be written.
    """
    if kind not in KINDS:
        raise DataError(f"unknown kind of phantoms {kind!r}{did_you_mean(kind, KINDS)}")
    if per_class < 1 or not 16 <= size <= 4096 or seed < 0:
        raise DataError(
            f"phantoms need per_class >= 1, size 16 to 4096 and seed >= 0; found {per_class}, {size} and {seed}"
        )
    target = Path(out)
    record = {"format": 1, "kind": kind, "per_class": per_class, "size": size, "seed": seed}
    note = target / "phantoms.json"
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            if not note.is_file():
                raise OutputError(
                    f"{target}: contains other files and no set of phantoms; choose an empty or new folder"
                )
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


def _write_set(
    folder: Path, kind: str, codes: tuple[str, ...], per_class: int, size: int, seed: int, tick: Progress
) -> None:
    rng = np.random.default_rng([seed, 7])
    rows = []
    for done, (code, lesion, view) in enumerate(_plan(rng, codes, per_class)):
        image = f"{PREFIX}{done + 1:07d}"
        # Seeds of lesions are far apart between sets, so that sets with consecutive seeds share none.
        picture = render_phantom(code, seed * 1_000_003 + lesion, size, view=view)
        place = folder / ("images" if kind == "ham10000" else code) / f"{image}.jpg"
        place.parent.mkdir(exist_ok=True)
        picture.save(place, quality=92)
        if view == 0:
            person = int(rng.integers(4, 18)) * 5, str(rng.choice(["male", "female"])), str(rng.choice(_SITES))
        rows.append((f"{PREFIX}{code}_{lesion:05d}", image, code, "rendered", *person))
        tick(done + 1, len(codes) * per_class)
    if kind == "ham10000":
        with (folder / "HAM10000_metadata.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"))
            writer.writerows(rows)


def _plan(rng: np.random.Generator, codes: tuple[str, ...], per_class: int) -> Iterator[tuple[str, int, int]]:
    """Yield (code, lesion, view) of each image; a third of the lesions has a second view."""
    for code in codes:
        lesion, view = 0, 0
        for _ in range(per_class):
            yield code, lesion, view
            again = view == 0 and rng.random() < 1 / 3
            lesion, view = (lesion, 1) if again else (lesion + 1, 0)


def _photograph(image: NDArray[np.float32], rng: np.random.Generator, size: int, by_phone: bool) -> Image.Image:
    """Simulate a photograph of a canvas: geometry, hair, light, gel or shine, white balance, sensor noise."""
    pixels = _view(image, rng, size)
    if rng.random() < 0.35:
        pixels = _hair(pixels, rng, int(rng.integers(2, 22)), 0.006 if by_phone else 0.014)
    light = pixels.astype(np.float32) / np.float32(255)
    c = Canvas(rng, size)
    direction = c.uniform(0, TAU)
    slope = c.x * np.float32(np.cos(direction)) + c.y * np.float32(np.sin(direction))
    radius = np.sqrt(c.x**2 + c.y**2)
    falloff = (1 + c.amount(0, 0.13) * slope) * (1 - c.amount(0, 0.16) * radius**2)
    if by_phone:  # a curved limb, and sometimes a shine
        falloff *= 1 - c.amount(0, 0.3) * np.clip(slope + c.amount(-0.5, 0.5), -1, 1) ** 2
        if c.chance(0.3):
            falloff += c.amount(0.05, 0.2) * smoothstep(0.7, 1.8, c.noise(2) + np.float32(0.3) * c.noise(30))
    light *= falloff[..., None]
    if not by_phone and c.chance(0.12):
        light += _bubbles(c)[..., None]
    if c.chance(0.1):
        light *= 1 - np.float32(0.8) * _ruler(c)[..., None]
    balance = np.exp(rng.normal(0, 0.055, 3) + rng.normal(-0.03, 0.09)).astype(np.float32)
    light = np.clip(light * balance, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.12)))
    if not by_phone and c.chance(0.3):  # the round field of the dermatoscope
        edge = c.uniform(1.02, 1.3)
        light *= smoothstep(edge + 0.03, edge - 0.03, radius)[..., None]
    light += rng.standard_normal(light.shape, dtype=np.float32) * np.float32(rng.uniform(0.004, 0.014))
    return Image.fromarray(to_uint8(light * 255))


def _view(image: NDArray[np.float32], rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Draw a rotated, mirrored, shifted and zoomed part of the canvas, (S, S, 3), within its edges."""
    side = image.shape[0]
    tilt = float(rng.uniform(-0.12, 0.12))
    turn = int(rng.integers(4)) * np.pi / 2 + tilt
    mirror = 1 if rng.random() < 0.5 else -1
    extent = float(rng.uniform(0.72, 0.88))  # of the canvas side
    room = (1 - extent * (np.cos(tilt) + np.sin(abs(tilt)))) / 2
    cx, cy = (0.5 + rng.uniform(-room, room, 2)) * side
    zoom = extent * side / size
    cos, sin, half = np.cos(turn) * zoom, np.sin(turn) * zoom, size / 2
    matrix = (cos * mirror, -sin, cx - (cos * mirror - sin) * half, sin * mirror, cos, cy - (sin * mirror + cos) * half)
    canvas = Image.fromarray(to_uint8(image * 255))
    return np.asarray(canvas.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))


def _bubbles(c: Canvas) -> NDArray[np.float32]:
    """Draw air bubbles in the immersion gel, (S, S)."""
    places = c.scatter(int(c.rng.integers(3, 14)), np.ones_like(c.x))
    sizes = c.rng.uniform(0.02, 0.07, len(places))
    state = c.rng.bit_generator.state
    outer = c.spots(places, sizes)
    c.rng.bit_generator.state = state  # the inner rim has the shape of the outer
    rings: NDArray[np.float32] = np.float32(0.25) * np.clip(outer - c.spots(places, sizes * 0.75), 0, 1)
    return rings


def _ruler(c: Canvas) -> NDArray[np.float32]:
    """Draw the ticks of a scale along one side, (S, S), 0 to 1."""
    at = c.uniform(0.75, 0.95)
    ticks = [
        [(float(along), at), (float(along), at - (0.12 if number % 5 == 0 else 0.06))]
        for number, along in enumerate(np.arange(-1, 1, c.uniform(0.05, 0.08)))
    ]
    ink: NDArray[np.float32] = np.rot90(c.strokes(ticks, [0.012] * len(ticks)), int(c.rng.integers(4)))
    return ink


def add_hair(pixels: NDArray[np.uint8], seed: int, count: int) -> NDArray[np.uint8]:
    """Draw hairs on a copy of an image.

    Args:
        pixels: (H, W, 3) uint8 RGB; not changed.
        seed: seed of the hairs.
        count: number of hairs.

    Returns:
        (H, W, 3) uint8.
    """
    return _hair(pixels, np.random.default_rng(seed), count, 0.014)


def _hair(pixels: NDArray[np.uint8], rng: np.random.Generator, count: int, thickness: float) -> NDArray[np.uint8]:
    """Draw slightly bent hairs of similar direction and thickness (the longer side is 2)."""
    height, width = pixels.shape[:2]
    c = Canvas(rng, max(height, width))
    heading = rng.uniform(0, TAU)
    thickness *= float(rng.uniform(0.6, 1.4))
    paths = []
    for _ in range(count):
        start = (rng.uniform(-1.1, 1.1), rng.uniform(-1.1, 1.1))
        paths.append(
            curl(rng, start, heading + rng.normal(0, 0.35), rng.uniform(0.6, 2.2), bend=abs(rng.normal(0, 0.8)))
        )
    cover = c.strokes(paths, [thickness * float(rng.uniform(0.7, 1.2)) for _ in paths])[:height, :width, None]
    tone = np.array([0.16, 0.1, 0.07], np.float32) * np.float32(rng.uniform(0.4, 2.2)) * 255
    return blend(pixels, tone, np.float32(rng.uniform(0.7, 0.95)) * cover)
