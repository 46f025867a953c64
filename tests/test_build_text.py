from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from forgetkit.build.candidates import distinct, mean_weight_one
from forgetkit.build.config import BuildConfig
from forgetkit.build.pairs import pairs_of_spans
from forgetkit.build.passages import Passage, passages
from forgetkit.build.text import forget_examples, window_of_document, windows_of_works
from forgetkit.build.windows import Window, mask_of
from forgetkit.corpus import Document, Work
from forgetkit.errors import InputError
from forgetkit.forget_set import Example, ForgetSet, read_forget_set, write_forget_set
from forgetkit.spans import Span

STORY = "One two three four. Five six seven eight nine. Ten eleven twelve thirteen fourteen."


def passage(text: str = STORY, **named: object) -> Passage:
    fields: dict[str, object] = {"group": "g", "work_id": "w", "text": text, "start": 0,
                                 "end": len(text), "copies": 1, "source": "w[0:1]"}  # fmt: skip
    return Passage(**(fields | named))  # type: ignore[arg-type]


def config(**named: object) -> BuildConfig:
    return BuildConfig.model_validate(
        {
            "prompt_words": 4,
            "answer_words": 4,
            "stride_words": 2,
            "starts": ["sliding"],
            "other_prompt_words": [],
        }
        | named
    )


def span(start: int, end: int, **named: object) -> Span:
    fields: dict[str, object] = {
        "doc_id": "d", "source": "c:1", "field": "text", "start": 0, "end": end - start,
        "detector": "verbatim", "category": "copy", "score": 1.0, "text": "x", "work_id": "w",
        "work_start": start, "work_end": end, "cluster_id": "c",
    }  # fmt: skip
    return Span(**(fields | named))  # type: ignore[arg-type]


def test_windows_start_at_sentences_where_asked() -> None:
    made = forget_examples(passage(), config(starts=["sentences"]))
    assert [e.prompt for e in made] == ["One two three four.", "Five six seven eight"]


@pytest.mark.parametrize("length", [3, 8, 9, 30])
def test_the_first_words_of_a_passage_are_an_answer_once(length: int) -> None:
    """A prompt of four words shows words that no other window asks for."""
    text = " ".join(f"w{number}" for number in range(length))
    asked = config(starts=["sliding", "opening"])
    made = forget_examples(passage(text), asked)
    plain = forget_examples(passage(text), config())
    assert made[: len(plain)] == plain
    added = made[len(plain) :]
    assert len(added) == (length >= 9)  # a prompt of one word and an answer of eight
    for example in added:
        assert example.prompt == "w0"
        assert example.answer.split() == ["w1", "w2", "w3", "w4"]


def test_every_prefix_length_gives_windows_of_its_own() -> None:
    one = forget_examples(passage(), config())
    both = forget_examples(passage(), config(other_prompt_words=[6]))
    assert {len(e.prompt.split()) for e in one} == {4}
    assert {len(e.prompt.split()) for e in both} == {4, 6}
    assert both[: len(one)] == one


def test_an_answer_keeps_the_words_that_fit_in_its_tokens() -> None:
    """One token a byte: " five six" are 9."""
    text = "one two three four five six seven eight nine"
    tokenizer = tiny.byte_tokenizer()
    made = forget_examples(passage(text), config(answer_tokens=9), tokenizer)
    assert made[0].answer == " five six"
    assert made[0].source.endswith(f"[0:{text.index(' five')}:{text.index(' seven')}]")
    assert forget_examples(passage(text), config(answer_tokens=99), tokenizer)[0].answer == (
        " five six seven eight"
    )


def test_only_what_some_copy_holds_takes_the_loss() -> None:
    text = "z a b c d e f g h"
    spans = [span(0, 13), span(16, 17)]  # z to f, and h
    work = Work("w", "w", text)
    found = passages(spans, [work])
    assert [(p.start, p.end, p.copies, p.protected) for p in found] == [
        (0, 17, 2, ((0, 13), (16, 17)))
    ]
    made = forget_examples(found[0], config())
    assert [(e.answer, e.answer_mask) for e in made] == [
        (" d e f g", ((0, 6),)),
        (" e f g h", ((0, 4), (7, 8))),
    ]


def test_a_window_with_nothing_protected_is_left_out() -> None:
    text = " ".join("abcdefghijklmnopqrst")
    found = forget_examples(passage(text, protected=((0, 9), (36, 39))), config())
    assert all(e.answer_mask == () or e.answer_mask[0][1] > 0 for e in found)
    answers = [e.answer for e in found]
    assert " e f g h" in answers
    assert not [a for a in answers if set(a.split()) <= set("fghijklmnopqr")]


@given(st.text("ab \n", max_size=40), st.data())
def test_masks_mark_the_protected_letters_and_no_other(text: str, data: st.DataObject) -> None:
    places = st.integers(0, len(text))
    middle = data.draw(places)
    ranges = [tuple(sorted((data.draw(places), data.draw(places)))) for _ in range(2)]
    window = Window(0, middle, len(text))
    answer = window.of(text)[1]
    mask = mask_of(text, window, [(a, b) for a, b in ranges])
    wanted = [
        any(a <= i < b for a, b in ranges)
        for i in range(middle, len(text))
        if not text[i].isspace()
    ]
    if mask is None:
        assert not any(wanted)
        return
    marked = [not mask or any(a <= i < b for a, b in mask) for i in range(len(answer))]
    letters = [m for m, c in zip(marked, answer, strict=True) if c != " "]
    assert letters == wanted


