"""Subgroup metrics by age band, sex, body site and skin tone.

Each subgroup is compared with all other images on the same resamples, which gives its gap an interval. The
intervals are not corrected for the number of subgroups: one in twenty excludes zero by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lentigo.estimate import plain
from lentigo.evaluation.intervals import RESAMPLES, Estimate, FloatArray, Resampling, estimate
from lentigo.evaluation.metrics import Counts, Ranking, check_labels, draw_each, malignant_score, ratio
from lentigo.evaluation.predictions import PredictionTable
from lentigo.evaluation.temperature import apply_temperature
from lentigo.labels import LabelSet
from lentigo.tables import is_unknown

SMALL = 30
UNKNOWN = "not known"

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Subgroup:
    """Metrics of the images that share one property.

    Attributes:
        attribute: the property, such as ``age``.
        value: its value, such as ``60 to 74``.
        images: number of images.
        groups: number of lesions or patients.
        classes: number of classes present. Balanced accuracy is the mean over these, so subgroups with different
            classes are hard to compare.
        accuracy: fraction of correct predictions.
        gap: accuracy of the subgroup minus accuracy of all other images.
        balanced_accuracy: mean recall over the classes present.
        malignant_auc: ROC AUC of malignant against benign; NaN if either is absent.
        sensitivity: at the operating threshold; NaN without one.
        specificity: at the operating threshold; NaN without one.
    """

    attribute: str
    value: str
    images: int
    groups: int
    classes: int
    accuracy: Estimate
    gap: Estimate
    balanced_accuracy: Estimate
    malignant_auc: Estimate
    sensitivity: Estimate
    specificity: Estimate

    @property
    def small(self) -> bool:
        """Return whether there are too few images for a conclusion."""
        return self.images < SMALL

    @property
    def differs(self) -> bool:
        """Return whether the gap's interval excludes zero, on enough images."""
        return not self.small and self.gap.excludes_zero

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)} | {"small": self.small}


def subgroup_metrics(
    table: PredictionTable,
    labels: LabelSet | None = None,
    *,
    temperature: float | None = None,
    threshold: float | None = None,
    resamples: int = RESAMPLES,
) -> tuple[Subgroup, ...]:
    """Compute metrics by age band, sex, site and skin tone, where the table's metadata has them.

    Columns: ``age`` (years), ``sex``, ``site``, ``fitzpatrick`` (recorded type, 1 to 6), ``skin_tone`` (text) and
    ``ita`` (individual typology angle in degrees, estimated from the image). Columns with a single value are
    skipped.

    Args:
        table: the predictions.
        labels: the label set; by default looked up by class codes.
        temperature: applied to the probabilities before all metrics.
        threshold: operating threshold on the summed malignant probability (after the temperature).
        resamples: bootstrap resamples.

    Returns:
        One entry per subgroup, in the order of the columns above and of their values.

    Raises:
        DataError: ``labels`` has other classes than the table.
    """
    known = check_labels(table, labels)
    probabilities = apply_temperature(table.probabilities, temperature)
    scored = malignant_score(probabilities, table.targets, known)
    parts = [
        _SubgroupMeasure(attribute, value, mask, table, probabilities, scored, threshold)
        for attribute, values in divisions(table.metadata).items()
        for value in _ordered(values)
        if (mask := (values == value).to_numpy()).any()
    ]
    if not parts:
        return ()
    drawn = draw_each(Resampling.of(table.groups, resamples=resamples), {i: [part] for i, part in enumerate(parts)})
    return tuple(part.result({name: drawn[i, name] for k, name in drawn if k == i}) for i, part in enumerate(parts))


def divisions(metadata: pd.DataFrame) -> dict[str, pd.Series[str]]:
    """Return the subgroup of each image by attribute; empty values become ``not known``."""
    found: dict[str, pd.Series[str]] = {}
    for column, (attribute, divide) in _ATTRIBUTES.items():
        if column in metadata:
            values = divide(metadata[column])
            if values.nunique() > 1:
                found[attribute] = values
    return found


