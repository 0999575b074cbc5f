"""What one command does across modules; names load when first used, before torch is imported."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lentigo.workflow.evaluation import Evaluation, evaluate
    from lentigo.workflow.ood import measure_ood
    from lentigo.workflow.plan import Plan, plan_training

__all__ = ["Evaluation", "Plan", "evaluate", "measure_ood", "plan_training"]

_HOME = {
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
    "measure_ood": "ood",
    "Plan": "plan",
    "plan_training": "plan",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"lentigo.workflow.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
