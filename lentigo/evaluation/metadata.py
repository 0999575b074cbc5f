"""Age, sex and body site in addition to the image: likelihood ratios by Bayes' rule, and their effect.

A missing value has no effect. Whether a value was recorded depends on the work-up (in PAD-UFES-20 the sex is known
only for biopsied lesions), so missingness must not change a prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lentigo.bundle import Metadata, metadata_value
from lentigo.estimate import Estimate
from lentigo.evaluation.intervals import RESAMPLES, FloatArray, Resampling, estimate
from lentigo.evaluation.metrics import Counts, ProbabilityMetrics, draw_each
from lentigo.evaluation.predictions import PredictionTable
from lentigo.labels import LabelSet
from lentigo.tables import MetadataField

PSEUDO_LESIONS = 10.0
"""Pseudo-count of lesions per class, distributed like the values of all lesions (m-estimate)."""
WEIGHT = 0.5
"""Exponent of the ratios: fields are not independent of each other and the image, and vary between clinics."""

METRICS = ("accuracy", "balanced_accuracy", "macro_auc", "malignant_auc")


@dataclass(frozen=True)
class MetadataEffect:
    """Effect of metadata on the metrics of one part of the data.

    Attributes:
        known: number of images with at least one field.
        images: number of all images.
        with_metadata: metric (of ``METRICS``) -> value over all images.
        difference: metric -> value with metadata minus value without, with its paired 95 % interval.
    """

    known: int
    images: int
    with_metadata: dict[str, Estimate]
    difference: dict[str, Estimate]


def fit_metadata(
    frame: pd.DataFrame,
    targets: npt.NDArray[np.intp],
    groups: Sequence[str],
    classes: int,
    fields: Sequence[MetadataField],
) -> Metadata | None:
    """Fit likelihood ratios to the metadata of training images.

    Each lesion (or patient) counts once.

    Args:
        frame: N training images with columns of ``fields``.
        targets: (N,) class indices.
        groups: N lesion or patient ids.
        classes: number of classes, K.
        fields: fields to use; those missing from the frame are skipped.

    Returns:
        The ratios; None if no field has values.
    """
    found: dict[MetadataField, dict[str, tuple[float, ...]]] = {}
    known: dict[MetadataField, int] = {}
    for name in fields:
        if name not in frame:
            continue
        values = pd.Series([metadata_value(name, value) for value in frame[name]], dtype=object)
        rows = pd.DataFrame({"value": values, "target": targets, "group": list(groups)}).dropna().drop_duplicates()
        if rows.empty:
            continue
        counts = pd.crosstab(rows["value"], rows["target"]).reindex(columns=range(classes), fill_value=0)
        overall = counts.sum(axis=1).to_numpy(float)[:, None] / counts.to_numpy().sum()
        likelihood = (counts + PSEUDO_LESIONS * overall) / (counts.sum(axis=0) + PSEUDO_LESIONS)
        ratios = WEIGHT * np.log(likelihood.to_numpy() / overall)
        found[name] = {str(v): tuple(r) for v, r in zip(counts.index, ratios.round(4).tolist(), strict=True)}
        known[name] = int(rows["group"].nunique())
    return Metadata(log_ratios=found, groups=known) if found else None


def with_metadata(table: PredictionTable, metadata: Metadata) -> FloatArray:
    """Return calibrated probabilities (N, K) updated by the table's metadata; missing values have no effect."""
    columns = table.metadata.reindex(columns=list(metadata.log_ratios))
    rows = [dict(zip(metadata.log_ratios, values, strict=True)) for values in columns.itertuples(index=False)]
    return metadata.update(table.probabilities, rows, strict=False)


def measure_metadata(
    table: PredictionTable, both: FloatArray, labels: LabelSet, *, resamples: int = RESAMPLES
) -> MetadataEffect:
    """Compare predictions with and without metadata by a paired bootstrap of lesions or patients.

    Args:
        table: calibrated predictions.
        both: (N, K), result of `with_metadata`, with ratios fitted on other lesions.
        labels: the label set.
        resamples: number of bootstrap resamples.
    """
    targets = table.targets
    measured = {
        which: (Counts(targets, one.argmax(axis=1), len(labels)), ProbabilityMetrics(one, targets, labels))
        for which, one in (("alone", table.probabilities), ("both", both))
    }
    drawn = draw_each(Resampling.of(table.groups, resamples=resamples), measured)
    known = [name for name in METRICS if np.isfinite(drawn["both", name][0])]
    return MetadataEffect(
        int((both != table.probabilities).any(axis=1).sum()),
        len(table),
        {name: estimate(drawn["both", name]) for name in known},
        {name: estimate(drawn["both", name] - drawn["alone", name]) for name in known},
    )
