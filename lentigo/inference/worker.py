"""Classification of a chunk of images: decode, resize, normalise, infer and assess."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from lentigo.errors import DataError, ImageError
from lentigo.imaging import Floats, Pixels, is_first_of_several, normalise, open_and_load
from lentigo.inference.classifier import Classifier
from lentigo.inference.heatmap import save_heatmap
from lentigo.inference.quality import FIRST_OF_SEVERAL, Faults, assess_quality
from lentigo.inference.sources import Item
from lentigo.inference.table import Row
from lentigo.inference.verdict import assess

HEATMAP_SIZE = 512


class Worker:
    """Classifies chunks of images; thread-safe, with buffers per thread.

    Args:
        classifier: the model, with one thread per inference.
        batch: maximum images per chunk.
        heatmaps: folder for one picture per image.
        fast_decode: as in `predict_paths`.
        embeddings: as in `predict_paths`.
    """

    def __init__(
        self,
        classifier: Classifier,
        batch: int,
        heatmaps: Path | None = None,
        fast_decode: bool = False,
        embeddings: bool = False,
    ) -> None:
        self.classifier = classifier
        self.batch = batch
        self.heatmaps = heatmaps
        self.fast_decode = fast_decode
        self.embeddings = embeddings
        self._local = threading.local()

    def __call__(self, chunk: Sequence[Item]) -> list[Row]:
        """Return the rows of a chunk, in its order."""
        pixels, floats = self._buffers()
        rows: list[Row | None] = []
        pictures: list[Pixels] = []
        faults: list[Faults] = []
        spec = self.classifier.spec
        read = 0
        for item in chunk:
            try:
                if item.metadata is not None:
                    self.classifier.check_metadata().check(item.metadata)
                if item.error is not None or item.source is None:
                    raise ImageError(item.error or f"{item.path}: no image")
                image, pixels[read] = open_and_load(item.source, self.classifier.size, fast=self.fast_decode)
            except DataError as error:
                rows.append(Row(item.path, error=f"{item.path}: {error}"))
                continue
            except ImageError as error:
                rows.append(Row(item.path, error=str(error).replace("the bytes given", item.path, 1)))
                continue
            rows.append(None)
            seen = slice(read, read + 1)  # while the pixels are still in the processor's cache
            normalise(pixels[seen], spec.input.mean, spec.input.std, out=floats[seen])
            reasons, hints = assess_quality(pixels[read])
            faults.append((reasons, (*hints, FIRST_OF_SEVERAL) if is_first_of_several(image) else hints))
            read += 1
            if self.heatmaps is not None:
                image.thumbnail((HEATMAP_SIZE, HEATMAP_SIZE), Image.Resampling.BILINEAR)
                pictures.append(np.asarray(image))
        if read:
            outputs = self.classifier.run_normalised(floats[:read])
            places = [i for i, row in enumerate(rows) if row is None]
            metadata = [chunk[place].metadata or {} for place in places]
            alone = outputs.probabilities
            if any(metadata):
                outputs = replace(outputs, probabilities=self.classifier.check_metadata().update(alone, metadata))
            changed = (outputs.probabilities != alone).any(axis=1).tolist()
            best = outputs.probabilities.argmax(axis=1).tolist()
            answers = zip(places, outputs.probabilities.tolist(), best, strict=True)
            for number, (place, probabilities, index) in enumerate(answers):
                atypicality, modality = outputs.ood(number)
                before = alone[number].tolist() if changed[number] else ()
                verdict = assess(spec, probabilities, atypicality, faults[number], before, modality)
                row = Row.of(chunk[place].path, probabilities, spec.classes[index].code, verdict)
                rows[place] = (
                    replace(row, embedding=tuple(outputs.embedding[number].tolist())) if self.embeddings else row
                )
            if self.heatmaps is not None and outputs.cam is not None:
                for place, picture, cam, index in zip(places, pictures, outputs.cam, best, strict=True):
                    save_heatmap(self.heatmaps / f"{chunk[place].key}.jpg", picture, cam[index])
        return [row for row in rows if row is not None]

    def _buffers(self) -> tuple[Pixels, Floats]:
        if not hasattr(self._local, "pixels"):
            size = self.classifier.size
            self._local.pixels = np.empty((self.batch, size, size, 3), np.uint8)
            self._local.floats = np.empty((self.batch, 3, size, size), np.float32)
        return self._local.pixels, self._local.floats
