"""Tokens that weigh more than others in the forget loss, whatever the method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.step import Step


@dataclass(frozen=True)
class EntropyWeighted:
    """A method whose forget tokens weigh as much as the model is in doubt where they stand.

    Entropy-guided token weighting, Koh et al. 2026, arXiv:2604.17785: function words follow from
    the grammar and have little entropy, words that inform have more. The entropy is that of the
    model being trained, without gradient. We scale it to a mean of 1 over each answer, so that
    learning rate and forget weight keep their meaning.

    Attributes:
        method: what is trained.
    """

    method: Callable[[Step], dict[str, torch.Tensor]]

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return the method's losses with the forget tokens weighed."""
        step.weigh("forget", step.entropy("forget"))
        return self.method(step)
