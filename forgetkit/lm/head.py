"""The language-model head in pieces: exact likelihoods and divergences, never the full logits.

The head of a small model is most of its work: 1,600 answer tokens of a vocabulary of 49,152 are
315 MB of logits, several times over in the backward pass. While the head itself is frozen (as with
an adapter), the gradient of each token's value with respect to its hidden state is known in the
forward pass, a piece at a time: what is kept is (N, D), not (N, V).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Formula = Callable[..., torch.Tensor]
"""From logits (P, V), targets (P,) and perhaps reference logits (P, V) to one value a token (P,).

The value of a token depends on the logits of that token alone.
"""

PIECE = 128  # tokens at once: 25 MB of logits at a vocabulary of 49,152
_RUN = 256  # numbers added in float32 before float64


class _TokenNLL(torch.autograd.Function):
    """-log p(target) per token, with d/dh = (softmax - onehot) W kept from the forward pass."""

    @staticmethod
    def forward(
        context: Any, hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """Return (N,) in float32."""
        value = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        moves: bool = context.needs_input_grad[0]  # not where the reference model is asked
        slope = torch.empty_like(hidden, dtype=weight.dtype) if moves else None
        for start in range(0, hidden.shape[0], PIECE):
            piece = slice(start, start + PIECE)
            logits = (hidden[piece].to(weight.dtype) @ weight.T).float()  # (P, V)
            logits.sub_(logits.amax(1, keepdim=True))
            rows = torch.arange(logits.shape[0], device=logits.device)
            chosen = logits[rows, target[piece]]
            # torch.logsumexp takes as long as the product on a CPU
            total = logits.exp_().sum(1, keepdim=True)
            value[piece] = total.squeeze(1).log() - chosen
            if slope is None:
                continue
            logits.div_(total)
            logits[rows, target[piece]] -= 1
            slope[piece] = logits.to(weight.dtype) @ weight
        context.save_for_backward(slope)
        context.kind = hidden.dtype
        return value

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> Any:
        """Scale the kept slopes."""
        (slope,) = context.saved_tensors
        return (slope.float() * gradients[0][:, None]).to(context.kind), None, None


class _TokenNLLKL(torch.autograd.Function):
    """-log p(target) and KL(ref ‖ θ) per token from the same logits; both d/dh are kept.

    Without a target the first is 0 and costs nothing.
    """

    @staticmethod
    def forward(
        context: Any,
        hidden: torch.Tensor,
        reference: torch.Tensor,
        weight: torch.Tensor,
        target: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (N,) and (N,) in float32."""
        nll = torch.zeros(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        kl = torch.empty_like(nll)
        kl_slope = torch.empty_like(hidden, dtype=weight.dtype)
        nll_slope = None if target is None else torch.empty_like(kl_slope)
        for start in range(0, hidden.shape[0], PIECE):
            piece = slice(start, start + PIECE)
            ours = (hidden[piece].to(weight.dtype) @ weight.T).float().log_softmax(1)
            theirs = (reference[piece].to(weight.dtype) @ weight.T).float().log_softmax(1)
            chosen = None if target is None else target[piece, None]
            if chosen is not None:
                nll[piece] = -ours.gather(1, chosen).squeeze(1)
            share = theirs.exp()
            kl[piece] = theirs.sub_(ours).mul_(share).sum(1)
            kl_slope[piece] = torch.sub(ours.exp_(), share, out=share).to(weight.dtype) @ weight
            if chosen is not None and nll_slope is not None:
                ours.scatter_add_(1, chosen, torch.full_like(chosen, -1, dtype=ours.dtype))
                nll_slope[piece] = ours.to(weight.dtype) @ weight
        context.save_for_backward(nll_slope, kl_slope)
        context.kind = hidden.dtype
        return nll, kl

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> Any:
        """Scale the kept slopes."""
        nll_slope, kl_slope = context.saved_tensors
        slope = kl_slope.float() * gradients[1][:, None]
        if nll_slope is not None:
            slope += nll_slope.float() * gradients[0][:, None]
        return slope.to(context.kind), None, None, None


class _TokenFormula(torch.autograd.Function):
    """Any formula of a token's logits, with d/dh kept from the forward pass."""

    @staticmethod
    def forward(
        context: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        target: torch.Tensor,
        formula: Formula,
        *reference: torch.Tensor,
    ) -> torch.Tensor:
        """Return (N,) in float32."""
        value = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        slope = torch.empty_like(hidden, dtype=weight.dtype)
        for start in range(0, hidden.shape[0], PIECE):
            piece = slice(start, start + PIECE)
            logits = (hidden[piece].to(weight.dtype) @ weight.T).float()  # (P, V)
            theirs = [(r[piece].to(weight.dtype) @ weight.T).float() for r in reference]
            with torch.enable_grad():
                found = formula(logits.requires_grad_(), target[piece], *theirs)
                (gradient,) = torch.autograd.grad(found.sum(), logits)
            value[piece] = found.detach()
            slope[piece] = gradient.to(weight.dtype) @ weight
        context.save_for_backward(slope)
        context.kind, context.others = hidden.dtype, 3 + len(reference)
        return value

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> Any:
        """Scale the kept slopes."""
        (slope,) = context.saved_tensors
        scaled = (slope.float() * gradients[0][:, None]).to(context.kind)
        return scaled, *([None] * context.others)


def token_nll(hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each answer token in nats, (N,).

    Args:
        hidden: states that predict the tokens, (N, D).
        weight: the head, (V, D), frozen.
        target: the tokens, (N,).
    """
    with torch.autocast(hidden.device.type, enabled=False):
        result: torch.Tensor = _TokenNLL.apply(hidden, weight, target)  # type: ignore[no-untyped-call]
    return result


def token_nll_kl(
    hidden: torch.Tensor, reference: torch.Tensor, weight: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `token_nll` and `token_kl` of each answer token, (N,) and (N,), for less than both.

    Args:
        hidden: states of the model being trained, (N, D).
        reference: states of the reference model, (N, D), no gradient.
        weight: the head both share, (V, D), frozen.
        target: the tokens, (N,).
    """
    with torch.autocast(hidden.device.type, enabled=False):
        found: tuple[torch.Tensor, torch.Tensor] = _TokenNLLKL.apply(  # type: ignore[no-untyped-call]
            hidden, reference.detach(), weight, target
        )
    return found


def token_kl(hidden: torch.Tensor, reference: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return KL(ref ‖ θ) of each answer token in nats, (N,); 0 for equal states.

    Args:
        hidden: states of the model being trained, (N, D).
        reference: states of the reference model, (N, D), no gradient.
        weight: the head both share, (V, D), frozen.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        _, found = _TokenNLLKL.apply(hidden, reference.detach(), weight, None)  # type: ignore[no-untyped-call]
    return found  # type: ignore[no-any-return]


def token_formula(
    formula: Formula,
    hidden: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor,
    *reference: torch.Tensor,
) -> torch.Tensor:
    """Return a formula of each answer token's logits, (N,), never holding them all.

    Args:
        formula: see `Formula`; what it detaches takes no gradient.
        hidden: states of the model being trained, (N, D).
        weight: the head, (V, D), frozen.
        target: the tokens, (N,).
        reference: states of the reference model, (N, D), no gradient, if the formula reads them.
    """
    theirs = [states.detach() for states in reference]
    with torch.autocast(hidden.device.type, enabled=False):
        result: torch.Tensor = _TokenFormula.apply(hidden, weight, target, formula, *theirs)  # type: ignore[no-untyped-call]
    return result


@torch.no_grad()
def token_scores(
    hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, *, spread: bool = False
) -> tuple[torch.Tensor, ...]:
    """Return each answer token's log-probability (N,) and whether it is the argmax (N,).

    Args:
        hidden: states that predict the tokens, (N, D).
        weight: the head, (V, D).
        target: the tokens, (N,).
        spread: also return mean and deviation of the log-probability of a token drawn from the
            model, (N,) each: what min-k++ compares with (Zhang et al. 2024, arXiv:2404.02936).
    """
    pieces = []
    for start in range(0, hidden.shape[0], PIECE):
        piece = slice(start, start + PIECE)
        logits = (hidden[piece].to(weight.dtype) @ weight.T).float()
        pieces.append(scores_of_logits(logits, target[piece], spread=spread))
    if not pieces:
        none = torch.zeros(0, dtype=torch.bool, device=hidden.device)
        empty = hidden.new_zeros(0)
        return (empty, none, empty, empty) if spread else (empty, none)
    return tuple(torch.cat(column) for column in zip(*pieces, strict=True))


def scores_of_logits(
    logits: torch.Tensor, target: torch.Tensor, *, spread: bool = False
) -> tuple[torch.Tensor, ...]:
    """Return what `token_scores` does, from logits (P, V) in float32; `spread` overwrites them.

    Worked value: logits (ln 3, 0), target 0: log-probability ln .75 = -.2877, argmax; mean
    .75 ln .75 + .25 ln .25 = -.5623, deviation sqrt(.75 * .25) * ln 3 = .4757.
    """
    top, best = logits.max(1, keepdim=True)
    hit = best[:, 0] == target
    wide = _wide(logits)
    chosen = (logits.gather(1, target[:, None]).to(wide) - top).squeeze(1)
    apart = logits.sub_(top) if spread else logits - top
    share = apart.exp() if spread else apart.exp_()
    total = _total(share)
    if not spread:
        return (chosen - total.log()).float(), hit
    mean = _total(share.mul_(apart)) / total
    square = _total(share.mul_(apart)) / total
    deviation = (square - mean * mean).clamp_min_(0).sqrt_()
    return (chosen - total.log()).float(), hit, (mean - total.log()).float(), deviation.float()


def _total(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of each row in float64, (P,), from sums of a few numbers in float32.

    A row of 50,000 numbers summed in float32 is wrong by some 1e-5 of itself.
    """
    rows, columns = values.shape
    even = columns - columns % _RUN
    runs = values[:, :even].view(rows, columns // _RUN, _RUN).sum(2)
    wide = _wide(values)
    return runs.to(wide).sum(1) + values[:, even:].sum(1).to(wide)


def _wide(values: torch.Tensor) -> torch.dtype:
    """Return float64, or float32 on a device that has no wider one."""
    return torch.float32 if values.device.type == "mps" else torch.float64


def kl_divergence(reference: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return KL(ref ‖ θ) at each answer token, (N,), from two sets of logits (N, V).

    The plain form, for heads that are not a product alone. 0 for equal models; a cross-entropy
    would not be. `reference` carries no gradient.
    Worked value: reference (1/2, 1/2), model (3/4, 1/4) gives 0.5 ln(2/3) + 0.5 ln 2 = 0.1438.
    """
    theirs = reference.detach().float().log_softmax(-1)
    return (theirs.exp() * (theirs - logits.float().log_softmax(-1))).sum(-1)
