"""Every metric with its interval, from saved probabilities.

Each metric is written once, for weighted rows: weights of one give the value, bootstrap weights give the
interval (``lentigo.evaluation.intervals``). The definitions are scikit-learn's, where it has them, and the tests
hold them to it. A class that is absent from a resample leaves its own metrics undefined there and drops out of
the means, as in ``sklearn.metrics.balanced_accuracy_score``. Probabilities are (N, K) float64, targets and predicted
classes (N,) int64, weights (B, N).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lentigo.bundle import OperatingPoint
from lentigo.errors import DataError
from lentigo.estimate import plain, predictive_values
from lentigo.evaluation.intervals import RESAMPLES, Estimate, Resampling, estimate
from lentigo.evaluation.predictions import PredictionTable
from lentigo.evaluation.temperature import BINS, apply_temperature, bin_of
from lentigo.labels import LabelSet

SPECIFICITIES = (0.80, 0.90, 0.95)
PREVALENCE = 0.02
"""Fraction of malignant lesions that predictive values are stated for, where no other is given."""
SENSITIVITIES = (0.90, 0.95)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
_Key = TypeVar("_Key")


@dataclass(frozen=True)
class OperatingResult:
    """Performance of a fixed threshold on the summed malignant probability.

    Attributes:
        name: such as ``sensitivity_90``.
        threshold: an image counts as malignant where its score reaches this.
        sensitivity: fraction of malignant images found.
        specificity: fraction of benign images left alone.
        ppv: positive predictive value, the fraction of flagged images that are malignant, at the stated prevalence.
        npv: negative predictive value, the fraction of the others that are benign, at the stated prevalence.
    """

    name: str
    threshold: float
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate


@dataclass(frozen=True)
class MalignantMetrics:
    """Malignant against benign, scored by the summed probability of the malignant classes.

    Attributes:
        positives: malignant images.
        negatives: benign images.
        auc: area under the ROC curve.
        sensitivity_at: specificity -> the best sensitivity among thresholds with at least that specificity.
        points: operating points at fixed thresholds.
        chosen_on: ``validation``, or ``test`` where the thresholds were chosen on these same images (optimistic).
        prevalence: fraction of malignant images that the predictive values are for; not that of these images.
    """

    positives: int
    negatives: int
    auc: Estimate
    sensitivity_at: dict[float, Estimate]
    points: tuple[OperatingResult, ...]
    chosen_on: str
    prevalence: float

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers."""
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
    """Every metric of one table of predictions.

    Attributes:
        codes: class codes, in output order.
        images: number of images.
        groups: number of lesions or patients (of images, where those are unknown).
        resamples: bootstrap resamples behind each interval.
        seed: seed of the bootstrap.
        overall: accuracy, balanced_accuracy (mean recall), bacc_ovr (CaCo, equation 11, averaged over the classes),
            macro_f1, macro_auc (one class against the rest), log_loss (nats), brier (sum over the classes, 0 to 2),
            ece (15 equal-width bins of the top probability), aurc (area under the risk-coverage curve).
        per_class: class code -> sensitivity, specificity, precision, f1, auc, average_precision.
        support: class code -> number of images.
        confusion: (K, K) int64, rows are true classes, columns predicted ones.
        temperature: the temperature that was applied before everything else; None where there was none.
        before_temperature: ece, log_loss and brier of the probabilities as they were; empty without a temperature.
        malignant: malignant against benign; None where the classes do not say which are malignant.
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
        """As plain numbers, ready for JSON."""
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
    """Compute every metric of a table of predictions, each with its 95 % interval.

    Args:
        table: the predictions.
        labels: what the classes are, for malignant against benign; by default looked up by code.
        resamples: bootstrap resamples; 0 for values without intervals.
        seed: seed of the bootstrap.
        temperature: applied to the probabilities first, so that the figures are those of the calibrated model;
            fit it on validation data (``fit_temperature``).
        thresholds: operating points, name -> threshold on the summed malignant probability (after the temperature),
            chosen on validation data (``operating_points``); by default chosen on this table, and marked so.
        prevalence: fraction of malignant lesions that predictive values are stated for, above 0 and below 1.

    Raises:
        DataError: ``labels`` has other classes than the table, or the temperature, ``resamples`` or ``prevalence`` is
            out of range.
    """
    if not 0 < prevalence < 1:
        raise DataError(f"a prevalence is above 0 and below 1, such as 0.02; not {prevalence:g}")
    known = check_labels(table, labels)
    calibrated = table.probabilities if temperature is None else apply_temperature(table.probabilities, temperature)
    targets, classes = table.targets, len(table.codes)
    predicted = calibrated.argmax(axis=1)
    resampling = Resampling.of(table.groups, resamples=resamples, seed=seed)

    counts = Counts(targets, predicted, classes)
    errors = _ProbabilityErrors(calibrated, targets)
    before = None if temperature is None else _ProbabilityErrors(table.probabilities, targets)
    rankings = [Ranking(calibrated[:, k], targets == k) for k in range(classes)]
    doubt = Ranking(calibrated.max(axis=1), predicted != targets)
    scored = malignant_score(calibrated, targets, known)
    chosen_on = "test" if thresholds is None else "validation"
    if scored is not None and thresholds is None:
        thresholds = {p.name: p.threshold for p in operating_points(*scored)}
    malignant = None if scored is None else _Malignant(*scored, thresholds or {})

    def measure(weights: FloatArray) -> dict[str, FloatArray]:
        block = counts.metrics(weights) | errors.metrics(weights)
        areas = [ranking.areas(weights) for ranking in rankings]
        block["auc"] = np.stack([a for a, _ in areas], axis=1)  # (B, K)
        block["average_precision"] = np.stack([p for _, p in areas], axis=1)
        block["macro_auc"] = _mean(block["auc"])
        block["aurc"] = doubt.risk_area(weights)
        if before is not None:
            block |= {f"before/{name}": values for name, values in before.metrics(weights).items()}
        if malignant is not None:
            block |= malignant.metrics(weights)
        return block

    drawn = resampling.draw(measure)
    overall = {
        name: estimate(drawn[name], proportion_of=resampling.groups if name == "accuracy" else None)
        for name in _OVERALL
    }
    per_class = {
        code: {
            name: estimate(drawn[name][:, k], proportion_of=_groups_behind(name, k, table, predicted))
            for name in _PER_CLASS
        }
        for k, code in enumerate(table.codes)
    }
    return Metrics(
        codes=table.codes,
        images=len(table),
        groups=resampling.groups,
        resamples=resamples,
        seed=seed,
        overall=overall,
        per_class=per_class,
        support={code: int((targets == k).sum()) for k, code in enumerate(table.codes)},
        confusion=confusion_matrix(targets, predicted, classes),
        temperature=temperature,
        before_temperature={
            name: estimate(drawn[f"before/{name}"]) for name in ("ece", "log_loss", "brier") if before is not None
        },
        malignant=None if malignant is None else malignant.summary(drawn, table.groups, chosen_on, prevalence),
    )


_OVERALL = ("accuracy", "balanced_accuracy", "bacc_ovr", "macro_f1", "macro_auc", "log_loss", "brier", "ece", "aurc")
_PER_CLASS = ("sensitivity", "specificity", "precision", "f1", "auc", "average_precision")


def check_labels(table: PredictionTable, labels: LabelSet | None) -> LabelSet:
    """The label set of a table: the given one, checked, or one looked up by the table's codes.

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
    """Counts, rows true and columns predicted: (K, K) int64."""
    flat = np.bincount(targets * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def malignant_score(
    probabilities: FloatArray, targets: IntArray, labels: LabelSet
) -> tuple[FloatArray, BoolArray] | None:
    """The summed probability of the malignant classes, and which images are malignant.

    Returns:
        Scores (N,) and truth (N,) bool; None unless every class says what it is and both kinds exist.
    """
    scores = labels.malignant_probability(probabilities)
    mask = np.array([c.malignant for c in labels], dtype=bool)
    if scores is None or mask.all() or not mask.any():
        return None
    return scores, mask[targets]


def operating_points(
    scores: FloatArray, positive: BoolArray, sensitivities: Sequence[float] = SENSITIVITIES
) -> tuple[OperatingPoint, ...]:
    """The highest thresholds that still reach each sensitivity; choose them on validation data.

    Args:
        scores: (N,) summed malignant probability.
        positive: (N,) bool, truly malignant.
        sensitivities: what to reach, each above 0 and at most 1.

    Returns:
        One point a sensitivity, named ``sensitivity_90`` and so on; none where either kind is absent.
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
    confidence are answered or left together.

    Returns:
        Coverage and risk, each (U,) for U distinct confidences, coverage ascending to 1.
    """
    ranking = Ranking(probabilities.max(axis=1), probabilities.argmax(axis=1) != targets)
    wrong, right = ranking.cumulate(np.ones((1, len(targets))))
    answered = (wrong + right)[0]
    return answered / len(targets), wrong[0] / answered


class Ranking:
    """Rows in descending order of a score, for metrics that depend on ranks only."""

    def __init__(self, scores: FloatArray, positive: BoolArray) -> None:
        self.order = np.argsort(-scores, kind="stable")
        ranked = scores[self.order]
        self.positive = positive[self.order].astype(np.float64)
        # Rows of equal score are passed together: only the last of each tie is a threshold.
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self.ends = None if len(ends) == len(scores) else ends

    def cumulate(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weight of positives and of negatives at or above each distinct score: two (B, U)."""
        drawn = weights[:, self.order]
        true = np.cumsum(drawn * self.positive, axis=1)
        false = np.cumsum(drawn, axis=1) - true
        return (true, false) if self.ends is None else (true[:, self.ends], false[:, self.ends])

    def areas(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Area under the ROC curve and average precision, (B,) each; NaN where a kind is absent."""
        true, false = self.cumulate(weights)
        gained = np.diff(true, axis=1, prepend=0)
        # Each new positive beats the negatives below it, and half of those it ties with.
        lost = np.einsum("bu,bu->b", gained, false) - 0.5 * np.einsum(
            "bu,bu->b", gained, np.diff(false, axis=1, prepend=0)
        )
        positives, negatives = true[:, -1], false[:, -1]
        both = np.maximum(true + false, 1)  # a row drawn in no resample so far gains nothing
        precision = np.einsum("bu,bu->b", gained, true / both)
        return 1 - ratio(lost, positives * negatives), ratio(precision, positives)

    def risk_area(self, weights: FloatArray) -> FloatArray:
        """Area under the risk-coverage curve, (B,), where positive means wrong."""
        wrong, right = self.cumulate(weights)
        answered = wrong + right
        steps = np.diff(answered, axis=1, prepend=0)
        return ratio(np.einsum("bu,bu->b", steps, wrong / np.maximum(answered, 1)), answered[:, -1])

    def sensitivity_at(self, weights: FloatArray, specificity: float) -> FloatArray:
        """The best sensitivity among thresholds of at least this specificity, (B,); NaN where a kind is absent."""
        true, false = self.cumulate(weights)
        positives, negatives = true[:, -1], false[:, -1]
        allowed = (1 - specificity) * negatives + 1e-9
        steps = (false <= allowed[:, None]).sum(axis=1)  # false never falls, so these come first
        padded = np.concatenate([np.zeros((len(true), 1)), true], axis=1)
        best = padded[np.arange(len(true)), steps]
        return np.where(negatives > 0, ratio(best, positives), np.nan)


def ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """``part / whole``, NaN where ``whole`` is 0: a metric that a resample leaves undefined."""
    result = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


class Counts:
    """Metrics of the predicted class alone."""

    def __init__(self, targets: IntArray, predicted: IntArray, classes: int) -> None:
        self.true = np.eye(classes)[targets]  # (N, K)
        self.said = np.eye(classes)[predicted]
        self.hit = self.true * self.said

    def metrics(self, weights: FloatArray) -> dict[str, FloatArray]:
        """Per class (B, K) and overall (B,), for weights (B, N)."""
        total = weights.sum(axis=1, keepdims=True)
        true, said, hit = weights @ self.true, weights @ self.said, weights @ self.hit  # (B, K) each
        sensitivity = ratio(hit, true)
        specificity = ratio(total - true - said + hit, total - true)
        f1 = ratio(2 * hit, true + said)
        return {
            "accuracy": ratio(hit.sum(axis=1), total[:, 0]),
            "sensitivity": sensitivity,
            "specificity": specificity,
            "precision": ratio(hit, said),
            "f1": f1,
            "balanced_accuracy": _mean(sensitivity),
            "bacc_ovr": _mean((sensitivity + specificity) / 2),
            "macro_f1": _mean(f1),
        }


class ProbabilityMetrics:
    """Metrics of the probabilities, for comparing many tables on the same resamples."""

    def __init__(self, probabilities: FloatArray, targets: IntArray, labels: LabelSet) -> None:
        self.errors = _ProbabilityErrors(probabilities, targets)
        self.rankings = [Ranking(probabilities[:, k], targets == k) for k in range(len(labels))]
        scored = malignant_score(probabilities, targets, labels)
        self.malignant = None if scored is None else Ranking(*scored)

    def metrics(self, weights: FloatArray) -> dict[str, FloatArray]:
        """``macro_auc``, ``ece``, ``malignant_auc`` and ``malignant_sensitivity``, (B,) each, for weights (B, N).

        Sensitivity is at 90 % specificity.

        The last two are NaN where the classes do not say which are malignant.
        """
        found = {
            "macro_auc": _mean(np.stack([ranking.areas(weights)[0] for ranking in self.rankings], axis=1)),
            "ece": self.errors.metrics(weights)["ece"],
        }
        if self.malignant is None:
            return found | dict.fromkeys(("malignant_auc", "malignant_sensitivity"), np.full(len(weights), np.nan))
        return found | {
            "malignant_auc": self.malignant.areas(weights)[0],
            "malignant_sensitivity": self.malignant.sensitivity_at(weights, 0.9),
        }


def draw_each(
    resampling: Resampling, measured: Mapping[_Key, Sequence[Counts | ProbabilityMetrics]]
) -> dict[tuple[_Key, str], FloatArray]:
    """Metrics of several tables on the same resamples.

    Args:
        resampling: of the rows that the tables share.
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


class _ProbabilityErrors:
    """Log loss, Brier score and ECE: means of what each row adds."""

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
    """Malignant against benign."""

    def __init__(self, scores: FloatArray, positive: BoolArray, thresholds: Mapping[str, float]) -> None:
        self.ranking = Ranking(scores, positive)
        self.positive = positive.astype(np.float64)
        self.thresholds = dict(thresholds)
        self.flagged = {name: (scores >= threshold).astype(np.float64) for name, threshold in thresholds.items()}

    def metrics(self, weights: FloatArray) -> dict[str, FloatArray]:
        result = {"malignant/auc": self.ranking.areas(weights)[0]}
        for specificity in SPECIFICITIES:
            result[f"malignant/at/{specificity}"] = self.ranking.sensitivity_at(weights, specificity)
        positives, negatives = weights @ self.positive, weights @ (1 - self.positive)
        for name, flagged in self.flagged.items():
            result[f"malignant/{name}/sensitivity"] = ratio(weights @ (self.positive * flagged), positives)
            result[f"malignant/{name}/specificity"] = ratio(weights @ ((1 - self.positive) * (1 - flagged)), negatives)
        return result

    def summary(
        self, drawn: Mapping[str, FloatArray], groups: npt.NDArray[np.str_], chosen_on: str, prevalence: float
    ) -> MalignantMetrics:
        sick, well = (len(np.unique(groups[self.positive == kind])) for kind in (1, 0))
        points = []
        for name, threshold in self.thresholds.items():
            sensitivity, specificity = (drawn[f"malignant/{name}/{kind}"] for kind in ("sensitivity", "specificity"))
            values = predictive_values(sensitivity, specificity, prevalence)
            rates = estimate(sensitivity, proportion_of=sick), estimate(specificity, proportion_of=well)
            points.append(OperatingResult(name, threshold, *rates, *(estimate(value) for value in values)))
        return MalignantMetrics(
            positives=int(self.positive.sum()),
            negatives=int((1 - self.positive).sum()),
            auc=estimate(drawn["malignant/auc"]),
            sensitivity_at={s: estimate(drawn[f"malignant/at/{s}"], proportion_of=sick) for s in SPECIFICITIES},
            points=tuple(points),
            chosen_on=chosen_on,
            prevalence=prevalence,
        )


def _mean(values: FloatArray) -> FloatArray:
    """Mean over the classes that are defined, (B, K) -> (B,); NaN where none is."""
    defined = np.isfinite(values)
    return ratio(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1).astype(np.float64))


def _groups_behind(name: str, k: int, table: PredictionTable, predicted: IntArray) -> int | None:
    """Count the groups behind a class's proportion; None for metrics that are not proportions."""
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