class _SubgroupMeasure:
    """Metrics of one subgroup for weighted rows."""

    def __init__(
        self,
        attribute: str,
        value: str,
        mask: BoolArray,
        table: PredictionTable,
        probabilities: FloatArray,
        scored: tuple[FloatArray, BoolArray] | None,
        threshold: float | None,
    ) -> None:
        predicted = probabilities.argmax(axis=1)
        self.attribute, self.value, self.mask = attribute, value, mask
        self.right = (predicted == table.targets).astype(np.float64)
        self.targets, self.groups = table.targets[mask], table.groups[mask]
        self.counts = Counts(self.targets, predicted[mask], len(table.codes))
        self.positive = None if scored is None else scored[1][mask]
        self.ranking = None if scored is None else Ranking(scored[0][mask], scored[1][mask])
        self.flagged = None if scored is None or threshold is None else scored[0][mask] >= threshold

    def metrics(self, weights: FloatArray) -> dict[str, FloatArray]:
        """Return the defined fields of a subgroup, (B,) each."""
        here, there = weights[:, self.mask], weights[:, ~self.mask]
        block = self.counts.metrics(here)
        block["gap"] = block["accuracy"] - ratio(there @ self.right[~self.mask], there.sum(axis=1))
        if self.ranking is not None:
            block["malignant_auc"] = self.ranking.areas(here)[0]
        if self.flagged is not None and self.positive is not None:
            positive, negative = self.positive, ~self.positive
            found, spared = here[:, positive] @ self.flagged[positive], here[:, negative] @ ~self.flagged[negative]
            block["sensitivity"] = ratio(found, here[:, positive].sum(axis=1))
            block["specificity"] = ratio(spared, here[:, negative].sum(axis=1))
        else:  # those of the single classes
            del block["sensitivity"], block["specificity"]
        return {name: block[name] for name in _MEASURED if name in block}

    def result(self, drawn: Mapping[str, FloatArray]) -> Subgroup:
        sizes: dict[str, int | None] = {"accuracy": len(np.unique(self.groups))}
        if self.positive is not None:
            sizes |= {
                "sensitivity": len(np.unique(self.groups[self.positive])),
                "specificity": len(np.unique(self.groups[~self.positive])),
            }
        measured = {
            name: estimate(drawn[name], proportion_of=sizes.get(name)) if name in drawn else Estimate(np.nan)
            for name in _MEASURED
        }
        accuracy, gap = measured["accuracy"], measured["gap"]
        if accuracy.value in (0.0, 1.0) and gap.defined and accuracy.low is not None and accuracy.high is not None:
            # All predictions here are right, or all wrong: use the exact interval in place of the bootstrap's.
            others = accuracy.value - gap.value
            measured["gap"] = Estimate(gap.value, accuracy.low - others, accuracy.high - others)
        return Subgroup(
            self.attribute,
            self.value,
            images=len(self.targets),
            groups=len(np.unique(self.groups)),
            classes=len(np.unique(self.targets)),
            **measured,
        )


_MEASURED = ("accuracy", "gap", "balanced_accuracy", "malignant_auc", "sensitivity", "specificity")
_AGES = ((30, "under 30"), (45, "30 to 44"), (60, "45 to 59"), (75, "60 to 74"), (np.inf, "75 and over"))
# Del Bino and Bernerd, British Journal of Dermatology 169 (2013): bands of the individual typology angle.
_ANGLES = ((-30, "dark"), (10, "brown"), (28, "tan"), (41, "intermediate"), (55, "light"), (np.inf, "very light"))


def _bands(edges: tuple[tuple[float, str], ...]) -> Callable[[pd.Series[Any]], pd.Series[str]]:
    """Return a function that assigns numbers to bands; each edge is the exclusive upper end of its band."""

    def divide(column: pd.Series[Any]) -> pd.Series[str]:
        numbers = pd.to_numeric(column, errors="coerce")
        bands = pd.cut(
            numbers, [-np.inf, *(edge for edge, _ in edges)], right=False, labels=[name for _, name in edges]
        )
        return bands.astype(object).where(bands.notna(), UNKNOWN).astype(str)

    return divide


def _words(column: pd.Series[Any]) -> pd.Series[str]:
    text = column.astype(object).where(column.notna(), "").astype(str).str.strip().str.lower()
    return text.mask(text.map(is_unknown).astype(bool), UNKNOWN)


def _types(column: pd.Series[Any]) -> pd.Series[str]:
    numbers = pd.to_numeric(column, errors="coerce")
    return numbers.map(lambda n: f"type {n:.0f}" if np.isfinite(n) and n > 0 else UNKNOWN).astype(str)


_ATTRIBUTES: dict[str, tuple[str, Callable[[pd.Series[Any]], pd.Series[str]]]] = {
    "age": ("age", _bands(_AGES)),
    "sex": ("sex", _words),
    "site": ("site", _words),
    "fitzpatrick": ("skin type (Fitzpatrick, as recorded)", _types),
    "skin_tone": ("skin tone", _words),
    "ita": ("skin tone (estimated from the image)", _bands(_ANGLES)),
}


def _ordered(values: pd.Series[str]) -> list[str]:
    """Return bands in ascending order, or text by number of images; ``not known`` comes last."""
    bands = [name for _, name in (*_AGES, *_ANGLES)]
    counts = values.value_counts()

    def key(value: str) -> tuple[bool, int, int, str]:
        return (
            value == UNKNOWN,
            bands.index(value) if value in bands else 0,
            0 if value.startswith("type ") else -int(counts[value]),
            value,
        )

    return sorted(counts.index, key=key)
