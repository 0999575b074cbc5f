"""A measured value with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value with its 95 % interval.

    Attributes:
        value: the value on the data; NaN if the metric is undefined (no image of the class).
        low: lower end of the interval; None without an interval.
        high: upper end of the interval; None without an interval.
    """

    value: float
    low: float | None = None
    high: float | None = None

    # For reading a bundle's spec.json.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    @property
    def defined(self) -> bool:
        """Whether the metric is defined on these data."""
        return math.isfinite(self.value)

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and zero lies outside it."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def to_dict(self) -> dict[str, float | None]:
        """Return ``value``, ``low`` and ``high``; None for an undefined value, since JSON has no NaN."""
        return {"value": self.value if self.defined else None, "low": self.low, "high": self.high}

    def text(self, *, percent: bool = True, digits: int = 1, signed: bool = False) -> str:
        """Format as ``85.2 (82.1 to 88.0)``; an en dash if the value is undefined."""
        if not self.defined:
            return "–"
        scale, sign = (100 if percent else 1), ("+" if signed else "")

        def show(number: float) -> str:
            rounded = round(number * scale, digits) + 0.0  # no negative zero
            return f"{rounded:{sign}.{digits}f}".replace("-", "−")

        if self.low is None or self.high is None:
            return show(self.value)
        return f"{show(self.value)} ({show(self.low)} to {show(self.high)})"


@dataclass(frozen=True, slots=True)
class PredictiveValues:
    """Predictive values of a threshold at a stated prevalence.

    Attributes:
        ppv: positive predictive value, the malignant fraction of the lesions that reach the threshold, 0 to 1.
        npv: negative predictive value, the benign fraction of the other lesions, 0 to 1.
    """

    ppv: Estimate
    npv: Estimate

    @classmethod
    def of(cls, sensitivity: Estimate, specificity: Estimate, prevalence: float) -> PredictiveValues:
        """Compute predictive values from measured rates, by Bayes' rule.

        Both values increase with both rates, so the ends of their intervals come from the ends of the rates'
        intervals. Their coverage is therefore more than 95 %; the bootstrap intervals of a report are narrower.

        Args:
            sensitivity: fraction of malignant images that reach the threshold, 0 to 1.
            specificity: fraction of benign images that do not, 0 to 1.
            prevalence: fraction of malignant lesions in the population, above 0 and below 1.
        """
        rates = [np.array([rate.value, rate.low, rate.high], np.float64) for rate in (sensitivity, specificity)]
        return cls(*(_estimate(values) for values in predictive_values(rates[0], rates[1], prevalence)))

    def to_dict(self) -> dict[str, dict[str, float | None]]:
        """Return plain numbers, for JSON."""
        return {"ppv": self.ppv.to_dict(), "npv": self.npv.to_dict()}


def predictive_values(
    sensitivity: npt.NDArray[np.float64], specificity: npt.NDArray[np.float64], prevalence: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute positive and negative predictive values by Bayes' rule (Altman and Bland, BMJ 309:102, 1994).

    Args:
        sensitivity: any shape, 0 to 1.
        specificity: the same shape, 0 to 1.
        prevalence: fraction of malignant lesions in the population, above 0 and below 1.

    Returns:
        PPV and NPV of the same shape; NaN if no lesion, or every lesion, would reach the threshold.
    """
    found, missed = sensitivity * prevalence, (1 - sensitivity) * prevalence
    alarmed, spared = (1 - specificity) * (1 - prevalence), specificity * (1 - prevalence)
    with np.errstate(invalid="ignore"):
        return found / (found + alarmed), spared / (spared + missed)


def plain(value: Any) -> Any:
    """Convert to JSON types: objects with ``to_dict``, other dataclasses by field, mappings and sequences of these."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, tuple | list) else value


def _estimate(values: npt.NDArray[np.float64]) -> Estimate:
    """Convert (3,) to an estimate: the value and the ends of its interval, NaN without an interval."""
    value, low, high = values.tolist()
    return Estimate(value, *(end if math.isfinite(end) else None for end in (low, high)))
