"""Small data sets in the published layouts, for the tests of the readers and what follows them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lentigo.data.samples import Samples
from lentigo.labels import LabelSet


def write_image(path: Path, seed: int, size: int = 16) -> None:
    """A smooth random picture; other seeds give other pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC).save(path)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def table(counts: dict[str, int], *, per_group: int = 1, **columns: object) -> Samples:
    """Samples without image files: so many groups of each class, each of ``per_group`` images."""
    rows = [
        (f"{code}{group}_{n}", f"{code}{group}_{n}.png", code, f"{code}{group}", "", False)
        for code, groups in counts.items()
        for group in range(groups)
        for n in range(per_group)
    ]
    frame = pd.DataFrame(rows, columns=["image", "path", "label", "group", "split", "train_only"]).assign(**columns)
    return Samples("tiny", Path("nowhere"), LabelSet.of("tiny", counts), frame)


def folder(root: Path, counts: dict[str, int], size: int = 16) -> Path:
    """A folder with one sub-folder a class."""
    seed = 0
    for code, count in counts.items():
        for n in range(count):
            write_image(root / code / f"{n}.png", seed, size)
            seed += 1
    return root
