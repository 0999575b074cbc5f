"""The learning-rate schedule, selection of the best epoch, and early stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lentigo.config.recipe import Recipe, ScheduleRecipe


def rate_factor(schedule: ScheduleRecipe, step: int, *, steps: int, epochs: int) -> float:
    """Return the learning rate at a step as a fraction of its peak, without plateau reductions.

    Args:
        schedule: the recipe's schedule.
        step: number of optimiser steps before this one.
        steps: steps per epoch.
        epochs: total number of epochs.
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
    """The best value of a monitored figure, and the epochs since.

    Attributes:
        lowest_is_best: whether lower values are better, as for a loss.
        best: the best value so far; None before the first.
        waited: number of epochs since the best.
    """

    lowest_is_best: bool
    best: float | None = None
    waited: int = 0

    def update(self, value: float) -> bool:
        """Add the value of an epoch, and return whether it is the best so far; NaN never is."""
        better = not math.isnan(value) and (
            self.best is None or (value < self.best if self.lowest_is_best else value > self.best)
        )
        if better:
            self.best = value
        self.waited = 0 if better else self.waited + 1
        return better

    def reset(self) -> None:
        """Reset, because later values are not comparable with earlier ones."""
        self.best, self.waited = None, 0


class Monitor:
    """Select the best epoch, reduce the learning rate on a plateau, and stop the run early.

    Only epochs at the last image size can be the best, and patience is reset when the size changes. With ``swa``, and
    with ``monitor: last``, the last epoch is selected.

    Args:
        recipe: the run's recipe.

    Attributes:
        rate: factor on the learning rate from plateau reductions so far.
        stopped: whether early stopping has ended the run.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        lowest = recipe.monitored == "loss"
        self.patience, self.plateau = Patience(lowest), Patience(lowest)
        self.rate = 1.0
        self.stopped = False

    def update(self, epoch: int, value: float) -> bool:
        """Add the value of an epoch (from 0), and return whether to save its network as the best."""
        recipe, schedule = self.recipe, self.recipe.schedule
        size = recipe.size_at(epoch)
        if epoch and size != recipe.size_at(epoch - 1):
            self.patience.reset()
            self.plateau.reset()
        if schedule.name == "plateau" and not self.plateau.update(value) and self.plateau.waited >= schedule.patience:
            self.rate *= schedule.factor
            self.plateau.waited = 0
        best = self.patience.update(value)
        limit = recipe.stop.patience
        last = size == recipe.final_size
        self.stopped = last and limit is not None and self.patience.waited >= limit
        if recipe.keeps_last:
            return epoch + 1 == recipe.epochs
        return best and last

    def state_dict(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint."""
        return {
            "rate": self.rate,
            "stopped": self.stopped,
            "patience": asdict(self.patience),
            "plateau": asdict(self.plateau),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the values of ``state_dict``."""
        self.rate, self.stopped = float(state["rate"]), bool(state["stopped"])
        self.patience, self.plateau = Patience(**state["patience"]), Patience(**state["plateau"])
