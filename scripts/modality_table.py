"""Write the table that `lentigo train modality` learns from: dermoscopy, photographs of lesions, and other pictures.

    .venv/bin/python scripts/modality_table.py ../shared/data modality

The folder named last gets links to the data sets, the pictures made here, and `samples.csv`. 3,000 images of each of
the two large collections are drawn; published test parts stay out. The class `other` holds plain skin cut from the
photographs, the same skin with pale patches by the recipes of `lentigo.synthetic.clinical`, rendered photographs,
textures, noise and blanks; the class `photograph` also holds cut-out lesions laid on that skin, so that neither the
skin nor its making tells the two apart. The recipes and textures of `HELD_OUT` are left out: a model is evaluated on
them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from lentigo.data import read_samples
from lentigo.pixels.segmentation import segment_lesion
from lentigo.synthetic.canvas import MELANIN, Canvas
from lentigo.synthetic.phantom import CLINICAL, render_phantom
from lentigo.synthetic.textures import BLANKS, TEXTURES, render_texture

SETS = {
    "ham10000-400": ("dermoscopy", 3000),
    "isic2017-384": ("dermoscopy", None),
    "isic2019-bcn-84": ("dermoscopy", 3000),
    "isic-archive": ("dermoscopy", None),
    "pad_ufes_20": ("photograph", None),
}
PHOTOGRAPHS, CUT_OUTS = "pad_ufes_20", "pad_ufes_20-lesions"
HELD_OUT = {
    "pityriasis_versicolor",
    "piebaldism",
    "naevus_depigmentosus",
    "macular_hypomelanosis",
    "wood",
    "text",
    "pebbles",
}
WITH_LESION = "halo_naevus"
"""A recipe with a naevus in its middle, which is neither class here."""
SIZE = 224
_SMALLEST = 0.25  # side of the lesion-free square over that of the photograph

Pixels = NDArray[np.uint8]


def plain_skin(pixels: Pixels) -> Pixels | None:
    """The largest square of a photograph without a lesion, (n, n, 3); None where it is small or unsure."""
    found = segment_lesion(pixels)
    if found.doubt:
        return None
    near = ndimage.binary_dilation(found.mask, iterations=max(2, len(pixels) // 40))
    depth = ndimage.distance_transform_cdt(np.pad(~near, 1), "chessboard")[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    reach = int(depth.max()) - 1
    if 2 * reach < _SMALLEST * len(pixels):
        return None
    return pixels[row - reach : row + reach, column - reach : column + reach]


def spread(skin: Pixels, rng: np.random.Generator) -> Pixels:
    """A square of skin as a picture of `SIZE`: enlarged, or repeated as in mirrors."""
    if rng.random() < 0.5:
        skin = np.concatenate([skin, skin[::-1]])
        skin = np.concatenate([skin, skin[:, ::-1]], axis=1)
        skin = np.roll(skin, rng.integers(0, len(skin), 2), axis=(0, 1))
    return np.asarray(Image.fromarray(skin).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def pale(skin: Pixels, code: str, rng: np.random.Generator) -> Pixels:
    """Skin with pigment taken away as in a hypopigmented disease (Beer-Lambert, as in `Canvas.colour`)."""
    canvas = Canvas(rng, SIZE)
    pigment = np.float32(canvas.uniform(0.3, 0.95))
    canvas.melanin += pigment
    CLINICAL[code](canvas)
    bare = (skin / np.float32(255)) * np.exp(pigment * MELANIN)
    bleached = np.clip(canvas.colour(np.minimum(bare, 1)), 0, 1) * np.float32(255)
    # Photographs differ in contrast.
    return (skin + np.float32(canvas.uniform(0.3, 1)) * (bleached - skin)).astype(np.uint8)


def composite(lesion: Pixels, skin: Pixels, rng: np.random.Generator) -> Pixels | None:
    """A cut-out lesion laid on skin at a random place and size with a soft border; None where too little."""
    # Without its dark rim.
    mask = ndimage.binary_erosion(ndimage.binary_fill_holes(lesion.max(axis=2) > 12), iterations=3)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if mask.sum() < 300:
        return None
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    scale = SIZE * rng.uniform(0.2, 0.75) / max(box[2] - box[0], box[3] - box[1])
    extent = (max(2, round((box[2] - box[0]) * scale)), max(2, round((box[3] - box[1]) * scale)))
    patch = np.asarray(Image.fromarray(lesion).crop(box).resize(extent, Image.Resampling.BICUBIC)).astype(np.float32)
    cover = (
        np.asarray(Image.fromarray((mask * 255).astype(np.uint8)).crop(box).resize(extent, Image.Resampling.BILINEAR))
        / 255.0
    )
    inner = np.pad(cover, 8) - (1 - np.pad(cover, 8)) * 0.5
    cover = np.clip(ndimage.gaussian_filter(inner, rng.uniform(1, 4)), 0, 1)[8:-8, 8:-8, None].astype(np.float32)
    x, y = (int(rng.uniform(0.1, 0.9) * (SIZE - side)) for side in extent)
    result = skin.astype(np.float32)
    around = result[y : y + extent[1], x : x + extent[0]]
    result[y : y + extent[1], x : x + extent[0]] = around + cover * (patch - around)
    return result.astype(np.uint8)


def made(data: Path) -> Iterator[tuple[str, str, str, Image.Image]]:
    """Name, class, group and picture of everything made here; skin of one patient shares the group."""
    rng = np.random.default_rng(0)
    recipes = sorted(set(CLINICAL) - HELD_OUT - {WITH_LESION})
    skins: list[tuple[str, Pixels]] = []
    photographs = read_samples(data / PHOTOGRAPHS)
    for row, group in enumerate(photographs.frame["group"]):
        skin = plain_skin(
            np.asarray(photographs.read(row).convert("RGB").resize((320, 320), Image.Resampling.BILINEAR))
        )
        if skin is None:
            continue
        group = f"{PHOTOGRAPHS}-{group}"
        skins.append((group, skin))
        yield f"skin-{row}", "other", group, Image.fromarray(spread(skin, rng))
        for code in rng.choice(recipes, 3, replace=False):
            yield f"pale-{row}-{code}", "other", group, Image.fromarray(pale(spread(skin, rng), code, rng))
    lesions = read_samples(data / CUT_OUTS)
    known = set(photographs.frame["group"])
    for row, patient in enumerate(lesions.frame["group"]):
        if patient in known:
            continue  # a picture belongs to one patient, that of its skin
        group, skin = skins[rng.integers(len(skins))]
        found = composite(np.asarray(lesions.read(row).convert("RGB")), spread(skin, rng), rng)
        if found is not None:
            yield f"lesion-{row}", "photograph", group, Image.fromarray(found)
    for code in recipes:
        for seed in range(60):
            yield f"phantom-{code}-{seed}", "other", f"phantom-{code}-{seed}", render_phantom(code, 10_000 + seed, SIZE)
    for kind in sorted((set(TEXTURES) | set(BLANKS)) - HELD_OUT):
        for seed in range(60):
            yield f"texture-{kind}-{seed}", "other", f"texture-{kind}-{seed}", render_texture(kind, 10_000 + seed, SIZE)


def main(data: Path, out: Path) -> None:
    """Write the table, the pictures made here and the links beside them."""
    parts = []
    out.mkdir(parents=True, exist_ok=True)
    for name, (label, count) in SETS.items():
        samples = read_samples(data / name)
        frame = samples.frame
        if "official_split" in frame:
            frame = frame[frame["official_split"] != "test"]
        if count is not None:
            frame = frame.sample(count, random_state=0)
        if not (out / name).exists():
            (out / name).symlink_to(samples.root.resolve())
        parts.append(
            pd.DataFrame(
                {"path": f"{name}/" + frame["path"], "label": label, "group": f"{name}-" + frame["group"].astype(str)}
            )
        )
    (out / "made").mkdir(exist_ok=True)
    rows = []
    for name, label, group, image in made(data):
        image.save(out / "made" / f"{name}.jpg", quality=90)
        rows.append((f"made/{name}.jpg", label, group))
    pd.concat([*parts, pd.DataFrame(rows, columns=["path", "label", "group"])]).to_csv(out / "samples.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
