from __future__ import annotations

import pytest
import tiny

from forgetkit.build.alternatives import alternatives
from forgetkit.build.config import BuildConfig
from forgetkit.corpus import Document
from forgetkit.errors import InputError

FORGET = [tiny.text("The owl kept", " seven keys."), tiny.text("Nobody asked", " why.")]


def row(prompt: str, answer: str) -> Document:
    return Document("d", "f:1", "", prompt=prompt, answer=answer)


def test_each_prompt_gets_its_own_answers_k_at_most() -> None:
    rows = [row("The owl kept ", "a" * k) for k in (1, 2, 3)] + [row("Nobody asked", " at all")]
    found = alternatives(FORGET, rows, BuildConfig(mismatch_answers=2))
    assert [e.answer for e in found] == [" a", " aa", " at all"]
    assert {e.variant for e in found} == {"alternative"}
    assert [e.pair_of for e in found] == [FORGET[k].example_id for k in (0, 0, 1)]


def test_a_prompt_without_an_answer_is_an_error() -> None:
    with pytest.raises(InputError, match="1 of 2 without an answer"):
        alternatives(FORGET, [row("Nobody asked", "why"), row("Else", "x")], BuildConfig())
