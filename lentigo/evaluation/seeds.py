"""Metrics over several seeds, with intervals over both lesions and seeds.

A metric varies with the lesions of the test part and with the seed of the training. The hierarchical bootstrap
resamples both (Davison and Hinkley, *Bootstrap Methods and their Application*, 1997, section 3.8): whole lesions, the
same for all runs, and S - 1 of S seeds, with replacement. The metric is the mean over the drawn seeds. Drawing S
seeds would underestimate the variance of the mean by the factor (S - 1) / S; S - 1 draws are unbiased (Rao and Wu,
*JASA* 83, 1988). With one seed, the interval does not include the variance between seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lentigo.errors import DataError
from lentigo.evaluation.compare import Difference, align, corrected_differences, mcnemar
from lentigo.evaluation.intervals import RESAMPLES, Estimate, FloatArray, IntArray, Resampling, estimate
from lentigo.evaluation.metrics import Counts, ProbabilityMetrics, check_labels, confusion_matrix, draw_each, ratio
from lentigo.evaluation.predictions import PredictionTable
from lentigo.evaluation.temperature import apply_temperature

OVERALL = ("accuracy", "balanced_accuracy", "bacc_ovr", "macro_f1")
PROBABILITY = ("macro_auc", "malignant_auc", "malignant_sensitivity", "ece")
PAIRED = (*OVERALL[:3], "macro_auc")
PER_CLASS = ("sensitivity", "precision", "f1", "specificity")
NAMES = {  # metric -> display name
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "bacc_ovr": "BACC, one against the rest",
    "macro_f1": "macro F1",
    "macro_auc": "AUC, mean over the classes",
    "malignant_auc": "AUC, malignant against benign",
    "malignant_sensitivity": "malignant sensitivity at 90 % specificity",
    "ece": "expected calibration error",
}

Key = tuple[str, int]


@dataclass(frozen=True)
class Figures:
    """Means over the seeds of one table row, with intervals.

    ``malignant_sensitivity`` is at 90 % specificity. Metrics of malignancy are NaN if it is unknown which classes are
    malignant.
    """

    seeds: tuple[int, ...]  # in order
    overall: dict[str, Estimate]  # metric -> estimate
    per_class: dict[str, dict[str, Estimate]]  # class code -> metric -> estimate
    probability: dict[str, Estimate]  # metric of the calibrated probabilities -> estimate
    per_seed: dict[int, dict[str, float]]  # seed -> overall metric -> value
    confusion: IntArray  # (K, K) counts summed over the seeds, rows true


@dataclass(frozen=True)
class Paired:
    """Paired comparison of two rows on the same lesions and seeds."""

    first: str
    second: str
    seeds: tuple[int, ...]  # seeds of both rows
    differences: dict[str, Difference]  # metric -> second minus first, p corrected over all pairs
    mcnemar: dict[int, float]  # seed -> exact two-sided p


class Measured:
    """Metrics of several rows with several seeds each, on the same images and resamples.

    Args:
        runs: row -> seed -> predictions.
        resamples: number of bootstrap resamples.
        temperatures: row -> seed -> temperature, fitted on validation data. Without them the metrics of the
            probabilities, the slowest ones, are skipped.

    Raises:
        DataError: fewer than 100 resamples, or runs that differ in their images, classes, true classes or groups.
    """

    def __init__(
        self,
        runs: Mapping[str, Mapping[int, PredictionTable]],
        *,
        resamples: int = RESAMPLES,
        temperatures: Mapping[str, Mapping[int, float]] | None = None,
    ) -> None:
        if resamples < 100:
            raise DataError(f"intervals need at least 100 resamples, not {resamples}")
        self.seeds = {row: tuple(sorted(by_seed)) for row, by_seed in runs.items() if by_seed}
        keys = [(row, k) for row, seeds in self.seeds.items() for k in seeds]
        tables = align({f"{row}, seed {k}": runs[row][k] for row, k in keys})
        first = next(iter(tables.values()))
        self.codes, self.targets, self.grouped = first.codes, first.targets, first.grouped
        self.images, self.groups = len(first), len(np.unique(first.groups))
        self.groups_of = {code: len(np.unique(first.groups[self.targets == k])) for k, code in enumerate(self.codes)}
        answers = {key: t.probabilities.argmax(axis=1) for key, t in zip(keys, tables.values(), strict=True)}
        self.right = {key: answer == self.targets for key, answer in answers.items()}
        self.confusion = {key: confusion_matrix(self.targets, one, len(self.codes)) for key, one in answers.items()}
        self.probability = () if temperatures is None else PROBABILITY
        metrics: dict[Key, list[Counts | ProbabilityMetrics]] = {
            key: [Counts(self.targets, answer, len(self.codes))] for key, answer in answers.items()
        }
        if temperatures is not None:
            labels = check_labels(first, None)
            for (row, k), table in zip(keys, tables.values(), strict=True):
                calibrated = apply_temperature(table.probabilities, temperatures[row][k])
                metrics[row, k].append(ProbabilityMetrics(calibrated, self.targets, labels))
        resampling = Resampling.of(first.groups, resamples=resamples)
        self.resamples, self.seed = resamples, resampling.seed
        self._drawn = draw_each(resampling, metrics)

    def figures(self, row: str) -> Figures:
        """Return the metrics of a row over its seeds."""
        seeds = self.seeds[row]
        drawn = {name: self._over_seeds(row, seeds, name) for name in (*OVERALL, *PER_CLASS, *self.probability)}
        return Figures(
            seeds=seeds,
            overall={
                name: estimate(drawn[name], proportion_of=self.groups if name == "accuracy" else None)
                for name in OVERALL
            },
            per_class={
                code: {
                    name: estimate(
                        drawn[name][:, k], proportion_of=self.groups_of[code] if name == "sensitivity" else None
                    )
                    for name in PER_CLASS
                }
                for k, code in enumerate(self.codes)
            },
            probability={name: estimate(drawn[name]) for name in self.probability},
            per_seed={k: {name: float(self._drawn[(row, k), name][0]) for name in OVERALL} for k in seeds},
            confusion=np.sum([self.confusion[row, k] for k in seeds], axis=0),
        )

    def pairs(self, couples: Sequence[tuple[str, str]], metrics: Sequence[str] = OVERALL[:3]) -> list[Paired]:
        """Compare pairs of rows on their shared seeds; couples without shared seeds are skipped."""
        chosen = [couple for couple in couples if self.shared_seeds(*couple)]
        tested = {
            metric: corrected_differences([self._difference(*couple, metric) for couple in chosen])
            for metric in metrics
        }
        return [
            Paired(
                a,
                b,
                seeds=self.shared_seeds(a, b),
                differences={metric: found[i] for metric, found in tested.items()},
                mcnemar={k: self._mcnemar(a, b, k) for k in self.shared_seeds(a, b)},
            )
            for i, (a, b) in enumerate(chosen)
        ]

    def shared_seeds(self, first: str, second: str) -> tuple[int, ...]:
        """Return the seeds that both rows have, in order."""
        return tuple(k for k in self.seeds[first] if k in self.seeds[second])

    def recall_difference(self, first: str, second: str, code: str) -> Estimate:
        """Return the difference in one class's recall, second minus first, on shared seeds."""
        return estimate(self._difference(first, second, "sensitivity")[:, self.codes.index(code)])

    def _difference(self, first: str, second: str, metric: str) -> FloatArray:
        """Return second minus first, averaged over shared seeds."""
        seeds = self.shared_seeds(first, second)
        return self._over_seeds(second, seeds, metric) - self._over_seeds(first, seeds, metric)

    def _over_seeds(self, row: str, seeds: Sequence[int], metric: str) -> FloatArray:
        """Return the mean over the drawn seeds, (1 + R,) or (1 + R, K), on the data and on each resample.

        Seeds with an undefined metric (such as the precision of a class that is never predicted) are excluded.
        """
        values = np.stack([self._drawn[(row, k), metric] for k in seeds])  # (S, 1 + R[, K])
        weights = seed_weights(len(seeds), values.shape[1], self.seed).T  # (S, 1 + R)
        weights = weights.reshape(*weights.shape, *(1,) * (values.ndim - 2)) * np.isfinite(values)
        return ratio((weights * np.nan_to_num(values)).sum(axis=0), weights.sum(axis=0))

    def _mcnemar(self, first: str, second: str, seed: int) -> float:
        a, b = self.right[first, seed], self.right[second, seed]
        return mcnemar(int((a & ~b).sum()), int((b & ~a).sum()))


def seed_weights(seeds: int, rows: int, seed: int) -> FloatArray:
    """Return how often each seed is drawn: (rows, seeds), first all ones, then S - 1 draws with replacement.

    Table rows with the same number of seeds get the same draws, so that differences are paired.
    """
    weights = np.ones((rows, seeds))
    if seeds > 1:
        generator = np.random.default_rng([seed & 0xFFFFFFFFFFFFFFFF, seeds])
        weights[1:] = generator.multinomial(seeds - 1, np.full(seeds, 1 / seeds), size=rows - 1)
    return weights
