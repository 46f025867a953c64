"""Methods: which splits a step reads, and how their losses add up.

A method is a formula and its settings; the trainer knows none of them. To add one: a loss in
`losses.py`, a class here, an entry in `registry.py`, a golden value in the tests, a README row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from forgetkit.unlearn import losses

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.train import Step


class Method(Protocol):
    """A way of unlearning: reads the splits of a step and returns named, weighted losses."""

    reads: ClassVar[tuple[str, ...]]

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return scalar losses by name; their sum is minimised."""


@dataclass(frozen=True)
class GA:
    """Gradient ascent alone (Jang et al. 2022): no retain term, so utility falls with it."""

    forget_weight: float = 1.0
    reads: ClassVar[tuple[str, ...]] = ("forget",)

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return the negated cross-entropy of the forget answers."""
        nll, length = step.nll("forget")
        return {"forget": self.forget_weight * losses.gradient_ascent(nll, length).mean()}


@dataclass(frozen=True)
class GradDiff:
    """Gradient difference (Liu et al. 2022): ascent on forget, cross-entropy on retain."""

    forget_weight: float = 1.0
    retain_nll: float = 1.0
    retain_kl: float = 0.0
    reads: ClassVar[tuple[str, ...]] = ("forget", "retain")

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return the forget and the retain loss."""
        nll, length = step.nll("forget")
        forget = self.forget_weight * losses.gradient_ascent(nll, length).mean()
        return {"forget": forget, **retain_losses(step, self.retain_nll, self.retain_kl)}


@dataclass(frozen=True)
class Yao:
    """The paper's method (Yao, Xu & Liu 2023, equations 1 to 4).

    Ascent on the forget answers, descent on mismatched answers to the same prompts (K of them are
    spread over the steps), and KL to the reference model on retain.
    """

    forget_weight: float = 0.5  # ε1; Yao et al. 2023, table 9
    mismatch_weight: float = 1.0
    retain_nll: float = 0.0
    retain_kl: float = 1.0
    reads: ClassVar[tuple[str, ...]] = ("forget", "mismatch", "retain")

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return the forget, mismatch and retain losses."""
        nll, length = step.nll("forget")
        other, other_length = step.nll("mismatch")
        mismatch = losses.mean_cross_entropy(other, other_length).mean()
        return {
            "forget": self.forget_weight * losses.gradient_ascent(nll, length).mean(),
            "mismatch": self.mismatch_weight * mismatch,
            **retain_losses(step, self.retain_nll, self.retain_kl),
        }


@dataclass(frozen=True)
class NPO:
    """Negative preference optimisation (Zhang et al. 2024) with NLL and KL on retain."""

    beta: float = 0.1  # Zhang et al. 2024, section 5
    forget_weight: float = 1.0
    retain_nll: float = 1.0
    retain_kl: float = 0.5
    reads: ClassVar[tuple[str, ...]] = ("forget", "retain")

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return the forget and retain losses."""
        nll, _ = step.nll("forget")
        reference, _ = step.reference_nll("forget")
        forget = self.forget_weight * losses.npo(nll, reference, self.beta).mean()
        return {"forget": forget, **retain_losses(step, self.retain_nll, self.retain_kl)}


@dataclass(frozen=True)
class SimNPO:
    """NPO without a reference model, normalised by length (Fan et al. 2024)."""

    beta: float = 4.5  # Fan et al. 2024, appendix
    delta: float = 0.0
    forget_weight: float = 0.125
    retain_nll: float = 1.0
    retain_kl: float = 0.0
    reads: ClassVar[tuple[str, ...]] = ("forget", "retain")

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return the forget and retain losses."""
        nll, length = step.nll("forget")
        forget = self.forget_weight * losses.simnpo(nll, length, self.beta, self.delta).mean()
        return {"forget": forget, **retain_losses(step, self.retain_nll, self.retain_kl)}


def retain_losses(step: Step, nll_weight: float, kl_weight: float) -> dict[str, torch.Tensor]:
    """Return NLL and KL on retain in the given proportion, per-token means over each example.

    A step without a retain example (a share below one and a small batch) has none of them.
    """
    found: dict[str, torch.Tensor] = {}
    if not step.holds("retain"):
        return found
    if nll_weight:
        nll, length = step.nll("retain")
        found["retain_nll"] = nll_weight * losses.mean_cross_entropy(nll, length).mean()
    if kl_weight:
        total, length = step.kl("retain")
        found["retain_kl"] = kl_weight * losses.mean_cross_entropy(total, length).mean()
    return found
