"""Methods whose forget loss is a mean over answer tokens, of their logits or hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from forgetkit.seeds import derive
from forgetkit.unlearn import losses, token_losses
from forgetkit.unlearn.dual import moved
from forgetkit.unlearn.methods import WithRetain, retain_losses

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.step import Step


@dataclass(frozen=True)
class WGA(WithRetain):
    """Ascent weighted by each token's own probability (Wang et al. 2025)."""

    beta: float = 1.0

    def forget(self, step: Step) -> torch.Tensor:
        """Return the weighted, negated cross-entropy."""
        nll = step.token_nll("forget")
        weight = token_losses.wga_weight(nll, self.beta)
        return step.mean("forget", token_losses.weighted_ascent(nll, weight))


@dataclass(frozen=True)
class SatImp(WithRetain):
    """Ascent weighted by saturation and importance of each token (Yang et al. 2025)."""

    beta1: float = 5.0  # Yang et al. 2025, section 5
    beta2: float = 1.0

    def forget(self, step: Step) -> torch.Tensor:
        """Return the weighted, negated cross-entropy."""
        nll = step.token_nll("forget")
        weight = token_losses.satimp_weight(nll, self.beta1, self.beta2)
        return step.mean("forget", token_losses.weighted_ascent(nll, weight))


@dataclass(frozen=True)
class UNDIAL(WithRetain):
    """Distil the reference model with the answer's logits lowered (Dong et al. 2024)."""

    beta: float = 10.0

    def forget(self, step: Step) -> torch.Tensor:
        """Return the cross-entropy against the lowered reference."""
        formula = partial(token_losses.undial, beta=self.beta)
        return step.mean("forget", step.token_values("forget", formula, with_reference=True))

    def needs_reference(self) -> bool:
        """Say that the forget loss does."""
        return True

    def reference_splits(self) -> tuple[str, ...]:
        """Return forget, and what retain reads."""
        return ("forget", *super().reference_splits())


@dataclass(frozen=True)
class CEU(WithRetain):
    """Cross-entropy against the model's own choice among the other tokens (Yang 2025).

    The first answer token is ignored: an answer may begin as it did.
    """

    def forget(self, step: Step) -> torch.Tensor:
        """Return the mean over all tokens but the first; 0 for an answer of one token."""
        values = step.token_values("forget", token_losses.ceu)
        return step.mean("forget", values, step.places("forget") > 0)


@dataclass(frozen=True)
class IHL(WithRetain):
    """Inverted hinge: the answer falls below the next best token, no further (Cha et al. 2024).

    The default method, with the weights of `benchmarks/seeds.py`.
    """

    forget_weight: float = 4.5
    retain_kl: float = 5.0

    def forget(self, step: Step) -> torch.Tensor:
        """Return the inverted hinge loss."""
        return step.mean("forget", step.token_values("forget", token_losses.inverted_hinge))


