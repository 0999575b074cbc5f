"""Additional training images from other data sets, with the classes of the run.

Validation and test use the run's own data only. The published test part of the other data set is left out, so that the
trained network can still be evaluated on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lentigo.data.readers import read_samples
from lentigo.data.samples import Samples
from lentigo.data.tables import write_table
from lentigo.errors import DataError, did_you_mean
from lentigo.labels import LabelSet

COLUMNS = ("data", "image", "label")


@dataclass(frozen=True)
class Extra:
    """Images of another data set.

    Attributes:
        samples: the training images, with the classes of the run.
        fingerprint: of their whole data set.
    """

    samples: Samples
    fingerprint: str

    @property
    def record(self) -> dict[str, str | int]:
        """Return the entry for ``run.json``."""
        return {"data": self.samples.title, "fingerprint": self.fingerprint, "images": len(self.samples)}


def read_extra(folder: str | Path, classes: Mapping[str, str], labels: LabelSet) -> Extra:
    """Read another data set for training.

    Args:
        folder: in any layout that ``read_samples`` supports.
        classes: its class code -> the run's class code; images of other classes are left out.
        labels: the classes of the run.

    Raises:
        DataError: it cannot be read, a class is unknown on either side, or no image is left.
    """
    return extra_of(read_samples(folder), folder, classes, labels)


def extra_of(samples: Samples, folder: str | Path, classes: Mapping[str, str], labels: LabelSet) -> Extra:
    """Select the training images of another data set that is already read.

    Args:
        samples: the whole data set.
        folder: where it is, for errors.
        classes: as in ``read_extra``.
        labels: the classes of the run.

    Raises:
        DataError: a class is unknown on either side, or no image is left.
    """
    frame = rename_classes(samples, folder, classes, labels).frame
    if "official_split" in frame.columns:
        frame = frame[frame["official_split"] != "test"]
    if frame.empty:
        raise DataError(f"{folder}: no image of the classes {', '.join(classes)} is left to learn from")
    return Extra(
        replace(samples, labels=labels, frame=frame.assign(split="train", train_only=True)), samples.fingerprint
    )


def rename_classes(samples: Samples, folder: str | Path, classes: Mapping[str, str], labels: LabelSet) -> Samples:
    """Rename the classes of samples to those of other data, or of a model.

    Args:
        samples: of any classes.
        folder: where they are, for errors.
        classes: their class code -> the wanted one; images of other classes are left out.
        labels: the wanted classes.

    Raises:
        DataError: a class is unknown on either side.
    """
    for own, wanted in classes.items():
        if own not in samples.labels.codes:
            raise DataError(f"{folder}: has no class {own!r}{did_you_mean(own, samples.labels.codes)}")
        if wanted not in labels.codes:
            raise DataError(
                f"{folder}: class {own!r} cannot stand for {wanted!r}, no class"
                f" here{did_you_mean(wanted, labels.codes)}"
            )
    part = samples.frame[samples.frame["label"].isin(list(classes))]
    return replace(samples, labels=labels, frame=part.assign(label=part["label"].map(dict(classes))))


def check_apart(samples: Samples, extras: Sequence[Extra]) -> None:
    """Check that no additional training image is one that the run is evaluated on.

    Raises:
        DataError: one has the id of such an image.
    """
    evaluated = set(samples.frame["image"][samples.frame["split"] != "train"])
    for extra in extras:
        both = evaluated.intersection(extra.samples.frame["image"])
        if both:
            raise DataError(
                f"{extra.samples.root}: {len(both):,} of its images are among those that this run is evaluated on,"
                f" the first {min(both)!r}; a data set cannot be its own data.extra"
            )


def save_extras(extras: Sequence[Extra], path: str | Path) -> None:
    """Write the additional training images as CSV with the columns ``data``, ``image``, ``label``, atomically.

    Raises:
        OutputError: the disk refuses.
    """
    tables = [extra.samples.frame.assign(data=extra.samples.name)[list(COLUMNS)] for extra in extras]
    write_table(path, pd.concat(tables, ignore_index=True))


class Pool:
    """The images of several caches as one array, gathered by row.

    Args:
        parts: each (N_i, S, S, 3) uint8.
    """

    def __init__(self, parts: Sequence[NDArray[np.uint8]]) -> None:
        self.parts = parts
        self.starts = np.cumsum([0, *(len(part) for part in parts)])

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the images of some rows, (len(rows), S, S, 3); rows are numbered through all parts."""
        if len(self.parts) == 1:
            return self.parts[0][rows]
        found = np.empty((len(rows), *self.parts[0].shape[1:]), dtype=np.uint8)
        part_of = np.searchsorted(self.starts, rows, side="right") - 1
        for number, part in enumerate(self.parts):
            here = part_of == number
            found[here] = part[rows[here] - self.starts[number]]
        return found
