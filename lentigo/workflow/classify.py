"""Classify samples with a bundle and write the predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lentigo.bundle import Spec
from lentigo.data import Samples
from lentigo.data.samples import COLUMNS
from lentigo.evaluation import make_predictions, maps_path, write_maps, write_predictions
from lentigo.evaluation.robustness import robustness_folder
from lentigo.evaluation.temperature import apply_temperature
from lentigo.inference import Classifier, softmax
from lentigo.inference.lesions import merge_rows
from lentigo.inference.quality import Faults, assess_quality
from lentigo.inference.table import Row
from lentigo.inference.verdict import assess
from lentigo.machine import available_cores
from lentigo.pixels.skin_tone import estimate_angle
from lentigo.progress import Progress, shown
from lentigo.resampler import resize
from lentigo.workflow.robustness import write_skin

Pixels = npt.NDArray[np.uint8]
_CHUNK = 32


def predict_samples(
    classifier: Classifier,
    samples: Samples,
    table: Path,
    progress: bool | Progress,
    lesions: Mapping[str, str] | None = None,
) -> None:
    """Write a bundle's predictions and, if the graph has them, the maps of the predicted and the true class.

    With ``lesions`` the table has one row per lesion and no maps: the mean over the lesion's images, as in
    ``lentigo predict --group-by``.

    Args:
        classifier: the bundle.
        samples: images with the bundle's classes.
        table: output CSV; maps and estimated skin tones are written next to it.
        progress: whether to show a bar, or a function called with (done, total).
        lesions: image id -> lesion; all images of a lesion have the same class.

    Raises:
        ImageError: an image cannot be read.
        OutputError: a file cannot be written.
    """
    logits, predicted, target = [], [], []
    angles: list[float] = []
    atypicality: list[float] = []
    faults: list[Faults] = []
    done = 0
    with shown(progress, f"classifying with {classifier.spec.name}", len(samples)) as tick:
        for pixels in stream(samples, classifier.size):
            outputs = classifier.run(pixels)
            rows = np.arange(len(pixels))
            angles += [estimate_angle(one) for one in pixels]
            logits.append(outputs.logits)
            if outputs.atypicality is not None:
                atypicality += outputs.atypicality.tolist()
            if lesions is not None:
                faults += [assess_quality(one) for one in pixels]
            elif outputs.cam is not None:
                predicted.append(outputs.cam[rows, outputs.logits.argmax(axis=1)].astype(np.float16))
                target.append(outputs.cam[rows, samples.targets[done : done + len(pixels)]].astype(np.float16))
            done += len(pixels)
            tick(done, len(samples))
    frame = samples.frame.assign(ita=angles, **({"atypicality": atypicality} if atypicality else {}))
    probabilities = softmax(np.concatenate(logits))  # before the temperature, as training writes them
    maps_path(table).unlink(missing_ok=True)  # of an earlier evaluation
    if lesions is not None:
        frame, probabilities = _by_lesion(frame, probabilities, faults, lesions, classifier.spec)
    images, angles = frame["image"].tolist(), frame["ita"].tolist()
    metadata = frame.drop(columns=["ita", *COLUMNS, *(c for c in frame.columns if c in classifier.labels.codes)])
    answers = make_predictions(
        images=images,
        paths=frame["path"].tolist(),
        groups=frame["group"].tolist(),
        targets=frame["label"].tolist(),
        probabilities=probabilities,
        codes=classifier.labels.codes,
        metadata=metadata,
    )
    write_predictions(table, answers)
    write_skin(robustness_folder(table), images, angles)
    if predicted:
        write_maps(maps_path(table), images=images, predicted=np.concatenate(predicted), target=np.concatenate(target))


def _by_lesion(
    frame: pd.DataFrame,
    probabilities: npt.NDArray[np.float64],
    faults: list[Faults],
    lesions: Mapping[str, str],
    spec: Spec,
) -> tuple[pd.DataFrame, npt.NDArray[np.float64]]:
    """Return one row per lesion, and its mean probabilities (L, K) before the temperature.

    The lesion id becomes the ``image``. The path and the columns with a single value are those of the first image.
    """
    calibrated = apply_temperature(probabilities, spec.temperature).tolist()
    unlike = frame["atypicality"].tolist() if "atypicality" in frame else [None] * len(frame)
    rows = [
        Row.of(image, row, spec.codes[int(np.argmax(row))], assess(spec, row, score, fault))
        for image, row, score, fault in zip(frame["image"], calibrated, unlike, faults, strict=True)
    ]
    merged = merge_rows(rows, lesions.__getitem__, spec)
    lesion = frame["image"].map(dict(lesions))
    members = frame.groupby(lesion, sort=False)
    first = members.first().where(members.nunique(dropna=False) == 1)
    kept: dict[str, Any] = {
        "image": first.index,
        "path": members["path"].first(),
        "pictures": members.size(),
        "ita": members["ita"].mean(),
    }
    if "atypicality" in frame:
        kept["atypicality"] = members["atypicality"].min()  # "can't tell" only if it applies to all images
    # The patient, or the lesion itself if its images are of several patients.
    kept["group"] = first["group"].fillna(pd.Series(first.index, first.index))
    found = first.assign(**kept).loc[[row.path for row in merged]].reset_index(drop=True)
    return found, apply_temperature(np.array([row.probabilities for row in merged]), 1 / spec.temperature)


def stream(samples: Samples, size: int) -> Iterator[Pixels]:
    """Yield decoded chunks (n, size, size, 3) in row order; the next one is decoded in the background."""
    chunks = [range(start, min(start + _CHUNK, len(samples))) for start in range(0, len(samples), _CHUNK)]
    with ThreadPoolExecutor(available_cores()) as pool:

        def begin(rows: range) -> list[Future[Pixels]]:
            return [pool.submit(lambda row=row: resize(samples.read(row), size)) for row in rows]  # type: ignore[misc]

        waiting = begin(chunks[0])
        try:
            for following in [*chunks[1:], range(0)]:
                current, waiting = waiting, begin(following)
                yield np.stack([future.result() for future in current])
        finally:
            for future in waiting:
                future.cancel()
