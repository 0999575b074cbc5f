"""Commands that use several packages. Names are imported on first use, so user errors appear before torch loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lentigo.lazy import attach

if TYPE_CHECKING:
    from lentigo.workflow.evaluation import Evaluation, evaluate
    from lentigo.workflow.ood import measure_ood
    from lentigo.workflow.plan import Plan, plan_training

__all__ = ["Evaluation", "Plan", "evaluate", "measure_ood", "plan_training"]

__getattr__, __dir__ = attach(
    __name__,
    {"evaluation": ("Evaluation", "evaluate"), "ood": ("measure_ood",), "plan": ("Plan", "plan_training")},
)
