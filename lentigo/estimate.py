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
        value: the value on the data as they are; NaN where the metric is not defined (no image of that class).
        low: lower end, None where no interval can be given.
        high: upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None

    # Where a bundle's spec.json is read.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    @property
    def defined(self) -> bool:
        """Whether the metric exists for these data."""
        return math.isfinite(self.value)

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and zero lies outside it."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def to_dict(self) -> dict[str, float | None]:
        """``value``, ``low``, ``high``; JSON has no NaN, so an undefined value is None."""
        return {"value": self.value if self.defined else None, "low": self.low, "high": self.high}

    def text(self, *, percent: bool = True, digits: int = 1, signed: bool = False) -> str:
        """Plain text such as ``85.2 (82.1 to 88.0)``; an en dash where the value is not defined."""
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
    """What a threshold says of a lesion where a stated fraction of all is malignant.

    Attributes:
        ppv: positive predictive value, the fraction malignant of the lesions that reach the threshold.
        npv: negative predictive value, the fraction benign of the others.
    """

    ppv: Estimate
    npv: Estimate

    @classmethod
    def of(cls, sensitivity: Estimate, specificity: Estimate, prevalence: float) -> PredictiveValues:
        """From two measured rates, by Bayes' rule.

        Both values grow with either rate, so their ends come from the ends of both intervals. These are wider than
        95 %; a report's, bootstrapped from the images themselves, are narrower.

        Args:
            sensitivity: fraction of malignant images that reach the threshold.
            specificity: fraction of benign images that do not.
            prevalence: fraction of malignant lesions among those seen, above 0 and below 1.
        """
        rates = [np.array([rate.value, rate.low, rate.high], np.float64) for rate in (sensitivity, specificity)]
        return cls(*(_estimate(values) for values in predictive_values(rates[0], rates[1], prevalence)))

    def to_dict(self) -> dict[str, dict[str, float | None]]:
        """As plain numbers."""
        return {"ppv": self.ppv.to_dict(), "npv": self.npv.to_dict()}


def predictive_values(
    sensitivity: npt.NDArray[np.float64], specificity: npt.NDArray[np.float64], prevalence: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Positive and negative predictive value by Bayes' rule; NaN where nothing would be flagged, or nothing spared.

    Args:
        sensitivity: of any shape, 0 to 1.
        specificity: of the same shape.
        prevalence: fraction of malignant lesions among those seen.
    """
    found, missed = sensitivity * prevalence, (1 - sensitivity) * prevalence
    alarmed, spared = (1 - specificity) * (1 - prevalence), specificity * (1 - prevalence)
    with np.errstate(invalid="ignore"):
        return found / (found + alarmed), spared / (spared + missed)


def plain(value: Any) -> Any:
    """As JSON holds it: what has a ``to_dict``, other dataclasses by their fields, mappings and tuples of these."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, tuple | list) else value


def _estimate(values: npt.NDArray[np.float64]) -> Estimate:
    """Of (3,): the value and the ends of its interval, which are NaN where there is none."""
    value, low, high = values.tolist()
    return Estimate(value, *(end if math.isfinite(end) else None for end in (low, high)))
