"""Process a takedown request from the corpus to the report, in a case folder.

from forgetkit.takedown import takedown
takedown(Path("request.yaml"), Path("case"), auto_approve=True)
"""

from forgetkit.takedown.plan import PlannedStage, TakedownPlan, plan_takedown
from forgetkit.takedown.request import Request, load_request
from forgetkit.takedown.stage import NOT_FOUND, TakedownResult, takedown

__all__ = [
    "NOT_FOUND",
    "PlannedStage",
    "Request",
    "TakedownPlan",
    "TakedownResult",
    "load_request",
    "plan_takedown",
    "takedown",
]
