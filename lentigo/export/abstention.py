"""Abstention by OOD score: its part of the graph, its threshold, and its rates on synthetic images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from lentigo.bundle import Abstention
from lentigo.evaluation.ood import ACCEPTED, CARRIED, Features, fit_gaussians, separate, threshold_at
from lentigo.export.images import normalised
from lentigo.export.modality import OTHER, Kind, append_modality
from lentigo.export.ood_score import OUTPUT, append_atypicality
from lentigo.export.session import FloatArray, Session
from lentigo.resampler import resize
from lentigo.synthetic.phantom import KINDS, render_phantom
from lentigo.synthetic.textures import BLANKS, TEXTURES, render_textures

PICTURES = 70
"""Number of images in each synthetic set that an export measures on."""
SMALLEST = 20
"""Minimum number of validation images for a threshold."""
THRESHOLD_FACTOR: dict[Kind | None, float] = {None: 1.0, "clinical": 1.0, "dermoscopy": 2.0}
"""Threshold divided by the score that `ACCEPTED` of the validation images do not exceed. Dermoscopy of another hospital
(BCN20000) scores up to twice as high as that of the training hospital. If the modality graph rejects pictures other
than dermoscopy, such images can be accepted."""
MIN_ACCEPTED = 0.9
"""Minimum fraction of the accepted validation images that the modality graph must accept; otherwise it is left out."""

Tick = Callable[[int], None]


def render_ood_sets(
    codes: Iterable[str], size: int, count: int = PICTURES
) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Render sets of out-of-distribution images: phantoms of other kinds, textures, noise, blanks.

    Args:
        codes: the classes of a model trained on phantoms, whose kind is left out; none for a model of real images.
        size: side of the input in pixels.
        count: number of images per set.

    Yields:
        Name and pixels (count, size, size, 3) uint8.
    """
    known = set(codes)
    for kind, title in (("ham10000", "dermoscopy phantoms"), ("hypo", "clinical phantoms")):
        names = KINDS[kind]
        if not known & set(names):
            yield (
                title,
                _pixels((render_phantom(names[i % len(names)], i // len(names), size) for i in range(count)), size),
            )
    yield "textures", _pixels(render_textures(tuple(TEXTURES), count, size), size)
    for kind in BLANKS:
        yield kind, _pixels(render_textures((kind,), count, size), size)


def collect_features(session: Session, batches: Iterable[FloatArray], tick: Tick | None = None) -> Features:
    """Compute logits and embeddings of normalised batches, in order."""
    logits, embedding, done = [], [], 0
    for batch in batches:
        found = session(batch)
        logits.append(found["logits"])
        embedding.append(found["embedding"])
        done += len(batch)
        if tick is not None:
            tick(done)
    return Features(np.concatenate(logits).astype(np.float64), np.concatenate(embedding).astype(np.float64))


def add_abstention(
    content: bytes,
    train: Features,
    targets: npt.NDArray[np.int64],
    validation: Sequence[FloatArray],
    *,
    phantoms: Iterable[str],
    size: int,
    kind: Kind | None = None,
) -> tuple[bytes, Abstention]:
    """Append the score to a graph, set its threshold on the validation images, and measure it on synthetic images.

    Args:
        content: the serialised model, with its weights as they will be stored.
        train: logits and embeddings of the training images by this model.
        targets: (N,) classes of the training images.
        validation: normalised batches of the validation images.
        phantoms: the classes of a model trained on phantoms; none for a model of real images.
        size: side of the input in pixels.
        kind: kind of pictures that the model is for; None if it is unknown or has no modality graph.

    Returns:
        The model with the output ``atypicality``, and the entry of the specification.

    Raises:
        DataError: too few images.
    """
    content = append_atypicality(content, fit_gaussians(train.embedding, targets))
    inside = _scores(content, validation)
    usual = threshold_at(inside, ACCEPTED)
    threshold = float(f"{THRESHOLD_FACTOR[kind] * usual:.6g}")
    if kind is not None:
        extended = append_modality(content, kind, threshold)
        both = _scores(extended, validation)
        if np.mean(both <= threshold) < MIN_ACCEPTED * np.mean(inside <= threshold):
            kind, threshold = (
                None,
                float(f"{usual:.6g}"),
            )  # these pictures are of no kind that the modality graph was trained on
        else:
            content, inside = extended, both
    measured = {}
    for name, pixels in render_ood_sets(phantoms, size):
        found = separate(inside, _scores(content, normalised(pixels, np.arange(len(pixels)))))
        measured[name] = found.model_copy(update={"auroc": round(found.auroc, 4), "fpr": round(found.fpr, 4)})
    score = CARRIED if kind is None else f"{CARRIED}, or {OTHER[kind]}"
    accepted = round(float(np.mean(inside <= threshold)), 4)
    return content, Abstention(
        score=score, threshold=threshold, accepted=accepted, images=len(inside), measured=measured
    )


def _scores(content: bytes, batches: Iterable[FloatArray]) -> npt.NDArray[np.float64]:
    session = Session(content)
    return np.concatenate([session(batch)[OUTPUT] for batch in batches]).astype(np.float64)


def _pixels(images: Iterable[Image.Image], size: int) -> npt.NDArray[np.uint8]:
    return np.stack([resize(image, size) for image in images])
