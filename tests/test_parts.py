"""What saves memory and time changes no loss: steps in parts, the reference read once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from test_unlearn import forget_set, settings

from forgetkit.lm.adapter import adapter_state, add_lora
from forgetkit.lm.encode import Encoded, encode
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.parts import parts_of, weighed
from forgetkit.lm.reference import with_reference
from forgetkit.lm.step import Item, Step, join_splits
from forgetkit.lm.train import Outcome, TrainSettings, in_parts, train
from forgetkit.unlearn import UnlearnConfig, make_method, unlearn
from forgetkit.unlearn.assembly import forward_tokens, reference_likelihoods


def with_adapter() -> LanguageModel:
    return add_lora(tiny.tiny_language_model(), rank=4, alpha=8, dropout=0.0, seed=0)


def items(language_model: LanguageModel, retain: tuple[int, ...] = (1, 0, 2, 1)) -> list[Item]:
    """Return four items with unlike numbers of retain examples, and weights."""

    def ids(text: str, weight: float = 1.0) -> Encoded:
        return replace(
            encode(language_model.tokenizer, tiny.text(text[:9], text[9:])), weight=weight
        )

    others = iter(tiny.ORDINARY)
    return [
        {
            "forget": [ids(passage, weight)],
            "mismatch": [ids(other)],
            **({"retain": [ids(next(others)) for _ in range(size)]} if size else {}),
        }
        for passage, other, size, weight in zip(
            tiny.PASSAGES, tiny.ELSEWHERE, retain, (0.5, 1.5, 1.0, 1.0), strict=True
        )
    ]


def test_a_batch_is_cut_into_as_few_equal_parts_as_fit() -> None:
    one: Item = {"forget": [Encoded("a", (1,) * 10, (2,) * 40)]}
    assert parts_of([one] * 8, 8, 0) == 1
    assert parts_of([one] * 8, 8, 400) == 1
    assert parts_of([one] * 8, 8, 399) == 2
    assert parts_of([one] * 8, 8, 150) == 4
    assert parts_of([one] * 6, 6, 150) == 2
    assert parts_of([one] * 8, 8, 1) == 8


@pytest.mark.parametrize("name", ["npo", "yao", "wga", "dpo"])
@pytest.mark.parametrize("part", [1, 2])
def test_the_parts_of_a_step_average_to_its_losses(name: str, part: int) -> None:
    """Retain has 1, 0, 2 and 1 examples: means of means would be wrong."""
    language_model = with_adapter()
    whole, method = items(language_model), make_method(name, {})

    def losses(chosen: list[Item]) -> dict[str, float]:
        found = method(Step(language_model.model, join_splits(chosen, 256)))
        return {key: float(value.detach()) for key, value in found.items()}

    expected, total = losses(whole), dict[str, float]()
    cut = weighed(whole, 4, part)
    for first in range(0, 4, part):
        for key, value in losses(cut[first : first + part]).items():
            total[key] = total.get(key, 0.0) + value * part / 4
    assert total == pytest.approx(expected, rel=1e-5)


def run(tmp_path: Path, turns: int = 2, **named: Any) -> tuple[LanguageModel, Outcome]:
    language_model = with_adapter()
    chosen: dict[str, Any] = {"learning_rate": 1e-2, "batch_size": 4} | named
    outcome = train(
        language_model,
        items(language_model) * turns,
        make_method("npo", {}),
        TrainSettings(**chosen),
        scratch=tmp_path,
    )
    return language_model, outcome


def assert_same(left: Any, right: Any) -> None:
    (one, first), (other, second) = left, right
    assert first.steps == second.steps
    for a, b in zip(first.history, second.history, strict=True):
        assert a["losses"] == pytest.approx(b["losses"], rel=1e-4, abs=1e-5)
    states = adapter_state(one.model), adapter_state(other.model)
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=2e-4), name


@pytest.mark.parametrize("most", [150, 300])
def test_a_training_in_parts_is_the_training_whole(tmp_path: Path, most: int) -> None:
    language_model = with_adapter()
    size = in_parts(items(language_model), TrainSettings(1e-2, 4, most_tokens=most))[1].batch_size
    assert size < 4
    assert_same(run(tmp_path), run(tmp_path, most_tokens=most))


def test_a_last_step_that_is_not_whole_is_not_cut() -> None:
    language_model = with_adapter()
    rows = items(language_model)[:3]
    asked = TrainSettings(1e-2, 2, most_tokens=1)
    assert in_parts(rows, asked) == (rows, asked)


def test_a_reference_read_once_is_the_reference_read_at_every_step(tmp_path: Path) -> None:
    plain = run(tmp_path, turns=4)
    once = run(tmp_path, turns=4, reference_splits=("forget", "retain"))
    assert_same(plain, once)
    assert once[1].reference_tokens == plain[1].reference_tokens / 4


def test_the_reference_is_read_once_only_where_examples_come_again() -> None:
    language_model = with_adapter()
    rows = items(language_model)
    assert with_reference(language_model, rows, ("forget", "retain")) == (rows, 0)
    first = rows[0]["forget"]
    again = [{**item, "forget": first} for item in rows]
    made, read = with_reference(language_model, again, ("forget", "retain"))
    assert read == len(first[0])
    assert all(e.reference is not None for item in made for e in item["forget"])
    assert all(e.reference is None for item in made for e in item.get("retain", ()))
    assert made[0]["forget"][0].weight == first[0].weight


def test_likelihoods_read_once_are_those_read_at_every_step(tmp_path: Path) -> None:
    plain = run(tmp_path, turns=4)
    once = run(tmp_path, turns=4, reference_splits=("retain",), reference_likelihoods=("forget",))
    assert_same(plain, once)
    assert once[1].reference_tokens == plain[1].reference_tokens / 4


def test_where_likelihoods_are_enough_no_states_are_kept() -> None:
    language_model = with_adapter()
    rows = items(language_model) * 2
    made, _ = with_reference(language_model, rows, ("retain",), ("forget", "retain"))
    forget = [e for item in made for e in item["forget"]]
    assert all(e.reference is None for e in forget)
    step = Step(language_model.model, join_splits(rows, 256))
    expected, _ = step.reference_nll("forget")
    nlls = [e.reference_nll for e in forget]
    found = torch.stack([nll.sum() for nll in nlls if nll is not None])
    assert torch.allclose(found, expected, rtol=1e-5)
    both = [e for item in made for e in item.get("retain", ())]
    assert all(e.reference is not None and e.reference_nll is not None for e in both)


def test_states_that_take_too_much_memory_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    language_model = with_adapter()
    rows = items(language_model) * 4
    most = 8 * sum(len(e.answer_ids) for item in rows for e in item["forget"])
    monkeypatch.setattr("forgetkit.lm.reference.MOST_BYTES", most)
    assert with_reference(language_model, rows, ("forget",)) == (rows, 0)
    assert with_reference(language_model, rows, (), ("forget",))[1]


def test_a_head_that_is_trained_or_capped_keeps_no_states() -> None:
    capped = add_lora(
        tiny.tiny_language_model(model=tiny.gemma2()), rank=4, alpha=8, dropout=0.0, seed=0
    )
    rows = items(capped) * 4
    assert with_reference(capped, rows, ("forget",)) == (rows, 0)


@pytest.mark.parametrize("name", ["npo", "dpo", "yao", "undial", "jensun", "pdu", "wga", "ga"])
def test_a_method_names_the_splits_whose_reference_it_reads(name: str) -> None:
    """What it names is what it reads: with these states known, no pass of the reference runs."""
    language_model = with_adapter()
    method = make_method(name, {})
    named = method.reference_splits(), method.reference_likelihoods()
    made, _ = with_reference(language_model, items(language_model) * 2, *named)
    step = Step(language_model.model, join_splits(made, 256))
    method(step)
    assert step.read["reference"] == 0
    assert any(named) is method.needs_reference()


def test_a_method_with_a_dual_variable_keeps_its_steps_whole() -> None:
    asked: Callable[..., UnlearnConfig] = UnlearnConfig
    assert forward_tokens(asked(method="npo"), "cpu") == 1024
    assert forward_tokens(asked(method="npo", forward_tokens=512), "cpu") == 512
    assert forward_tokens(asked(method="pdu"), "cpu") == 0
    dual = asked(method="simnpo", retain_weight="dual")
    assert forward_tokens(dual, "cpu") == 0
    assert reference_likelihoods(make_method("simnpo", {}), dual) == ("retain",)


def test_a_run_in_parts_forgets_as_a_whole_one(tmp_path: Path) -> None:
    known = tiny.know(tiny.tiny_language_model(), tiny.PASSAGES + tiny.ORDINARY)
    model, data = tiny.save(known, tmp_path / "model"), forget_set(tmp_path / "set")
    whole = unlearn(model, data, tmp_path / "whole", config=settings()).run
    cut = unlearn(model, data, tmp_path / "cut", config=settings(forward_tokens=200)).run
    for one, other in zip(whole["history"], cut["history"], strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-3, abs=1e-5)
