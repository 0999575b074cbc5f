"""Selective classification and prediction sets: the report's section on abstention.

Selective classification (Geifman and El-Yaniv, NeurIPS 2017) sorts images by an uncertainty score and accepts only
the predictions for the least uncertain fraction. All figures come from saved predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from lentigo.bundle import Conformal
from lentigo.estimate import plain
from lentigo.evaluation import plots
from lentigo.evaluation.conformal import Coverage, measure_coverage
from lentigo.evaluation.intervals import RESAMPLES, Estimate, FloatArray, Resampling, estimate
from lentigo.evaluation.metrics import Ranking, ratio
from lentigo.evaluation.predictions import PredictionTable

ANSWERED = (1.0, 0.9, 0.8, 0.7, 0.5)
"""Accepted fractions at which accuracy is reported."""
ATYPICALITY = "atypicality"
"""Column of the predictions with the graph's OOD score, if the bundle has one."""


@dataclass(frozen=True)
class Selective:
    """Accuracy of the least uncertain images.

    Attributes:
        by: name of the uncertainty score.
        aurc: area under the risk-coverage curve; lower is better.
        accuracy: accepted fraction -> accuracy on it.
        answered: (U,) accepted fractions, ascending to 1, for the curve.
        risk: (U,) error rates on them.
    """

    by: str
    aurc: Estimate
    accuracy: dict[float, Estimate]
    answered: FloatArray
    risk: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, without the curve."""
        return {
            "by": self.by,
            "aurc": plain(self.aurc),
            "accuracy": plain({f"{answered:g}": found for answered, found in self.accuracy.items()}),
        }


@dataclass(frozen=True)
class SelectiveSection:
    """Content of the section.

    Attributes:
        coverage: coverage of the prediction sets; None without fitted quantiles.
        selective: by confidence, and by atypicality if recorded.
    """

    coverage: Coverage | None
    selective: tuple[Selective, ...]


def measure_selective(by: str, doubt: FloatArray, wrong: npt.NDArray[np.bool_], resampling: Resampling) -> Selective:
    """Compute the accuracy of the least uncertain images, with intervals.

    Images with less ``doubt`` (N,) are accepted first, ties together.
    """
    ranking = Ranking(-doubt, wrong)

    def metrics(weights: FloatArray) -> dict[float | str, FloatArray]:
        errors, right = ranking.cumulate(weights)  # (B, U) each
        answered, rows = errors + right, np.arange(len(weights))
        found: dict[float | str, FloatArray] = {"aurc": ranking.risk_area(weights)}
        for wanted in ANSWERED:
            # First threshold that reaches it.
            at = (answered < wanted * answered[:, -1:] - 1e-9).sum(axis=1)
            found[wanted] = ratio(right[rows, at], answered[rows, at])
        return found

    drawn = resampling.draw(metrics)
    coverage, risk = ranking.risk_coverage()
    return Selective(
        by=by,
        aurc=estimate(drawn["aurc"]),
        accuracy={
            wanted: estimate(drawn[wanted], proportion_of=max(1, round(wanted * resampling.groups)))
            for wanted in ANSWERED
        },
        answered=coverage,
        risk=risk,
    )


def selective_section(
    table: PredictionTable,
    probabilities: FloatArray,
    *,
    conformal: Conformal | None = None,
    resamples: int = RESAMPLES,
) -> SelectiveSection:
    """Compute the section; prediction sets need ``conformal``, quantiles fitted on other images."""
    coverage = None
    if conformal is not None:
        coverage = measure_coverage(
            probabilities, table.targets, table.groups, conformal, table.codes, resamples=resamples
        )
    wrong = probabilities.argmax(axis=1) != table.targets
    resampling = Resampling.of(table.groups, resamples=resamples)
    selective = [measure_selective("confidence", -probabilities.max(axis=1), wrong, resampling)]
    if ATYPICALITY in table.metadata:
        atypicality = table.metadata[ATYPICALITY].to_numpy(dtype=np.float64)
        if np.isfinite(atypicality).all():
            selective.append(measure_selective("atypicality", atypicality, wrong, resampling))
    return SelectiveSection(coverage, tuple(selective))


@plots.styled
def selective_plot(curves: Sequence[Selective]) -> Figure:
    """Plot accuracy on the accepted images against the accepted fraction."""
    figure, axes = plots.new_figure()
    for k, one in enumerate(curves):
        shown = one.answered >= 0.05  # the accuracy of fewer images is noisy
        axes.plot(100 * one.answered[shown], 100 * (1 - one.risk[shown]), label=f"by {one.by}", **plots.line_style(k))
    axes.set(
        xlabel="coverage (lowest uncertainty first), %",
        ylabel="accuracy, %",
        title="Accuracy against coverage",
    )
    axes.set(xlim=(0, 102))
    axes.set_ylim(top=101)
    axes.legend(loc="lower left", frameon=False)
    return figure
