from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forgetkit.match import Policy, WorkIndex, fold, folded_text, locate
from forgetkit.match.boundary import is_quoted
from forgetkit.match.fold import fold_character


def prose(seed: int, words: int) -> str:
    """Return sentences of made-up words, alike in no stretch for two seeds."""
    dice = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbg"
    text = []
    for number in range(words):
        word = "".join(dice.choice(letters) for _ in range(dice.randint(2, 9)))
        text.append(word + (". " if number % 11 == 10 else " "))
    return "".join(text).strip() + "."


WORK = prose(1, 400)
INDEX = WorkIndex({"work": WORK})


@given(st.text())
def test_each_symbol_comes_from_the_character_it_points_to(text: str) -> None:
    folded = fold(text)
    joined = "".join(map(chr, folded.symbols.tolist()))
    assert joined == "".join(fold_character(character) for character in text)
    for symbol, offset in zip(joined, folded.offsets.tolist(), strict=True):
        assert symbol in fold_character(text[offset])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("“It’s”—he", "it's - HE"),
        ("ﬁne", "fine"),
        ("ｆｕｌｌ", "full"),
        ("z\u200be\u202ero", "zero"),
        ("рассе", "pacce"),
        ("well-\nknown", "wellknown"),
        ("ſo", "so"),
        ("Café", "CAFE\u0301"),
        ("Straße", "STRASSE"),
    ],
)
def test_disguises_fold_away(a: str, b: str) -> None:
    folded = [folded_text(text) for text in (a, b)]
    if a == "рассе":
        assert folded[0].isascii()
    else:
        assert folded[0] == folded[1]


def test_a_copy_is_found_with_exact_offsets_on_both_sides() -> None:
    start = WORK.index(". ", 500) + 2
    end = WORK.index(". ", 900) + 1
    before = prose(2, 30) + "\n\n"
    text = before + WORK[start:end] + "\n\n" + prose(3, 30)
    (match,) = INDEX.find(text)
    assert (match.start, match.end) == (len(before), len(before) + end - start)
    assert (match.work_start, match.work_end) == (start, end)
    assert (match.edit_class, match.similarity) == ("verbatim", 1.0)


def test_text_that_only_resembles_gives_nothing() -> None:
    assert INDEX.find(prose(9, 400)) == []
    assert INDEX.find("") == []
    assert INDEX.find("—" * 500) == []
    assert WorkIndex({"empty": ""}).find(WORK) == []


def test_short_copies_are_left_alone() -> None:
    assert INDEX.find(prose(2, 20) + " " + WORK[100:180] + " " + prose(3, 20)) == []
    short = WorkIndex({"work": WORK}, policy=Policy(min_chars=60))
    assert len(short.find(prose(2, 20) + " " + WORK[100:180] + " " + prose(3, 20))) == 1


def disguised(c: str, disguise: str, dice: random.Random) -> str:
    if disguise == "space":
        return "\n   " if c == " " else c
    if disguise == "quote":
        return c + "”" if c == "." else c
    if not c.isalpha():
        return c
    if disguise == "zero":
        return c + "\u200b" if dice.random() < 0.3 else c
    if disguise == "hyphen":
        return c + "-\n" if dice.random() < 0.05 else c
    return c.upper() if disguise == "case" else chr(ord(c) + 0xFEE0)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 1500),
    st.integers(150, 600),
    st.sampled_from(["case", "space", "zero", "quote", "width", "hyphen"]),
    st.integers(0, 2**32),
)
@example(0, 600, "case", 0)
@example(282, 150, "hyphen", 937556)
def test_disguised_copies_fold_to_the_same_symbols(
    start: int, length: int, disguise: str, seed: int
) -> None:
    dice = random.Random(seed)
    copy = "".join(disguised(c, disguise, dice) for c in WORK[start : start + length])
    text = f"{prose(2, 40)}\n\n{copy}\n\n{prose(3, 40)}"
    (match,) = INDEX.find(text)
    assert match.edit_class in ("verbatim", "normalised")
    assert folded_text(text[match.start : match.end]) == folded_text(
        WORK[match.work_start : match.work_end]
    )
    assert match.end - match.start >= 0.9 * len(copy) - 20


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1200), st.integers(500, 1000), st.integers(0, 2**32))
def test_edited_copies_are_covered_and_not_overrun(start: int, length: int, seed: int) -> None:
    dice = random.Random(seed)
    copy = "".join(
        dice.choice("etaoin") if c.isalpha() and dice.random() < 0.03 else c
        for c in WORK[start : start + length]
    )
    before = prose(2, 40) + "\n\n"
    text = before + copy + "\n\n" + prose(3, 40)
    matches = INDEX.find(text)
    covered = sum(m.end - m.start for m in matches)
    assert covered >= 0.9 * len(copy)
    assert matches[0].start >= len(before) - 10
    assert matches[-1].end <= len(before) + len(copy) + 10
    assert abs(matches[0].work_start - start) <= 60
    assert abs(matches[-1].work_end - min(len(WORK), start + length)) <= 60


