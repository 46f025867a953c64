"""The language-model head in pieces: exact likelihoods and divergences, never the full logits.

The head of a small model is most of its work: 1,600 answer tokens of a vocabulary of 49,152 are
315 MB of logits, several times over in the backward pass. While the head itself is frozen (as with
an adapter), the gradient of each token's value with respect to its hidden state is known in the
forward pass, a piece at a time: what is kept is (N, D), not (N, V).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

Formula = Callable[..., torch.Tensor]
"""From logits (P, V), targets (P,) and perhaps reference logits (P, V) to one value a token (P,).

The value of a token depends on the logits of that token alone.
"""

PIECE = 384  # most tokens at once
WHOLE = 128  # most tokens at once where a formula holds all their logits, several times over
BLOCK = 2048  # entries of the vocabulary at once on a CPU, whose logits stay in its cache
_RUN = 256  # numbers added in float32 before float64


class Softmax:
    """A softmax over the vocabulary, met block by block: logits lie as (V, P), one column a state.

    So the weights are read in the order they lie in memory: on a CPU the product is half as fast
    again as (P, D) @ (D, V).

    Attributes:
        top: largest logit so far, (1, P).
        total: sum of exp(logit - top) so far, (1, P).
        chosen: logit of each target, (P,), once its block was met.
    """

    def __init__(
        self, states: torch.Tensor, kind: torch.dtype, target: torch.Tensor | None
    ) -> None:
        self._columns = states.to(kind).T  # (D, P)
        named: dict[str, Any] = {"device": states.device, "dtype": sums_in(kind)}
        size = len(states)
        self.top = torch.full((1, size), -torch.inf, **named)
        self.total = torch.zeros((1, size), **named)
        self.chosen = torch.zeros(size, **named)
        self._target = target

    def logits(self, first: int, block: torch.Tensor) -> torch.Tensor:
        """Return the logits of some entries, (E, P) in float32, or in float64 if they come so.

        Args:
            first: number of the first entry.
            block: their weights, (E, D).
        """
        logits = (block @ self._columns).to(self.top.dtype)
        if self._target is not None:
            inside = ((self._target >= first) & (self._target < first + len(block))).nonzero()[:, 0]
            if len(inside):
                self.chosen[inside] = logits[self._target[inside] - first, inside]
        return logits

    def shares(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return exp(logits - top) in their place, and what sums of the blocks before fade by."""
        before, self.top = self.top, torch.maximum(self.top, logits.amax(0, keepdim=True))
        shares = logits.sub_(self.top).exp_()
        faded = (before - self.top).exp_()
        self.total.mul_(faded).add_(shares.sum(0, keepdim=True))
        return shares, faded

    def nll(self) -> torch.Tensor:
        """Return -log p of the targets, (P,), once all blocks were met."""
        return self.total.log().sub_(self.chosen - self.top).squeeze(0)

    def log_total(self) -> torch.Tensor:
        """Return the logarithm of the sum of exp(logit), (P,)."""
        return self.total.log().add_(self.top).squeeze(0)


def sums_in(kind: torch.dtype) -> torch.dtype:
    """Return the format in which logits of a head are summed: float32, or its own float64."""
    return torch.float64 if kind == torch.float64 else torch.float32


def pieces_of(size: int, most: int) -> Iterator[slice]:
    """Yield pieces of even size, so that none is too small for a product to be worth it."""
    if size:
        step = math.ceil(size / math.ceil(size / most))
        yield from (slice(start, start + step) for start in range(0, size, step))


