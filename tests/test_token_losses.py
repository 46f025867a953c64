from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from forgetkit.lm.head import WHOLE, token_formula
from forgetkit.unlearn import losses, token_losses
from forgetkit.unlearn.dual import moved
from forgetkit.unlearn.token_methods import direction

LN2, LN3 = math.log(2), math.log(3)
TARGET = torch.tensor([2, 0, 4])
REFERENCE = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).double()
GOAL = torch.randn(3, 5, generator=torch.Generator().manual_seed(2)).double()
SHARES = torch.tensor([0.3, 1.0, 0.0]).double()

OF_NLL: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "dpo": lambda nll: losses.dpo(nll, SHARES + 1, SHARES, SHARES + 2, 0.5),
    "weighted_ascent": lambda nll: token_losses.weighted_ascent(nll, SHARES),
    "divergence_from_token": token_losses.divergence_from_token,
}
OF_LOGITS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "jensen_shannon": lambda z: token_losses.jensen_shannon(z, TARGET, REFERENCE),
    "cross_entropy": lambda z: token_losses.cross_entropy(z, REFERENCE.softmax(1)),
    "undial": lambda z: token_losses.undial(z, TARGET, REFERENCE, 2.0),
    "inverted_hinge": lambda z: token_losses.inverted_hinge(z, TARGET),
    "logit_margin": lambda z: token_losses.logit_margin(z, TARGET),
    "distance": lambda z: token_losses.distance(z, GOAL),
}


def close(value: torch.Tensor | float, expected: float) -> bool:
    return math.isclose(float(value), expected, rel_tol=1e-5, abs_tol=1e-6)


def logits_of(*probability: float) -> torch.Tensor:
    return torch.tensor([probability]).log()


def slope_of(loss: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor) -> torch.Tensor:
    given = at.clone().requires_grad_()
    loss(given).sum().backward()  # type: ignore[no-untyped-call]
    assert given.grad is not None
    return given.grad


@pytest.mark.parametrize("name", sorted(OF_NLL))
def test_gradients_in_the_likelihood_are_the_numerical_ones(name: str) -> None:
    nll = torch.tensor([0.5, 2.0, 5.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(OF_NLL[name], (nll,))


@pytest.mark.parametrize("name", sorted(OF_LOGITS))
def test_gradients_in_the_logits_are_the_numerical_ones(name: str) -> None:
    drawn = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, generator=drawn).double().requires_grad_()
    assert torch.autograd.gradcheck(OF_LOGITS[name], (logits,))


def test_stopped_weights_are_constants_of_the_gradient() -> None:
    """wga, satimp and ceu stop what they compute from the model itself.

    Their slopes are those of the same loss with the weight or aim given as a number: w = p^beta
    for wga, so d/dnll = -w; aim - p for ceu, with the aim 0 at the target.
    """
    nll = torch.tensor([0.5, 2.0, 5.0], dtype=torch.float64)
    wga, satimp = token_losses.wga_weight, token_losses.satimp_weight
    found = slope_of(lambda v: token_losses.weighted_ascent(v, wga(v, 2.0)), nll)
    assert torch.allclose(found, -wga(nll, 2.0))
    found = slope_of(lambda v: token_losses.weighted_ascent(v, satimp(v, 5.0, 1.0)), nll)
    assert torch.allclose(found, -satimp(nll, 5.0, 1.0))
    logits = REFERENCE
    aim = logits.scatter(1, TARGET[:, None], -math.inf).softmax(1)
    found = slope_of(lambda z: token_losses.ceu(z, TARGET), logits)
    assert torch.allclose(found, logits.softmax(1) - aim)
    fixed = logits.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: token_losses.cross_entropy(z, aim), (fixed,))


def test_dpo_has_its_golden_value() -> None:
    """beta = 1; y lost 7 + ln 9 - 7 = ln 9 nats, y_other 3 + ln 3 - 3 = ln 3.

    The difference is ln 3, sigma(ln 3) = 3/4: -2 ln(3/4) = 0.575364.
    """
    nll, other = torch.tensor([7 + math.log(9)]), torch.tensor([3 + LN3])
    found = losses.dpo(nll, torch.tensor([7.0]), other, torch.tensor([3.0]), 1.0)
    assert close(found, -2 * math.log(0.75))


def test_dpo_at_the_reference_and_without_another_answer_is_npo() -> None:
    nll, reference = torch.tensor([4.0, 9.0]), torch.tensor([3.0, 9.5])
    zero = torch.zeros(2)
    found = losses.dpo(nll, reference, zero, zero, 0.3)
    assert torch.allclose(found, losses.npo(nll, reference, 0.3))
    assert torch.allclose(losses.dpo(nll, nll, zero, zero, 0.3), torch.full((2,), 2 / 0.3 * LN2))


def test_dpo_pushes_the_answer_down_and_the_other_up() -> None:
    nll, other = (torch.tensor([3.0], requires_grad=True) for _ in range(2))
    losses.dpo(nll, torch.tensor([3.0]), other, torch.tensor([3.0]), 0.1).sum().backward()  # type: ignore[no-untyped-call]
    assert nll.grad is not None
    assert other.grad is not None
    assert float(nll.grad) == pytest.approx(-1.0)
    assert float(other.grad) == pytest.approx(1.0)


