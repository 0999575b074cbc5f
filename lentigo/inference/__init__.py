"""Inference: a bundle, ONNX Runtime, and predictions with their explanation. Never imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lentigo.lazy import attach

if TYPE_CHECKING:
    from lentigo.inference.classifier import Classifier, Outputs, find_bundle, load, packaged_bundles, softmax
    from lentigo.inference.heatmap import overlay, save_heatmap, upsample
    from lentigo.inference.hub import fetch_bundle, hub_card, push_bundle
    from lentigo.inference.prediction import Prediction
    from lentigo.inference.session import DEFAULT
    from lentigo.inference.sources import Item, Sources
    from lentigo.inference.stream import Summary, predict_paths, predict_stream
    from lentigo.inference.table import Row

__all__ = [
    "DEFAULT",
    "Classifier",
    "Item",
    "Outputs",
    "Prediction",
    "Row",
    "Sources",
    "Summary",
    "fetch_bundle",
    "find_bundle",
    "hub_card",
    "load",
    "overlay",
    "packaged_bundles",
    "predict_paths",
    "predict_stream",
    "push_bundle",
    "save_heatmap",
    "softmax",
    "upsample",
]
__getattr__, __dir__ = attach(
    __name__,
    {
        "classifier": ("Classifier", "Outputs", "find_bundle", "load", "packaged_bundles", "softmax"),
        "heatmap": ("overlay", "save_heatmap", "upsample"),
        "hub": ("fetch_bundle", "hub_card", "push_bundle"),
        "prediction": ("Prediction",),
        "session": ("DEFAULT",),
        "sources": ("Item", "Sources"),
        "stream": ("Summary", "predict_paths", "predict_stream"),
        "table": ("Row",),
    },
)
