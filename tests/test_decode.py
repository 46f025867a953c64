"""Prompts that were read are not read again, and what is said is what greedy decoding says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import pytest
import tiny
import torch

from forgetkit.lm import packed
from forgetkit.lm.decode import LEAST_ROWS, MOST_BYTES, MOST_ROWS, rows_at_once
from forgetkit.lm.generate import Continuation, Sampling, continuations
from forgetkit.lm.kept import Kept
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.score import score

CUTS = (4, 12, 30, 19)
EXAMPLES = [tiny.text(p[:n], p[n:]) for n, p in zip(CUTS, tiny.PASSAGES, strict=True)]
OTHERS = [tiny.text(p[:n], p[n:]) for n, p in zip(CUTS, tiny.ORDINARY, strict=False)]


@cache
def taught() -> LanguageModel:
    return tiny.know(tiny.tiny_language_model(), tiny.PASSAGES)


def ids(examples: Sequence[Any]) -> list[list[int]]:
    return [list(taught().tokenizer(example.prompt).input_ids) for example in examples]


@contextlib.contextmanager
def tokens_read(language_model: LanguageModel) -> Iterator[list[int]]:
    """Count the tokens of each pass."""
    read: list[int] = []
    table = language_model.model.get_input_embeddings()
    handle = table.register_forward_hook(lambda _module, given, _out: read.append(given[0].numel()))
    yield read
    handle.remove()


def the_librarys_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "packs", lambda _model, _longest: False)


def same(ours: Sequence[Continuation], theirs: Sequence[Continuation]) -> bool:
    values = zip(ours, theirs, strict=True)
    return [c.ids for c in ours] == [c.ids for c in theirs] and all(
        a.log_probability == pytest.approx(b.log_probability, abs=1e-4) for a, b in values
    )


@pytest.mark.parametrize("tokens", [3, 24])
@pytest.mark.parametrize("examples", [EXAMPLES, OTHERS])
def test_prompts_that_were_read_are_continued_alike(
    monkeypatch: pytest.MonkeyPatch, examples: list[Any], tokens: int
) -> None:
    """Answers known by heart, of which more was read than is asked for, and unknown ones."""
    kept = Kept()
    score(taught(), examples, keep=kept)
    with tokens_read(taught()) as read:
        found = continuations(
            taught(), ids(examples), max_new_tokens=tokens, kept=kept, batch_size=9
        )
    assert sum(read) <= len(examples) * (tokens - 1)
    the_librarys_way(monkeypatch)
    assert same(found, continuations(taught(), ids(examples), max_new_tokens=tokens))


def test_what_was_read_is_used_once_and_only_while_there_is_room() -> None:
    asked = ids(EXAMPLES)
    kept, none = Kept(), Kept(most_bytes=0)
    score(taught(), EXAMPLES, keep=kept)
    score(taught(), EXAMPLES, keep=none)
    assert none.take(asked[0]) is None
    found = kept.take(asked[0])
    assert found is not None
    assert found.said == tuple(taught().tokenizer(EXAMPLES[0].answer).input_ids)[: len(found.said)]
    assert len(found) == len(asked[0]) + len(found.said)
    assert kept.take(asked[0]) is None


def test_answers_that_share_a_prompt_leave_it_for_its_continuation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [tiny.text(EXAMPLES[2].prompt, answer) for answer in ("another", "", " third one")]
    kept = Kept()
    apart = [score(taught(), [row])[0] for row in rows]
    with tokens_read(taught()) as read:
        together = score(taught(), rows, keep=kept)
    assert sum(read) == 30 + len("another") - 1 + len(" third one") - 1
    for one, other in zip(apart, together, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-5)
        assert one.argmax_hit == other.argmax_hit
    found = continuations(taught(), ids(rows[:1]), max_new_tokens=9, kept=kept)
    the_librarys_way(monkeypatch)
    assert same(found, continuations(taught(), ids(rows[:1]), max_new_tokens=9))


def test_an_end_token_that_was_read_ends_the_continuation() -> None:
    language_model = tiny.tiny_language_model()
    tiny.know(language_model, [p + "<|end|>" for p in tiny.PASSAGES])
    rows = [tiny.text(p[:30], p[30:] + "<|end|><|end|>") for p in tiny.PASSAGES]
    kept = Kept()
    score(language_model, rows, keep=kept)
    found = continuations(language_model, ids(rows), max_new_tokens=80, kept=kept)
    assert [c.text for c in found] == [p[30:] for p in tiny.PASSAGES]


def test_a_prompt_asked_for_twice_is_continued_once() -> None:
    asked = ids([EXAMPLES[0], EXAMPLES[1], EXAMPLES[0]])
    seen: list[int] = []
    with tokens_read(taught()) as read:
        found = continuations(taught(), asked, max_new_tokens=6, batch_size=9, advance=seen.append)
    assert sum(read) == 4 + 12 + 2 * 5
    assert sum(seen) == 3
    assert found[0] == found[2] != found[1]


def test_a_prompt_drawn_from_twice_is_read_once() -> None:
    asked = ids([EXAMPLES[0]] * 3)
    with tokens_read(taught()) as read:
        found = continuations(
            taught(), asked, max_new_tokens=6, batch_size=9, sampling=Sampling(3, 4.0)
        )
    assert read[0] == 4
    assert len({c.ids for c in found}) > 1


@pytest.mark.parametrize(
    ("sampling", "batch_size"), [(None, 1), (None, 3), (None, 64), (Sampling(7, 1.5), 64)]
)
def test_both_ways_say_the_same(
    monkeypatch: pytest.MonkeyPatch, sampling: Sampling | None, batch_size: int
) -> None:
    """Rows of several lengths that end at several steps, at end tokens of the model's own."""
    language_model = tiny.tiny_language_model(seed=5)
    named: dict[str, Any] = {"max_new_tokens": 20, "batch_size": batch_size, "sampling": sampling}
    language_model.model.generation_config.eos_token_id = list(range(0, 256, 9))
    found = continuations(language_model, ids(EXAMPLES + OTHERS), **named)
    assert len({len(c.ids) for c in found}) > 3
    the_librarys_way(monkeypatch)
    assert same(found, continuations(language_model, ids(EXAMPLES + OTHERS), **named))


