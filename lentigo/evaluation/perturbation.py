"""Perturbation tests: predictions with the lesion or its surroundings hidden, or with an artifact added.

``test_robustness/perturbations.csv`` has ``change, image, <one probability per class>``. `lentigo.workflow.robustness`
runs the network and writes it. Changes that do not apply to an image have no row (`lentigo.pixels.perturbations`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lentigo.errors import DataError, did_you_mean
from lentigo.estimate import plain
from lentigo.evaluation.intervals import RESAMPLES, Estimate, FloatArray, Resampling, estimate
from lentigo.evaluation.markdown import table_lines
from lentigo.evaluation.metrics import Counts, Ranking, malignant_score
from lentigo.evaluation.predictions import PredictionTable, require_columns
from lentigo.labels import LabelSet
from lentigo.pixels.perturbations import PERTURBATIONS, Perturbation

PERTURBATION_FILE = "perturbations.csv"


@dataclass(frozen=True)
class PerturbationResult:
    """Effect of one perturbation, compared with the original images on the same resamples.

    Attributes:
        change: name of the perturbation.
        images: number of perturbed images.
        before: balanced accuracy on the original images.
        after: balanced accuracy on the perturbed images.
        difference: after minus before.
        malignant_before: ROC AUC of malignant against benign on the original images; None if it is unknown which
            classes are malignant.
        malignant_after: the same on the perturbed images.
        malignant_difference: after minus before.
        flipped: fraction of images whose prediction changes.
        towards: class code -> fraction of images whose prediction changes to it.
        away: class code -> fraction of images whose prediction changes from it.
    """

    change: Perturbation
    images: int
    before: Estimate
    after: Estimate
    difference: Estimate
    malignant_before: Estimate | None
    malignant_after: Estimate | None
    malignant_difference: Estimate | None
    flipped: Estimate
    towards: Mapping[str, float]
    away: Mapping[str, float]

    @property
    def destination(self) -> str:
        """Return the most frequent new class of changed predictions with its percentage; empty without changes."""
        total = sum(self.towards.values())
        if not total:
            return ""
        code = max(self.towards, key=lambda c: self.towards[c])
        return f"{code} ({100 * self.towards[code] / total:.0f} % of them)"

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        auc = {
            "before": self.malignant_before,
            "after": self.malignant_after,
            "difference": self.malignant_difference,
        }
        accuracy = {"before": self.before, "after": self.after, "difference": self.difference}
        return {
            "change": self.change.name,
            "title": self.change.title,
            "images": self.images,
            "balanced_accuracy": plain(accuracy),
            "malignant_auc": plain(auc),
            "flipped": self.flipped.to_dict(),
            "towards": dict(self.towards),
            "away": dict(self.away),
        }


def measure_perturbations(
    table: PredictionTable,
    frame: pd.DataFrame,
    labels: LabelSet | None = None,
    *,
    resamples: int = RESAMPLES,
) -> tuple[PerturbationResult, ...]:
    """Measure each change of ``perturbations.csv``, with intervals from resamples of whole lesions.

    Raises:
        DataError: missing columns, unknown changes, images missing from the table, or repeated images.
    """
    require_columns(frame, ("change", "image", *table.codes), PERTURBATION_FILE)
    for name in frame["change"].unique():
        if name not in PERTURBATIONS:
            raise DataError(f"{PERTURBATION_FILE}: unknown change {name!r}{did_you_mean(str(name), PERTURBATIONS)}")
    found = []
    for name, change in PERTURBATIONS.items():
        block = frame[frame["change"] == name]
        if block.empty:
            continue
        part, after = table.matched(block, table.codes, f"{PERTURBATION_FILE}, {name}")
        found.append(_measure(change, part, after, labels, resamples))
    return tuple(found)


def _measure(
    change: Perturbation, part: PredictionTable, after: FloatArray, labels: LabelSet | None, resamples: int
) -> PerturbationResult:
    classes = len(part.codes)
    was, said = part.probabilities.argmax(axis=1), after.argmax(axis=1)
    turned = was != said
    counts = [Counts(part.targets, predicted, classes) for predicted in (was, said)]
    scored = [malignant_score(p, part.targets, labels) if labels else None for p in (part.probabilities, after)]
    rankings = [Ranking(*pair) for pair in scored if pair is not None]

    def metrics(weights: FloatArray) -> dict[str, FloatArray]:
        block = {f"balanced {i}": counted.metrics(weights)["balanced_accuracy"] for i, counted in enumerate(counts)}
        block |= {f"malignant {i}": ranking.areas(weights)[0] for i, ranking in enumerate(rankings)}
        block["flipped"] = weights @ turned / weights.sum(axis=1)
        for key in ("balanced", "malignant") if rankings else ("balanced",):
            block[f"{key} difference"] = block[f"{key} 1"] - block[f"{key} 0"]
        return block

    found = Resampling.of(part.groups, resamples=resamples).draw(metrics)
    fractions = [np.bincount(answers[turned], minlength=classes) / len(part) for answers in (said, was)]
    malignant = [estimate(found[f"malignant {key}"]) if rankings else None for key in ("0", "1", "difference")]
    towards, away = ({code: float(rate) for code, rate in zip(part.codes, rates, strict=True)} for rates in fractions)
    return PerturbationResult(
        change,
        len(part),
        before=estimate(found["balanced 0"]),
        after=estimate(found["balanced 1"]),
        difference=estimate(found["balanced difference"]),
        malignant_before=malignant[0],
        malignant_after=malignant[1],
        malignant_difference=malignant[2],
        flipped=estimate(found["flipped"], proportion_of=len(np.unique(part.groups))),
        towards=towards,
        away=away,
    )


def perturbation_markdown(found: tuple[PerturbationResult, ...], classes: int) -> list[str]:
    """Return lines of Markdown for one or more changes, with the accuracy of guessing among ``classes``."""
    rows = []
    for r in found:
        row = {"perturbation": r.change.title, "images": f"{r.images:,}"}
        row["balanced accuracy, %: before, after"] = f"{100 * r.before.value:.1f}, {100 * r.after.value:.1f}"
        row["change, points"] = r.difference.text(signed=True)
        row |= {"malignant AUC: before, after": "", "change of AUC": ""}
        if r.malignant_before and r.malignant_after and r.malignant_difference:
            row["malignant AUC: before, after"] = f"{r.malignant_before.value:.3f}, {r.malignant_after.value:.3f}"
            row["change of AUC"] = r.malignant_difference.text(percent=False, digits=3, signed=True)
        rows.append(row | {"changed predictions, %": r.flipped.text(), "mostly to": r.destination})
    return [
        "## Perturbation tests",
        "",
        (
            "Each perturbation is compared with the unchanged images. Guessing gives a balanced accuracy of"
            f" {100 / classes:.1f} % and an AUC of 0.5: accuracy above that without the lesion comes from the rest of"
            " the image (and from parts of the lesion that the segmentation missed)."
        ),
        "",
        *table_lines(rows, "lrrrrrrl"),
        "",
    ]
