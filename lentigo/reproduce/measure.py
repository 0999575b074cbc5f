"""Figures of several seeds together, with intervals over both lesions and seeds.

Two things make a figure uncertain: which lesions happen to be in the test part, and which seed the network was trained
with. The hierarchical bootstrap draws both (Davison and Hinkley, *Bootstrap Methods and their Application*, 1997,
section 3.8): whole lesions, as many as there are, the same for every run; and S - 1 of S seeds, with replacement. A
figure is the mean over the seeds drawn. Drawing S seeds would give (S - 1) / S of the variance of a mean of S; with S -
1 it is unbiased (Rao and Wu, *JASA* 83, 1988). With one seed, the spread between seeds is unknown and not in the
interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lentigo.errors import DataError
from lentigo.evaluation import Estimate, PredictionTable, Resampling
from lentigo.evaluation.compare import bootstrap_p, holm, mcnemar
from lentigo.evaluation.intervals import RESAMPLES, estimate
from lentigo.evaluation.metrics import Counts, ProbabilityMetrics, check_labels, confusion_matrix
from lentigo.evaluation.temperature import apply_temperature

OVERALL = ("accuracy", "balanced_accuracy", "bacc_ovr", "macro_f1")
PROBABILITY = ("macro_auc", "malignant_auc", "malignant_sensitivity", "ece")
PAIRED = (*OVERALL[:3], "macro_auc")
PER_CLASS = ("sensitivity", "precision", "f1", "specificity")
ALPHA = 0.05

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Figures:
    """One row of a table: means over its seeds, with intervals.

    ``malignant_sensitivity`` is at 90 % specificity; metrics of malignancy are undefined where the classes do not say
    which are malignant.
    """

    seeds: tuple[int, ...]  # in order
    overall: dict[str, Estimate]  # metric -> estimate
    per_class: dict[str, dict[str, Estimate]]  # class code -> metric -> estimate
    probability: dict[str, Estimate]  # metric of the calibrated probabilities -> estimate
    per_seed: dict[int, dict[str, float]]  # seed -> overall metric -> value
    confusion: IntArray  # (K, K) counts summed over the seeds, rows true


@dataclass(frozen=True)
class Paired:
    """Two rows on the same lesions and seeds."""

    first: str
    second: str
    seeds: tuple[int, ...]  # those that both have
    differences: dict[str, Estimate]  # metric -> second minus first
    p: dict[str, float]  # metric -> two-sided bootstrap p
    p_holm: dict[str, float]  # the same after Holm's correction over the pairs that were asked for
    mcnemar: dict[int, float]  # seed -> exact two-sided p

    def real(self, metric: str) -> bool:
        """Whether the corrected p is below 0.05 and the interval leaves out zero."""
        d = self.differences[metric]
        return self.p_holm[metric] < ALPHA and d.low is not None and d.high is not None and (d.low > 0 or d.high < 0)

    def tested(self) -> dict[str, dict[str, object]]:
        """Metric -> the difference with its p values and whether it is real, as plain data."""
        return {
            metric: {**d.to_dict(), "p": self.p[metric], "p_holm": self.p_holm[metric], "real": self.real(metric)}
            for metric, d in self.differences.items()
        }


def plain(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """Estimates as plain data."""
    return {name: e.to_dict() for name, e in estimates.items()}


class Measured:
    """Every run of a table on the same test images, drawn once.

    Args:
        runs: row -> seed -> predictions.
        resamples: bootstrap resamples.
        seed: of the bootstrap.
        temperatures: row -> seed -> temperature of its probabilities, fitted on validation; without them the metrics of
            the probabilities, which take the longest, are left out.

    Raises:
        DataError: runs were evaluated on different images, or with different classes or groups.
    """

    def __init__(
        self,
        runs: Mapping[str, Mapping[int, PredictionTable]],
        *,
        resamples: int = RESAMPLES,
        seed: int = 0,
        temperatures: Mapping[str, Mapping[int, float]] | None = None,
    ) -> None:
        if resamples < 100:
            raise DataError(f"intervals need at least 100 resamples, not {resamples}")
        self.resamples, self.seed = resamples, seed
        self.tables = {
            row: {k: _sorted(table) for k, table in by_seed.items()} for row, by_seed in runs.items() if by_seed
        }
        first = next(t for by_seed in self.tables.values() for t in by_seed.values())
        for row, by_seed in self.tables.items():
            for k, table in by_seed.items():
                _check_same(first, table, f"{row}, seed {k}")
        self.codes, self.targets = first.codes, first.targets
        self.images, self.groups = len(first), len(np.unique(first.groups))
        self.grouped = first.grouped
        predicted = {
            (row, k): t.probabilities.argmax(axis=1) for row, by_seed in self.tables.items() for k, t in by_seed.items()
        }
        self.right = {key: answers == self.targets for key, answers in predicted.items()}
        self.confusion = {
            key: confusion_matrix(self.targets, answers, len(self.codes)) for key, answers in predicted.items()
        }
        counts = {key: Counts(self.targets, answers, len(self.codes)) for key, answers in predicted.items()}
        labels = check_labels(first, None)
        self.probability = () if temperatures is None else PROBABILITY
        scores = {
            (row, k): ProbabilityMetrics(apply_temperature(self.tables[row][k].probabilities, t), self.targets, labels)
            for row, by_seed in (temperatures or {}).items()
            for k, t in by_seed.items()
        }
        parts: dict[tuple[str, int], list[dict[str, FloatArray]]] = {key: [] for key in counts}
        for weights in Resampling.of(first.groups, resamples=resamples, seed=seed).weights(cells=500_000):
            for key, one in counts.items():
                parts[key].append(one.metrics(weights) | (scores[key].metrics(weights) if scores else {}))
        self._drawn = {
            key: {name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]}
            for key, blocks in parts.items()
        }

    def figures(self, row: str) -> Figures:
        """A row's figures over its seeds."""
        seeds = tuple(sorted(self.tables[row]))
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
                        drawn[name][:, k], proportion_of=self._groups_of(k) if name == "sensitivity" else None
                    )
                    for name in PER_CLASS
                }
                for k, code in enumerate(self.codes)
            },
            probability={name: estimate(drawn[name]) for name in self.probability},
            per_seed={k: {name: float(self._drawn[row, k][name][0]) for name in OVERALL} for k in seeds},
            confusion=np.sum([self.confusion[row, k] for k in seeds], axis=0),
        )

    def pairs(self, couples: Sequence[tuple[str, str]], metrics: Sequence[str] = OVERALL[:3]) -> list[Paired]:
        """Compare rows two by two on the seeds they share; couples without one are left out."""
        shared = [(a, b, tuple(sorted(set(self.tables[a]) & set(self.tables[b])))) for a, b in couples]
        shared = [(a, b, seeds) for a, b, seeds in shared if seeds]
        drawn = {
            metric: [self._over_seeds(b, seeds, metric) - self._over_seeds(a, seeds, metric) for a, b, seeds in shared]
            for metric in metrics
        }
        p = {metric: [bootstrap_p(d) for d in drawn[metric]] for metric in metrics}
        adjusted = {metric: holm(p[metric]) for metric in metrics}
        return [
            Paired(
                first=a,
                second=b,
                seeds=seeds,
                differences={metric: estimate(drawn[metric][i]) for metric in metrics},
                p={metric: p[metric][i] for metric in metrics},
                p_holm={metric: adjusted[metric][i] for metric in metrics},
                mcnemar={k: self._mcnemar(a, b, k) for k in seeds},
            )
            for i, (a, b, seeds) in enumerate(shared)
        ]

    def recall_difference(self, first: str, second: str, code: str) -> Estimate:
        """Second minus first in one class's recall, on the seeds that both have."""
        seeds = sorted(set(self.tables[first]) & set(self.tables[second]))
        k = self.codes.index(code)
        return estimate(
            self._over_seeds(second, seeds, "sensitivity")[:, k] - self._over_seeds(first, seeds, "sensitivity")[:, k]
        )

    def _over_seeds(self, row: str, seeds: Sequence[int], metric: str) -> FloatArray:
        """(1 + R,) or (1 + R, K): the mean over the seeds drawn, for the data as they are and then for each resample.

        A seed that leaves a metric undefined (a class it never predicts has no precision) drops out of the mean.
        """
        values = np.stack([self._drawn[row, k][metric] for k in seeds])  # (S, 1 + R[, K])
        weights = seed_weights(len(seeds), values.shape[1], self.seed).T  # (S, 1 + R)
        weights = weights.reshape(*weights.shape, *(1,) * (values.ndim - 2)) * np.isfinite(values)
        total = weights.sum(axis=0)
        result = np.full(total.shape, np.nan)
        np.divide((weights * np.nan_to_num(values)).sum(axis=0), total, out=result, where=total > 0)
        return result

    def _groups_of(self, target: int) -> int:
        table = next(iter(next(iter(self.tables.values())).values()))
        return len(np.unique(table.groups[table.targets == target]))

    def _mcnemar(self, first: str, second: str, seed: int) -> float:
        a, b = self.right[first, seed], self.right[second, seed]
        return mcnemar(int((a & ~b).sum()), int((b & ~a).sum()))


