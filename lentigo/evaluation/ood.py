"""Out-of-distribution scores on logits and embedding, and their evaluation.

Higher scores mean less similarity to the training images. ``lentigo ood`` compares the scores. Bundles carry
`Gaussians`, which is exported as nodes of the ONNX graph (`lentigo.export.ood_score`), so all runtimes compute the
same score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp, softmax
from scipy.stats import rankdata

from lentigo.bundle import Separation
from lentigo.errors import DataError
from lentigo.evaluation.intervals import FloatArray, IntArray

ACCEPTED = 0.95
"""Fraction of the validation images that a threshold accepts."""
NEIGHBOURS = 10
ARRAY_BYTES = 190_000
"""Maximum size of the arrays of `Gaussians` as float16, in bytes."""


@dataclass(frozen=True)
class Features:
    """Outputs of a network for N images.

    Attributes:
        logits: (N, K).
        embedding: (N, D), input of the last linear layer.
    """

    logits: FloatArray
    embedding: FloatArray

    def __len__(self) -> int:
        return len(self.logits)


Score = Callable[[Features], FloatArray]
"""Features of N images -> (N,), higher = less like the training images."""


def max_softmax(features: Features) -> FloatArray:
    """Return minus the largest softmax probability (Hendrycks and Gimpel, ICLR 2017)."""
    result: FloatArray = -softmax(features.logits, axis=1).max(axis=1)
    return result


def energy(features: Features) -> FloatArray:
    """Return the free energy ``-log sum exp logits`` (Liu et al., NeurIPS 2020)."""
    result: FloatArray = -logsumexp(features.logits, axis=1)
    return result


@dataclass(frozen=True)
class Gaussians:
    """Mahalanobis distance to one Gaussian per class with a shared low-rank covariance.

    The score is the distance to the nearest class mean (Lee et al., NeurIPS 2018) on embeddings of length one (Mueller
    and Hein, ICML 2025). The covariance is that of probabilistic principal components (Tipping and Bishop, 1999):
    ``R`` axes with one variance each, and one variance for the remaining directions, where OOD images differ most::

        u = e / |e|;  z = (u - centre) basis;  rest = |u - centre - z basis'|^2
        atypicality = sqrt(min_k sum_r (z_r - means_kr)^2 scale_r + rest * rest_scale)

    The scales are normalised to a median of 1 over the training images.

    Attributes:
        centre: (D,) mean of the training embeddings.
        basis: (D, R) orthonormal columns: largest principal components, rotated to make the covariance within classes
            diagonal.
        means: (C, R) means of the classes with images.
        scale: (R,) inverse variances within classes.
        rest_scale: inverse variance of a direction outside the basis.
        normalised: whether embeddings are scaled to length one; Lee et al. do not.
    """

    centre: FloatArray
    basis: FloatArray
    means: FloatArray
    scale: FloatArray
    rest_scale: float
    normalised: bool = True

    def __call__(self, features: Features) -> FloatArray:
        """Return the distance of each image, (N,)."""
        outside, z = _project(
            _unit(features.embedding) if self.normalised else features.embedding, self.centre, self.basis
        )
        nearest = (((z[:, None] - self.means) ** 2) * self.scale).sum(axis=2).min(axis=1)
        result: FloatArray = np.sqrt(nearest + self.rest_scale * outside)
        return result


def fit_gaussians(
    embedding: FloatArray,
    targets: IntArray,
    *,
    rank: int | None = None,
    normalised: bool = True,
    rest: bool = True,
    unit: bool = True,
) -> Gaussians:
    """Fit `Gaussians` to the training embeddings.

    Args:
        embedding: (N, D).
        targets: (N,) class indices.
        rank: number of axes, R; by default as many as fit into `ARRAY_BYTES`, with at least four images per axis.
        normalised: scale embeddings to length one.
        rest: include the distance outside the axes.
        unit: divide by the median over the training images.

    Raises:
        DataError: fewer than 8 images, or all embeddings equal.
    """
    if len(embedding) < 8 or len(embedding) != len(targets):
        raise DataError(
            f"a score needs 8 training images or more with a class each; found {len(embedding)} and {len(targets)}"
            " classes"
        )
    points = _unit(embedding) if normalised else embedding.astype(np.float64)
    count, width = points.shape
    centre = points.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov((points - centre).T, bias=True))
    total = float(variances.sum())
    if not total > 0:
        raise DataError("the embeddings of the training images are all the same: the network was not trained")
    kept = (
        min(width - 1, max(1, count // 4), max(1, ARRAY_BYTES // (2 * width) - 1))
        if rank is None
        else min(rank, width - 1)
    )
    basis = axes[:, ::-1][:, :kept]
    names, members = np.unique(targets, return_inverse=True)
    z = (points - centre) @ basis
    means = np.stack([z[members == k].mean(axis=0) for k in range(len(names))])
    within, turn = np.linalg.eigh(np.cov((z - means[members]).T, bias=True).reshape(kept, kept))
    floor = 1e-6 * total / width
    scale = 1 / np.maximum(within, floor)
    rest_scale = 1 / max(float(variances[::-1][kept:].sum()) / (width - kept), floor) if rest else 0.0
    fitted = Gaussians(centre, basis @ turn, means @ turn, scale, rest_scale, normalised)
    if not unit:
        return fitted
    middle = float(np.median(fitted(Features(np.zeros((count, 1)), embedding)))) ** 2
    return replace(fitted, scale=scale / middle, rest_scale=rest_scale / middle)


def relative_mahalanobis(embedding: FloatArray, targets: IntArray, *, rank: int | None = None) -> Score:
    """Fit the relative Mahalanobis score: squared distance to the nearest class minus to all (Ren et al., 2021)."""
    classes = fit_gaussians(embedding, targets, rank=rank, normalised=False, rest=False, unit=False)
    whole = fit_gaussians(embedding, np.zeros_like(targets), rank=rank, normalised=False, rest=False, unit=False)
    return lambda features: classes(features) ** 2 - whole(features) ** 2


def nearest_neighbours(embedding: FloatArray, *, block: int = 256) -> Score:
    """Fit the distance to the k-th nearest training embedding at unit length (Sun et al., ICML 2022).

    The score keeps all training embeddings.
    """
    bank = _unit(embedding)
    k = min(NEIGHBOURS, len(bank))

    def score(features: Features) -> FloatArray:
        points = _unit(features.embedding)
        parts = [np.partition(points[i : i + block] @ bank.T, -k, axis=1)[:, -k] for i in range(0, len(points), block)]
        result: FloatArray = np.sqrt(np.maximum(2 - 2 * np.concatenate(parts), 0))
        return result

    return score


def fit_scores(embedding: FloatArray, targets: IntArray) -> dict[str, Score]:
    """Fit all scores to the embeddings (N, D) and classes (N,) of the training images."""
    return {
        "max softmax": max_softmax,
        "energy": energy,
        "Mahalanobis": fit_gaussians(embedding, targets, normalised=False, rest=False),
        "relative Mahalanobis": relative_mahalanobis(embedding, targets),
        "nearest neighbours": nearest_neighbours(embedding),
        "Mahalanobis with rest": fit_gaussians(embedding, targets, normalised=False),
        "normalised Mahalanobis with rest": fit_gaussians(embedding, targets),
    }


CARRIED = "normalised Mahalanobis with rest"
"""The score in bundles: the best of `fit_scores` on the packaged model (results/ood-dermoscopy-7.md)."""


def threshold_at(scores: FloatArray, accepted: float = ACCEPTED) -> float:
    """Return the smallest threshold that accepts at least this fraction of the scores.

    Raises:
        DataError: there are no scores.
    """
    if len(scores) == 0:
        raise DataError("a threshold needs scores of validation images; there are none")
    return float(np.quantile(scores, accepted, method="inverted_cdf"))


def separate(inside: FloatArray, outside: FloatArray) -> Separation:
    """Compare scores of in-distribution (N,) and out-of-distribution (M,) images."""
    ranks = rankdata(np.concatenate([inside, outside]))
    m, n = len(outside), len(inside)
    auroc = (ranks[n:].sum() - m * (m + 1) / 2) / (m * n)
    return Separation(images=m, auroc=float(auroc), fpr=float(np.mean(outside <= threshold_at(inside))))


def _unit(embedding: FloatArray) -> FloatArray:
    points = embedding.astype(np.float64)
    result: FloatArray = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    return result


def _project(points: FloatArray, centre: FloatArray, basis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the squared distance to the span of the basis (N,) and the coordinates in it (N, R)."""
    shifted = points - centre
    z = shifted @ basis
    return ((shifted - z @ basis.T) ** 2).sum(axis=1), z
