"""Conformal prediction sets, which contain the true class with a chosen probability.

Split-conformal prediction (Vovk et al., 2005) with the score ``1 - p(true class)`` and one quantile per class
(Mondrian), which gives rare and common classes the same coverage: the least ambiguous sets of Sadinle, Lei and
Wasserman, JASA 2019. Classes with fewer than 20 calibration images share one quantile; if they have fewer than 20
images together, the quantile over all images is used. Coverage is guaranteed on average, for new images from the
distribution of the calibration images. It is not guaranteed for other cameras.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lentigo.bundle import Conformal
from lentigo.errors import DataError
from lentigo.evaluation.intervals import RESAMPLES, Estimate, FloatArray, IntArray, Resampling, estimate
from lentigo.evaluation.metrics import ratio

COVERAGE = 0.9
SMALLEST = 20
"""Minimum number of calibration images of a class with its own quantile."""


def fit_conformal(
    probabilities: FloatArray, targets: IntArray, codes: tuple[str, ...], *, coverage: float = COVERAGE
) -> Conformal:
    """Fit the quantiles of the score ``1 - p(true class)`` for sets of this coverage.

    Args:
        probabilities: (N, K) calibrated probabilities of the calibration images.
        targets: (N,) true classes.
        codes: the K class codes.
        coverage: required fraction of sets with the true class, above 0 and below 1.

    Raises:
        DataError: no calibration images, or coverage out of range.
    """
    if not 0 < coverage < 1:
        raise DataError(f"a coverage is above 0 and below 1, such as 0.9, not {coverage}")
    if len(targets) == 0 or len(targets) != len(probabilities):
        raise DataError(
            f"prediction sets need labelled calibration images; got {len(probabilities)} rows and {len(targets)}"
            " targets"
        )
    scores = 1 - probabilities[np.arange(len(targets)), targets]
    counts = np.bincount(targets, minlength=len(codes))
    small = counts < SMALLEST
    pool = scores[small[targets]]
    shared = _quantile(pool if len(pool) >= SMALLEST else scores, coverage)
    quantiles = {
        code: shared if small[k] else _quantile(scores[targets == k], coverage) for k, code in enumerate(codes)
    }
    return Conformal(
        coverage=coverage, quantiles=quantiles, pooled=tuple(code for k, code in enumerate(codes) if small[k])
    )


@dataclass(frozen=True)
class Coverage:
    """Coverage and size of prediction sets.

    Attributes:
        aim: required coverage.
        overall: fraction of images whose set contains the true class.
        per_class: coverage by class code; NaN for a class without images.
        size: mean number of classes in a set.
        single: fraction of sets with one class.
        empty: fraction of empty sets.
        pooled: codes of the classes that share a quantile.
    """

    aim: float
    overall: Estimate
    per_class: dict[str, Estimate]
    size: float
    single: float
    empty: float
    pooled: tuple[str, ...]


def measure_coverage(
    probabilities: FloatArray,
    targets: IntArray,
    groups: npt.ArrayLike,
    conformal: Conformal,
    codes: tuple[str, ...],
    *,
    resamples: int = RESAMPLES,
) -> Coverage:
    """Measure prediction sets on labelled images outside the calibration set, at the same temperature."""
    sets = conformal.contains(probabilities, codes)
    covered = sets[np.arange(len(targets)), targets].astype(np.float64)
    of_class = np.eye(len(codes))[targets]  # (N, K)
    names = np.asarray(groups)

    def metrics(weights: FloatArray) -> dict[str, FloatArray]:
        return {
            "overall": ratio(weights @ covered, weights.sum(axis=1)),  # (B,)
            "class": ratio(weights @ (of_class * covered[:, None]), weights @ of_class),  # (B, K)
        }

    drawn = Resampling.of(names, resamples=resamples).draw(metrics)
    sizes = sets.sum(axis=1)
    return Coverage(
        aim=conformal.coverage,
        overall=estimate(drawn["overall"], proportion_of=len(np.unique(names))),
        per_class={
            code: estimate(drawn["class"][:, k], proportion_of=len(np.unique(names[targets == k])))
            for k, code in enumerate(codes)
        },
        size=float(sizes.mean()),
        single=float((sizes == 1).mean()),
        empty=float((sizes == 0).mean()),
        pooled=conformal.pooled,
    )


def _quantile(scores: FloatArray, coverage: float) -> float:
    """Return the ``ceil((n + 1) coverage)``-th smallest score; 1 (every class) with too few scores."""
    place = math.ceil((len(scores) + 1) * coverage)
    if place > len(scores):
        return 1.0
    # The margin keeps that score included after rounding of 1 - quantile.
    return min(1.0, float(np.partition(scores, place - 1)[place - 1]) + 1e-12)