def test_weighted_ascent_has_its_golden_value() -> None:
    """-(1/2) ln 2 = -0.346574."""
    found = token_losses.weighted_ascent(torch.tensor([LN2]), torch.tensor([0.5]))
    assert close(found, -0.3465736)


def test_wga_weight_has_its_golden_value_and_limits() -> None:
    """p = 1/2, beta 2: 1/4. beta 0: plain ascent, 1. A lost token: 0. A certain one: 1."""
    assert close(token_losses.wga_weight(torch.tensor([LN2]), 2.0), 0.25)
    nll = torch.tensor([0.0, 3.0, 1e4])
    assert token_losses.wga_weight(nll, 0.0).tolist() == [1.0, 1.0, 1.0]
    assert token_losses.wga_weight(nll, 1.0)[[0, 2]].tolist() == [1.0, 0.0]


def test_satimp_weight_has_its_golden_value_and_limits() -> None:
    """p = 1/4, beta1 1, beta2 2: 1/4 (3/4)^2 = 9/64. It is 0 at p = 0 and at p = 1."""
    assert close(token_losses.satimp_weight(torch.tensor([math.log(4)]), 1.0, 2.0), 9 / 64)
    assert token_losses.satimp_weight(torch.tensor([0.0, 1e4]), 5.0, 1.0).tolist() == [0.0, 0.0]
    nll = torch.tensor([0.3, 2.0])
    assert torch.allclose(
        token_losses.satimp_weight(nll, 3.0, 0.0), token_losses.wga_weight(nll, 3.0)
    )


def test_divergence_from_a_token_has_its_golden_value_and_limits() -> None:
    """p = 1/2 against (1, 0): the mean is (3/4, 1/4).

    (KL(p || m) + KL(e || m)) / 2 = (1/2 ln(2/3) + 1/2 ln 2 + ln(4/3)) / 2 = 0.215762.
    Certain of the token: 0. Far from it: ln 2, and no more.
    """
    by_hand = (0.5 * math.log(2 / 3) + 0.5 * LN2 + math.log(4 / 3)) / 2
    found = token_losses.divergence_from_token(torch.tensor([LN2, 0.0, 500.0]))
    assert close(found[0], by_hand)
    assert close(found[0], 0.2157616)
    assert close(found[1], 0.0)
    assert close(found[2], LN2)


def test_divergence_from_a_token_equals_that_from_all_mass_on_it() -> None:
    logits = REFERENCE
    far = torch.full_like(logits, -1e3).scatter(1, TARGET[:, None], 0.0)
    nll = -logits.log_softmax(1).gather(1, TARGET[:, None]).squeeze(1)
    expected = token_losses.jensen_shannon(logits, TARGET, far)
    assert torch.allclose(token_losses.divergence_from_token(nll), expected)


def test_jensen_shannon_has_its_golden_value_and_limits() -> None:
    """(3/4, 1/4) and (1/4, 3/4), mean (1/2, 1/2): both KL are 3/4 ln(3/2) + 1/4 ln(1/2).

    That is 0.130812. Equal models give 0, disjoint ones ln 2.
    """
    target = torch.tensor([0])
    ours, theirs = logits_of(0.75, 0.25), logits_of(0.25, 0.75)
    assert close(token_losses.jensen_shannon(ours, target, theirs), 0.1308120)
    assert close(token_losses.jensen_shannon(ours, target, ours + 3), 0.0)
    one, other = torch.tensor([[80.0, -80.0]]), torch.tensor([[-80.0, 80.0]])
    assert close(token_losses.jensen_shannon(one, target, other), LN2)
    assert close(token_losses.jensen_shannon(ours, target, theirs), 0.1308120)


def test_undial_has_its_golden_value() -> None:
    """z_ref = (ln 4, 0) less ln 4 at token 0: aim (1/2, 1/2).

    z = (ln 3, 0) is (3/4, 1/4): -(ln(3/4) + ln(1/4)) / 2 = 0.836988.
    """
    given = torch.tensor([[math.log(4), 0.0]])
    found = token_losses.undial(logits_of(0.75, 0.25), torch.tensor([0]), given, math.log(4))
    assert close(found, 0.8369882)


def test_undial_with_no_penalty_is_distillation_of_the_reference() -> None:
    """beta 0 at the reference: the slope is 0, and the value its entropy."""
    found = token_losses.undial(REFERENCE, TARGET, REFERENCE, 0.0)
    entropy = torch.distributions.Categorical(logits=REFERENCE).entropy()  # type: ignore[no-untyped-call]
    assert torch.allclose(found, entropy)
    slope = slope_of(lambda z: token_losses.undial(z, TARGET, REFERENCE, 0.0), REFERENCE)
    assert torch.allclose(slope, torch.zeros_like(slope), atol=1e-9)


