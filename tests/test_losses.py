from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from forgetkit.lm.head import kl_divergence
from forgetkit.unlearn import losses, make_method
from forgetkit.unlearn.methods import Method

LOSSES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean_cross_entropy": lambda nll: losses.mean_cross_entropy(nll, torch.tensor([3, 4])),
    "gradient_ascent": lambda nll: losses.gradient_ascent(nll, torch.tensor([3, 4])),
    "npo": lambda nll: losses.npo(nll, torch.tensor([1.0, 2.0]).double(), 0.5),
    "simnpo": lambda nll: losses.simnpo(nll, torch.tensor([3, 4]), 0.5, 0.1),
}


class FixedStep:
    """A step whose likelihoods are given; it implements what methods ask of a step."""

    def __init__(self, **values: tuple[list[float], list[int]]) -> None:
        self._values = values

    def holds(self, split: str) -> bool:
        return split in self._values

    def nll(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        nll, length = self._values[split]
        return torch.tensor(nll), torch.tensor(length)

    def reference_nll(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        return self.nll(f"{split}_reference")

    def kl(self, split: str, *, nll_ratio: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        return self.nll(f"{split}_kl")

    def average(self, _split: str, values: torch.Tensor) -> torch.Tensor:
        return values.mean()


STEP: Any = FixedStep(
    forget=([6.0, 4.0], [3, 4]),
    forget_reference=([6.0, 4.0], [3, 4]),
    mismatch=([8.0, 2.0], [4, 1]),
    retain=([3.0, 5.0], [3, 2]),
    retain_kl=([0.3, 0.2], [3, 2]),
)


def close(value: torch.Tensor | float, expected: float) -> bool:
    return math.isclose(float(value), expected, rel_tol=1e-5, abs_tol=1e-7)


def test_cross_entropy_is_a_mean_over_the_answer() -> None:
    """6 nats over 3 tokens are 2 a token, 4 over 4 are 1; no answer token gives 0, not NaN."""
    values = losses.mean_cross_entropy(torch.tensor([6.0, 4.0, 0.0]), torch.tensor([3, 4, 0]))
    assert values.tolist() == [2.0, 1.0, 0.0]


def test_gradient_ascent_is_the_negated_cross_entropy() -> None:
    """-(6 / 3) = -2."""
    assert losses.gradient_ascent(torch.tensor([6.0]), torch.tensor([3])).tolist() == [-2.0]


def test_npo_has_its_golden_value() -> None:
    """beta = 1, difference ln 3: sigma(ln 3) = 3/4, so -(2/1) ln(3/4) = 0.575364."""
    value = losses.npo(torch.tensor([math.log(3) + 5]), torch.tensor([5.0]), 1.0)
    assert close(value, -2 * math.log(0.75))
    assert close(value, 0.5753641)


@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0, 4.5])
def test_npo_at_the_reference_is_two_over_beta_ln_two(beta: float) -> None:
    """sigma(0) = 1/2, so -(2/beta) ln(1/2) = (2/beta) ln 2."""
    nll = torch.tensor([0.0, 7.0, 120.0], dtype=torch.float64)
    assert torch.allclose(
        losses.npo(nll, nll, beta), torch.tensor(2 / beta * math.log(2)).double().expand(3)
    )


def test_npo_falls_to_zero_when_the_answer_is_lost_and_stays_finite_when_it_is_better_known() -> (
    None
):
    """Difference +1000 nats: sigma -> 1, loss -> 0. -1000: -(2/b) ln sigma(-1000 b) -> 2000."""
    reference = torch.tensor([1000.0])
    assert close(losses.npo(torch.tensor([2000.0]), reference, 1.0), 0.0)
    assert close(losses.npo(torch.tensor([0.0]), reference, 1.0), 2000.0)


def test_npo_tends_to_gradient_ascent_as_beta_falls() -> None:
    """Expanding in beta: -(2/b) ln sigma(b d) = (2/b) ln 2 - d + O(b); its slope in d is -1."""
    nll = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    losses.npo(nll, torch.tensor([2.0]).double(), 1e-6).sum().backward()  # type: ignore[no-untyped-call]
    assert nll.grad is not None
    assert close(nll.grad, -1.0)


def test_simnpo_has_its_golden_values() -> None:
    """Beta 1, delta 0: nll 0 gives 2 ln 2; nll 3 ln 3 over 3 tokens gives -2 ln(3/4).

    With delta = ln 3 the margin of the latter is 0: 2 ln 2 again.
    """
    length = torch.tensor([3])
    nll = torch.tensor([3 * math.log(3)])
    assert close(losses.simnpo(torch.zeros(1), length, 1.0, 0.0), 2 * math.log(2))
    assert close(losses.simnpo(nll, length, 1.0, 0.0), -2 * math.log(0.75))
    assert close(losses.simnpo(nll, length, 1.0, math.log(3)), 2 * math.log(2))


def test_simnpo_weighs_short_and_long_answers_the_same() -> None:
    short, long = (
        losses.simnpo(torch.tensor([2.0 * n]), torch.tensor([n]), 4.5, 0.0) for n in (2, 90)
    )
    assert torch.allclose(short, long)


@pytest.mark.parametrize("name", ["gradient_ascent", "npo", "simnpo"])
def test_descending_a_forget_loss_raises_the_cross_entropy(name: str) -> None:
    """Trap 4: a loss of the wrong sign would teach the text instead."""
    nll = torch.tensor([2.0, 5.0], dtype=torch.float64, requires_grad=True)
    LOSSES[name](nll).sum().backward()  # type: ignore[no-untyped-call]
    assert nll.grad is not None
    assert bool((nll.grad < 0).all())


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_gradients_are_the_numerical_ones(name: str) -> None:
    nll = torch.tensor([2.0, 5.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LOSSES[name], (nll,))


def test_kl_has_its_golden_value() -> None:
    """Trap 3: reference (1/2, 1/2), model (3/4, 1/4): 0.5 ln(2/3) + 0.5 ln 2 = 0.143841.

    A cross-entropy would give 0.5 ln(4/3) + 0.5 ln 4 = 0.836988.
    """
    reference = torch.tensor([[0.0, 0.0]])
    model = torch.tensor([[math.log(3), 0.0]])
    assert close(kl_divergence(reference, model), 0.1438410)


def test_kl_of_equal_models_is_zero() -> None:
    """Trap 3: also when the logits differ by a constant, which changes no probability."""
    logits = torch.randn(5, 11, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(kl_divergence(logits, logits), torch.zeros(5), atol=1e-6)
    assert torch.allclose(kl_divergence(logits + 7, logits), torch.zeros(5), atol=1e-5)


def test_kl_is_never_negative() -> None:
    random = torch.Generator().manual_seed(1)
    for scale in (0.01, 1.0, 30.0):
        reference, model = (scale * torch.randn(50, 7, generator=random) for _ in range(2))
        assert float(kl_divergence(reference, model).min()) >= -1e-6


def test_kl_sends_no_gradient_into_the_reference() -> None:
    reference = torch.randn(2, 4, requires_grad=True)
    model = torch.randn(2, 4, requires_grad=True)
    kl_divergence(reference, model).sum().backward()  # type: ignore[no-untyped-call]
    assert reference.grad is None
    assert model.grad is not None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ga", {"forget": -1.5}),
        ("graddiff", {"forget": -1.5, "retain_nll": 1.75}),
        ("yao", {"forget": -0.75, "mismatch": 2.0, "retain_kl": 0.1}),
        ("npo", {"forget": 20 * math.log(2), "retain_nll": 1.75, "retain_kl": 0.05}),
        ("simnpo", {"forget": 3.103096e-4, "retain_nll": 1.75}),
    ],
)
def test_a_method_adds_up_its_losses_as_documented(name: str, expected: dict[str, float]) -> None:
    """Derive each from STEP.

    forget: (6/3 + 4/4) / 2 = 1.5 a token. mismatch: (8/4 + 2/1) / 2 = 2. retain: (3/3 + 5/2) / 2
    = 1.75, KL (0.3/3 + 0.2/2) / 2 = 0.1. npo at the reference: (2/0.1) ln 2; its KL counts half.
    yao's forget counts half. simnpo: 0.125 * mean over 2 and 1 of (2/4.5) ln(1 + e^(-4.5 m)) =
    0.125 * (5.48454e-5 + 4.910109e-3) / 2 = 3.103096e-4.
    """
    found = make_method(name, {})(STEP)
    assert found.keys() == expected.keys()
    assert all(close(found[key], value) for key, value in expected.items()), found


def test_a_setting_reaches_its_formula() -> None:
    method: Method = make_method("npo", {"beta": 1.0, "retain_kl": 0.0, "forget_weight": 3.0})
    found = method(STEP)
    assert close(found["forget"], 6 * math.log(2))
    assert "retain_kl" not in found


def test_a_step_without_retain_has_no_retain_loss() -> None:
    step: Any = FixedStep(forget=([6.0], [3]))
    assert list(make_method("graddiff", {})(step)) == ["forget"]
