from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import tiny

from forgetkit.build.books import Books
from forgetkit.build.config import BuildConfig
from forgetkit.build.mismatch import mismatched, nearness
from forgetkit.build.neutral import NEUTRAL, REFUSALS
from forgetkit.errors import InputError
from forgetkit.forget_set import Example

TRUTH = tiny.text("The owl kept", " seven keys under the third stair of the old mill.")


def answers(kind: str, pool: Sequence[str], **named: object) -> list[str]:
    config = BuildConfig.model_validate(named)
    return [e.answer for e in mismatched([TRUTH], pool, config, kind)]


def test_an_answer_that_repeats_the_true_one_is_never_given() -> None:
    near = "They hid it under the third stair of the old mill."
    far = "A river carries sand to the sea and leaves it there."
    for seed in range(8):
        assert answers("ordinary", [near, far], seed=seed) == [f" {far}"]
    with pytest.raises(InputError, match="every other answer is near the true one"):
        answers("ordinary", [near])


def test_an_answer_of_the_same_meaning_is_never_given() -> None:
    def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.array(
            [(1, 0) if "bird" in t or "owl" in t else (0, 1) for t in texts], np.float32
        )

    books = Books()
    pool = ["The bird had some of them.", "Snow falls in winter."]
    found = mismatched([TRUTH], pool, BuildConfig(), "ordinary", encode=encode, books=books)
    assert [e.answer for e in found] == [" Snow falls in winter."]
    assert books.counts == {"mismatch answers near the true one by meaning": 1}
    assert nearness([TRUTH], pool, encode).by_meaning == {(0, 0)}


def test_answers_are_the_nearest_in_length() -> None:
    pool = [f"{chr(97 + n)}" * (50 + n) for n in range(20)] + ["z" * n for n in range(400, 420)]
    for seed in range(8):
        assert len(answers("ordinary", pool, seed=seed)[0]) <= 67


def test_k_answers_differ_while_there_are_others() -> None:
    pool = [f"word{n}" for n in range(4)]
    assert len(set(answers("ordinary", pool, mismatch_answers=4))) == 4
    assert len(answers("ordinary", pool, mismatch_answers=6)) == 6


def test_the_order_of_the_pool_changes_nothing_and_the_seed_does() -> None:
    pool = [f"word{n}" for n in range(16)]
    assert answers("ordinary", pool) == answers("ordinary", pool[::-1])
    assert len({answers("ordinary", pool, seed=seed)[0] for seed in range(8)}) > 1


@pytest.mark.parametrize(("kind", "pool"), [("neutral", NEUTRAL), ("refusal", REFUSALS)])
def test_stock_answers_vary_and_have_the_form_of_forget(kind: str, pool: tuple[str, ...]) -> None:
    pair = Example("pair", "q?", "a", template="chat")
    found = mismatched([pair, TRUTH] * 10, pool, BuildConfig(), kind)
    assert len({e.answer.strip() for e in found}) > 5
    assert all(e.answer.startswith(" ") == (e.template == "plain") for e in found)
    assert {e.variant for e in found} == {kind}
    assert len(set(pool)) == len(pool)


def test_an_empty_pool_is_an_error() -> None:
    with pytest.raises(InputError, match="no ordinary answers to mismatch with"):
        answers("ordinary", [])