def test_as_many_rows_are_continued_at_once_as_there_is_room_for() -> None:
    model = taught().model
    a_token = 2 * 2 * 2 * 8 * 4  # keys and values of 2 layers of 2 heads of 8 numbers of 4 bytes
    assert rows_at_once(model, [5], MOST_BYTES // (100 * a_token)) == 100
    assert rows_at_once(model, [5], MOST_BYTES) == LEAST_ROWS
    assert rows_at_once(model, [5], 10) == MOST_ROWS


def test_rows_that_outgrow_a_sliding_window_take_the_librarys_way() -> None:
    language_model = tiny.tiny_language_model()
    asked = ids(EXAMPLES)
    whole = continuations(language_model, asked, max_new_tokens=8)
    with tokens_read(language_model) as padded:
        language_model.model.config.sliding_window = 37
        found = continuations(language_model, asked, max_new_tokens=8)
    assert padded[0] == 4 * 30
    assert same(whole, found)


def test_in_bfloat16_a_continuation_is_as_likely_as_reading_it_says() -> None:
    language_model = tiny.tiny_language_model(model=tiny.llama().bfloat16())
    found = continuations(language_model, ids(EXAMPLES), max_new_tokens=12)
    for example, continuation in zip(EXAMPLES, found, strict=True):
        row = torch.tensor([[*ids([example])[0], *continuation.ids]])
        with torch.no_grad():
            logits = language_model.model(input_ids=row).logits[0, len(ids([example])[0]) - 1 : -1]
        table = logits.float().log_softmax(1)
        read = table.gather(1, torch.tensor(continuation.ids)[:, None])[:, 0]
        assert continuation.log_probability == pytest.approx(read.tolist(), abs=0.2)
