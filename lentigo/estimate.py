"""A measured value with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar


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
