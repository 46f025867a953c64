from __future__ import annotations

from functools import cache

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from forgetkit.errors import InputError
from forgetkit.forget_set import Example
from forgetkit.lm.generate import continuations
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.score import (
    Score,
    exact_memorization,
    extraction_strength,
    score,
)

EXAMPLES = [tiny.text(p[:n], p[n:]) for n, p in zip((5, 20, 40, 9), tiny.PASSAGES, strict=True)]


@cache
def taught() -> LanguageModel:
    return tiny.know(tiny.tiny_language_model(), tiny.PASSAGES + tiny.ORDINARY)


def assert_same(left: Score, right: Score) -> None:
    assert left.example_id == right.example_id
    assert left.argmax_hit == right.argmax_hit
    assert left.log_probability == pytest.approx(right.log_probability, abs=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_padding_batch_and_order_change_no_score(architecture: str) -> None:
    """Trap 1, trap 2: alone, together, reversed or in small batches: the same numbers."""
    model = tiny.llama() if architecture == "llama" else tiny.gemma2()
    language_model = tiny.tiny_language_model(model=model)
    alone = [score(language_model, [e])[0] for e in EXAMPLES]
    together = score(language_model, EXAMPLES)
    backwards = score(language_model, EXAMPLES[::-1])[::-1]
    small = score(language_model, EXAMPLES, batch_tokens=140)
    for others in (together, backwards, small):
        for one, other in zip(alone, others, strict=True):
            assert_same(one, other)


def test_scores_do_not_depend_on_the_pad_id() -> None:
    language_model = tiny.tiny_language_model()
    before = score(language_model, EXAMPLES)
    language_model.tokenizer.pad_token = "a"
    for one, other in zip(before, score(language_model, EXAMPLES), strict=True):
        assert_same(one, other)


def test_a_score_is_what_the_models_own_logits_say() -> None:
    language_model = tiny.tiny_language_model()
    ids = language_model.tokenizer(tiny.PASSAGES[1], return_tensors="pt").input_ids
    with torch.no_grad():
        logits = language_model.model(input_ids=ids).logits[0]
    found = score(language_model, [EXAMPLES[1]])[0]
    table = logits.log_softmax(1)
    expected = [float(table[i - 1, ids[0, i]]) for i in range(20, ids.shape[1])]
    assert found.log_probability == pytest.approx(expected, abs=1e-5)
    assert list(found.argmax_hit) == [
        bool(logits[i - 1].argmax() == ids[0, i]) for i in range(20, ids.shape[1])
    ]
    assert found.nll == pytest.approx(-sum(expected) / len(expected), abs=1e-5)


def test_an_example_without_answer_tokens_has_no_number() -> None:
    found = score(tiny.tiny_language_model(), [tiny.text("prompt", "")])[0]
    assert found.log_probability == ()
    assert extraction_strength(found.argmax_hit) is None


def test_nothing_to_score_is_nothing() -> None:
    assert score(tiny.tiny_language_model(), []) == []


def test_scoring_leaves_the_mode_of_the_model_as_it_was() -> None:
    language_model = tiny.tiny_language_model()
    language_model.model.train()
    score(language_model, EXAMPLES)
    assert language_model.model.training


def test_a_broken_model_is_refused() -> None:
    language_model = tiny.tiny_language_model()
    with torch.no_grad():
        next(language_model.model.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="not finite"):
        score(language_model, EXAMPLES)


@pytest.mark.parametrize(
    ("hits", "strength", "exact"),
    [
        ([True, True, True], 1.0, 1.0),
        ([False, False, False], 0.0, 0.0),
        ([], None, None),
        ([True], 1.0, 1.0),
        ([False], 0.0, 0.0),
        ([True, True, True, False], 0.0, 0.75),
        ([True, False, True, True], 0.5, 0.75),
    ],
)
def test_memorisation_is_as_defined(
    hits: list[bool], strength: float | None, exact: float | None
) -> None:
    """Trap 5: nothing right is 0, not 1/n; nothing to say is null."""
    assert extraction_strength(hits) == strength
    assert exact_memorization(hits) == exact


@given(st.lists(st.booleans(), min_size=1))
def test_extraction_strength_is_at_most_exact_memorization(hits: list[bool]) -> None:
    strength, exact = extraction_strength(hits), exact_memorization(hits)
    assert strength is not None
    assert exact is not None
    assert 0 <= strength <= exact <= 1


@pytest.mark.parametrize("cut", [3, 10, 25])
def test_extraction_strength_is_what_greedy_decoding_recovers(cut: int) -> None:
    """Given the first k* tokens greedy decoding says the rest, given one less it does not."""
    language_model = taught()
    for passage in (*tiny.PASSAGES, *tiny.ELSEWHERE, *tiny.ORDINARY[:2]):
        example: Example = tiny.text(passage[:cut], passage[cut:])
        hits = score(language_model, [example])[0].argmax_hit
        strength = extraction_strength(hits)
        assert strength is not None
        unknown = round((1 - strength) * len(hits))

        def says(given: int, passage: str = passage) -> str:
            prompt = language_model.tokenizer(passage[: cut + given]).input_ids
            rest = len(passage) - cut - given
            return continuations(language_model, [prompt], max_new_tokens=rest)[0].text

        if unknown < len(hits):
            assert says(unknown) == passage[cut + unknown :]
        if unknown:
            assert says(unknown - 1) != passage[cut + unknown - 1 :]


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_mean_and_deviation_are_those_of_the_models_own_distribution(architecture: str) -> None:
    model = tiny.llama() if architecture == "llama" else tiny.gemma2()
    language_model = tiny.tiny_language_model(model=model)
    plain = score(language_model, EXAMPLES)
    found = score(language_model, EXAMPLES, spread=True)
    for one, other, example in zip(plain, found, EXAMPLES, strict=True):
        assert_same(one, other)
        assert (one.mean, one.deviation) == ((), ())
        ids = language_model.tokenizer(example.prompt + example.answer, return_tensors="pt")
        with torch.no_grad():
            logits = model(input_ids=ids.input_ids).logits[0, len(example.prompt) - 1 : -1]
        table = logits.double().log_softmax(1)
        mean = (table.exp() * table).sum(1)
        square = (table.exp() * table**2).sum(1)
        assert other.mean == pytest.approx(mean.tolist(), abs=1e-4)
        assert other.deviation == pytest.approx((square - mean**2).sqrt().tolist(), abs=1e-3)
