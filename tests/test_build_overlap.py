from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import tiny

from forgetkit.build.checks import check_overlap
from forgetkit.build.overlap import Limits, overlaps, runs_of, without_repeats
from forgetkit.errors import InputError
from forgetkit.forget_set import Example

LONG = " ".join(f"w{n}" for n in range(20))


def pair(name: str, text: str, variant: str = "") -> Example:
    return tiny.text(name, text, variant=variant, source=name)


def kinds(splits: dict[str, list[Example]]) -> list[tuple[str, float]]:
    return [(o.kind, o.value) for o in overlaps(splits, Limits())]


def test_the_same_words_are_exact_whatever_their_case_and_punctuation() -> None:
    splits = {"forget": [pair("One", " two.")], "retain": [pair("ONE,", " two")]}
    found = overlaps(splits, Limits())
    forget, retain = splits["forget"][0].example_id, splits["retain"][0].example_id
    assert [tuple(o) for o in found] == [("forget", forget, "retain", retain, "exact", 1.0)]


def test_a_common_run_of_words_says_how_much_of_the_shorter_text_it_is() -> None:
    """20 words have 8 runs of 13; the 14 words of the other have 2, both in the first."""
    other = " ".join(LONG.split()[:14])
    assert kinds({"forget": [pair("", LONG)], "retain": [pair("", other)]}) == [("run", 1.0)]
    more = f"{other} and then something else"
    assert kinds({"forget": [pair("", LONG)], "retain": [pair("", more)]}) == [("run", 0.3333)]


def test_a_near_copy_without_a_common_run_is_found() -> None:
    words = [f"v{n}" for n in range(60)]
    edited = [w if n % 12 else f"{w}x" for n, w in enumerate(words, 1)]
    splits = {"forget": [pair("", " ".join(words))], "holdout": [pair("", " ".join(edited))]}
    assert not kinds(splits)
    found = overlaps(splits, Limits(near_copy=0.3))
    assert [o.kind for o in found] == ["near"]
    # 56 five-grams a side; each of 5 changed words spoils 5 of them, but one of the last (n = 60)
    assert found[0].value == pytest.approx((56 - 21) / (56 + 21), abs=1e-4)


def test_copies_of_copies_are_found_between_all_three_splits() -> None:
    splits = {name: [pair(name, f" {LONG}")] for name in ("forget", "retain", "holdout")}
    named = {(o.split, o.other) for o in overlaps(splits, Limits())}
    assert named == {("forget", "retain"), ("forget", "holdout"), ("retain", "holdout")}


def test_texts_of_one_meaning_are_found_by_their_vectors() -> None:
    def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        rows = [(1.0, 0.0) if "cat" in t else (0.96, 0.28) if "feline" in t else (0, 1)
                for t in texts]  # fmt: skip
        return np.array(rows, np.float32)

    splits = {
        "forget": [pair("a", " cat sat")],
        "retain": [pair("b", " feline rested"), pair("c", " it rains")],
        "general": [pair("d", " feline slept")],
    }
    found = overlaps(splits, Limits(same_meaning=0.95), encode=encode)
    assert [(o.other, o.kind, o.value) for o in found] == [
        ("retain", "meaning", 0.96),
        ("general", "meaning", 0.96),
    ]


def test_probes_of_the_forget_text_and_refusals_may_recur() -> None:
    forget = pair("p", f" {LONG}")
    no = [pair(f"p{n}", " I cannot help with that.", "refusal") for n in range(2)]
    splits = {"forget": [forget], "prompts": [forget], "unknown": [forget], "mismatch": no,
              "retain": [pair("x", " I cannot help with that.")]}  # fmt: skip
    assert kinds(splits) == []
    assert kinds({"unknown": [forget], "retain": [forget]}) == [("exact", 1.0)]


def test_the_order_of_rows_and_the_number_of_threads_change_nothing() -> None:
    forget = [pair(f"f{n}", f" {LONG} {n}") for n in range(3)]
    retain = [pair(f"r{n}", f" {LONG} {n}") for n in range(3)]
    one = overlaps({"forget": forget, "retain": retain}, Limits())
    other = overlaps({"forget": forget[::-1], "retain": retain[::-1]}, Limits(), workers=4)
    assert len(one) == 9
    assert one == other


def test_a_refusal_names_the_pair_and_the_way_out() -> None:
    splits = {"forget": [pair("a", f" {LONG}")], "retain": [pair("b", f" {LONG} more")]}
    with pytest.raises(InputError, match=r"share a run of 13 words; found [0-9a-f]{16} and") as e:
        check_overlap(splits, Limits(), allowed=False)
    assert "--allow-overlap" in e.value.mend
    assert len(check_overlap(splits, 13, allowed=True)) == 1


def test_ordinary_rows_that_repeat_or_nearly_repeat_one_are_left_out() -> None:
    words = [f"v{n}" for n in range(60)]
    edited = [w if n % 12 else f"{w}x" for n, w in enumerate(words, 1)]
    rows = [pair("a", " ".join(words)), pair("b", " ".join(words)), pair("c", " ".join(edited)),
            pair("d", LONG)]  # fmt: skip
    assert [e.prompt for e in without_repeats(rows, Limits())] == ["a", "c", "d"]
    assert [e.prompt for e in without_repeats(rows, Limits(near_copy=0.3))] == ["a", "d"]


def test_a_text_without_words_has_no_run() -> None:
    assert runs_of(" … ", 13) == []
    assert overlaps({"forget": [pair("", "?!")], "retain": [pair("", "?!")]}, Limits()) == []
