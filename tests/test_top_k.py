"""KL from the reference's k most likely tokens and the mass of the others."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_head import SIZES, WORDS, drawn, slope
from test_parts import assert_same, items, run, with_adapter
from test_unlearn import run_killed, settings

from forgetkit.errors import InputError, UsageError
from forgetkit.lm.head import BLOCK, token_kl, token_nll
from forgetkit.lm.reference import with_reference
from forgetkit.lm.step import Step, join_splits
from forgetkit.lm.top_k import TopK, token_nll_top_kl, token_top_kl, top_k_of
from forgetkit.unlearn import UnlearnConfig, make_method, unlearn
from forgetkit.unlearn.assembly import check_method


def plain(hidden: torch.Tensor, top: TopK, weight: torch.Tensor) -> torch.Tensor:
    """The formula on full logits, with the mass of the tail summed where it lies."""
    log_q = (hidden @ weight.T).log_softmax(1)
    chosen = top.ids.long()
    tail = log_q.scatter(1, chosen, -torch.inf).logsumexp(1)
    p, p_tail = top.log_p.exp(), top.log_tail.exp()
    return (p * (top.log_p - log_q.gather(1, chosen))).sum(1) + p_tail * (top.log_tail - tail)


def test_top_k_and_tail_are_as_worked_out() -> None:
    """Reference (1/2, 1/4, 1/4), model (1/4, 1/2, 1/4).

    k = 1: 1/2 ln 2 + 1/2 ln (2/3) = .5 ln (4/3); k = 2 and 3: 1/2 ln 2 + 1/4 ln (1/2) = .25 ln 2.
    """
    weight = torch.eye(3)
    reference = torch.tensor([[0.5, 0.25, 0.25]]).log()
    hidden = torch.tensor([[0.25, 0.5, 0.25]]).log()
    found = [float(token_top_kl(hidden, top_k_of(reference, weight, k), weight)) for k in (1, 3)]
    assert found == pytest.approx([0.5 * math.log(4 / 3), 0.25 * math.log(2)], abs=1e-6)
    top = top_k_of(reference, weight, 1)
    assert top.ids.tolist() == [[0]]
    assert float(top.log_tail.exp()) == pytest.approx(0.5)


@pytest.mark.parametrize("k", [1, 64])
@pytest.mark.parametrize("size", SIZES)
def test_top_k_in_pieces_equals_the_plain_one(size: int, k: int) -> None:
    hidden, weight, target = drawn(size)
    top = top_k_of(drawn(size, seed=1)[0], weight, k)
    ours, others = (hidden.clone().requires_grad_() for _ in range(2))
    nll, kl = token_nll_top_kl(ours, top, weight, target, ratio=1 / 3)
    expected_nll, expected = token_nll(others, weight, target), plain(others, top, weight)
    assert torch.allclose(nll, expected_nll, atol=1e-5)
    assert torch.allclose(kl, expected, atol=1e-4)
    both, all_of_it = nll + 3 * kl, expected_nll + 3 * expected
    assert torch.allclose(slope(both, ours, size), slope(all_of_it, others, size), atol=1e-4)


@pytest.mark.parametrize("ratio", [0.0, 0.5])
@pytest.mark.parametrize("k", [1, 7, WORDS])
def test_the_slope_is_that_of_the_value(k: int, ratio: float) -> None:
    hidden, weight, target = drawn(3)
    hidden, weight = hidden.double(), weight.double()
    top = top_k_of(hidden + 0.3 * drawn(3, seed=1)[0], weight, k)

    def loss(states: torch.Tensor) -> torch.Tensor:
        nll, kl = token_nll_top_kl(states, top, weight, target if ratio else None, ratio)
        return ratio * nll + kl

    assert torch.autograd.gradcheck(loss, hidden.requires_grad_())


def test_of_the_whole_vocabulary_it_is_the_exact_one() -> None:
    hidden, weight, _ = drawn(50)
    weight, reference = 0.3 * weight, drawn(50, seed=1)[0]
    ours, others = (hidden.clone().requires_grad_() for _ in range(2))
    found = token_top_kl(ours, top_k_of(reference, weight, 10 * WORDS), weight)
    expected = token_kl(others, reference, weight)
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(slope(found, ours, 50), slope(expected, others, 50), atol=1e-6)


def test_it_is_a_lower_bound_that_rises_with_k() -> None:
    hidden, weight, _ = drawn(40)
    weight, reference = weight.double(), drawn(40, seed=1)[0].double()
    found = [
        token_top_kl(hidden.double(), top_k_of(reference, weight, k), weight)
        for k in (1, 2, 16, 256, BLOCK, WORDS)
    ]
    assert bool((found[0] > 0).all())
    assert all(bool((b - a).min() >= -1e-12) for a, b in itertools.pairwise(found))
    assert float(found[0].mean()) < 0.9 * float(found[-1].mean())


def test_equal_states_give_zero_with_zero_gradient() -> None:
    hidden, weight, _ = drawn(9)
    ours = hidden.clone().requires_grad_()
    found = token_top_kl(ours, top_k_of(hidden, weight, 16), weight)
    assert torch.allclose(found, torch.zeros(9), atol=2e-6)
    assert torch.allclose(slope(found, ours, 9), torch.zeros_like(hidden), atol=1e-5)


def test_a_tail_of_next_to_no_mass_is_a_number() -> None:
    """1 - sum would be 0 here, and the logarithm of it no number."""
    weight = torch.eye(WORDS, 4) * 60
    reference, hidden = torch.eye(4)[:1], torch.tensor([[0.9, 1.0, 0.0, 0.0]])
    top = top_k_of(reference, weight, 1)
    assert float(top.log_tail) == pytest.approx(math.log(WORDS - 1) - 60, abs=1e-3)
    states = hidden.requires_grad_()
    found = token_top_kl(states, top, weight)
    exact = token_kl(hidden.detach(), reference, weight)
    assert float(found.detach()) == pytest.approx(float(exact), abs=1e-4)
    found.backward()  # type: ignore[no-untyped-call]
    assert bool(states.grad is not None and states.grad.isfinite().all())


def test_bfloat16_is_near_float32() -> None:
    hidden, weight, target = drawn(30)
    weight, reference = 0.3 * weight, hidden + 0.5 * drawn(30, seed=1)[0]
    slopes = []
    for kind in (torch.float32, torch.bfloat16):
        states = hidden.clone().requires_grad_()
        top = top_k_of(reference, weight.to(kind), 32)
        nll, kl = token_nll_top_kl(states, top, weight.to(kind), target)
        (nll + kl).sum().backward()  # type: ignore[no-untyped-call]
        assert states.grad is not None
        slopes.append(states.grad)
    assert float((slopes[0] - slopes[1]).norm() / slopes[0].norm()) < 0.02


def moved_model(language_model: Any) -> Any:
    """Move the adapter, so that there is a divergence."""
    for name, value in language_model.model.named_parameters():
        if "lora_B" in name:
            value.data += 0.2
    return language_model.model


def retain_kl(model: Any, rows: Any) -> torch.Tensor:
    total, length = Step(model, join_splits(rows, 256)).kl("retain", nll_ratio=2.0)
    return (total / length).detach()


def test_padding_and_order_change_no_kl_and_no_reference_is_read_at_a_step() -> None:
    language_model = with_adapter()
    model = moved_model(language_model)
    made, read = with_reference(language_model, items(language_model), (), (), ("retain",), 5)
    assert read == sum(len(e) for item in made for e in item.get("retain", ()))
    step = Step(model, join_splits(made, 256))
    total, length = step.kl("retain")
    assert step.read["reference"] == 0
    whole = (total / length).detach()
    alone = [{"retain": [e]} for item in made for e in item.get("retain", ())]
    assert torch.allclose(torch.cat([retain_kl(model, [row]) for row in alone]), whole, atol=1e-5)
    assert torch.allclose(retain_kl(model, alone[::-1]).flip(0), whole, atol=1e-5)
    exact = retain_kl(model, items(language_model))
    assert bool((whole > 0).all())
    assert bool((whole < exact).all())


def test_characters_that_do_not_count_are_not_read_either() -> None:
    language_model = with_adapter()
    rows = items(language_model)
    for item in rows:
        item["retain"] = [  # type: ignore[index]
            replace(e, counted=tuple(n % 2 == 0 for n in range(len(e.answer_ids))))
            for e in item.get("retain", ())
        ]
    rows = [item for item in rows if item["retain"]]
    made, _ = with_reference(language_model, rows, (), (), ("retain",), 300)
    model = moved_model(language_model)
    assert torch.allclose(retain_kl(model, made), retain_kl(model, rows), atol=1e-5)


def test_training_with_the_whole_vocabulary_is_training_with_the_exact_kl(tmp_path: Path) -> None:
    exact = run(tmp_path, turns=4, reference_splits=("retain",))
    every = run(tmp_path, turns=4, reference_tops=("retain",), reference_top_k=1000)
    assert_same(exact, every)
    first, last = every[1].approximation
    assert (first["step"], last["step"]) == (2, 4)
    assert last["tail_mass"] == 0
    assert last["top_k_kl"] == pytest.approx(last["exact_kl"], rel=1e-3)
    assert exact[1].approximation == []


def test_the_error_is_measured_after_the_first_step_that_moves_and_the_last(
    tmp_path: Path,
) -> None:
    outcome = run(tmp_path, turns=4, reference_tops=("retain",), reference_top_k=3)[1]
    last = outcome.approximation[-1]
    assert last["k"] == 3
    assert last["tokens"] > 50
    assert 0 < last["top_k_kl"] < last["exact_kl"]
    apart = last["top_k_kl"] / last["exact_kl"] - 1
    assert last["relative_error"] == pytest.approx(apart, abs=1e-3)


def test_tokens_that_take_too_much_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    language_model = with_adapter()
    rows = items(language_model)
    tokens = sum(len(e.places()) for item in rows for e in item.get("retain", ()))
    monkeypatch.setattr("forgetkit.lm.reference.MOST_BYTES", tokens * 100)
    assert with_reference(language_model, rows, (), (), ("retain",), 12)[1]
    with pytest.raises(InputError, match="reference_top_k=12 or less"):
        with_reference(language_model, rows, (), (), ("retain",), 13)


@pytest.mark.parametrize(
    ("name", "given"), [("simnpo", {}), ("ga", {}), ("rmu", {}), ("jensun", {"retain_kl": 1.0})]
)
def test_a_method_that_takes_no_kl_alone_is_refused(name: str, given: dict[str, float]) -> None:
    config = UnlearnConfig(method=name, settings=given, reference_top_k=8)
    with pytest.raises(UsageError, match="takes no KL on retain"):
        check_method(make_method(name, given), config)


@pytest.mark.parametrize("name", ["npo", "undial", "yao", "ihl"])
def test_methods_read_the_most_likely_tokens_of_retain_alone(name: str) -> None:
    config = UnlearnConfig(method=name, reference_top_k=8)
    check_method(make_method(name, {}), config)
    assert make_method(name, {}).kl_splits() == ("retain",)


def test_a_head_that_is_trained_is_refused(model: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not trained"):
        unlearn(model, data, tmp_path / "out", config=settings(peft="none", reference_top_k=8))


def test_a_killed_run_goes_on_with_the_same_bits_and_says_the_same_error(
    model: str, data: Path, tmp_path: Path
) -> None:
    config = settings(steps=8, reference_top_k=8, retain_weight="dual")
    whole = unlearn(model, data, tmp_path / "whole", config=config).run
    run_killed(3, model, data, tmp_path / "killed", config)
    again = unlearn(model, data, tmp_path / "killed", config=config).run
    files = [tmp_path / n / "adapter/adapter_model.safetensors" for n in ("whole", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()
    for name in ("history", "reference_top_k", "reference_tokens"):
        assert again[name] == whole[name]
    assert [row["step"] for row in whole["reference_top_k"]] == [2, 8]
    assert json.loads((tmp_path / "whole" / "run.json").read_text("utf-8")) == whole
