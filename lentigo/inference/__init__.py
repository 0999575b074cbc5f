"""Inference: a bundle, ONNX Runtime, and answers that explain themselves. Never imports torch."""

from __future__ import annotations

from lentigo.inference.classifier import DEFAULT, Classifier, Outputs, find_bundle, load, packaged_bundles, softmax
from lentigo.inference.heatmap import overlay, save_heatmap, upsample
from lentigo.inference.prediction import NOTICE, Prediction

__all__ = [
    "DEFAULT",
    "NOTICE",
    "Classifier",
    "Outputs",
    "Prediction",
    "find_bundle",
    "load",
    "overlay",
    "packaged_bundles",
    "save_heatmap",
    "softmax",
    "upsample",
]
