"""The learning rate over time, and the monitored value: which epoch is best, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lentigo.config.recipe import Recipe, ScheduleRecipe


def rate_factor(schedule: ScheduleRecipe, step: int, *, steps: int, epochs: int) -> float:
    """Learning rate at a step, as a fraction of its peak; plateau reductions come on top.

    Args:
        schedule: which schedule.
        step: optimiser steps done before this one.
        steps: steps an epoch.
        epochs: epochs in all.
    """
    cycle = sum(step >= epoch * steps for epoch in schedule.restarts)
    begin, end = [0, *schedule.restarts][cycle], [*schedule.restarts, epochs][cycle]
    peak, step, warmup = schedule.restart_factor**cycle, step - begin * steps, schedule.warmup * steps
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if schedule.name != "cosine":
        return peak
    done = (step - warmup) / max(1.0, (end - begin) * steps - warmup)
    return peak * (schedule.final + (1 - schedule.final) * (1 + math.cos(math.pi * min(1.0, done))) / 2)


@dataclass
class Patience:
    """Follows one monitored value.

    Attributes:
        lowest_is_best: True for a loss.
        best: the best value so far; None before the first.
        waited: epochs since the best.
    """

    lowest_is_best: bool
    best: float | None = None
    waited: int = 0

    def update(self, value: float) -> bool:
        """Take the value of an epoch; True where it is the best so far. NaN never is."""
        better = not math.isnan(value) and (
            self.best is None or (value < self.best if self.lowest_is_best else value > self.best)
        )
        if better:
            self.best = value
        self.waited = 0 if better else self.waited + 1
        return better

    def forget(self) -> None:
        """Begin anew: what comes next cannot be compared with what was."""
        self.best, self.waited = None, 0


class Monitor:
    """Follow a run's monitored value: pick the best epoch, lower the rate on a plateau, end the run.

    Only epochs at the last image size compete, and patience begins anew where the size changes. With ``swa`` the last
    epoch is taken.

    Args:
        recipe: the run's.

    Attributes:
        rate: plateau reductions so far, as a factor on the learning rate.
        stopped: whether early stopping has ended the run.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        lowest = recipe.monitor.endswith("loss")
        self.patience, self.plateau = Patience(lowest), Patience(lowest)
        self.rate = 1.0
        self.stopped = False

    def update(self, epoch: int, value: float) -> bool:
        """Take the value of an epoch (from 0); True where its network is the one to keep."""
        recipe, schedule = self.recipe, self.recipe.schedule
        size = recipe.size_at(epoch)
        if epoch and size != recipe.size_at(epoch - 1):
            self.patience.forget()
            self.plateau.forget()
        if schedule.name == "plateau" and not self.plateau.update(value) and self.plateau.waited >= schedule.patience:
            self.rate *= schedule.factor
            self.plateau.waited = 0
        best = self.patience.update(value)
        limit = recipe.stop.patience
        last = size == recipe.final_size
        self.stopped = last and limit is not None and self.patience.waited >= limit
        if recipe.swa:  # the mean over all cycles is the result, whatever single epochs were worth
            return epoch + 1 == recipe.epochs
        return best and last

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {
            "rate": self.rate,
            "stopped": self.stopped,
            "patience": asdict(self.patience),
            "plateau": asdict(self.plateau),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the values of ``state_dict``."""
        self.rate, self.stopped = float(state["rate"]), bool(state["stopped"])
        self.patience, self.plateau = Patience(**state["patience"]), Patience(**state["plateau"])