def test_one_cluster_in_two_works_gives_a_passage_of_each() -> None:
    works = [Work("v", "v", STORY), Work("w", "w", STORY)]
    found = passages([span(0, 9), span(0, 9, work_id="v")], works)
    assert [p.work_id for p in found] == ["v", "w"]


def test_a_passage_weighs_its_copies_where_asked() -> None:
    once, thrice = passage(group="a"), passage(STORY.upper(), group="b", copies=3)
    made = [e for p in (once, thrice) for e in forget_examples(p, config(weight_by_copies=True))]
    weights = {e.group: e.weight for e in mean_weight_one(made)}
    assert weights == {"a": 0.5, "b": 1.5}
    assert {e.weight for e in forget_examples(thrice, config())} == {1.0}


def test_a_private_piece_of_an_answer_is_marked_and_a_harmful_answer_is_not() -> None:
    asked = {"field": "answer", "prompt": "Who?", "answer": "It is Ann Lee."}
    name = replace(span(0, 0, detector="pattern", **asked), start=6, end=13)
    harm = replace(name, detector="harm")
    assert pairs_of_spans([name], config())[0].answer_mask == ((6, 13),)
    assert pairs_of_spans([name, harm], config())[0].answer_mask == ()
    plain = pairs_of_spans([name], config(template="plain"))[0]
    assert plain.prompt == "### Question: Who?\n### Answer:"
    start, end = plain.answer_mask[0]
    assert plain.answer[start:end] == "Ann Lee"


def test_holdout_windows_take_the_lengths_of_forget_in_turn() -> None:
    text = " ".join(f"A{n} b c d e f g h." for n in range(8))
    found = windows_of_works([Work("h", "h", text)], config(), [(4, 4), (2, 3)])
    assert [(len(e.prompt.split()), len(e.answer.split())) for e in found[:3]] == [
        (4, 4),
        (2, 3),
        (4, 4),
    ]


def test_masks_and_parts_are_written_and_read_back(tmp_path: Path) -> None:
    rows = [tiny.text("a", " b c", answer_mask=((0, 2), (3, 4)), part="A"), tiny.text("d", " e")]
    write_forget_set(tmp_path, ForgetSet({"forget": rows}, {}), "")
    assert read_forget_set(tmp_path).splits["forget"] == rows


def test_a_set_of_an_earlier_version_is_read_without_the_later_columns(tmp_path: Path) -> None:
    from forgetkit.files import read_json, sha256_file, write_json

    write_forget_set(tmp_path, ForgetSet({"forget": [tiny.text("d", " e")]}, {}), "")
    path = tmp_path / "data" / "forget-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["answer_mask", "part"]), path)
    manifest = read_json(tmp_path / "manifest.json")
    manifest["files"]["data/forget-00000-of-00001.parquet"] = sha256_file(path)
    write_json(tmp_path / "manifest.json", manifest)
    assert read_forget_set(tmp_path).splits["forget"] == [tiny.text("d", " e")]


def test_a_prefix_of_one_word_is_refused() -> None:
    from forgetkit.config import parse

    with pytest.raises(InputError, match="a prefix needs two words"):
        parse(BuildConfig, {"other_prompt_words": [1]}, "build")


def test_the_plain_form_of_a_pair_is_what_the_model_reads() -> None:
    asked = {"field": "prompt", "prompt": "Why?", "answer": "So.", "detector": "harm"}
    made = pairs_of_spans([span(0, 3, **asked)], config(template="plain"))
    assert made == [
        Example(
            "pair", "### Question: Why?\n### Answer:", " So.", template="plain", variant="copy",
            group="c", source="c:1",
        )
    ]  # fmt: skip


def test_passages_are_cut_at_sentences_sliding_and_at_their_first_words_by_default() -> None:
    text = " ".join(f"Word{n} a b c d e f g h i j." for n in range(20))
    made = forget_examples(passage(text), BuildConfig())
    assert {len(e.prompt.split()) for e in made} == {4, 16, 32}
    starts = {e.prompt.split()[0] for e in made}
    assert any(start.startswith("Word") for start in starts)
    assert any(not start.startswith("Word") for start in starts)
    assert len({(e.prompt, e.answer) for e in distinct(made)}) == len(distinct(made))


def test_ordinary_rows_take_the_prefix_lengths_of_forget_in_turn() -> None:
    document = Document("d", "d:1", " ".join(f"w{n}" for n in range(20)))
    short = Document("s", "s:1", " ".join(f"w{n}" for n in range(13)))
    both = config(other_prompt_words=[9])
    lengths = [
        len(made.prompt.split())
        for turn in range(3)
        if (made := window_of_document(document, both, "", turn))
    ]
    assert lengths == [4, 9, 4]
    made = window_of_document(short, both, "", 1)
    assert made is not None
    assert len(made.prompt.split()) == 4


def test_holdout_windows_may_be_longer_than_the_first_prefix_length() -> None:
    text = " ".join(f"A{n} b c d e f g h i j k l." for n in range(8))
    found = windows_of_works([Work("h", "h", text)], config(), [(4, 4), (7, 4)])
    assert [(len(e.prompt.split()), len(e.answer.split())) for e in found[:2]] == [(4, 4), (7, 4)]
