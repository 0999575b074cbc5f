"""A bundle on samples: decoded ahead of the network, answered and written."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lentigo.data import Samples
from lentigo.data.samples import COLUMNS
from lentigo.evaluation import maps_path, write_maps, write_predictions
from lentigo.evaluation.robustness import robustness_folder
from lentigo.inference import Classifier, softmax
from lentigo.machine import available_cores
from lentigo.pixels.skin_tone import estimate_angle
from lentigo.progress import Progress, shown
from lentigo.resampler import resize
from lentigo.workflow.robustness import write_skin

Pixels = npt.NDArray[np.uint8]
_CHUNK = 32


def predict_samples(classifier: Classifier, samples: Samples, table: Path, progress: bool | Progress) -> None:
    """Write the predictions of a bundle and, where the graph has them, the maps of the predicted and the true class.

    Args:
        classifier: the bundle.
        samples: under the bundle's classes.
        table: CSV to write; the maps and the estimated skin angles go beside it.
        progress: show a bar, or a function called with (done, total).

    Raises:
        ImageError: an image cannot be read.
        OutputError: the disk refuses.
    """
    logits, predicted, target = [], [], []
    angles: list[float] = []
    atypicality: list[float] = []
    done = 0
    with shown(progress, f"classifying with {classifier.spec.name}", len(samples)) as tick:
        for pixels in stream(samples, classifier.size):
            outputs = classifier.run(pixels)
            rows = np.arange(len(pixels))
            angles += [estimate_angle(one) for one in pixels]
            logits.append(outputs.logits)
            if outputs.atypicality is not None:
                atypicality += outputs.atypicality.tolist()
            if outputs.cam is not None:
                predicted.append(outputs.cam[rows, outputs.logits.argmax(axis=1)].astype(np.float16))
                target.append(outputs.cam[rows, samples.targets[done : done + len(pixels)]].astype(np.float16))
            done += len(pixels)
            tick(done, len(samples))
    frame = samples.frame
    images = frame["image"].tolist()
    taken = [*COLUMNS, *(c for c in frame.columns if c in classifier.labels.codes)]
    metadata = frame.drop(columns=taken)
    if atypicality:
        metadata = metadata.assign(atypicality=atypicality)
    write_predictions(
        table,
        images=images,
        paths=frame["path"].tolist(),
        groups=frame["group"].tolist(),
        targets=frame["label"].tolist(),
        probabilities=softmax(np.concatenate(logits)),  # before the temperature, as training writes them
        codes=classifier.labels.codes,
        metadata=metadata,
    )
    write_skin(robustness_folder(table), images, angles)
    if predicted:
        write_maps(maps_path(table), images=images, predicted=np.concatenate(predicted), target=np.concatenate(target))


def stream(samples: Samples, size: int) -> Iterator[Pixels]:
    """Decoded chunks (n, size, size, 3) in row order; the next chunk is decoded while one is classified, and no more than that."""
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
