"""Layers that two models have in common are read once, and every number stays the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import tiny
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from forgetkit.lm.adapter import AdapterSettings, add_adapter
from forgetkit.lm.common import CommonLayers
from forgetkit.lm.generate import continuations
from forgetkit.lm.kept import Kept
from forgetkit.lm.layers import decoder_layers, layers_in_common
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.score import score

EXAMPLES = [tiny.text(passage[:20], passage[20:50]) for passage in tiny.PASSAGES] + [
    tiny.text(tiny.PASSAGES[0][:20], "another answer")
]


def model(moved: int | None = None) -> LanguageModel:
    """Build a model of four layers, of which one may be moved."""
    found = tiny.tiny_language_model(layers=4)
    if moved is not None:
        with torch.no_grad():
            decoder_layers(found.model)[moved].mlp.up_proj.weight.add_(0.1)  # type: ignore[union-attr,operator]
    return found


@contextmanager
def calls_of(language_model: LanguageModel, layer: int) -> Iterator[list[int]]:
    """Note the tokens that a layer reads in each pass, but for trials with a few tokens."""
    seen: list[int] = []

    def note(_module: torch.nn.Module, given: tuple[torch.Tensor], _output: torch.Tensor) -> None:
        if given[0].shape[1] > 20:
            seen.append(given[0].shape[1])

    mlp = decoder_layers(language_model.model)[layer].mlp
    handle = mlp.register_forward_hook(note)  # type: ignore[union-attr]
    yield seen
    handle.remove()


def test_layers_below_the_first_that_differs_are_in_common() -> None:
    for moved in range(4):
        assert layers_in_common(model().model, model(moved).model) == moved
    assert layers_in_common(model().model, model().model) == 4


@pytest.mark.parametrize("where", ["embed_tokens", "norm"])
def test_models_that_differ_around_their_layers_have_none_in_common(where: str) -> None:
    other = model(3)
    with torch.no_grad():
        getattr(other.model.model, where).weight.mul_(2)
    assert layers_in_common(model().model, other.model) == 0


def test_models_of_other_settings_have_none_in_common() -> None:
    other = model(3)
    other.model.config.rms_norm_eps = 0.1
    assert layers_in_common(model().model, other.model) == 0
    small = GPT2LMHeadModel(GPT2Config(n_layer=4, n_embd=32, n_head=2, vocab_size=tiny.VOCABULARY))
    assert layers_in_common(model().model, small) == 0


def test_an_adapter_on_the_upper_layers_leaves_the_lower_ones_in_common() -> None:
    adapted = add_adapter(model(), AdapterSettings(rank=2, layers=(2, 3)), seed=0)
    assert layers_in_common(model().model, adapted.model) == 2


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_what_the_first_model_read_serves_the_second(keep: bool, again: bool) -> None:
    before, after = model(), model(2)
    common = CommonLayers(partial(layers_in_common, before.model, after.model), again=again)
    prompts = Kept() if keep else None
    score(before, EXAMPLES, keep=Kept() if keep else None, common=common)
    with calls_of(after, 1) as lower, calls_of(after, 2) as upper:
        found = score(after, EXAMPLES, keep=prompts, common=common)
    assert (lower, len(upper)) == ([], 1)
    assert found == score(after, EXAMPLES)
    with calls_of(after, 1) as lower:
        assert score(after, EXAMPLES, common=common) == found
    assert len(lower) == (0 if again else 1)
    if prompts is not None:
        ids = [tuple(after.tokenizer(e.prompt).input_ids) for e in EXAMPLES]
        said = continuations(after, ids, max_new_tokens=12, kept=prompts)
        apart = continuations(after, ids, max_new_tokens=12)
        assert [one.ids for one in said] == [other.ids for other in apart]


def test_what_has_no_room_is_read_again() -> None:
    before, after = model(), model(2)
    common = CommonLayers(lambda: 2, most_bytes=100)
    score(before, EXAMPLES, common=common)
    with calls_of(after, 1) as lower:
        assert score(after, EXAMPLES, common=common) == score(after, EXAMPLES)
    assert len(lower) == 2


def test_states_without_keys_serve_no_reading_that_wants_them() -> None:
    before, after = model(), model(2)
    common = CommonLayers(lambda: 2)
    score(before, EXAMPLES, common=common)
    with calls_of(after, 1) as lower:
        found = score(after, EXAMPLES, keep=Kept(), common=common)
    assert found == score(after, EXAMPLES)
    assert len(lower) == 1


def test_a_failing_reading_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = model(), model(2)
    common = CommonLayers(lambda: 2, again=True)
    score(before, EXAMPLES, common=common)
    with monkeypatch.context() as broken:
        broken.setattr("forgetkit.lm.score.answer_scores", lambda *_a, **_b: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            score(after, EXAMPLES, common=common)
    assert score(after, EXAMPLES) == score(after, EXAMPLES, common=common)
    assert "forward" not in decoder_layers(after.model)[0].__dict__