@settings(deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_searched_without_error(text: str) -> None:
    for match in INDEX.find(text + WORK[200:400] + text):
        assert 0 <= match.start < match.end <= 2 * len(text) + 200
        assert 0 <= match.work_start < match.work_end <= len(WORK)


def test_a_deleted_sentence_leaves_one_match() -> None:
    sentences = WORK[:1500].split(". ")
    copy = ". ".join(sentences[:6] + sentences[7:])
    (match,) = INDEX.find(copy)
    assert match.edit_class == "edited"
    assert (match.start, match.work_start) == (0, 0)
    assert match.end >= len(copy) - 10


def test_a_replaced_stretch_does_not_hide_the_copies_around_it() -> None:
    text = WORK[200:400] + " " + prose(7, 20) + " " + WORK[520:720]
    covered = sum(match.end - match.start for match in INDEX.find(text))
    assert 370 <= covered <= 420


def test_each_work_gets_its_own_match() -> None:
    second = prose(5, 200)
    index = WorkIndex({"b": second, "a": WORK})
    matches = index.find(second[:400] + "\n\n" + WORK[:400])
    assert [match.work_id for match in matches] == ["b", "a"]


def test_a_repeating_text_ends_in_time() -> None:
    index = WorkIndex({"work": "la " * 3000 + WORK})
    assert index.find("la " * 3000) == []
    assert len(index.find("la " * 100 + WORK)) == 1


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("She wrote “HERE” to him.", True),
        ('She wrote "HERE" to him.', True),
        ("She wrote HERE to him.", False),
        ("“No,” she wrote. HERE", False),
        ("> HERE", True),
        ('"One" and "two. HERE', False),
    ],
)
def test_quotations_are_told_by_the_marks_around_them(text: str, quoted: bool) -> None:
    start = text.index("HERE")
    assert is_quoted(text[:start], text[start : start + 4], text[start + 4 :]) is quoted


ENDS = (
    # a word or two changed close to the end, and what is left behind them
    ("of his wrath that", "which sparks of his wrath that", "grazed get of his wrath that"),
    # a short line behind a paragraph break, with a letter misread
    ("know", '\n\nasked Oz. "I know', '\n\nasked Oz. "1 know'),
    # a last short word behind a misread letter
    ("ark", "always like the ark", "always like thc ark"),
    # three words behind one that was left out
    ("you", "along the counterpane with a moment I tell you", "along the with moment I tell you"),
    # a word behind a paragraph break that the work has too
    ("Oh", 'asking for tinsmiths?"\n\n"Oh', 'asking for tinsmitbs?"\n\n"Oh'),
)


@pytest.mark.parametrize(("last", "end", "changed"), ENDS)
def test_an_end_behind_a_changed_word_or_letter_belongs_to_the_copy(
    last: str, end: str, changed: str
) -> None:
    before = "It was late, and the birds had come down from the hills to pick at the bread, "
    before += "for nothing else was left to them since the long winter had begun in the north, "
    work = f"Another chapter ends here. {before}{end}\n\nnobody else had seen before that day."
    text = f"My notes. {before}{changed} The next lesson is about quite other matters, I think."
    (match,) = WorkIndex({"w": work}).find(text)
    assert text[match.start : match.end] == before + changed
    assert work[match.work_start : match.work_end] == before + end
    assert match.edit_class == "edited"
    assert text[: match.end].endswith(last)


def test_letters_that_agree_by_chance_behind_a_copy_cost_it_no_word() -> None:
    copy = f"{WORK[300:480]} their hearts if they dared ask Oz"
    text = f"{prose(3, 30)} {copy}\n\nAn evening brought other news to the door."
    (match,) = WorkIndex({"w": f"{WORK[:300]} {copy} has never been so dark."}).find(text)
    assert text[match.start : match.end] == copy


@pytest.mark.parametrize(("every", "found"), [(10, 1), (7, 0)])
def test_a_copy_of_forty_words_may_have_one_in_ten_of_them_changed(every: int, found: int) -> None:
    words = WORK.split(" ")[100:142]
    words[5::every] = ["j" * (len(word) + 2) for word in words[5::every]]
    copy = " ".join(words)
    assert 200 < len(copy) < 300
    assert len(INDEX.find(f"{prose(3, 30)} {copy} {prose(4, 30)}")) == found


@pytest.mark.parametrize("seed", [26, 53, 57])
def test_a_copy_whose_end_is_edited_too_heavily_is_still_found(seed: int) -> None:
    """Words go, come and change, four times as many of them behind the 25th."""
    dice, words, copy = random.Random(seed), WORK.split(" "), []
    begin, count = dice.randint(0, 250), dice.choice([60, 80, 130])
    edits = dice.choice([0.1, 0.15, 0.2])
    for number, word in enumerate(words[begin : begin + count]):
        chance, share = dice.random(), edits * (0.4 if number < 25 else 1.6) / 3
        if chance < share:
            continue
        replaced = chance < 2 * share
        copy.append(dice.choice(words) if replaced else word)
        if not replaced and chance < 3 * share:
            copy.append(dice.choice(words))
    (match,) = INDEX.find(" ".join(copy))
    assert match.end - match.start >= 250


@given(
    st.lists(
        st.tuples(
            st.integers(60, 105),
            st.sampled_from(("", " ", "; ", "\n\n", "ж" * 70, "q" * 20)),
            st.sampled_from((2, 60, 150, 190, 199, 210, 400)),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=100, deadline=None)
def test_only_what_cannot_be_long_enough_is_left_out_before_its_ends_are_settled(
    pieces: list[tuple[int, str, int]],
) -> None:
    text = ""
    for number, (length, close, between) in enumerate(pieces):
        at = 150 * number
        text += close + WORK[at : at + length] + close + "\U00010348" * between
    found = INDEX.find(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locate, "hopeful", lambda places, *_: np.ones(len(places), np.bool_))
        assert INDEX.find(text) == found
