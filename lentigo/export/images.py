"""The images of a run, if available: decoded at its final size, with its split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lentigo.data import Samples, load_split, open_cache, read_samples
from lentigo.errors import BundleError, DataError
from lentigo.export.session import FloatArray
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD, normalise
from lentigo.training import Run

CALIBRATION_IMAGES = 256
"""Number of training images for the calibration of int8 scales, evenly distributed over the classes."""
_BATCH = 16


@dataclass(frozen=True)
class RunImages:
    """The run's images with its split.

    Attributes:
        samples: the images' table, split.
        pixels: (N, S, S, 3) uint8, decoded at the run's final size.
    """

    samples: Samples
    pixels: npt.NDArray[np.uint8]

    def rows(self, split: str) -> npt.NDArray[np.intp]:
        """Return the indices of the images of a part."""
        return np.flatnonzero(self.samples.frame["split"].to_numpy() == split)

    def batches(self, rows: npt.NDArray[np.intp]) -> Iterator[FloatArray]:
        """Yield normalised batches (n, 3, S, S) of these rows, in order."""
        return normalised(self.pixels, rows)

    def spread(self) -> npt.NDArray[np.intp]:
        """Draw training rows for calibration, up to the same number of every class."""
        rows = self.rows("train")
        targets = self.samples.targets[rows]
        per_class = -(-CALIBRATION_IMAGES // len(self.samples.labels))
        rng = np.random.default_rng(0)
        picked = [rng.permutation(rows[targets == k])[:per_class] for k in range(len(self.samples.labels))]
        return rng.permutation(np.concatenate(picked))


def normalised(pixels: npt.NDArray[np.uint8], rows: npt.NDArray[np.intp]) -> Iterator[FloatArray]:
    """Yield normalised batches (n, 3, S, S) float32 of these rows of pixels (N, S, S, 3) uint8, in order."""
    for start in range(0, len(rows), _BATCH):
        yield normalise(np.asarray(pixels[rows[start : start + _BATCH]]), IMAGENET_MEAN, IMAGENET_STD)


def read_images(
    run: Run, data: str | Path | None, *, needed: bool, cache: str | Path | None, progress: bool
) -> RunImages | None:
    """Read the run's images, if available.

    Args:
        run: the run.
        data: the data set; None for the folder in the run's record.
        needed: whether missing images are an error.
        cache: folder of decoded images; None for the user's.
        progress: whether to show a bar while images are decoded.

    Returns:
        The images; None if they are not available.

    Raises:
        BundleError: the images are needed and missing.
        DataError: the data are not the run's.
    """
    recorded = str(run.record.get("data_root") or "")
    place = Path(data if data is not None else recorded)
    wanted = needed or data is not None
    if not wanted and not (recorded and place.exists()):
        return None
    if not place.exists():
        raise BundleError(
            f"{place}: the images of the run are not there; weights other than fp32 are evaluated on them: say where"
            " they are (--data)"
        )
    samples = read_samples(place, **run.recipe.data.reading)
    if samples.fingerprint != run.record["fingerprint"]:
        if not wanted:
            return None
        raise DataError(
            f"{place}: not the data that {run.folder} was trained on (fingerprint {samples.fingerprint[:12]}…, "
            f"the run's is {str(run.record['fingerprint'])[:12]}…)"
        )
    samples = load_split(samples, run.folder / "split.csv")
    return RunImages(samples, open_cache(samples, run.recipe.final_size, cache, progress=progress).pixels)
