"""Predictions as the API shows them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from lentigo.bundle import Spec
from lentigo.inference import Prediction
from lentigo.inference.lesions import merge_rows
from lentigo.inference.table import Row
from lentigo.serving.problems import Problem


def describe(prediction: Prediction, top_k: int | None = None) -> dict[str, Any]:
    """A prediction as the API shows it: `Prediction.to_dict` without path and logits, sorted.

    The largest probabilities come first.
    """
    document = prediction.to_dict()
    for name in ("path", "model", "logits", "notice"):  # the reply as a whole names the model
        document.pop(name, None)
    document["probabilities"] = {label.code: p for label, p in prediction.top(top_k or len(prediction.labels))}
    return document


def merge_lesions(
    answers: Sequence[Prediction | Problem], lesions: Sequence[str], spec: Spec, top_k: int | None = None
) -> list[dict[str, Any]]:
    """One document a lesion, in order of appearance, merged as ``lentigo predict --group-by`` merges rows.

    Args:
        answers: one an image.
        lesions: the lesion of each image; an image with an empty one stands alone, as ``lesion`` null.
        spec: of the model that answered.
        top_k: only the most probable classes.
    """
    names = [lesion or i for i, lesion in enumerate(lesions)]
    images: dict[str | int, list[int]] = {}
    for i, name in enumerate(names):
        images.setdefault(name, []).append(i)
    found = []
    for name, places in images.items():
        row = merge_rows([_row(answers[i]) for i in places], lambda _: "", spec)[0]
        document: dict[str, Any] = {"lesion": name if isinstance(name, str) else None, "images": places}
        if row.error:
            first = answers[places[0]]
            assert isinstance(first, Problem)  # a row has an error only where no image could be read
            found.append(document | {"error": first.document()})
            continue
        order = sorted(zip(spec.codes, row.probabilities, strict=True), key=lambda pair: -pair[1])
        found.append(
            document
            | {
                "label": row.label,
                "name": spec.labels.classes[spec.codes.index(row.label)].en,
                "confidence": order[0][1],
                "malignant": row.malignant_share,
                "abstained": bool(row.reasons),
                "reasons": list(row.reasons),
                "hints": list(row.hints),
                "prediction_set": None if row.prediction_set is None else list(row.prediction_set),
                "operating_points": (
                    {}
                    if row.malignant_share is None
                    else {p.name: p.name in row.flagged for p in spec.operating_points}
                ),
                "probabilities": dict(order[:top_k]),
            }
        )
    return found


def add_predictive_values(documents: Sequence[dict[str, Any]], spec: Spec, prevalence: float) -> None:
    """Add ``predictive_values`` to answers; None where the answer is "can't tell" or the model has no figures.

    Args:
        documents: of images or lesions; those with an ``error`` stay as they are.
        spec: of the model that answered.
        prevalence: fraction of malignant lesions among those seen.
    """
    points = {name: values.to_dict() for name, values in spec.predictive_values(prevalence).items()}
    for document in documents:
        if "error" not in document:
            stands = points and not document["abstained"]
            document["predictive_values"] = {"prevalence": prevalence, "points": points} if stands else None


def _row(answer: Prediction | Problem) -> Row:
    if isinstance(answer, Problem):
        return Row("", error=answer.detail)
    return Row.of("", answer.probabilities.tolist(), answer.label, answer)


def draw_map(prediction: Prediction) -> dict[str, Any]:
    """The heat map of the answer over the image, as PNG in base64."""
    image = prediction.overlay()
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)  # larger levels cost more time than they save bytes
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"code": prediction.label, "format": "png", "width": image.width, "height": image.height, "data": data}


def list_map(prediction: Prediction) -> dict[str, Any]:
    """The heat map of the answer as numbers in [0, 1], at the network's own resolution."""
    assert prediction.cam is not None  # checked before the image was accepted
    height, width = prediction.cam.shape[1:]
    values = prediction.heatmap(size=(width, height)).astype(np.float64).round(5).tolist()
    return {"code": prediction.label, "format": "array", "width": width, "height": height, "values": values}
