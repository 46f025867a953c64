"""KL from the reference model's k most likely tokens and the mass of all others together.

Of the reference it takes 8 k + 4 bytes a token, and one product of the head less than the exact
divergence: its own logits are not made again at every step.

KL(ref ‖ θ) ≈ Σ_k p_ref (log p_ref - log p_θ) + p_tail (log p_tail - log q_tail), where q_tail is
what θ gives all tokens but the k. Taking tokens together loses, never adds (data processing): it
is at most the exact KL, and equals it where k is the whole vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from forgetkit.lm.head import (
    PIECE,
    WHOLE,
    Softmax,
    add_product,
    all_logits,
    blocks_of,
    pieces_of,
    scaled,
    sums_in,
)

AWAY = -1e30
"""The logit of an entry that is not in the tail: finite, so that a tail of nothing is no NaN."""


@dataclass(frozen=True)
class TopK:
    """What the reference says of N answer tokens.

    float32: in float16 the mass of all would be off by 1e-3, and the KL of equal models not 0.

    Attributes:
        log_p: the k largest log-probabilities, (N, k).
        ids: their tokens, (N, k) in int32.
        log_tail: logarithm of the mass of all other tokens, (N,); -inf where there are none.
    """

    log_p: torch.Tensor
    ids: torch.Tensor
    log_tail: torch.Tensor

    def parts(self, sizes: list[int]) -> list[TopK]:
        """Return those of examples with so many tokens each, on the CPU."""
        columns = (column.cpu().split(sizes) for column in vars(self).values())
        return [TopK(*(part.clone() for part in parts)) for parts in zip(*columns, strict=True)]

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes, in bytes."""
        return sum(column.nbytes for column in vars(self).values())


def joined(found: list[TopK]) -> dict[str, torch.Tensor]:
    """Return the columns of several as one, by name: a trainer moves plain dictionaries."""
    return {name: torch.cat([vars(top)[name] for top in found]) for name in vars(found[0])}


@torch.no_grad()
def top_k_of(hidden: torch.Tensor, weight: torch.Tensor, k: int) -> TopK:
    """Return the k most likely tokens of each state; of a smaller vocabulary all.

    Args:
        hidden: states of the reference model, (N, D).
        weight: the head, (V, D).
        k: at least 1.
    """
    most, kind = min(k, len(weight)), sums_in(weight.dtype)
    size, device = len(hidden), hidden.device
    log_p = torch.empty((size, most), dtype=kind, device=device)
    ids = torch.empty((size, most), dtype=torch.int32, device=device)
    log_tail = torch.empty(size, dtype=kind, device=device)
    for piece in pieces_of(size, WHOLE):
        logits = all_logits(hidden[piece], weight)
        total = logits.logsumexp(1, keepdim=True)
        best, chosen = logits.topk(most, dim=1)
        log_p[piece], ids[piece] = best - total, chosen.int()
        rest = logits.scatter_(1, chosen, -torch.inf).logsumexp(1, keepdim=True)
        log_tail[piece] = (rest - total).squeeze(1)
    return TopK(log_p, ids, log_tail)


