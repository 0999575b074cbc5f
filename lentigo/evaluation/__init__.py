"""Judging a model from its saved probabilities: metrics with intervals, calibration, paired tests, plots and reports.

Nothing here ever runs a network.
"""

from __future__ import annotations

from lentigo.evaluation.calibration import apply_temperature, expected_calibration_error, fit_temperature, reliability
from lentigo.evaluation.compare import Comparison, compare_runs
from lentigo.evaluation.fairness import Subgroup, subgroup_metrics
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
from lentigo.evaluation.report import write_report
from lentigo.evaluation.runfiles import RunFiles, read_run

__all__ = [
    "Comparison",
    "Estimate",
    "MalignantMetrics",
    "Maps",
    "Metrics",
    "PredictionTable",
    "Resampling",
    "RunFiles",
    "Subgroup",
    "apply_temperature",
    "compare_runs",
    "evaluate_predictions",
    "expected_calibration_error",
    "fit_temperature",
    "make_predictions",
    "malignant_score",
    "maps_path",
    "operating_points",
    "read_maps",
    "read_predictions",
    "read_run",
    "reliability",
    "risk_coverage",
    "subgroup_metrics",
    "write_maps",
    "write_predictions",
    "write_report",
]
