"""State what to keep instead of tuning a weight: the retain weight as a dual variable."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forgetkit.unlearn import losses

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.step import Step


def moved(dual: float, broken_by: float, rate: float) -> float:
    """Return a dual variable after a step, before it is cut at 0: λ + η (constraint - limit).

    The trainer cuts it once it has averaged the processes, or a process whose own rows keep the
    constraint would count for less than it is.

    >>> moved(1.0, 0.5, 1.0), moved(0.5, -1.0, 1.0)
    (1.5, -0.5)
    """
    return dual + rate * broken_by


@dataclass(frozen=True)
class UtilityKept:
    """A method whose retain losses weigh as much as it takes to keep a share of utility.

    Utility is retain perplexity before / after, exp(NLL_ref - NLL_θ), so the constraint is
    NLL_θ - NLL_ref ≤ -ln(floor) on the retain rows of a step. λ multiplies the method's own retain
    losses; it begins at 1 and moves by `rate` for each nat that the constraint is broken.

    Attributes:
        method: what is trained.
        floor: least utility, in (0, 1].
        rate: η, per nat.
    """

    method: Callable[[Step], dict[str, torch.Tensor]]
    floor: float
    rate: float = 5.0

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return the method's losses, and move the dual variable for the next step."""
        dual = step.memory.setdefault("retain_weight", 1.0)
        found = self.method(step)
        if not step.holds("retain"):
            return found
        nll = step.average("retain", losses.mean_cross_entropy(*step.nll("retain")))
        reference = losses.mean_cross_entropy(*step.reference_nll("retain"))
        before = step.average("retain", reference)
        broken_by = float(nll.detach() - before) + math.log(self.floor)
        step.memory["retain_weight"] = moved(dual, broken_by, self.rate)
        return {k: dual * v if k.startswith("retain") else v for k, v in found.items()}
