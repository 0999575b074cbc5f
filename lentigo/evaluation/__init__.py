"""Judging a model from its saved probabilities: metrics with intervals, calibration, paired tests, plots and reports.

Nothing here ever runs a network.
"""

from __future__ import annotations

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
    "Maps",
    "PredictionTable",
    "make_predictions",
    "maps_path",
    "read_maps",
    "read_predictions",
    "write_maps",
    "write_predictions",
]
