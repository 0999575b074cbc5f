"""Calibration, fitted on validation and applied to all predictions: temperature, operating points, prediction sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lentigo.bundle import Conformal, OperatingPoint, Spec
from lentigo.evaluation.conformal import fit_conformal
from lentigo.evaluation.metrics import malignant_score, operating_points
from lentigo.evaluation.runfiles import RunFiles
from lentigo.evaluation.temperature import apply_temperature, fit_temperature


@dataclass(frozen=True)
class Calibration:
    """Calibration values, fitted by `calibrate` and stored in a bundle's specification.

    Attributes:
        temperature: divides the logits; None leaves the probabilities unchanged.
        points: thresholds on the summed malignant probability.
        conformal: quantiles of the prediction sets; None where none were fitted.
    """

    temperature: float | None = None
    points: tuple[OperatingPoint, ...] = ()
    conformal: Conformal | None = None

    @classmethod
    def of(cls, spec: Spec) -> Calibration:
        """Return the calibration of a bundle."""
        return cls(spec.temperature, spec.operating_points, spec.conformal)

    @property
    def thresholds(self) -> dict[str, float] | None:
        """Return the operating points' thresholds by name; None without operating points."""
        return {p.name: p.threshold for p in self.points} or None

    def apply(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the probabilities (N, K) at the temperature."""
        return apply_temperature(probabilities, self.temperature)


def calibrate(run: RunFiles) -> Calibration:
    """Fit the calibration on a run's validation predictions.

    Without validation predictions, the temperature is that of the run's record, if any.
    """
    validation = run.validation
    if validation is None:
        recorded = run.record.get("temperature")
        return Calibration(float(recorded) if isinstance(recorded, int | float) else None)
    temperature = fit_temperature(validation.probabilities, validation.targets)
    probabilities = apply_temperature(validation.probabilities, temperature)
    scored = malignant_score(probabilities, validation.targets, run.labels)
    return Calibration(
        temperature,
        operating_points(*scored) if scored else (),
        fit_conformal(probabilities, validation.targets, validation.codes),
    )
