"""Bootstrap 95 % intervals, resampling whole groups (lesions or patients) where they are known.

Images of one lesion are not independent, so resampling single images gives intervals that are too narrow. The
cluster bootstrap draws whole groups with replacement (Davison and Hinkley, *Bootstrap Methods and their
Application*, 1997, section 3.8). A resample is a vector of weights: how often each image was drawn. Weighted
counts and weighted ranks then give every metric for all resamples at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from lentigo.errors import DataError
from lentigo.estimate import Estimate

__all__ = ["LEVEL", "RESAMPLES", "Estimate", "Resampling", "estimate"]

RESAMPLES = 2000
LEVEL = 0.95

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_Name = TypeVar("_Name", bound=Hashable)


@dataclass(frozen=True)
class Resampling:
    """A seeded cluster bootstrap over the rows of a table.

    Attributes:
        members: (N,) int64, the group index of each row.
        groups: number of groups, G.
        resamples: number of resamples, R.
        seed: seed of the draws; the same seed gives the same resamples for every metric and every model.
    """

    members: IntArray
    groups: int
    resamples: int
    seed: int

    @classmethod
    def of(cls, groups: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Resampling:
        """Return a resampling of rows by group.

        Args:
            groups: (N,) group of each row.
            resamples: number of resamples; 0 gives values without intervals.
            seed: seed of the draws.

        Raises:
            DataError: ``resamples`` is negative.
        """
        if resamples < 0:
            raise DataError(f"resamples must be 0 or more, not {resamples}")
        names, members = np.unique(np.asarray(groups), return_inverse=True)
        return cls(members.astype(np.int64).reshape(-1), len(names), resamples, seed)

    def weights(self, *, cells: int = 500_000) -> Iterator[FloatArray]:
        """Yield row weights in blocks of bounded size.

        The first row of the first block is all ones: the original data. The same code thus computes a value and
        its interval.

        Args:
            cells: maximum number of elements of a block.

        Yields:
            (B, N) float64, how often each row was drawn.
        """
        generator = np.random.default_rng(self.seed)
        chance = np.full(self.groups, 1 / self.groups)
        step = max(1, cells // max(1, len(self.members)))
        yield np.ones((1, len(self.members)))
        for start in range(0, self.resamples, step):
            drawn = generator.multinomial(self.groups, chance, size=min(step, self.resamples - start))  # (B, G)
            yield drawn[:, self.members].astype(np.float64)

    def draw(self, measure: Callable[[FloatArray], Mapping[_Name, FloatArray]]) -> dict[_Name, FloatArray]:
        """Compute metrics on the original data and on each resample.

        Args:
            measure: takes row weights (B, N) and returns metrics by name, (B, ...) each.

        Returns:
            Each metric, (1 + R, ...).
        """
        blocks = [measure(weights) for weights in self.weights()]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def estimate(samples: FloatArray, *, proportion_of: int | None = None) -> Estimate:
    """Return the value with its percentile interval.

    Args:
        samples: (1 + R,) the value on the data and on each resample; NaN where it is undefined.
        proportion_of: number of groups behind a proportion (accuracy, sensitivity, ...). If all resamples are 0 or
            all are 1, the bootstrap interval has no width; the exact binomial interval (Clopper and Pearson, 1934)
            over the groups replaces it.

    Returns:
        The estimate. It has no interval without resamples, if more than half of them are undefined, if all are equal,
        or if the interval would exclude the value.
    """
    value = float(samples[0])
    drawn = samples[1:]
    drawn = drawn[np.isfinite(drawn)]
    if not math.isfinite(value) or len(drawn) == 0 or len(drawn) < (len(samples) - 1) / 2:
        return Estimate(value)
    tail = (1 - LEVEL) / 2
    if proportion_of and value in (0.0, 1.0):
        bound = tail ** (1 / proportion_of)
        return Estimate(value, bound, 1.0) if value == 1.0 else Estimate(value, 0.0, 1 - bound)
    if drawn.min() == drawn.max() == value:  # an AUC of 1 in every resample has no valid interval either
        return Estimate(value)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    if not low - 1e-12 <= value <= high + 1e-12:  # a metric that is biased in resamples, such as ECE
        return Estimate(value)
    return Estimate(value, float(low), float(high))
