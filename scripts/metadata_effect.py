"""Measure what age, sex and body site add to the image, over the validation parts of runs.

Each run's ratios are fitted on its training part (`lentigo.evaluation.metadata`) and applied to its validation part;
these are evaluated together, so that k folds give every image once. The last row shows why only values may count: there
a value that is not recorded is a value of its own, which tells of the work-up.

Usage: python scripts/metadata_effect.py DATA OUT.json RUN...
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from lentigo import NOTICE
from lentigo.bundle import metadata_value
from lentigo.data import Samples, load_split, read_samples
from lentigo.evaluation.intervals import RESAMPLES, Estimate
from lentigo.evaluation.metadata import fit_metadata, measure_metadata, with_metadata
from lentigo.evaluation.metrics import malignant_score
from lentigo.evaluation.predictions import PredictionTable, read_predictions
from lentigo.files import write_json
from lentigo.labels import LabelSet
from lentigo.tables import MetadataField
from lentigo.training import Run, load_run

FIELDS: tuple[MetadataField, ...] = get_args(MetadataField)


def main(data: str, out: str, *folders: str) -> None:
    """Write the table."""
    runs = [load_run(folder) for folder in folders]
    samples = read_samples(data, **runs[0].recipe.data.reading)
    names = " ".join(run.folder.name for run in runs)
    facts = {
        "notice": NOTICE,
        "command": f"python scripts/metadata_effect.py {Path(data).name} {Path(out).name} {names}",
        "fingerprint": samples.fingerprint,
        "protocol": runs[0].record["protocol"],
        "classes": runs[0].labels.codes,
        "resamples": RESAMPLES,
    }
    fields = {
        **{name: measure(runs, samples, (name,)) for name in FIELDS},
        "age and site": measure(runs, samples, ("age", "site")),
        "age, sex and site": measure(runs, samples, FIELDS),
        "sex, and whether it is recorded": measure(runs, samples, ("sex",), recorded=True),
    }
    write_json(Path(out), {**facts, "fields": fields})


def measure(
    runs: Sequence[Run], samples: Samples, fields: Sequence[MetadataField], *, recorded: bool = False
) -> dict[str, object]:
    """With these fields: figures, and their difference to the image alone."""
    alone, both = [], []
    for run in runs:
        labels = run.labels
        train = load_split(samples, run.folder / "split.csv").subset("train")
        table = read_predictions(run.folder / "predictions" / "val.csv", codes=labels.codes)
        frame = fill(train.frame, fields) if recorded else train.frame
        fitted = fit_metadata(frame, train.targets, list(frame["group"]), len(labels), fields)
        assert fitted is not None
        alone.append(table)
        both.append(with_metadata(replace(table, frame=fill(table.frame, fields)) if recorded else table, fitted))
    pooled = PredictionTable.pooled(alone)
    after = np.concatenate(both)
    effect = measure_metadata(pooled, after, labels)
    return {
        "flagged": flagged(pooled.probabilities, after, pooled.targets, labels),
        "images": effect.images,
        "known": effect.known,
        "with": {name: rounded(one) for name, one in effect.with_metadata.items()},
        "difference": {name: rounded(one) for name, one in effect.difference.items()},
    }


def flagged(
    alone: npt.NDArray[np.float64], both: npt.NDArray[np.float64], targets: npt.NDArray[np.int64], labels: LabelSet
) -> dict[str, dict[str, list[float]]]:
    """Sensitivity and specificity at the thresholds of 90 and 95 % sensitivity of the image alone.

    Of the image alone, of both together, and where either reaching the threshold is enough.
    """
    scored = [malignant_score(one, targets, labels) for one in (alone, both)]
    assert scored[0] is not None
    assert scored[1] is not None
    (image, sick), (together, _) = scored[0], scored[1]
    scores = (image, together, np.maximum(image, together))
    found: dict[str, dict[str, list[float]]] = {}
    for aim in (0.9, 0.95):
        threshold = np.quantile(image[sick], 1 - aim, method="lower")
        rates = [[(s[sick] >= threshold).mean(), (s[~sick] < threshold).mean()] for s in scores]
        found[f"{aim:g}"] = dict(zip(("image", "both", "either"), np.round(rates, 4).tolist(), strict=True))
    return found


def rounded(one: Estimate) -> dict[str, float | None]:
    """A figure and its interval to four digits."""
    return {name: None if value is None else round(value, 4) for name, value in one.to_dict().items()}


def fill(frame: pd.DataFrame, fields: Sequence[str]) -> pd.DataFrame:
    """The frame with "not recorded" as a value."""
    return frame.assign(**{f: [metadata_value(f, v) or "not recorded" for v in frame[f]] for f in fields})


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
