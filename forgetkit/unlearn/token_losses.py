"""Losses of single answer tokens: pure functions, one value a token `(N,)`, in nats.

`nll` is the cross-entropy of each token (N,); `logits` those of the model (N, V), `target` the
right tokens (N,), `reference` the reference model's logits (N, V). Weights, targets made of
probabilities and reference values carry no gradient. What an example's loss is, is their mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def weighted_ascent(nll: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return -w · CE, (N,): ascent on each token as much as its weight says; w has no gradient.

    Worked value: nll ln 2 with weight 1/2 gives -0.3466.
    """
    return -weight.detach() * nll


def wga_weight(nll: torch.Tensor, beta: float) -> torch.Tensor:
    """Return p^β, (N,) in (0, 1]: tokens that are unlikely already are left alone.

    Wang et al. 2025 (G-effect), arXiv:2502.19301. β = 0 is plain ascent.
    Worked value: β = 2, nll ln 2 gives 1/4.
    """
    return (-beta * nll.detach()).exp()


def satimp_weight(nll: torch.Tensor, beta1: float, beta2: float) -> torch.Tensor:
    """Return p^β1 (1 - p)^β2, (N,): saturation times importance of a token.

    Yang et al. 2025, arXiv:2505.11953. Least where the token is lost already, and
    where the model is certain of it.
    Worked value: β1 = 1, β2 = 2, nll ln 4: 1/4 · (3/4)² = 0.1406.
    """
    nll = nll.detach()
    return (-beta1 * nll).exp() * (-(-nll).expm1()) ** beta2


def divergence_from_token(nll: torch.Tensor) -> torch.Tensor:
    """Return JSD(p ‖ all mass on one token), (N,) in [0, ln 2], from that token's nll.

    JensUn, Singh et al. 2025, arXiv:2509.02820. With m = (p + e)/2 the terms of the other tokens
    come to (1 - p) ln 2, so that only p of the wanted token is left:
    ln 2 + (p ln p - (1 + p) ln(1 + p)) / 2. Bounded, and its slope vanishes at both ends.

    Worked value: p = 1/2: ln 2 + (ln(1/2)/2 - 3/2 ln(3/2)) / 2 = 0.2158.
    """
    p = (-nll).exp()
    return math.log(2) - (p * nll + (1 + p) * p.log1p()) / 2


def jensen_shannon(
    logits: torch.Tensor, target: torch.Tensor, reference: torch.Tensor
) -> torch.Tensor:
    """Return JSD(θ ‖ ref) at each token, (N,) in [0, ln 2]; `target` is not read.

    The retain term of JensUn, arXiv:2509.02820.
    Worked value: (3/4, 1/4) against (1/4, 3/4), whose mean is (1/2, 1/2):
    3/4 ln(3/2) + 1/4 ln(1/2) = 0.1308.
    """
    import torch

    ours, theirs = logits.log_softmax(-1), reference.detach().log_softmax(-1)
    middle = torch.logaddexp(ours, theirs) - math.log(2)
    to_middle = (ours.exp() * (ours - middle)).sum(-1)
    return (to_middle + (theirs.exp() * (theirs - middle)).sum(-1)) / 2


def cross_entropy(logits: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
    """Return -Σ q ln p, (N,), with no gradient into q (N, V).

    Worked value: q = (0, 1), p = (3/4, 1/4) gives ln 4 = 1.3863.
    """
    return -(probability.detach() * logits.log_softmax(-1)).sum(-1)


def undial(
    logits: torch.Tensor, target: torch.Tensor, reference: torch.Tensor, beta: float
) -> torch.Tensor:
    """Return CE(softmax(z_ref - β 1_y), z), (N,): the reference model without its own answer.

    Dong et al. 2024, arXiv:2402.10052. β in nats, as a difference of logits.
    Worked value: two tokens, z_ref = (ln 4, 0), y = 0, β = ln 4, z = (ln 3, 0): the aim is
    (1/2, 1/2), so -(ln(3/4) + ln(1/4)) / 2 = 0.8370.
    """
    lower = reference.detach().scatter_add(
        1, target[:, None], reference.new_full((len(target), 1), -beta)
    )
    return cross_entropy(logits, lower.softmax(-1))


def ceu(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return CE(softmax(z with z_y = -∞), z), (N,): the model's own choice among the others.

    Yang 2025 (CE-U), arXiv:2503.01224. The aim has no gradient.
    Worked value: z = (ln 2, 0, 0), y = 0: aim (0, 1/2, 1/2), p = (1/2, 1/4, 1/4), so ln 4.
    """
    others = logits.detach().scatter(1, target[:, None], -math.inf)
    return cross_entropy(logits, others.softmax(-1))


def inverted_hinge(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return 1 + p(y) - max over v ≠ y of p(v), (N,) in [0, 2].

    LoKU, Cha et al. 2024, arXiv:2408.06621.
    Worked value: p = (1/2, 1/4, 1/4), y = 0 gives 1.25.
    """
    p = logits.softmax(-1)
    best = p.scatter(1, target[:, None], -1.0).max(-1).values
    return 1 + p.gather(1, target[:, None]).squeeze(1) - best


def logit_margin(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return (max logit - mean logit)², (N,); `target` is not read. 0: every token as likely.

    PDU, Entesari et al. 2025, arXiv:2506.05314: flattens the distribution without a softmax.
    Worked value: z = (3, 0, 0) gives (3 - 1)² = 4.
    """
    return (logits.amax(-1) - logits.mean(-1)) ** 2


def distance(states: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """Return ‖h - g‖², (N,), of hidden states (N, D) from a goal (D,) or (N, D) without gradient.

    RMU, Li et al. 2024 (WMDP), arXiv:2403.03218, section 4.
    Worked value: (3, 4) from (0, 0) gives 25.
    """
    return ((states - goal.detach()) ** 2).sum(-1)
