"""Offline balancing: copies of the images of small classes, rotated, mirrored and zoomed at random.

A copy is a row of the table of samples with its transform in the column ``variant``; its pixels are computed when
the row is read, so no files are written. A copy keeps the group of its image: a split by group never
parts them. The same samples and seed give the same copies.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lentigo.data.samples import VARIANT, Samples
from lentigo.errors import DataError
from lentigo.pixels.variant import Variant

ZOOM = (0.8, 1.25)
"""Smallest and largest zoom of a copy; the paper names random scaling without its range."""

# The seven turned or mirrored views of a square: (mirrored, quarter turns). A vertical flip is (True, 2).
_VIEWS = ((False, 1), (False, 2), (False, 3), (True, 0), (True, 1), (True, 2), (True, 3))


def balance_training(samples: Samples, seed: int = 0) -> Samples:
    """Fill up every class of the training part to the size of the largest one.

    Args:
        samples: split already; copies are made of training images only, and are for training only.
        seed: of the choice of images, views and zooms.

    Returns:
        The samples and, after them, the copies.
    """
    return add_copies(samples, samples.frame["split"].to_numpy() == "train", seed)


def add_copies(samples: Samples, rows: NDArray[np.bool_], seed: int) -> Samples:
    """Add copies of some images until their classes are of one size.

    Args:
        samples: without copies.
        rows: (N,) which images to balance.
        seed: of the choice of images, views and zooms.

    Returns:
        The samples in their order, then the copies; the column ``variant`` is empty for images as they are.
    """
    frame = samples.frame.assign(**{VARIANT: ""})
    counts = np.bincount(samples.targets[rows], minlength=len(samples.labels))
    parts = [frame]
    for target, count in enumerate(counts):
        missing = int(counts.max() - count)
        if count == 0 or missing == 0:
            continue
        rng = np.random.default_rng([seed & 0xFFFFFFFFFFFFFFFF, target])
        order = rng.permutation(np.flatnonzero(rows & (samples.targets == target)))
        # Each image takes its views in an order of its own.
        views = rng.permuted(np.tile(np.arange(len(_VIEWS)), (count, 1)), axis=1)
        zooms = np.exp(rng.uniform(math.log(ZOOM[0]), math.log(ZOOM[1]), size=missing))
        number = np.arange(missing) // count  # all images have their first copy before one has its second
        chosen = frame.iloc[order[np.arange(missing) % count]]
        kinds = [_VIEWS[views[i % count, number[i] % len(_VIEWS)]] for i in range(missing)]
        parts.append(
            chosen.assign(
                image=[f"{image}~{k + 1}" for image, k in zip(chosen["image"], number, strict=True)],
                **{VARIANT: [str(Variant(*kind, zoom)) for kind, zoom in zip(kinds, zooms, strict=True)]},
            )
        )
    return replace(samples, frame=pd.concat(parts, ignore_index=True))


def restore_copies(samples: Samples, table: pd.DataFrame, path: str | Path) -> Samples:
    """Add the copies listed in a saved split.

    Args:
        samples: without copies.
        table: columns ``image`` and ``variant``, the latter empty for images as they are.
        path: where the table is from, for messages.

    Raises:
        DataError: a copy of an image that is not there, or a variant that is none.
    """
    named = table[table[VARIANT] != ""]
    for text in named[VARIANT].unique():
        Variant.of(text)
    position = {image: row for row, image in enumerate(samples.frame["image"])}
    origins = named["image"].str.rpartition("~")[0]
    absent = [image for image in origins if image not in position]
    if absent:
        raise DataError(
            f"{path}: not a split of this data ({samples.name}): it names a copy of {absent[0]!r}, which is not there"
        )
    frame = samples.frame.assign(**{VARIANT: ""})
    copies = frame.iloc[[position[image] for image in origins]].assign(
        image=named["image"].to_numpy(), **{VARIANT: named[VARIANT].to_numpy()}
    )
    return replace(samples, frame=pd.concat([frame, copies], ignore_index=True))
