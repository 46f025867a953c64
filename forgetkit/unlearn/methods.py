"""Methods of whole answers: what a step's likelihoods add up to.

A method is a formula and its settings; the trainer knows none of them. To add one: a loss in
`losses.py` or `token_losses.py`, a class here or beside, an entry in `registry.py`, a golden value
in the tests, a README row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from forgetkit.unlearn import losses

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.step import Step


class Method(ABC):
    """A way of unlearning: reads the splits of a step and returns named, weighted losses.

    Attributes:
        reads: splits of the forget set.
        answers: the kind of mismatch it reads (ordinary, refusal, alternative); empty: any.
        wants: a text whose tokens, repeated, the forget answer's places shall get instead of the
            answer's own; empty: none.
    """

    reads: ClassVar[tuple[str, ...]] = ("forget", "retain")
    answers: ClassVar[str] = ""
    wants: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return scalar losses by name; their sum is minimised."""

    def needs_reference(self) -> bool:
        """Say whether a loss reads the reference model."""
        return False

    def reference_splits(self) -> tuple[str, ...]:
        """Return the splits whose last reference states a loss reads."""
        return ()

    def reference_likelihoods(self) -> tuple[str, ...]:
        """Return the splits whose reference likelihoods a loss reads."""
        return ()

    def kl_splits(self) -> tuple[str, ...]:
        """Return the splits of whose reference states a loss reads the KL alone."""
        return ()

    def layers(self, depth: int) -> range:
        """Return the layers to train, from 0, of a model of so many."""
        return range(depth)

    def factor(self) -> float:
        """Return what the trained update is multiplied by in the model that is kept."""
        return 1.0


@dataclass(frozen=True)
class WithRetain(Method):
    """A forget loss, with NLL and KL on retain in any proportion."""

    forget_weight: float = 1.0
    retain_nll: float = 1.0
    retain_kl: float = 0.5

    @abstractmethod
    def forget(self, step: Step) -> torch.Tensor:
        """Return the forget loss of each example, (B,)."""

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return the forget and the retain losses."""
        forget = self.forget_weight * step.average("forget", self.forget(step))
        return {"forget": forget, **retain_losses(step, self.retain_nll, self.retain_kl)}

    def needs_reference(self) -> bool:
        """Say whether KL is taken."""
        return self.retain_kl > 0

    def reference_splits(self) -> tuple[str, ...]:
        """Return retain where KL is taken."""
        return ("retain",) if self.retain_kl > 0 else ()

    def kl_splits(self) -> tuple[str, ...]:
        """Return retain where KL is taken."""
        return ("retain",) if self.retain_kl > 0 else ()


@dataclass(frozen=True)
class GA(Method):
    """Gradient ascent alone (Jang et al. 2022): no retain term, so utility falls with it."""

    forget_weight: float = 1.0
    reads: ClassVar[tuple[str, ...]] = ("forget",)

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return the negated cross-entropy of the forget answers."""
        nll, length = step.nll("forget")
        loss = step.average("forget", losses.gradient_ascent(nll, length))
        return {"forget": self.forget_weight * loss}


@dataclass(frozen=True)
class GradDiff(WithRetain):
    """Gradient difference (Liu et al. 2022): ascent on forget, cross-entropy on retain."""

    retain_kl: float = 0.0

    def forget(self, step: Step) -> torch.Tensor:
        """Return the negated cross-entropy."""
        return losses.gradient_ascent(*step.nll("forget"))


