"""Evaluate forgetting, utility and language of a model, and judge it by fixed thresholds.

from forgetkit.evaluate import evaluate
evaluate("unlearned/model", Path("forget_set"), Path("results"), before="path/to/target")
"""

from forgetkit.evaluate.config import EvaluateConfig, Rule
from forgetkit.evaluate.names import check_names, giver_of, metrics_of
from forgetkit.evaluate.plan import plan_evaluate
from forgetkit.evaluate.pool import evaluate_seeds, pool
from forgetkit.evaluate.rescoring import rescore
from forgetkit.evaluate.stage import EvaluateResult, evaluate

__all__ = [
    "EvaluateConfig",
    "EvaluateResult",
    "Rule",
    "check_names",
    "evaluate",
    "evaluate_seeds",
    "giver_of",
    "metrics_of",
    "plan_evaluate",
    "pool",
    "rescore",
]