def seed_weights(seeds: int, rows: int, seed: int) -> FloatArray:
    """How often each seed is drawn: (rows, seeds), the first row all ones, the others S - 1 draws with replacement.

    The same for every row of a table with as many seeds, so that differences are paired.
    """
    weights = np.ones((rows, seeds))
    if seeds > 1:
        generator = np.random.default_rng([seed & 0xFFFFFFFFFFFFFFFF, seeds])
        weights[1:] = generator.multinomial(seeds - 1, np.full(seeds, 1 / seeds), size=rows - 1)
    return weights


def _sorted(table: PredictionTable) -> PredictionTable:
    return table.subset(np.argsort(table.images, kind="stable"))


def _check_same(first: PredictionTable, other: PredictionTable, name: str) -> None:
    if other.codes != first.codes:
        raise DataError(
            f"{name}: has classes {', '.join(other.codes)}, others have {', '.join(first.codes)}; they cannot share a"
            " table"
        )
    if not np.array_equal(other.images, first.images):
        common = len(np.intersect1d(other.images, first.images))
        raise DataError(
            f"{name}: was not evaluated on the test images of the others ({len(other)} and {len(first)} images,"
            f" {common} in both)"
        )
    if not (np.array_equal(other.targets, first.targets) and np.array_equal(other.groups, first.groups)):
        raise DataError(f"{name}: has other true classes or groups than the others; they cannot share a table")
