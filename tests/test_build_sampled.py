from __future__ import annotations

from typing import Any

import pytest
import tiny

from forgetkit.build.books import Books
from forgetkit.build.config import BuildConfig
from forgetkit.build.mismatch import shares_words
from forgetkit.build.sampled import sampled_alternatives
from forgetkit.errors import InputError
from forgetkit.forget_set import Example
from forgetkit.lm.load import LanguageModel
from forgetkit.progress import Silent

FORGET = [
    tiny.text(" ".join(p.split()[:3]), " " + " ".join(p.split()[3:])) for p in tiny.PASSAGES[:2]
]


@pytest.fixture(scope="module")
def knows() -> LanguageModel:
    texts = [*tiny.PASSAGES[:2], *tiny.ORDINARY]
    return tiny.know(tiny.tiny_language_model(), texts, steps=200)


def drawn(model: LanguageModel, **named: Any) -> tuple[list[Example], Books]:
    books = Books()
    config = BuildConfig.model_validate({"answer_tokens": 24} | named)
    found = sampled_alternatives(model, FORGET, config, encode=None, books=books, progress=Silent())
    return found, books


def test_a_model_that_knows_the_text_still_gives_another_answer(knows: LanguageModel) -> None:
    found, _ = drawn(knows, mismatch_answers=2)
    by_id = {e.example_id: e for e in FORGET}
    assert {e.pair_of for e in found} == set(by_id)
    for other in found:
        truth = by_id[other.pair_of]
        assert other.variant == "alternative"
        assert other.prompt == truth.prompt
        assert other.answer.startswith(" ")
        assert other.answer != truth.answer
        assert not shares_words(other.answer, truth.answer)


def test_the_seed_decides_the_alternatives(knows: LanguageModel) -> None:
    first, again, other = (drawn(knows, seed=seed)[0] for seed in (3, 3, 4))
    assert first == again
    assert [e.answer for e in first] != [e.answer for e in other]


def test_prompts_without_another_answer_are_named(
    knows: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forgetkit.build.sampled.shares_words", lambda answer, truth: True)
    with pytest.raises(InputError, match="no answer unlike the true one; found 2 of 2"):
        drawn(knows)
