"""Training: augmentation on the device, and runs that can be stopped and resumed. Names load when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lentigo.training.preflight import describe
    from lentigo.training.run import train
    from lentigo.training.rundir import Run, load_run

__all__ = ["Run", "describe", "load_run", "train"]

_HOME = {"Run": "rundir", "load_run": "rundir", "describe": "preflight", "train": "run"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"lentigo.training.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
