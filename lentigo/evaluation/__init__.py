"""Evaluation of saved probabilities: metrics with intervals, calibration, paired tests, plots and reports.

No function here runs a network. Names are imported on first use, so that reading a table does not import matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lentigo.lazy import attach

if TYPE_CHECKING:
    from lentigo.evaluation.calibration import Calibration, calibrate
    from lentigo.evaluation.compare import Comparison, compare_runs
    from lentigo.evaluation.fairness import Subgroup, subgroup_metrics
    from lentigo.evaluation.intervals import Estimate, Resampling
    from lentigo.evaluation.metrics import (
        MalignantMetrics,
        Metrics,
        evaluate_predictions,
        malignant_score,
        operating_points,
        risk_coverage,
    )
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
    from lentigo.evaluation.temperature import (
        apply_temperature,
        fit_temperature,
        reliability,
    )

__all__ = [
    "Calibration",
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
    "calibrate",
    "compare_runs",
    "evaluate_predictions",
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

__getattr__, __dir__ = attach(
    __name__,
    {
        "calibration": ("Calibration", "calibrate"),
        "compare": ("Comparison", "compare_runs"),
        "fairness": ("Subgroup", "subgroup_metrics"),
        "intervals": ("Estimate", "Resampling"),
        "metrics": (
            *("MalignantMetrics", "Metrics", "evaluate_predictions", "malignant_score", "operating_points"),
            "risk_coverage",
        ),
        "predictions": (
            *("Maps", "PredictionTable", "make_predictions", "maps_path", "read_maps", "read_predictions"),
            *("write_maps", "write_predictions"),
        ),
        "report": ("write_report",),
        "runfiles": ("RunFiles", "read_run"),
        "temperature": ("apply_temperature", "fit_temperature", "reliability"),
    },
)
