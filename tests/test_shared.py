"""A prompt is read once for all its answers, and no loss and no gradient changes by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetkit.lm.adapter import add_lora
from forgetkit.lm.encode import Encoded, collate
from forgetkit.lm.shared import (
    can_share,
    joined_length,
    joined_rows,
    longest_shared,
    rows_by_prompt,
)
from forgetkit.lm.step import Item, Step, join_splits
from forgetkit.unlearn import make_method


def ids(first: int, size: int) -> tuple[int, ...]:
    return tuple((first * 7 + 3 * n) % 250 for n in range(size))


def items(others: int = 3) -> list[Item]:
    """Return three items: two prompts, answers of unlike lengths, a mask, a weight."""
    made: list[Item] = []
    for number, prompt in enumerate((ids(1, 20), ids(2, 16), ids(1, 20))):
        forget = Encoded(f"f{number}", prompt, ids(10 + number, 6 + number), weight=0.5 + number)
        if number == 1:
            forget = replace(forget, counted=(False, True, True, False, True, True, False))
        answers = [Encoded("m", prompt, ids(20 + n, 4 + 3 * n)) for n in range(others)]
        retain = Encoded("r", ids(30 + number, 8), ids(40, 5))
        made.append({"forget": [forget], "mismatch": answers, "retain": [retain]})
    return made


def losses_and_gradients(
    model: Any, method: Any, rows: list[Item], *, share: bool
) -> tuple[dict[str, float], list[torch.Tensor], dict[str, int]]:
    model.zero_grad()
    step = Step(model, join_splits(rows, 256), share=share)
    found = method(step)
    total: Any = torch.stack(list(found.values())).sum()
    total.backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.requires_grad]
    return {name: float(value.detach()) for name, value in found.items()}, gradients, step.read


@pytest.mark.parametrize("name", ["yao", "dpo", "altpo", "jensun", "wga"])
def test_losses_and_gradients_are_those_of_separate_rows(name: str) -> None:
    language_model = add_lora(tiny.tiny_language_model(), rank=4, alpha=8, dropout=0.0, seed=0)
    with torch.no_grad():
        for parameter in language_model.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02)
    method, rows = make_method(name, {}), items(1 if name != "yao" else 3)
    assert can_share(language_model.model)
    apart = losses_and_gradients(language_model.model, method, rows, share=False)
    together = losses_and_gradients(language_model.model, method, rows, share=True)
    assert together[0] == pytest.approx(apart[0], rel=1e-5)
    for ours, theirs in zip(together[1], apart[1], strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    # 20 tokens stand in two items, each with its forget answer and the others: read once
    used = [name for name in ("forget", "mismatch") if name in method.reads]
    times = {20: 2 * len(rows[0]["mismatch"]) + 2, 16: len(rows[0]["mismatch"]) + 1}
    if used == ["forget", "mismatch"]:
        saved = sum(length * (count - 1) for length, count in times.items())
        assert apart[2]["model"] - together[2]["model"] == saved
    assert apart[2]["reference"] == together[2]["reference"]


def plain() -> Any:
    return tiny.llama()


def blind() -> Any:
    """Return a model that heeds no mask: its answers would see each other."""
    model = tiny.llama()
    forward = model.model.forward
    model.model.forward = lambda **named: forward(**(named | {"attention_mask": None}))
    return model


def with_tables() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=tiny.VOCABULARY, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GPT2LMHeadModel(config).eval()


@pytest.mark.parametrize(
    ("make", "shares"), [(plain, True), (with_tables, True), (blind, False), (tiny.gemma2, None)]
)
def test_models_that_cannot_share_do_not(make: Callable[[], Any], shares: bool | None) -> None:
    """Gemma 2 may or may not, by its attention: its losses have to agree all the same."""
    model = make()
    if shares is not None:
        assert can_share(model) is shares
    values = []
    for share in (False, True):
        step = Step(model, join_splits(items(), 256), share=share)
        values.append(torch.cat([step.token_nll("forget"), step.token_nll("mismatch")]))
    assert torch.allclose(values[0], values[1], atol=1e-4)


def test_rows_longer_than_a_sliding_window_are_not_joined() -> None:
    model = tiny.gemma2()
    model.config.sliding_window = 30
    assert longest_shared(model) == 30
    batch = collate([Encoded("", ids(1, 20), ids(n, 10)) for n in range(2)], 0)
    assert rows_by_prompt(batch, 32, None) == [[0, 1]]
    assert rows_by_prompt(batch, 32, 40) == [[0, 1]]
    assert rows_by_prompt(batch, 32, 39) == [[0], [1]]


def test_long_answers_to_a_short_prompt_are_not_joined() -> None:
    batch = collate([Encoded("", (1, 2), ids(n, 200)) for n in range(4)], 0)
    assert rows_by_prompt(batch, 32, None) == [[0], [1], [2], [3]]
    batch = collate([Encoded("", ids(9, 15), ids(n, 5)) for n in range(4)], 0)
    assert rows_by_prompt(batch, 32, None) == [[0], [1], [2], [3]]
    batch = collate([Encoded("", ids(9, 200), ids(n, 5)) for n in range(4)], 0)
    assert rows_by_prompt(batch, 32, None) == [[0, 1, 2, 3]]


def test_rows_that_are_not_joined_keep_their_order() -> None:
    """Sums in another order round otherwise, and a training goes another way."""
    prompts = [(1,), (2,), (1,), (3,), (2,)]
    batch = collate([Encoded("", p, ids(n, 5)) for n, p in enumerate(prompts)], 0)
    assert rows_by_prompt(batch, 32, None) == [[0], [1], [2], [3], [4]]


def test_without_a_mask_long_answers_are_joined_too() -> None:
    batch = collate([Encoded("", ids(9, 16), ids(n, 600)) for n in range(3)], 0)
    assert rows_by_prompt(batch, 32, None) == [[0], [1], [2]]
    assert rows_by_prompt(batch, 32, None, masked=False) == [[0, 1, 2]]
    assert rows_by_prompt(batch, 32, 1300, masked=False) == [[0, 1], [2]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6)), min_size=1, max_size=7))
def test_a_joined_row_holds_each_token_once_at_its_own_place(rows: list[tuple[int, int]]) -> None:
    prompts = [ids(n, 3 + n) for n in range(3)]
    encoded = [Encoded("", prompts[p], ids(50 + n, size)) for n, (p, size) in enumerate(rows)]
    batch = collate(encoded, 0)
    groups: dict[int, list[int]] = {}
    for number, (prompt, _) in enumerate(rows):
        groups.setdefault(prompt, []).append(number)
    part, tokens = joined_rows(batch, list(groups.values()))
    assert tokens.tolist() == list(range(len(batch["row"])))
    shared, lengths = batch["prompt_length"].tolist(), batch["attention_mask"].sum(1).tolist()
    longest = max(joined_length(group, lengths, shared) for group in groups.values())
    assert part["input_ids"].shape == (len(groups), longest)
    for number in range(len(tokens)):
        line, at = int(part["row"][number]), int(part["position"][number])
        own, place = encoded[int(batch["row"][number])], int(batch["place"][number])
        seen = part["attention_mask"][line, 0, at].nonzero().squeeze(1)
        order = part["position_ids"][line, seen].argsort()
        read = part["input_ids"][line, seen][order].tolist()
        assert tuple(read) == own.prompt_ids + own.answer_ids[:place]
        assert part["position_ids"][line, seen].sort().values.tolist() == list(range(len(seen)))
