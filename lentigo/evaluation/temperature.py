"""Temperature scaling, and reliability of confidences.

Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from lentigo.errors import DataError
from lentigo.evaluation.intervals import FloatArray, IntArray

BINS = 15  # equal-width bins of the top probability, as in Guo et al.
TEMPERATURES = (0.05, 20.0)


def apply_temperature(probabilities: FloatArray, temperature: float | None) -> FloatArray:
    """Return the probabilities at a temperature: ``softmax(log p / T)``.

    Args:
        probabilities: (N, K) float64, rows sum to 1.
        temperature: T, above 0; values above 1 lower the confidence. The order of classes is unchanged. None leaves the
            probabilities as they are.

    Returns:
        (N, K) float64, rows sum to 1.

    Raises:
        DataError: the temperature is not above 0.
    """
    if temperature is None or temperature == 1:
        return probabilities
    if not temperature > 0:
        raise DataError(f"a temperature must be above 0, not {temperature}")
    result: FloatArray = softmax(_log(probabilities) / temperature, axis=1)
    return result


def fit_temperature(probabilities: FloatArray, targets: IntArray) -> float:
    """Fit the temperature with the lowest negative log-likelihood; use validation data only.

    Args:
        probabilities: (N, K) float64, rows sum to 1.
        targets: (N,) int64, the true classes.

    Returns:
        T, 0.05 to 20; one of these bounds if there is no optimum (all predictions right or all wrong).

    Raises:
        DataError: there are no rows, or lengths differ.
    """
    if len(targets) == 0 or len(probabilities) != len(targets):
        raise DataError(
            f"a temperature needs labelled predictions; got {len(probabilities)} rows and {len(targets)} targets"
        )
    logits = _log(probabilities)
    chosen = logits[np.arange(len(targets)), targets]

    def loss(log_temperature: float) -> float:
        scale = float(np.exp(-log_temperature))
        return float((logsumexp(logits * scale, axis=1) - chosen * scale).mean())

    # The loss is convex in 1/T, so a bounded search over log T finds the minimum.
    bounds = (float(np.log(TEMPERATURES[0])), float(np.log(TEMPERATURES[1])))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.clip(np.exp(found.x), *TEMPERATURES))


def bin_of(confidence: FloatArray, bins: int = BINS) -> IntArray:
    """Return the bin of each confidence: bin b is ``b / bins < confidence <= (b + 1) / bins``."""
    result: IntArray = np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1).astype(np.int64)
    return result


@dataclass(frozen=True)
class Reliability:
    """Values of a reliability diagram.

    Attributes:
        edges: (B + 1,) bin edges over 0 to 1.
        counts: (B,) images per bin.
        confidence: (B,) mean top probability; NaN in an empty bin.
        accuracy: (B,) fraction of correct predictions; NaN in an empty bin.
        ece: expected calibration error, ``sum_b n_b / N * |accuracy_b - confidence_b|``, 0 to 1.
    """

    edges: FloatArray
    counts: IntArray
    confidence: FloatArray
    accuracy: FloatArray
    ece: float


def reliability(probabilities: FloatArray, targets: IntArray) -> Reliability:
    """Compute confidence and accuracy of probabilities (N, K) by equal-width bin of the top one."""
    top = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == targets).astype(np.float64)
    index = bin_of(top)
    counts = np.bincount(index, minlength=BINS)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(index, top, BINS) / counts
        accuracy = np.bincount(index, right, BINS) / counts
    gap = np.nansum(counts * np.abs(accuracy - confidence)) / len(targets)
    return Reliability(np.linspace(0, 1, BINS + 1), counts.astype(np.int64), confidence, accuracy, float(gap))


def _log(probabilities: FloatArray) -> FloatArray:
    result: FloatArray = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return result
