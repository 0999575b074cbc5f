"""What one command does across modules."""

from lentigo.workflow.evaluation import Evaluation, evaluate, evaluate_bundle, evaluate_run
from lentigo.workflow.ood import measure_trust

__all__ = ["Evaluation", "evaluate", "evaluate_bundle", "evaluate_run", "measure_trust"]
