"""Unlearn a forget set from a causal language model; teach one first, for experiments.

from forgetkit.unlearn import unlearn, UnlearnConfig
unlearn("path/to/model", Path("forget_set"), Path("unlearned"), config=UnlearnConfig(method="npo"))
"""

from forgetkit.unlearn.assembly import make_method
from forgetkit.unlearn.config import TeachConfig, UnlearnConfig
from forgetkit.unlearn.plan import plan_teach, plan_unlearn
from forgetkit.unlearn.seeds import SeedsResult, unlearn_seeds
from forgetkit.unlearn.stage import UnlearnResult, unlearn
from forgetkit.unlearn.teach import TeachResult, teach

__all__ = [
    "SeedsResult",
    "TeachConfig",
    "TeachResult",
    "UnlearnConfig",
    "UnlearnResult",
    "make_method",
    "plan_teach",
    "plan_unlearn",
    "teach",
    "unlearn",
    "unlearn_seeds",
]
