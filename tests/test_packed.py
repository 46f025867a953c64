"""Rows stand end to end without padding, and no state and no gradient changes by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tiny
import torch

from forgetkit.lm import packed
from forgetkit.lm.encode import Encoded, answer_hidden, collate
from forgetkit.lm.layers import checkpoint_layers
from forgetkit.lm.packed import can_pack, pack, packed_attention
from forgetkit.lm.shared import can_share
from forgetkit.lm.step import Step, join_splits


def ids(first: int, size: int) -> tuple[int, ...]:
    return tuple((first * 7 + 3 * n) % 250 for n in range(size))


ROWS = [
    Encoded("a", ids(1, 20), ids(2, 5)),
    Encoded("b", ids(3, 4), ids(4, 31)),
    Encoded("c", ids(1, 20), ids(5, 9)),
]


def with_tables() -> Any:
    """Return a model that learns its positions and asks for them."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=tiny.VOCABULARY, n_embd=32, n_layer=2, n_head=4)
    config.attn_pdrop = config.resid_pdrop = config.embd_pdrop = 0.0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GPT2LMHeadModel(config).eval()


def recurrent() -> Any:
    """Return a model whose state goes on from one row to the next."""
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(
        vocab_size=tiny.VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=8
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MambaForCausalLM(config).eval()


def slopes(model: Any, states: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    states.pow(3).sum().backward()  # type: ignore[no-untyped-call]
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("units", [[[0], [1], [2]], [[2, 0], [1]], [[1]]])
@pytest.mark.parametrize("short", [256, 10])
def test_states_and_slopes_are_those_of_separate_rows(
    monkeypatch: pytest.MonkeyPatch, units: list[list[int]], short: int
) -> None:
    """With heads that share keys, rows that share a prompt, and either kernel."""
    monkeypatch.setattr(packed, "SHORT", short)
    model, batch = tiny.llama(), collate(ROWS, 0)
    apart = answer_hidden(model, batch)
    part, tokens = pack(batch, units)
    with packed_attention(model, part["packed"]):
        together = answer_hidden(model, part)
    assert torch.allclose(together, apart[tokens], atol=1e-5)
    for ours, theirs in zip(slopes(model, together), slopes(model, apart[tokens]), strict=True):
        assert float((ours - theirs).norm()) < 1e-5 * float(theirs.norm())


def test_no_token_is_padding_and_a_shared_prompt_stands_once() -> None:
    batch = collate(ROWS, 0)
    part, tokens = pack(batch, [[0, 2], [1]])
    assert part["input_ids"].shape == (1, 20 + 5 + 9 + 35)
    assert part["packed"] == [(20, 5, 9), (35,)]
    assert part["position_ids"].max() == 34
    assert tokens.tolist() == list(range(45))


@pytest.mark.parametrize(
    ("make", "packs"),
    [(tiny.llama, True), (with_tables, True), (tiny.gemma2, False), (recurrent, False)],
)
def test_models_that_cannot_pack_do_not(make: Callable[[], Any], packs: bool) -> None:
    """Gemma 2 caps its scores; the losses of a step are the same whatever was chosen."""
    model = make()
    assert can_pack(model) is packs
    before = model.config._attn_implementation
    step = Step(model, join_splits([{"forget": [row]} for row in ROWS], 0))
    together = step.token_nll("forget")
    assert model.config._attn_implementation == before
    alone = [Step(model, join_splits([{"forget": [row]}], 0)).token_nll("forget") for row in ROWS]
    assert torch.allclose(together, torch.cat(alone), atol=1e-4)
    assert ("packed" in step._groups()[0].batch) is packs


def test_rows_longer_than_a_sliding_window_and_recomputed_layers_are_not_packed() -> None:
    model = tiny.llama()
    batch = join_splits([{"forget": [row]} for row in ROWS], 0)
    assert "packed" in Step(model, batch)._groups()[0].batch
    model.config.sliding_window = 34
    assert "packed" not in Step(model, batch)._groups()[0].batch
    model.config.sliding_window = 35
    assert "packed" in Step(model, batch)._groups()[0].batch
    checkpoint_layers(model)
    assert "packed" not in Step(model, batch)._groups()[0].batch


@pytest.mark.parametrize("short", [256, 10])
def test_a_models_own_dropout_of_attention_is_kept(
    monkeypatch: pytest.MonkeyPatch, short: int
) -> None:
    monkeypatch.setattr(packed, "SHORT", short)
    model, batch = tiny.llama(), collate(ROWS, 0)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    part, _ = pack(batch, [[0], [1], [2]])
    model.train()
    torch.manual_seed(0)
    with torch.no_grad(), packed_attention(model, part["packed"]):
        drawn = torch.stack([answer_hidden(model, part) for _ in range(2)])
        model.eval()
        whole = torch.stack([answer_hidden(model, part) for _ in range(2)])
    assert float((drawn[0] - drawn[1]).norm()) > 0.1 * float(drawn[0].norm())
    assert torch.equal(whole[0], whole[1])


def test_in_bfloat16_packed_rows_are_no_less_exact() -> None:
    model, batch = tiny.llama().bfloat16(), collate(ROWS, 0)
    exact = tiny.llama().bfloat16().float()
    part, _ = pack(batch, [[0], [1], [2]])
    with torch.no_grad():
        expected, apart = answer_hidden(exact, batch), answer_hidden(model, batch)
        with packed_attention(model, part["packed"]):
            together = answer_hidden(model, part)
    assert together.dtype == torch.bfloat16
    assert float((together - expected).norm()) < 1.2 * float((apart - expected).norm())


def test_rounding_in_bfloat16_is_not_taken_for_a_row_that_sees_another() -> None:
    """After 32 layers the farthest value is off by .15 of what no mask would do to it."""
    for seed in (3, 4):
        model = tiny.llama(seed, layers=32).bfloat16()
        assert can_pack(model)
        assert can_share(model)
    assert not can_pack(recurrent().bfloat16())
