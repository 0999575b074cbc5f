"""Judging a model from its saved probabilities: metrics with intervals, calibration, paired tests, plots and reports.

Nothing here ever runs a network.
"""

from __future__ import annotations

from lentigo.evaluation.calibration import apply_temperature, expected_calibration_error, fit_temperature, reliability
from lentigo.evaluation.intervals import Estimate, Resampling
from lentigo.evaluation.metrics import MalignantMetrics, Metrics, evaluate_predictions, malignant_score, operating_points, risk_coverage
from lentigo.evaluation.predictions import (
    Maps,
    PredictionTable,
    make_predictions,
    maps_path,
    read_maps,
    read_predictions,
    write_maps,
    write_predictions,
)

__all__ = [
    "Estimate",
    "MalignantMetrics",
    "Maps",
    "Metrics",
    "PredictionTable",
    "Resampling",
    "apply_temperature",
    "evaluate_predictions",
    "expected_calibration_error",
    "fit_temperature",
    "make_predictions",
    "malignant_score",
    "maps_path",
    "operating_points",
    "read_maps",
    "read_predictions",
    "reliability",
    "risk_coverage",
    "write_maps",
    "write_predictions",
]
