"""Inference: a bundle, ONNX Runtime, and answers that explain themselves. Never imports torch."""

from __future__ import annotations

from lentigo.inference.classifier import DEFAULT, Classifier, Outputs, find_bundle, load, packaged_bundles, softmax
from lentigo.inference.heatmap import overlay, save_heatmap, upsample
from lentigo.inference.hub import fetch_bundle, hub_card, push_bundle
from lentigo.inference.prediction import Prediction
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
