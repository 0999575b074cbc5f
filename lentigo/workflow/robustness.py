"""Run a bundle's network on degraded and perturbed images.

The output folder is the input of `lentigo.evaluation.robustness`, which computes the metrics.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lentigo.data import Samples
from lentigo.data.tables import write_table
from lentigo.errors import DataError
from lentigo.evaluation.perturbation import PERTURBATION_FILE
from lentigo.evaluation.robustness import AREA, OCCLUSION, RECORD, ROBUSTNESS, SCORES, SKIN, robustness_folder
from lentigo.files import write_json
from lentigo.inference import Classifier, softmax, upsample
from lentigo.inference.stream import BATCH
from lentigo.machine import available_cores
from lentigo.pixels.corruptions import CORRUPTIONS, blur, corrupt
from lentigo.pixels.perturbations import PERTURBATIONS, perturb
from lentigo.pixels.skin_tone import estimate_angle
from lentigo.progress import Progress, shown
from lentigo.resampler import resize
from lentigo.synthetic.canvas import blend
from lentigo.workflow.record import made_by

SMEAR = 28.0
"""Standard deviation of the deleting blur, in pixels at size 224: an eighth of the image."""
_SOFT = 2.0  # of the deleted area's edge, in the same pixels
_CHUNK = 4

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

SEED = 0
"""Seed for the image sample, noise, hair and the area elsewhere."""
STRENGTHS = tuple((c.name, strength) for c in CORRUPTIONS.values() for strength in c.strengths)


def run_robustness(
    classifier: Classifier,
    samples: Samples,
    predictions: Path,
    *,
    limit: int | None = None,
    progress: bool | Progress = True,
) -> Path:
    """Classify all images with all corruptions and perturbations, and write the predictions.

    Args:
        classifier: the model.
        samples: the images of the predictions.
        predictions: their table; it sets the output folder (`lentigo.evaluation.robustness.robustness_folder`).
        limit: maximum number of images, drawn at random.
        progress: whether to show a bar, or a function called with (done, total).

    Returns:
        The output folder.

    Raises:
        DataError: no images, or ``limit`` is below 1.
        ImageError: an image cannot be read; no file is written.
        OutputError: a file cannot be written.
    """
    if limit is not None and limit < 1:
        raise DataError(f"the number of images must be at least 1, not {limit}")
    began = time.monotonic()
    rows = np.arange(len(samples))
    if limit is not None and limit < len(rows):
        rows = np.sort(np.random.default_rng(SEED).permutation(rows)[:limit])
    found = _classify(_Worker(classifier.for_stream(BATCH), samples), rows, progress)
    target = robustness_folder(predictions)
    images = [image for answers in found for image in answers.images]
    logits = np.concatenate([answers.logits for answers in found], axis=1)  # (V, N, K)
    changed = {image: versions for answers in found for image, versions in answers.changed.items()}
    _write(target / ROBUSTNESS, _robustness(images, logits, classifier.labels.codes))
    _write(target / PERTURBATION_FILE, _perturbations(changed, classifier.labels.codes))
    scores = np.concatenate([answers.scores for answers in found])  # (N, 4)
    mapped = np.isfinite(scores[:, 1])
    if mapped.any():
        index = pd.Index(np.array(images)[mapped], name="image")
        _write(target / OCCLUSION, pd.DataFrame(scores[mapped], index, list(SCORES)).reset_index())
    if len(images) == len(samples) or not (target / SKIN).is_file():  # a subset must not replace all images
        write_skin(target, images, [angle for answers in found for angle in answers.angles])
    record = {
        **made_by(classifier.spec),
        "images": len(images),
        "drawn": limit is not None and len(images) < len(samples),
        "seed": SEED,
        "without_map": int((~mapped).sum()),
        "without_lesion": sum("lesion" not in versions for versions in changed.values()),
        "wall_seconds": round(time.monotonic() - began, 1),
    }
    write_json(target / RECORD, record)
    return target


def write_skin(folder: Path, images: list[str], angles: list[float]) -> None:
    """Write ``skin.csv``: the estimated skin tone of each image, empty if its border shows no skin.

    Raises:
        OutputError: a file cannot be written.
    """
    _write(folder / SKIN, pd.DataFrame({"image": images, "ita": np.round(angles, 1)}))


@dataclass(frozen=True)
class _Answers:
    images: list[str]
    logits: Floats  # (V, n, K), V corrupted versions
    scores: npt.NDArray[np.float64]  # (n, 4): original, marked, elsewhere, least; NaN without a map
    angles: list[float]
    # Image -> change -> probabilities before the temperature, (K,).
    changed: dict[str, dict[str, npt.NDArray[np.float64]]]


class _Worker:
    """Classify all versions of a chunk of images; thread-safe."""

    def __init__(self, classifier: Classifier, samples: Samples) -> None:
        self.classifier, self.samples = classifier, samples

    def __call__(self, rows: npt.NDArray[np.int64]) -> _Answers:
        images = self.samples.frame["image"].iloc[rows].tolist()
        originals = [resize(self.samples.read(int(row)), self.classifier.size) for row in rows]
        # Seeded per image, independent of the other images.
        seeds = [zlib.crc32(f"{SEED}/{image}".encode()) for image in images]
        logits = [
            self.classifier.run(
                np.stack([corrupt(p, name, strength, s) for p, s in zip(originals, seeds, strict=True)])
            ).logits
            for name, strength in STRENGTHS
        ]
        scores = np.stack([self._occlude(pixels, own) for pixels, own in zip(originals, seeds, strict=True)])
        changed = {
            image: self._change(pixels, own) for image, pixels, own in zip(images, originals, seeds, strict=True)
        }
        return _Answers(images, np.stack(logits), scores, [estimate_angle(pixels) for pixels in originals], changed)

    def _change(self, pixels: Pixels, seed: int) -> dict[str, npt.NDArray[np.float64]]:
        versions = perturb(pixels, seed)
        if not versions:
            return {}
        answers = softmax(self.classifier.run(np.stack(list(versions.values()))).logits)
        return dict(zip(versions, answers, strict=True))

    def _occlude(self, pixels: Pixels, seed: int) -> npt.NDArray[np.float64]:
        outputs = self.classifier.run(pixels[None])
        best = int(outputs.probabilities[0].argmax())
        scores = np.full(len(SCORES), np.nan)
        scores[0] = outputs.probabilities[0, best]
        if outputs.cam is not None and outputs.cam[0, best].max() > 0:
            masks = choose_areas(upsample(outputs.cam[0, best], len(pixels)), np.random.default_rng(seed))
            scores[1:] = self.classifier.run(np.stack([delete(pixels, mask) for mask in masks])).probabilities[:, best]
        return scores


def _classify(worker: _Worker, rows: npt.NDArray[np.int64], progress: bool | Progress) -> list[_Answers]:
    """Classify all versions of the images in some rows, in chunks on all cores."""
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    found: list[_Answers] = []
    done = 0
    with shown(progress, "degrading and classifying", len(rows)) as tick, ThreadPoolExecutor(available_cores()) as pool:
        try:
            for chunk, answers in zip(chunks, pool.map(worker, chunks), strict=True):
                found.append(answers)
                done += len(chunk)
                tick(done, len(rows))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def choose_areas(heat: Floats, rng: np.random.Generator) -> tuple[Mask, Mask, Mask]:
    """Choose three areas of equal size: highest map values, the same shape elsewhere, and lowest map values.

    Args:
        heat: (S, S), the map; ties are selected in random patches.
        rng: generator for the ties and for the place elsewhere, the one of 20 cyclic shifts of the first area that
            overlaps it least.

    Returns:
        (S, S) bool each.
    """
    side = len(heat)
    count = round(AREA * heat.size)
    # Smooth noise, far smaller than any difference in the map, breaks ties.
    order = (heat.astype(np.float64) + 1e-6 * upsample(rng.random((7, 7)), side)).ravel()
    ranked = np.argsort(order, kind="stable")
    marked, least = np.zeros(heat.size, bool), np.zeros(heat.size, bool)
    marked[ranked[-count:]] = True
    least[ranked[:count]] = True
    area = marked.reshape(heat.shape)
    moved = [np.roll(area, tuple(rng.integers(0, side, 2)), axis=(0, 1)) for _ in range(20)]
    return area, min(moved, key=lambda mask: int((mask & area).sum())), least.reshape(heat.shape)


def delete(pixels: Pixels, area: Mask) -> Pixels:
    """Return the image with an area strongly blurred, to remove its structure; soft edges add none.

    Args:
        pixels: (S, S, 3) uint8.
        area: (S, S) bool.
    """
    soft = blur(np.repeat(area[..., None], 3, axis=2).astype(np.uint8) * 255, _SOFT).astype(np.float32) / 255
    return blend(pixels, blur(pixels, SMEAR).astype(np.float32), soft)


def _robustness(images: list[str], logits: Floats, codes: tuple[str, ...]) -> pd.DataFrame:
    """Return one row per version and image, with probabilities before the temperature."""
    index, columns = pd.Index(images, name="image"), list(codes)
    blocks = {
        version: pd.DataFrame(softmax(values), index, columns)
        for version, values in zip(STRENGTHS, logits, strict=True)
    }
    return pd.concat(blocks, names=["corruption", "strength"]).reset_index()


def _perturbations(
    changed: Mapping[str, Mapping[str, npt.NDArray[np.float64]]], codes: tuple[str, ...]
) -> pd.DataFrame:
    """Return one row per change and image."""
    rows = [(name, image) for name in PERTURBATIONS for image, answers in changed.items() if name in answers]
    index = pd.MultiIndex.from_tuples(rows, names=["change", "image"])
    return pd.DataFrame([changed[image][name] for name, image in rows], index, list(codes)).reset_index()


def _write(path: Path, frame: pd.DataFrame) -> None:
    write_table(path, frame, float_format="%.6g")