@dataclass(frozen=True)
class Yao(WithRetain):
    """The paper's method (Yao, Xu & Liu 2023, equations 1 to 4).

    Ascent on the forget answers, descent on mismatched answers to the same prompts (K of them are
    spread over the steps), and KL to the reference model on retain.
    """

    forget_weight: float = 0.5  # ε1; Yao et al. 2023, table 9
    retain_nll: float = 0.0
    retain_kl: float = 1.0
    mismatch_weight: float = 1.0
    reads: ClassVar[tuple[str, ...]] = ("forget", "mismatch", "retain")

    def forget(self, step: Step) -> torch.Tensor:
        """Return the negated cross-entropy."""
        return losses.gradient_ascent(*step.nll("forget"))

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return the forget, mismatch and retain losses."""
        mismatch = step.average("mismatch", losses.mean_cross_entropy(*step.nll("mismatch")))
        return {**super().__call__(step), "mismatch": self.mismatch_weight * mismatch}


@dataclass(frozen=True)
class NPO(WithRetain):
    """Negative preference optimisation (Zhang et al. 2024) with NLL and KL on retain."""

    beta: float = 0.1  # Zhang et al. 2024, section 5

    def forget(self, step: Step) -> torch.Tensor:
        """Return the forget loss against the reference model."""
        nll, _ = step.nll("forget")
        reference, _ = step.reference_nll("forget")
        return losses.npo(nll, reference, self.beta)

    def needs_reference(self) -> bool:
        """Say that the forget loss does."""
        return True

    def reference_likelihoods(self) -> tuple[str, ...]:
        """Return forget."""
        return ("forget",)


@dataclass(frozen=True)
class SimNPO(WithRetain):
    """NPO without a reference model, normalised by length (Fan et al. 2024)."""

    forget_weight: float = 0.125
    retain_kl: float = 0.0
    beta: float = 4.5  # Fan et al. 2024, appendix
    delta: float = 0.0

    def forget(self, step: Step) -> torch.Tensor:
        """Return the forget loss of the mean cross-entropy."""
        nll, length = step.nll("forget")
        return losses.simnpo(nll, length, self.beta, self.delta)


@dataclass(frozen=True)
class DPO(WithRetain):
    """Prefer a mismatched answer to the forget answer (Rafailov et al. 2023).

    With K answers a prompt, the loss is the mean over K.
    """

    beta: float = 0.1
    reads: ClassVar[tuple[str, ...]] = ("forget", "mismatch", "retain")
    answers: ClassVar[str] = "ordinary"

    def forget(self, step: Step) -> torch.Tensor:
        """Return the loss of each pair of answers, (B K,)."""
        nll, reference = step.nll("forget")[0], step.reference_nll("forget")[0]
        other, other_reference = step.nll("mismatch")[0], step.reference_nll("mismatch")[0]
        times = len(other) // len(nll)
        nll, reference = nll.repeat_interleave(times), reference.repeat_interleave(times)
        return losses.dpo(nll, reference, other, other_reference, self.beta)

    def needs_reference(self) -> bool:
        """Say that the forget loss does."""
        return True

    def reference_likelihoods(self) -> tuple[str, ...]:
        """Return both answers."""
        return ("forget", "mismatch")


@dataclass(frozen=True)
class IDK(DPO):
    """DPO whose preferred answer is a refusal (Maini et al. 2024, TOFU)."""

    answers: ClassVar[str] = "refusal"


@dataclass(frozen=True)
class AltPO(DPO):
    """DPO whose preferred answer is a plausible other one (Mekala et al. 2024)."""

    answers: ClassVar[str] = "alternative"


@dataclass(frozen=True)
class TaskVector(WithRetain):
    """Learn the forget answers, then subtract what was learnt (Ilharco et al. 2022).

    The model that is watched, chosen and kept is always the one with the update subtracted.
    """

    retain_nll: float = 0.0
    retain_kl: float = 0.0
    scale: float = 1.0

    def forget(self, step: Step) -> torch.Tensor:
        """Return the cross-entropy: learning, not forgetting, until it is subtracted."""
        return losses.mean_cross_entropy(*step.nll("forget"))

    def factor(self) -> float:
        """Return minus the scale."""
        return -self.scale


def retain_losses(step: Step, nll_weight: float, kl_weight: float) -> dict[str, torch.Tensor]:
    """Return NLL and KL on retain in the given proportion, per-token means over each example.

    A step without a retain example (a share below one and a small batch) has none of them.
    """
    found: dict[str, torch.Tensor] = {}
    if not step.holds("retain"):
        return found
    if kl_weight:
        kl = losses.mean_cross_entropy(*step.kl("retain", nll_ratio=nll_weight / kl_weight))
        found["retain_kl"] = kl_weight * step.average("retain", kl)
    if nll_weight:
        nll = losses.mean_cross_entropy(*step.nll("retain"))
        found["retain_nll"] = nll_weight * step.average("retain", nll)
    return found
