"""Predictions as the API shows them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from lentigo.inference import Prediction


def describe(prediction: Prediction, top_k: int | None = None) -> dict[str, Any]:
    """A prediction as the API shows it: `Prediction.to_dict` without path and logits, the largest probabilities first."""
    document = prediction.to_dict()
    for name in ("path", "model", "logits", "notice"):  # the reply as a whole names the model
        document.pop(name, None)
    document["probabilities"] = {label.code: p for label, p in prediction.top(top_k or len(prediction.labels))}
    return document


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
