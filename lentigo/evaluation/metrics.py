"""Metrics with intervals, from saved probabilities.

Each metric is implemented for weighted rows. Weights of one give the value, bootstrap weights give the interval
(``lentigo.evaluation.intervals``). Definitions follow scikit-learn where it has the metric, and the tests compare
against it. The metrics of a class that is absent from a resample are undefined there and excluded from the means, as
in ``sklearn.metrics.balanced_accuracy_score``. Probabilities are (N, K) float64, targets and predicted classes (N,)
int64, weights (B, N).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from lentigo.bundle import OperatingPoint
from lentigo.errors import DataError
from lentigo.estimate import PredictiveValues, plain, predictive_values
from lentigo.evaluation.intervals import RESAMPLES, Estimate, FloatArray, IntArray, Resampling, estimate
from lentigo.evaluation.predictions import PredictionTable
from lentigo.evaluation.temperature import BINS, apply_temperature, bin_of
from lentigo.labels import LabelSet

SPECIFICITIES = (0.80, 0.90, 0.95)
PREVALENCE = 0.02
"""Default fraction of malignant lesions assumed for the predictive values."""
SENSITIVITIES = (0.90, 0.95)

BoolArray = npt.NDArray[np.bool_]
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class OperatingResult:
    """Performance of a fixed threshold on the summed malignant probability.

    Attributes:
        name: name, such as ``sensitivity_90``.
        threshold: lowest score of an image classified as malignant.
        sensitivity: fraction of malignant images classified as malignant.
        specificity: fraction of benign images classified as benign.
        ppv: positive predictive value at the stated prevalence.
        npv: negative predictive value at the stated prevalence.
    """

    name: str
    threshold: float
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate


@dataclass(frozen=True)
class MalignantMetrics:
    """Metrics of malignant against benign, scored by the summed probability of the malignant classes.

    Attributes:
        positives: number of malignant images.
        negatives: number of benign images.
        auc: area under the ROC curve.
        sensitivity_at: specificity -> highest sensitivity among thresholds with at least that specificity.
        points: results at the operating points.
        chosen_on: ``validation``, or ``test`` if the thresholds were chosen on these same images (optimistic).
        prevalence: fraction of malignant images assumed for the predictive values; not that of these images.
    """

    positives: int
    negatives: int
    auc: Estimate
    sensitivity_at: dict[float, Estimate]
    points: tuple[OperatingResult, ...]
    chosen_on: str
    prevalence: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {
            "positives": self.positives,
            "negatives": self.negatives,
            "auc": self.auc.to_dict(),
            "sensitivity_at_specificity": plain({f"{s:.2f}": e for s, e in self.sensitivity_at.items()}),
            "operating_points": plain(self.points),
            "thresholds_chosen_on": self.chosen_on,
            "prevalence": self.prevalence,
        }


@dataclass(frozen=True)
class Metrics:
    """All metrics of one table of predictions.

    Attributes:
        codes: class codes, in output order.
        images: number of images.
        groups: number of lesions or patients (images, if unknown).
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.
        overall: accuracy, balanced_accuracy (mean recall), bacc_ovr (CaCo, equation 11, averaged over the classes),
            macro_f1, macro_auc (one-vs-rest), log_loss (nats), brier (sum over the classes, 0 to 2),
            ece (15 equal-width bins of the top probability), aurc (area under the risk-coverage curve).
        per_class: class code -> sensitivity, specificity, precision, f1, auc, average_precision.
        support: class code -> number of images.
        confusion: (K, K) int64, rows are true classes, columns predicted ones.
        temperature: temperature applied before all metrics; None without one.
        before_temperature: ece, log_loss and brier without the temperature; empty if there is none.
        malignant: malignant against benign; None if it is unknown which classes are malignant.
    """

    codes: tuple[str, ...]
    images: int
    groups: int
    resamples: int
    seed: int
    overall: dict[str, Estimate]
    per_class: dict[str, dict[str, Estimate]]
    support: dict[str, int]
    confusion: IntArray
    temperature: float | None
    before_temperature: dict[str, Estimate]
    malignant: MalignantMetrics | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return {
            "classes": list(self.codes),
            "images": self.images,
            "groups": self.groups,
            "interval": {
                "level": 0.95,
                "method": "percentile bootstrap by group",
                "resamples": self.resamples,
                "seed": self.seed,
            },
            "overall": plain(self.overall),
            "per_class": {
                code: {"support": self.support[code], **plain(found)} for code, found in self.per_class.items()
            },
            "confusion": self.confusion.tolist(),
            "temperature": self.temperature,
            "before_temperature": plain(self.before_temperature),
            "malignant": plain(self.malignant),
        }


def evaluate_predictions(
    table: PredictionTable,
    labels: LabelSet | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    temperature: float | None = None,
    thresholds: Mapping[str, float] | None = None,
    prevalence: float = PREVALENCE,
) -> Metrics:
    """Compute all metrics of a table of predictions, with 95 % intervals.

    Args:
        table: the predictions.
        labels: the label set, which says what is malignant; by default looked up by class codes.
        resamples: number of bootstrap resamples; 0 for values without intervals.
        seed: seed of the bootstrap.
        temperature: applied to the probabilities before all metrics. Fit it on validation data (``fit_temperature``).
        thresholds: operating points, name -> threshold on the summed malignant probability (after the temperature).
            Choose them on validation data (``operating_points``); by default they come from this table, and
            ``chosen_on`` says so.
        prevalence: fraction of malignant lesions assumed for the predictive values, above 0 and below 1.

    Raises:
        DataError: ``labels`` has other classes than the table, or the temperature, ``resamples`` or ``prevalence`` is
            out of range.
    """
    if not 0 < prevalence < 1:
        raise DataError(f"a prevalence is above 0 and below 1, such as 0.02; not {prevalence:g}")
    known = check_labels(table, labels)
    calibrated = apply_temperature(table.probabilities, temperature)
    targets, classes = table.targets, len(table.codes)
    predicted = calibrated.argmax(axis=1)
    measured: dict[str, Sequence[Measure]] = {
        "overall": (
            Counts(targets, predicted, classes),
            _ProbabilityErrors(calibrated, targets),
            _ClassRankings(calibrated, targets),
            _Selective(calibrated, targets),
        )
    }
    if temperature is not None:
        measured["before"] = (_ProbabilityErrors(table.probabilities, targets),)
    scored = malignant_score(calibrated, targets, known)
    chosen_on = "test" if thresholds is None else "validation"
    malignant = None
    if scored is not None:
        if thresholds is None:
            thresholds = {p.name: p.threshold for p in operating_points(*scored)}
        malignant = _Malignant(*scored, thresholds)
        measured["malignant"] = (malignant,)
    resampling = Resampling.of(table.groups, resamples=resamples, seed=seed)
    drawn = draw_each(resampling, measured)
    return Metrics(
        codes=table.codes,
        images=len(table),
        groups=resampling.groups,
        resamples=resamples,
        seed=seed,
        overall={
            name: estimate(drawn["overall", name], proportion_of=resampling.groups if name == "accuracy" else None)
            for name in _OVERALL
        },
        per_class={
            code: {
                name: estimate(drawn["overall", name][:, k], proportion_of=_groups_behind(name, k, table, predicted))
                for name in _PER_CLASS
            }
            for k, code in enumerate(table.codes)
        },
        support={code: int((targets == k).sum()) for k, code in enumerate(table.codes)},
        confusion=confusion_matrix(targets, predicted, classes),
        temperature=temperature,
        before_temperature={name: estimate(drawn["before", name]) for name in _ERRORS if "before" in measured},
        malignant=None if malignant is None else malignant.summary(drawn, table.groups, chosen_on, prevalence),
    )


_ERRORS = ("log_loss", "brier", "ece")
_OVERALL = ("accuracy", "balanced_accuracy", "bacc_ovr", "macro_f1", "macro_auc", *_ERRORS, "aurc")
_PER_CLASS = ("sensitivity", "specificity", "precision", "f1", "auc", "average_precision")


def check_labels(table: PredictionTable, labels: LabelSet | None) -> LabelSet:
    """Return the given label set after a check, or the one that the table's codes name.

    Raises:
        DataError: the label set has other classes than the table.
    """
    if labels is None:
        return LabelSet.of("predictions", table.codes)
    if set(labels.codes) != set(table.codes):
        where = f"{table.source}: " if table.source else ""
        raise DataError(
            f"{where}classes {', '.join(table.codes)} are not those of label set {labels.name}"
            f" ({', '.join(labels.codes)})"
        )
    return LabelSet(labels.name, tuple(labels.classes[labels.index(code)] for code in table.codes))


def confusion_matrix(targets: IntArray, predicted: IntArray, classes: int) -> IntArray:
    """Return counts (K, K) int64, rows true and columns predicted."""
    flat = np.bincount(targets * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def malignant_score(
    probabilities: FloatArray, targets: IntArray, labels: LabelSet
) -> tuple[FloatArray, BoolArray] | None:
    """Return the summed probability of the malignant classes and the true malignancy.

    Returns:
        Scores (N,) and truth (N,) bool; None unless all classes are known as malignant or benign and both exist.
    """
    scores = labels.malignant_probability(probabilities)
    mask = np.array([c.malignant for c in labels], dtype=bool)
    if scores is None or mask.all() or not mask.any():
        return None
    return scores, mask[targets]


def operating_points(
    scores: FloatArray, positive: BoolArray, sensitivities: Sequence[float] = SENSITIVITIES
) -> tuple[OperatingPoint, ...]:
    """Return the highest thresholds that reach the given sensitivities; use validation data.

    Args:
        scores: (N,) summed malignant probability.
        positive: (N,) bool, true malignancy.
        sensitivities: required sensitivities, each above 0 and at most 1.

    Returns:
        One point per sensitivity, named ``sensitivity_90`` and so on; empty if either kind is absent.
    """
    if positive.all() or not positive.any():
        return ()
    ascending = np.sort(scores[positive])
    points = []
    for wanted in sensitivities:
        # At least ceil(wanted * P) positives must score at or above the threshold.
        needed = int(np.ceil(wanted * len(ascending) - 1e-9))
        threshold = float(ascending[len(ascending) - needed])
        flagged = scores >= threshold
        points.append(
            OperatingPoint(
                name=f"sensitivity_{wanted * 100:g}",
                threshold=threshold,
                sensitivity=float(flagged[positive].mean()),
                specificity=float((~flagged[~positive]).mean()),
            )
        )
    return tuple(points)


def risk_coverage(probabilities: FloatArray, targets: IntArray) -> tuple[FloatArray, FloatArray]:
    """Compute the risk-coverage curve: the error rate on the most confident fraction of the images.

    Geifman and El-Yaniv, *Selective Classification for Deep Neural Networks*, NeurIPS 2017. Images of equal
    confidence are accepted together.

    Returns:
        Coverage and risk, (U,) each for U distinct confidences; coverage ascends to 1.
    """
    return Ranking(probabilities.max(axis=1), probabilities.argmax(axis=1) != targets).risk_coverage()


class Ranking:
    """Rows in descending order of a score, for rank-based metrics."""

    def __init__(self, scores: FloatArray, positive: BoolArray) -> None:
        self.order = np.argsort(-scores, kind="stable")
        ranked = scores[self.order]
        self.positive = positive[self.order].astype(np.float64)
        # Only the last row of each tie is a threshold.
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self.ends = None if len(ends) == len(scores) else ends

    def cumulate(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the weights of positives and of negatives at or above each distinct score, (B, U) each."""
        drawn = weights[:, self.order]
        true = np.cumsum(drawn * self.positive, axis=1)
        false = np.cumsum(drawn, axis=1) - true
        return (true, false) if self.ends is None else (true[:, self.ends], false[:, self.ends])

    def areas(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the area under the ROC curve and the average precision, (B,) each; NaN if either kind is absent."""
        true, false = self.cumulate(weights)
        gained = np.diff(true, axis=1, prepend=0)
        # Each positive ranks above the negatives below it and half of those with the same score.
        lost = np.einsum("bu,bu->b", gained, false) - 0.5 * np.einsum(
            "bu,bu->b", gained, np.diff(false, axis=1, prepend=0)
        )
        positives, negatives = true[:, -1], false[:, -1]
        both = np.maximum(true + false, 1)  # avoids 0 / 0 above the first row with a weight
        precision = np.einsum("bu,bu->b", gained, true / both)
        return 1 - ratio(lost, positives * negatives), ratio(precision, positives)

    def risk_coverage(self) -> tuple[FloatArray, FloatArray]:
        """Return coverage and risk, (U,) each; positives are the errors."""
        wrong, right = self.cumulate(np.ones((1, len(self.order))))
        answered = (wrong + right)[0]
        return answered / answered[-1], wrong[0] / answered

    def risk_area(self, weights: FloatArray) -> FloatArray:
        """Return the area under the risk-coverage curve, (B,); positives are the errors."""
        wrong, right = self.cumulate(weights)
        answered = wrong + right
        steps = np.diff(answered, axis=1, prepend=0)
        return ratio(np.einsum("bu,bu->b", steps, wrong / np.maximum(answered, 1)), answered[:, -1])

    def sensitivity_at(self, weights: FloatArray, specificity: float) -> FloatArray:
        """Return the highest sensitivity at this specificity or above, (B,); NaN if either kind is absent."""
        true, false = self.cumulate(weights)
        positives, negatives = true[:, -1], false[:, -1]
        allowed = (1 - specificity) * negatives + 1e-9
        steps = (false <= allowed[:, None]).sum(axis=1)  # false is ascending
        padded = np.concatenate([np.zeros((len(true), 1)), true], axis=1)
        best = padded[np.arange(len(true)), steps]
        return np.where(negatives > 0, ratio(best, positives), np.nan)


def ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Return ``part / whole``, NaN where ``whole`` is 0 (an undefined metric)."""
    result = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


class Counts:
    """Metrics that depend only on the predicted classes."""

    def __init__(self, targets: IntArray, predicted: IntArray, classes: int) -> None:
        self.true = np.eye(classes)[targets]  # (N, K)
        self.predicted = np.eye(classes)[predicted]
        self.hit = self.true * self.predicted

    def metrics(self, weights: FloatArray) -> dict[str, FloatArray]:
        """Return metrics per class (B, K) and overall (B,) for weights (B, N)."""
        total = weights.sum(axis=1, keepdims=True)
        true, predicted, hit = weights @ self.true, weights @ self.predicted, weights @ self.hit  # (B, K) each
        sensitivity = ratio(hit, true)
        specificity = ratio(total - true - predicted + hit, total - true)
        f1 = ratio(2 * hit, true + predicted)
        return {
            "accuracy": ratio(hit.sum(axis=1), total[:, 0]),
            "sensitivity": sensitivity,
            "specificity": specificity,
            "precision": ratio(hit, predicted),
            "f1": f1,
            "balanced_accuracy": _mean(sensitivity),
            "bacc_ovr": _mean((sensitivity + specificity) / 2),
            "macro_f1": _mean(f1),
        }


class ProbabilityMetrics:
    """Metrics of the probabilities, to compare tables on the same resamples."""

    def __init__(self, probabilities: FloatArray, targets: IntArray, labels: LabelSet) -> None:
        self.errors, self.rankings = _ProbabilityErrors(probabilities, targets), _ClassRankings(probabilities, targets)
        scored = malignant_score(probabilities, targets, labels)
        self.malignant = None if scored is None else Ranking(*scored)

    def metrics(self, weights: FloatArray) -> dict[str, FloatArray]:
        """Return macro_auc, ece, malignant_auc and malignant_sensitivity, (B,) each, for weights (B, N).

        The sensitivity is at 90 % specificity. The last two are NaN if it is unknown which classes are malignant.
        """
        undefined, ranking = np.full(len(weights), np.nan), self.malignant
        return {
            "macro_auc": self.rankings.metrics(weights)["macro_auc"],
            "ece": self.errors.metrics(weights)["ece"],
            "malignant_auc": undefined if ranking is None else ranking.areas(weights)[0],
            "malignant_sensitivity": undefined if ranking is None else ranking.sensitivity_at(weights, 0.9),
        }


class Measure(Protocol):
    """Metrics of weighted rows."""

    def metrics(self, weights: FloatArray) -> Mapping[str, FloatArray]:
        """Return metrics by name, (B, ...) each, for weights (B, N)."""


def draw_each(resampling: Resampling, measured: Mapping[_Key, Sequence[Measure]]) -> dict[tuple[_Key, str], FloatArray]:
    """Compute metrics of several tables on the same resamples.

    Args:
        resampling: resampling of the rows that the tables share.
        measured: the metrics of each table.

    Returns:
        (table, metric) -> the metric, (1 + R, ...).
    """
    return resampling.draw(
        lambda weights: {
            (key, name): values
            for key, several in measured.items()
            for one in several
            for name, values in one.metrics(weights).items()
        }
    )


class _ClassRankings:
    """Rank-based metrics of each class against the rest."""

    def __init__(self, probabilities: FloatArray, targets: IntArray) -> None:
        self.rankings = [Ranking(column, targets == k) for k, column in enumerate(probabilities.T)]

    def metrics(self, weights: FloatArray) -> dict[str, FloatArray]:
        areas = [ranking.areas(weights) for ranking in self.rankings]
        auc, precision = (np.stack(kind, axis=1) for kind in zip(*areas, strict=True))  # (B, K) each
        return {"auc": auc, "average_precision": precision, "macro_auc": _mean(auc)}


class _Selective:
    """Area under the risk-coverage curve, by confidence."""

    def __init__(self, probabilities: FloatArray, targets: IntArray) -> None:
        self.ranking = Ranking(probabilities.max(axis=1), probabilities.argmax(axis=1) != targets)

    def metrics(self, weights: FloatArray) -> dict[str, FloatArray]:
        return {"aurc": self.ranking.risk_area(weights)}


class _ProbabilityErrors:
    """Log loss, Brier score and ECE, computed from sums over rows."""

    def __init__(self, probabilities: FloatArray, targets: IntArray) -> None:
        chosen = probabilities[np.arange(len(targets)), targets]
        truth = np.eye(probabilities.shape[1])[targets]
        top = probabilities.max(axis=1)
        bins = np.eye(BINS)[bin_of(top)]  # (N, BINS)
        gap = (probabilities.argmax(axis=1) == targets) - top
        self.terms = np.column_stack(
            [
                -np.log(np.maximum(chosen, np.finfo(np.float64).eps)),
                ((probabilities - truth) ** 2).sum(axis=1),
                bins * gap[:, None],
            ]
        )  # (N, 2 + BINS)

    def metrics(self, weights: FloatArray) -> dict[str, FloatArray]:
        means = weights @ self.terms / weights.sum(axis=1, keepdims=True)
        return {"log_loss": means[:, 0], "brier": means[:, 1], "ece": np.abs(means[:, 2:]).sum(axis=1)}


class _Malignant:
    """Metrics of malignant against benign for weighted rows."""

    def __init__(self, scores: FloatArray, positive: BoolArray, thresholds: Mapping[str, float]) -> None:
        self.ranking = Ranking(scores, positive)
        self.positive = positive.astype(np.float64)
        self.thresholds = dict(thresholds)
        self.flagged = {name: (scores >= threshold).astype(np.float64) for name, threshold in thresholds.items()}

    def metrics(self, weights: FloatArray) -> dict[str, FloatArray]:
        result = {"auc": self.ranking.areas(weights)[0]}
        for specificity in SPECIFICITIES:
            result[f"at {specificity}"] = self.ranking.sensitivity_at(weights, specificity)
        positives, negatives = weights @ self.positive, weights @ (1 - self.positive)
        for name, flagged in self.flagged.items():
            result[f"{name} sensitivity"] = ratio(weights @ (self.positive * flagged), positives)
            result[f"{name} specificity"] = ratio(weights @ ((1 - self.positive) * (1 - flagged)), negatives)
        return result

    def summary(
        self,
        drawn: Mapping[tuple[str, str], FloatArray],
        groups: npt.NDArray[np.str_],
        chosen_on: str,
        prevalence: float,
    ) -> MalignantMetrics:
        positives, negatives = (len(np.unique(groups[self.positive == kind])) for kind in (1, 0))
        points = []
        for name, threshold in self.thresholds.items():
            sensitivity, specificity = (drawn["malignant", f"{name} {kind}"] for kind in ("sensitivity", "specificity"))
            values = predictive_values(sensitivity, specificity, prevalence)
            rates = estimate(sensitivity, proportion_of=positives), estimate(specificity, proportion_of=negatives)
            # A rate of 0 or 1 in every resample has the exact interval, and so have the values that follow from it.
            exact = PredictiveValues.of(*rates, prevalence)
            drawn_values = [estimate(value) for value in values]
            ppv, npv = (
                found if found.low is not None else bound
                for found, bound in zip(drawn_values, (exact.ppv, exact.npv), strict=True)
            )
            points.append(OperatingResult(name, threshold, *rates, ppv, npv))
        return MalignantMetrics(
            positives=int(self.positive.sum()),
            negatives=int((1 - self.positive).sum()),
            auc=estimate(drawn["malignant", "auc"]),
            sensitivity_at={s: estimate(drawn["malignant", f"at {s}"], proportion_of=positives) for s in SPECIFICITIES},
            points=tuple(points),
            chosen_on=chosen_on,
            prevalence=prevalence,
        )


def _mean(values: FloatArray) -> FloatArray:
    """Return the mean over the defined classes, (B, K) -> (B,); NaN where none is defined."""
    defined = np.isfinite(values)
    return ratio(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1).astype(np.float64))


def _groups_behind(name: str, k: int, table: PredictionTable, predicted: IntArray) -> int | None:
    """Return the number of groups behind a class's proportion; None for other metrics."""
    match name:
        case "sensitivity":
            rows = table.targets == k
        case "specificity":
            rows = table.targets != k
        case "precision":
            rows = predicted == k
        case _:
            return None
    return len(np.unique(table.groups[rows]))