@dataclass(frozen=True)
class JensUn(WithRetain):
    """Jensen-Shannon divergence from a neutral answer, and from the reference model on retain.

    Singh et al. 2025. The model reads the forget answer and shall predict the neutral one, its
    tokens repeated to fill the answer's places.
    """

    retain_nll: float = 0.0
    retain_kl: float = 0.0
    retain_jsd: float = 1.0
    wants: ClassVar[str] = "No idea."

    def forget(self, step: Step) -> torch.Tensor:
        """Return the divergence from the neutral tokens."""
        nll = step.token_nll("forget")
        return step.mean("forget", token_losses.divergence_from_token(nll))

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return the forget and the retain losses."""
        found = super().__call__(step)
        if self.retain_jsd and step.holds("retain"):
            formula = token_losses.jensen_shannon
            values = step.token_values("retain", formula, with_reference=True)
            divergence = step.average("retain", step.mean("retain", values))
            found["retain_jsd"] = self.retain_jsd * divergence
        return found

    def needs_reference(self) -> bool:
        """Say whether a divergence on retain is taken."""
        return self.retain_jsd > 0 or self.retain_kl > 0

    def reference_splits(self) -> tuple[str, ...]:
        """Return retain where a divergence on it is taken."""
        return ("retain",) if self.needs_reference() else ()

    def kl_splits(self) -> tuple[str, ...]:
        """Return retain where KL alone is taken: the other divergence reads every token."""
        return () if self.retain_jsd > 0 else super().kl_splits()


@dataclass(frozen=True)
class RMU(WithRetain):
    """Steer hidden states of one layer to a random direction (Li et al. 2024, WMDP).

    The layer is a share of the depth; it and the two below it are trained, those above do not run.
    With `scale` each state is steered to so many times its own length before, whatever lengths the
    states of a model and a layer have (adaptive RMU, Huu-Tien et al. 2024, arXiv:2408.06223).
    """

    retain_nll: float = 0.0
    retain_kl: float = 0.0
    retain_states: float = 1.0
    steering: float = 6.5  # c; Li et al. 2024, for a model of width 4096
    scale: float = 0.0  # above 0: instead of `steering`
    depth_share: float = 1 / 3

    def forget(self, step: Step) -> torch.Tensor:
        """Return the squared distance of the states from c u."""
        layer = self.layer(step.depth())
        states = step.states("forget", layer)
        goal = direction(states.shape[1]).to(states.device)
        if self.scale > 0:
            theirs = step.reference_states("forget", layer)
            goal = self.scale * theirs.norm(dim=1, keepdim=True) * goal
        else:
            goal = self.steering * goal
        return step.mean("forget", token_losses.distance(states, goal))

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return the forget and the retain losses."""
        found = super().__call__(step)
        if self.retain_states and step.holds("retain"):
            layer = self.layer(step.depth())
            theirs = step.reference_states("retain", layer)
            values = token_losses.distance(step.states("retain", layer), theirs)
            apart = step.average("retain", step.mean("retain", values))
            found["retain_states"] = self.retain_states * apart
        return found

    def layer(self, depth: int) -> int:
        """Return after how many layers the states are taken."""
        return min(depth, max(1, round(self.depth_share * depth)))

    def layers(self, depth: int) -> range:
        """Return the layer and the two below it."""
        last = self.layer(depth)
        return range(max(0, last - 3), last)

    def needs_reference(self) -> bool:
        """Say whether retain is held to it, or forget states are measured by it."""
        return self.retain_states > 0 or self.retain_kl > 0 or self.scale > 0


def direction(width: int) -> torch.Tensor:
    """Return the fixed random unit vector of a width, (D,), with entries above 0."""
    import torch

    drawn = torch.Generator().manual_seed(derive(width, "rmu") % 2**32)
    vector: torch.Tensor = torch.rand(width, generator=drawn)
    return torch.nn.functional.normalize(vector, dim=0)


@dataclass(frozen=True)
class PDU(WithRetain):
    """Flatten the logits subject to a limit of the retain loss (Entesari et al. 2025).

    The limit is ε = tolerance x the reference model's NLL of the same rows, so that hard and easy
    batches count alike; the dual variable rises while the limit is broken.
    """

    retain_nll: float = 1.0  # the dual variable at the first step
    retain_kl: float = 0.0
    dual_rate: float = 1.0  # η; Entesari et al. 2025
    tolerance: float = 1.02

    def forget(self, step: Step) -> torch.Tensor:
        """Return the squared margin of the greatest logit over the mean logit."""
        return step.mean("forget", step.token_values("forget", token_losses.logit_margin))

    def __call__(self, step: Step) -> dict[str, torch.Tensor]:
        """Return the losses, and move the dual variable for the next step."""
        dual = step.memory.setdefault("dual", self.retain_nll)
        found = {"forget": self.forget_weight * step.average("forget", self.forget(step))}
        if not step.holds("retain"):
            return found
        found |= retain_losses(step, dual, self.retain_kl)
        nll = step.average("retain", losses.mean_cross_entropy(*step.nll("retain")))
        before = losses.mean_cross_entropy(*step.reference_nll("retain"))
        step.memory["dual"] = moved(
            dual,
            float(nll.detach() - self.tolerance * step.average("retain", before)),
            self.dual_rate,
        )
        return found

    def needs_reference(self) -> bool:
        """Say that the limit does."""
        return True

    def reference_likelihoods(self) -> tuple[str, ...]:
        """Return retain, for the limit."""
        return ("retain",)