def blocks_of(weight: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the entries of the vocabulary block by block: number of the first, weights (E, D)."""
    size = BLOCK if weight.device.type == "cpu" else len(weight)
    for first in range(0, len(weight), size):
        yield first, weight[first : first + size]


def all_logits(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the logits (P, V) of states (P, D) in the format of sums, without gradient."""
    rows = states.to(weight.dtype)
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return (rows @ weight.T).to(sums_in(weight.dtype))
    logits = torch.empty(len(rows), len(weight))
    for first, block in blocks_of(weight):
        torch.mm(rows, block.T, out=logits[:, first : first + len(block)])
    return logits


class _TokenNLL(torch.autograd.Function):
    """-log p(target) per token, with d/dh = Σ p W - W_target kept from the forward pass."""

    @staticmethod
    def forward(
        context: Any, hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """Return (N,) in float32."""
        value = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        moves: bool = context.needs_input_grad[0]  # not where the reference model is asked
        slope = torch.empty_like(hidden, dtype=torch.float32) if moves else None
        for piece in pieces_of(len(hidden), PIECE):
            ours = Softmax(hidden[piece], weight.dtype, target[piece])
            pull = torch.zeros(hidden[piece].T.shape, device=hidden.device)  # (D, P)
            for first, block in blocks_of(weight):
                shares, faded = ours.shares(ours.logits(first, block))
                if moves:
                    add_product(pull.mul_(faded), block.T, shares)
            value[piece] = ours.nll()
            if slope is not None:
                slope[piece] = pull.div_(ours.total).T - weight[target[piece]]
        context.save_for_backward(slope)
        context.kind = hidden.dtype
        return value

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> Any:
        """Scale the kept slopes."""
        (slope,) = context.saved_tensors
        return (slope * gradients[0][:, None]).to(context.kind), None, None


def add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Add left @ right to a total; the product is made in the format of `left`."""
    same = total.dtype == left.dtype
    if same and (total.device.type != "cpu" or total.dtype == torch.float32):
        total.addmm_(left, right.to(left.dtype))
    else:  # in bfloat16 addmm_ rounds after every addend on a CPU without such instructions
        total.add_(left @ right.to(left.dtype))


class _TokenNLLKL(torch.autograd.Function):
    """-log p(target) and KL(ref ‖ θ) per token from the same logits.

    One slope is kept, that of `ratio` times the first and the second: a third product less than
    two of them take. Without a target the first is 0.
    """

    @staticmethod
    def forward(
        context: Any,
        hidden: torch.Tensor,
        reference: torch.Tensor,
        weight: torch.Tensor,
        target: torch.Tensor | None,
        ratio: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (N,) and (N,) in float32."""
        nll = torch.zeros(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        kl = torch.empty_like(nll)
        slope = torch.empty_like(hidden, dtype=torch.float32)
        for piece in pieces_of(len(hidden), PIECE):
            goal = None if target is None else target[piece]
            ours = Softmax(hidden[piece], weight.dtype, goal)
            theirs = Softmax(reference[piece], weight.dtype, None)
            apart = torch.zeros_like(ours.top)  # sum of exp(theirs - top) (theirs - ours)
            met: list[tuple[torch.Tensor, ...]] = []
            for first, block in blocks_of(weight):
                own, other = ours.logits(first, block), theirs.logits(first, block)
                more = other - own
                others, faded = theirs.shares(other)
                apart.mul_(faded).add_(more.mul_(others).sum(0, keepdim=True))
                met.append((ours.shares(own)[0], ours.top, others, theirs.top))
            kl[piece] = (apart / theirs.total).squeeze(0) + ours.log_total() - theirs.log_total()
            pull = torch.zeros(hidden[piece].T.shape, device=hidden.device)  # (D, P)
            for (_, block), (own, top, others, their_top) in zip(
                blocks_of(weight), met, strict=True
            ):
                own.mul_((top - ours.top).exp_().div_(ours.total).mul_(1 + ratio))
                own.sub_(others.mul_((their_top - theirs.top).exp_().div_(theirs.total)))
                add_product(pull, block.T, own)
            slope[piece] = pull.T
            if goal is not None:
                nll[piece] = ours.nll()
                slope[piece].sub_(weight[goal], alpha=ratio)
        context.save_for_backward(slope)
        context.kind, context.ratio = hidden.dtype, ratio
        return nll, kl

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> Any:
        """Scale the kept slopes; see `scaled`."""
        return scaled(context, *gradients), None, None, None, None


def scaled(context: Any, of_nll: torch.Tensor, of_kl: torch.Tensor) -> torch.Tensor:
    """Return the gradient of states whose one slope serves likelihood and divergence, (N, D).

    Raises:
        RuntimeError: the likelihood takes a gradient of another ratio than was said.
    """
    (slope,) = context.saved_tensors
    if not torch.allclose(of_nll, context.ratio * of_kl, rtol=1e-4, atol=1e-12):
        raise RuntimeError("the likelihood and the divergence are not in the ratio given")
    found: torch.Tensor = (slope * of_kl[:, None]).to(context.kind)
    return found


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
        for piece in pieces_of(len(hidden), WHOLE):
            logits = all_logits(hidden[piece], weight)
            theirs = [all_logits(r[piece], weight) for r in reference]
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
    hidden: torch.Tensor,
    reference: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor,
    ratio: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `token_nll` and `token_kl` of each answer token, (N,) and (N,), for less than both.

    Args:
        hidden: states of the model being trained, (N, D).
        reference: states of the reference model, (N, D), no gradient.
        weight: the head both share, (V, D), frozen.
        target: the tokens, (N,).
        ratio: how many times the weight of the second the first has in the loss, for every token;
            the backward pass raises RuntimeError where their gradients are not so.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        found: tuple[torch.Tensor, torch.Tensor] = _TokenNLLKL.apply(  # type: ignore[no-untyped-call]
            hidden, reference.detach(), weight, target, ratio
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
        _, found = _TokenNLLKL.apply(hidden, reference.detach(), weight, None, 0.0)  # type: ignore[no-untyped-call]
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
    in_blocks = weight.device.type == "cpu"
    pieces = []
    for piece in pieces_of(len(hidden), PIECE if in_blocks else WHOLE):
        if in_blocks:
            best, *values = _blockwise(hidden[piece], weight, target[piece], spread=spread)
            values.insert(1, best == target[piece])
            pieces.append(tuple(values))
        else:
            logits = all_logits(hidden[piece], weight)
            pieces.append(scores_of_logits(logits, target[piece], spread=spread))
    if not pieces:
        none = torch.zeros(0, dtype=torch.bool, device=hidden.device)
        empty = hidden.new_zeros(0)
        return (empty, none, empty, empty) if spread else (empty, none)
    return tuple(torch.cat(column) for column in zip(*pieces, strict=True))


@torch.no_grad()
def best_tokens(hidden: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the most likely token of each state (N,) and its log-probability (N,)."""
    pieces = [_blockwise(hidden[piece], weight, None) for piece in pieces_of(len(hidden), PIECE)]
    best, values = (torch.cat(column) for column in zip(*pieces, strict=True))
    return best, values


def _blockwise(
    states: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor | None,
    *,
    spread: bool = False,
) -> tuple[torch.Tensor, ...]:
    """Return each state's best token and a log-probability, (P,) each, block by block.

    It is that of the target, or of the best token without one. Mean and deviation follow as of
    `token_scores`. Of equal logits the first is the best.
    """
    ours = Softmax(states, weight.dtype, target)
    top = ours.top[0]
    best = torch.zeros(len(states), dtype=torch.long, device=states.device)
    moments = torch.zeros((3, len(states)), dtype=_wide(states), device=states.device)
    for first, block in blocks_of(weight):
        logits = ours.logits(first, block)
        before, top = top, torch.maximum(top, logits.amax(0))
        rose = (top > before).nonzero()[:, 0]
        risen = logits if len(rose) == len(best) else logits[:, rose]
        best[rose] = risen.argmax(0) + first
        apart = logits.sub_(top)
        shares = apart.exp() if spread else apart.exp_()
        if first:
            _move(moments, (before - top).to(moments.dtype))
        moments[0] += shares.sum(0)
        if spread:
            moments[1] += shares.mul_(apart).sum(0)
            moments[2] += shares.mul_(apart).sum(0)
    total = moments[0]
    value = (0.0 if target is None else ours.chosen - top) - total.log()
    if not spread:
        return best, value.float()
    mean, square = moments[1] / total, moments[2] / total
    deviation = (square - mean * mean).clamp_min_(0).sqrt_()
    return best, value.float(), (mean - total.log()).float(), deviation.float()


def _move(moments: torch.Tensor, by: torch.Tensor) -> None:
    """Move the sums of exp(a), a exp(a) and a² exp(a) (3, P) to a + by, in place."""
    none, one, two = moments
    two.add_(2 * by * one).add_(by**2 * none)
    one.add_(by * none)
    moments.mul_(by.exp())


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
