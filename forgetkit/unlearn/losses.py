"""Losses: pure functions of tensors, one value an example `(B,)`, log-probabilities in nats.

`nll` sums the cross-entropy over an example's answer tokens, `length` is their number `(B,)`.
Values of the reference model carry no gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def mean_cross_entropy(nll: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy per answer token, (B,); 0 for an example without answer tokens.

    Worked value: nll 6 over 3 tokens gives 2.
    """
    return nll / length.clamp(min=1)


def gradient_ascent(nll: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Return the negated cross-entropy per answer token, (B,): descending it forgets.

    Jang et al. 2022, arXiv:2210.01504; the forget term of Yao et al. 2023, equation 1.
    Worked value: nll 6 over 3 tokens gives -2.
    """
    return -mean_cross_entropy(nll, length)


def npo(nll: torch.Tensor, nll_reference: torch.Tensor, beta: float) -> torch.Tensor:
    """Return -(2/β) log σ(β (nll_θ - nll_ref)), (B,); β > 0 in 1/nats.

    Zhang et al. 2024, arXiv:2404.05868, equation 3. At the reference it is (2/β) ln 2; it falls
    to 0 as the answer becomes less likely than under the reference model, so that ascent slows
    by itself. Both values are sums over tokens.

    Worked value: β = 1, nll_θ - nll_ref = ln 3 gives -2 ln(3/4) = 0.5754.
    """
    import torch.nn.functional as nn_functional

    return -(2 / beta) * nn_functional.logsigmoid(beta * (nll - nll_reference))


def simnpo(nll: torch.Tensor, length: torch.Tensor, beta: float, delta: float) -> torch.Tensor:
    """Return -(2/β) log σ(β (nll_θ/|y| - δ)), (B,): NPO without a reference model.

    Fan et al. 2024, arXiv:2410.07163, equation 4. The length divides the likelihood, so short and
    long answers weigh the same; δ is the margin in nats per token.

    Worked value: β = 1, δ = 0, nll/|y| = 0 gives 2 ln 2 = 1.3863.
    """
    import torch.nn.functional as nn_functional

    margin = mean_cross_entropy(nll, length) - delta
    return -(2 / beta) * nn_functional.logsigmoid(beta * margin)


def dpo(
    nll: torch.Tensor,
    nll_reference: torch.Tensor,
    other: torch.Tensor,
    other_reference: torch.Tensor,
    beta: float,
) -> torch.Tensor:
    """Return -(2/β) log σ(β [(nll_θ - nll_ref)(y) - (nll_θ - nll_ref)(y_other)]), (B,).

    Rafailov et al. 2023, arXiv:2305.18290, equation 7, with the forget answer y as the one that
    loses; the factor 2/β instead of 1 makes it comparable with NPO, which it is without y_other.
    All four values are sums over tokens; β > 0 in 1/nats.

    Worked value: β = 1, y lost ln 9 nats and y_other lost ln 3: -2 ln(3/4) = 0.5754.
    """
    return npo(nll - nll_reference, other - other_reference, beta)
