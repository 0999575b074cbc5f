"""Training: augmentation on the device and resumable runs. Names load when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lentigo.lazy import attach

if TYPE_CHECKING:
    from lentigo.training.preflight import describe
    from lentigo.training.run import train
    from lentigo.training.rundir import Run, load_run

__all__ = ["Run", "describe", "load_run", "train"]

__getattr__, __dir__ = attach(__name__, {"preflight": ("describe",), "run": ("train",), "rundir": ("Run", "load_run")})