def test_ceu_has_its_golden_value() -> None:
    """z = (ln 2, 0, 0): aim (0, 1/2, 1/2), p = (1/2, 1/4, 1/4): -(ln(1/4) + ln(1/4)) / 2 = ln 4."""
    logits = torch.tensor([[LN2, 0.0, 0.0]])
    assert close(token_losses.ceu(logits, torch.tensor([0])), math.log(4))


def test_ceu_stops_where_the_answer_is_lost() -> None:
    """p(y) = 0: the aim is the model itself, so the slope is 0."""
    logits = torch.tensor([[-1e3, 0.3, 1.0]])
    slope = slope_of(lambda z: token_losses.ceu(z, torch.tensor([0])), logits)
    assert torch.allclose(slope, torch.zeros(1, 3), atol=1e-6)


def test_inverted_hinge_has_its_golden_values() -> None:
    """1 + 1/2 - 1/4 = 1.25. Certain: 2. Another token certain: 0."""
    for probability, expected in (((0.5, 0.25, 0.25), 1.25), ((1.0, 0.0, 0.0), 2.0)):
        logits = torch.tensor([probability]).clamp(min=1e-30).log()
        assert close(token_losses.inverted_hinge(logits, torch.tensor([0])), expected)
    lost = torch.tensor([[0.0, 1.0, 0.0]]).clamp(min=1e-30).log()
    assert close(token_losses.inverted_hinge(lost, torch.tensor([0])), 0.0)


def test_logit_margin_has_its_golden_values() -> None:
    """z = (3, 0, 0): (3 - 1)^2 = 4. Equal logits, however high: 0."""
    none = torch.tensor([0])
    assert close(token_losses.logit_margin(torch.tensor([[3.0, 0.0, 0.0]]), none), 4.0)
    assert close(token_losses.logit_margin(torch.full((1, 3), 7.0), none), 0.0)


def test_distance_has_its_golden_value_and_stops_the_goal() -> None:
    """3^2 + 4^2 = 25, and 0 at the goal."""
    goal = torch.zeros(2, requires_grad=True)
    states = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    found = token_losses.distance(states, goal)
    assert found.tolist() == [25.0, 0.0]
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert goal.grad is None


def test_the_direction_is_a_unit_vector_that_stays() -> None:
    assert torch.equal(direction(16), direction(16))
    assert close(direction(16).norm(), 1.0)
    assert not torch.allclose(direction(16)[0], direction(17)[0])


def test_the_dual_variable_rises_while_the_limit_is_broken() -> None:
    """lambda 1, eta 2, broken by 0.25: 1.5. Kept by 3: 1 - 6, which the trainer cuts at 0."""
    assert moved(1.0, 0.25, 2.0) == 1.5
    assert moved(1.0, -3.0, 2.0) == -5.0


@pytest.mark.parametrize("name", ["undial", "ceu", "inverted_hinge", "logit_margin"])
def test_descending_a_forget_loss_lowers_the_answer(name: str) -> None:
    """Trap 4: a step against the slope makes the known answer less likely."""
    logits = torch.tensor([[3.0, 1.0, 0.0, -1.0]], dtype=torch.float64)
    target = torch.tensor([0])
    forms: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "undial": lambda z: token_losses.undial(z, target, logits, 5.0),
        "ceu": lambda z: token_losses.ceu(z, target),
        "inverted_hinge": lambda z: token_losses.inverted_hinge(z, target),
        "logit_margin": lambda z: token_losses.logit_margin(z, target),
    }
    after = logits - 0.1 * slope_of(forms[name], logits)
    assert float(after.softmax(1)[0, 0]) < float(logits.softmax(1)[0, 0]) - 1e-4


@pytest.mark.parametrize("size", [0, 1, WHOLE, WHOLE + 1, 2 * WHOLE + 3])
@pytest.mark.parametrize("name", ["undial", "ceu", "inverted_hinge", "logit_margin"])
def test_a_formula_in_pieces_equals_the_plain_one(name: str, size: int) -> None:
    """Values and gradients are those on full logits; the head stays frozen."""
    drawn = torch.Generator().manual_seed(3)
    hidden, reference = (torch.randn(size, 16, generator=drawn) for _ in range(2))
    weight = torch.randn(50, 16, generator=drawn)
    target = torch.randint(0, 50, (size,), generator=drawn)
    loss = getattr(token_losses, name)
    others = (reference,) if name == "undial" else ()
    formula = (lambda z, t, r: loss(z, t, r, 10.0)) if others else loss
    ours, plain = (hidden.clone().requires_grad_() for _ in range(2))
    found = token_formula(formula, ours, weight, target, *others)
    expected = formula(plain @ weight.T, target, *(r @ weight.T for r in others))
    assert torch.allclose(found, expected, atol=1e-4)
    share = torch.linspace(-1, 2, size)
    (found * share).sum().backward()  # type: ignore[no-untyped-call]
    (expected * share).sum().backward()
    assert ours.grad is not None
    assert plain.grad is not None
    assert torch.allclose(ours.grad, plain.grad, atol=1e-4)
