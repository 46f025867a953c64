from __future__ import annotations

from collections.abc import Sequence

import pytest
import tiny

from forgetkit.build.breadth import breadth
from forgetkit.build.checks import check_filled, check_templates, small_splits
from forgetkit.build.control import (
    check_control,
    compare,
    doubts,
    matched,
    spread,
    word_surprise,
    words_of,
)
from forgetkit.build.target import too_long
from forgetkit.errors import InputError
from forgetkit.forget_set import Example


def texts(name: str, count: int, words: int = 6) -> list[Example]:
    return [
        tiny.text(
            name, "".join(f" {name}" for _ in range(words)), group=f"{name}{n}", source=str(n)
        )
        for n in range(count)
    ]


def test_a_split_with_too_few_examples_is_refused_by_its_name() -> None:
    splits = {"forget": texts("a", 5), "holdout": texts("b", 2)}
    check_filled(splits, ["forget"], 5)
    with pytest.raises(InputError, match="holdout has too few examples; found 2 of at least 3"):
        check_filled(splits, ["forget", "holdout"], 3)


def test_sizes_that_evaluation_needs_are_said() -> None:
    said = small_splits({"forget": texts("a", 120), "holdout": texts("b", 19)})
    assert said == [
        "holdout has 19 examples: rates need 20",
        "forget or holdout has 19 examples: membership needs 100 a side",
    ]
    assert small_splits({"forget": texts("a", 120), "holdout": texts("b", 100)}) == []


def test_retain_in_another_template_is_refused() -> None:
    chat = [Example("pair", "q", "a", template="chat")]
    check_templates({"forget": chat, "retain": chat})
    with pytest.raises(InputError, match=r"retain has another template.*plain beside chat"):
        check_templates({"forget": chat, "retain": texts("a", 1)})


def test_equal_samples_have_no_distance_and_apart_ones_the_whole() -> None:
    same = compare("words", [1, 2, 3, 4], [4, 3, 2, 1])
    assert (same.distance, same.p_value, same.unlike) == (0.0, 1.0, False)
    assert same.forget == (1.0, 1.75, 2.5, 3.25, 4.0)
    apart = compare("words", [1.0] * 40, [2.0] * 40)
    assert apart.distance == 1.0
    assert apart.unlike


def test_few_examples_are_never_surely_unlike() -> None:
    assert not compare("words", [1, 1, 1], [9, 9, 9, 9, 9]).unlike


def test_holdout_of_other_lengths_is_refused_unless_allowed() -> None:
    forget, holdout = texts("a", 60, 6), texts("a", 60, 30)
    surprise = word_surprise(["a b c"])
    with pytest.raises(InputError, match=r"unlike forget in words; found medians 7 and 31"):
        check_control(forget, holdout, surprise, allowed=False)
    found = check_control(forget, holdout, surprise, allowed=True)
    assert [c.unlike for c in found] == [True, False]
    assert doubts(found)[0].startswith("holdout differs from forget in words")


def test_word_surprise_is_the_mean_log_of_smoothed_frequencies() -> None:
    """Words a a b: a 3/6, b 2/6, unseen 1/6; the text "a c" gives (ln 2 + ln 6) / 2."""
    surprise = word_surprise(["a a", "b"])
    assert surprise([tiny.text("a", " c")])[0] == pytest.approx(1.24245, abs=1e-5)
    assert surprise([tiny.text("", "!")]) == [0.0]


def test_holdout_is_chosen_by_surprise_not_by_place() -> None:
    surprise = word_surprise(["a " * 50])
    pool = texts("z", 30) + texts("a", 30)
    chosen = matched(pool, texts("a", 5), 10, surprise)
    assert {e.prompt for e in chosen} == {"a"}
    assert len({e.example_id for e in chosen}) == 10
    assert matched(pool[:4], texts("a", 5), 10, surprise) == pool[:4]


def test_a_smaller_holdout_is_like_all_of_forget() -> None:
    """Its 4 rows stand for the quarters of 12: not for the 4 least surprising."""

    def surprise(examples: Sequence[Example]) -> list[float]:
        return [float(e.source) for e in examples]

    forget = [tiny.text("f", " a", source=str(n)) for n in range(12)]
    pool = [tiny.text("p", " a", source=str(n)) for n in range(20)]
    assert surprise(matched(pool, forget, 4, surprise)) == [1, 4, 7, 10]


def test_spread_takes_evenly() -> None:
    rows = texts("a", 10)
    assert spread(rows, 5) == rows[::2]
    assert words_of(rows[0]) == 7


def test_examples_that_lose_tokens_are_found_by_the_tokenizer() -> None:
    """One id a byte: 20 + 12 bytes fit in 32 tokens only if the prompt takes at most half."""
    tokenizer = tiny.byte_tokenizer()
    fits, long, prompt = tiny.text("p" * 16, "a" * 16), tiny.text("p", "a" * 40), tiny.text(
        "p" * 20, "a" * 12
    )  # fmt: skip
    assert too_long(tokenizer, [fits, long, prompt], 32) == [long, prompt]


def test_a_forget_text_of_common_phrases_is_flagged() -> None:
    common = tiny.text("thank you", " very much for your kind letter", group="common")
    own = tiny.text("grelsh", " bindal over morkins at the frib hour", group="own")
    ordinary = ["He said: Thank you very much for your kind letter.", "Nothing else."]
    found = breadth([common, own], ordinary, 0.3)
    assert found.flagged == {"common": 1.0}
    assert found.over_broad
    assert found.share == 0.5  # 5 of the 5 + 5 runs of four words
    assert not breadth([own], ordinary, 0.3).over_broad
