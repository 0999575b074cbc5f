"""The learning rate over time, and patience: when is a value better, and for how long has it not been."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Self

from lentigo.config.recipe import ScheduleRecipe


def rate_factor(schedule: ScheduleRecipe, step: int, *, steps: int, epochs: int) -> float:
    """Learning rate at a step, as a share of its peak; plateau reductions come on top.

    Args:
        schedule: which schedule.
        step: optimiser steps done before this one.
        steps: steps an epoch.
        epochs: epochs in all.
    """
    warmup = schedule.warmup * steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule.name != "cosine":
        return 1.0
    done = (step - warmup) / max(1.0, epochs * steps - warmup)
    return schedule.final + (1 - schedule.final) * (1 + math.cos(math.pi * min(1.0, done))) / 2


@dataclass
class Patience:
    """Follows one monitored value.

    Attributes:
        lowest_is_best: True for a loss.
        best: the best value so far; None before the first.
        waited: epochs since the best, or since the last ``restart``.
    """

    lowest_is_best: bool
    best: float | None = None
    waited: int = 0

    def update(self, value: float) -> bool:
        """Take the value of an epoch; True where it is the best so far. NaN never is."""
        better = not math.isnan(value) and (self.best is None or (value < self.best if self.lowest_is_best else value > self.best))
        if better:
            self.best = value
        self.waited = 0 if better else self.waited + 1
        return better

    def restart(self) -> None:
        """Wait anew, from the same best value."""
        self.waited = 0

    def forget(self) -> None:
        """Begin anew: what comes next cannot be compared with what was."""
        self.best, self.waited = None, 0

    def state(self) -> dict[str, float | int | bool | None]:
        """Plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def of(cls, state: dict[str, float | int | bool | None]) -> Self:
        """From the values of ``state``."""
        best, waited = state["best"], state["waited"]
        return cls(bool(state["lowest_is_best"]), None if best is None else float(best), int(waited or 0))