class _TokenNLLTopKL(torch.autograd.Function):
    """-log p(target) and the KL of top k and tail per token, from the same logits.

    The softmax over the tail alone runs block by block, so that no mass of it is a difference of
    two numbers near 1. With z the logits and m the mean of W under that softmax, the gradient of
    ratio · NLL + KL by the state is
    Σ_k ((1 + ratio) q - p) W + ((1 + ratio) q_tail - p_tail) m - ratio · W_target.
    """

    @staticmethod
    def forward(
        context: Any,
        hidden: torch.Tensor,
        log_p: torch.Tensor,
        ids: torch.Tensor,
        log_tail: torch.Tensor,
        weight: torch.Tensor,
        target: torch.Tensor | None,
        ratio: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (N,) and (N,)."""
        kind, moves = sums_in(weight.dtype), context.needs_input_grad[0]
        nll = torch.zeros(len(hidden), dtype=kind, device=hidden.device)
        kl = torch.empty_like(nll)
        slope = torch.empty_like(hidden, dtype=kind) if moves else None
        for piece in pieces_of(len(hidden), PIECE):
            goal = None if target is None else target[piece]
            own, tail, pull = _met(hidden[piece], ids[piece], weight, goal, moves=moves)
            top = torch.maximum(own.amax(1), tail.top[0])
            total = (own - top[:, None]).exp().sum(1) + tail.total[0] * (tail.top[0] - top).exp()
            log_q = own - (top + total.log())[:, None]
            log_q_tail = tail.total[0].log() + (tail.top[0] - top) - total.log()
            p, p_tail = log_p[piece].exp(), log_tail[piece].exp()
            lost = p_tail * (log_tail[piece] - log_q_tail)
            kl[piece] = (p * (log_p[piece] - log_q)).sum(1) + lost.where(p_tail > 0, 0)
            if goal is not None:
                nll[piece] = total.log() - (tail.chosen - top)
            if slope is not None:
                each = (1 + ratio) * log_q.exp() - p
                mean = ((1 + ratio) * log_q_tail.exp() - p_tail) / tail.total[0]
                slope[piece] = pull.mul_(mean).T
                slope[piece].add_(_weighted(ids[piece], weight, each))
                if goal is not None:
                    slope[piece].sub_(weight[goal], alpha=ratio)
        context.save_for_backward(slope)
        context.kind, context.ratio = hidden.dtype, ratio
        return nll, kl

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> Any:
        """Scale the kept slopes; see `forgetkit.lm.head.scaled`."""
        return scaled(context, *gradients), None, None, None, None, None, None


def _met(
    states: torch.Tensor,
    ids: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor | None,
    *,
    moves: bool,
) -> tuple[torch.Tensor, Softmax, torch.Tensor]:
    """Meet the vocabulary block by block.

    Returns:
        The logits of the k, (P, k); the softmax over the tail; and the sum of the tail's rows of
        the head by that softmax, not yet divided by its total, (D, P), if a slope is wanted.
    """
    tail = Softmax(states, weight.dtype, target)
    pull = torch.zeros(states.T.shape, dtype=tail.top.dtype, device=states.device)
    own = torch.empty(ids.shape, dtype=tail.top.dtype, device=states.device)
    for first, block in blocks_of(weight):
        logits = tail.logits(first, block)
        inside = (ids >= first) & (ids < first + len(block))
        token, rank = inside.nonzero(as_tuple=True)
        entry = ids[token, rank] - first
        own[token, rank] = logits[entry, token]
        logits[entry, token] = AWAY
        shares, faded = tail.shares(logits)
        if moves:
            add_product(pull.mul_(faded), block.T, shares)
    return own, tail, pull


def _weighted(ids: torch.Tensor, weight: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Return the sum of rows of the head, each as much as its share says, (P, D)."""
    return torch.nn.functional.embedding_bag(
        ids.long(), weight, per_sample_weights=shares.to(weight.dtype), mode="sum"
    )


def token_nll_top_kl(
    hidden: torch.Tensor,
    top: TopK,
    weight: torch.Tensor,
    target: torch.Tensor | None,
    ratio: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `token_nll` and the KL of top k and tail of each answer token, (N,) and (N,).

    Args:
        hidden: states of the model being trained, (N, D).
        top: what the reference says of the tokens.
        weight: the head both share, (V, D), frozen.
        target: the tokens, (N,); None: the first is 0.
        ratio: as of `token_nll_kl`.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        found: tuple[torch.Tensor, torch.Tensor] = _TokenNLLTopKL.apply(  # type: ignore[no-untyped-call]
            hidden, top.log_p, top.ids, top.log_tail, weight, target, ratio
        )
    return found


def token_top_kl(hidden: torch.Tensor, top: TopK, weight: torch.Tensor) -> torch.Tensor:
    """Return the KL of top k and tail of each answer token in nats, (N,).

    At most `token_kl`. Worked value: reference (1/2, 1/4, 1/4), model (1/4, 1/2, 1/4), k = 1:
    1/2 ln 2 + 1/2 ln (2/3) = 0.1438; exact it is 1/4 ln 2 = 0.1733.
    """
    return token_nll_top_kl(hidden, top, weight, None, 0.0)[1]
