from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_match import WORK, prose

from forgetkit.match import WorkIndex, fold, folded_text
from forgetkit.match.build import build, located
from forgetkit.match.fold import fold_character, fold_table
from forgetkit.match.kernels import GROWTH, fold_with_places, folded_bytes, points_between, rules

LIGATURES = "ﬁﬃ㎏½ﷺẞßǆĳ𝔄🅰🇫Åệ\u0345가각㌖"
TEXT = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(LIGATURES)))


@given(TEXT)
def test_the_compiled_fold_equals_the_reference(text: str) -> None:
    assert folded_bytes(text).decode("utf-8") == folded_text(text)


@pytest.mark.parametrize("first", range(0, 0x110000, 0x8000))
def test_a_hundred_code_points_of_each_block_fold_alike(first: int) -> None:
    for point in random.Random(first).sample(range(first, first + 0x8000), 100):
        if not 0xD800 <= point < 0xE000:
            assert folded_bytes(chr(point)).decode("utf-8") == fold_character(chr(point))


def test_no_character_folds_to_more_than_the_kernels_make_room_for() -> None:
    lengths = fold_table().entries & 63
    widths = np.array([len(chr(p).encode("utf-8", "surrogatepass")) for p in range(len(lengths))])
    assert (lengths <= GROWTH * widths).all()


@given(st.binary(max_size=60))
def test_broken_utf_8_is_folded_without_reading_past_its_end(data: bytes) -> None:
    array = np.frombuffer(data + b"\xf0", np.uint8)
    out = np.empty(GROWTH * len(array) + 1, np.uint8)
    places = np.empty(len(out), np.int64)
    count = fold_with_places(array, 0, len(array), rules(), out, places)
    assert ((places[:count] >= 0) & (places[:count] < len(array))).all()


@settings(deadline=None)
@given(TEXT, TEXT)
def test_each_symbol_of_a_work_is_located_in_its_text(before: str, text: str) -> None:
    text *= 4
    arrays = build({"a": before, "b": text}, 24, 8)
    bounds = (*arrays.text_starts[1:3].tolist(), int(arrays.symbol_starts[1]))
    folded = fold(text)
    widths = [len(chr(symbol).encode("utf-8")) for symbol in folded.symbols.tolist()]
    offsets = np.repeat(folded.offsets, widths)
    for number, offset in enumerate(offsets.tolist()):
        found = located(arrays.text, bounds, rules(), arrays.marks, bounds[2] + number)
        byte = bounds[0] + len(text[:offset].encode("utf-8"))
        assert found == (byte, offset, len(text[offset].encode("utf-8")))
        assert points_between(arrays.text, bounds[0], byte) == offset


def zero_width(text: str, dice: random.Random) -> str:
    return "".join(c + dice.choice(["", "", "\u200b", "\u2060", "\ufeff", "\u00ad"]) for c in text)


def bidi(text: str, dice: random.Random) -> str:
    return "".join(f"\u202e{c}\u202c" if dice.random() < 0.1 else c for c in text)


def look_alikes(text: str, dice: random.Random) -> str:
    twins = str.maketrans("aeopcxyi", "аеорсхуі")
    return "".join(c.translate(twins) if dice.random() < 0.5 else c for c in text)


def full_width(text: str, dice: random.Random) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def accents(text: str, dice: random.Random) -> str:
    return "".join(c + "\u0301" if c.isalpha() and dice.random() < 0.3 else c for c in text)


def hyphenated(text: str, dice: random.Random) -> str:
    return "".join(c + "-\n" if c.isalpha() and dice.random() < 0.05 else c for c in text)


def reflowed(text: str, dice: random.Random) -> str:
    return "".join(dice.choice([" ", "\n", "\n\n  ", "\t"]) if c == " " else c for c in text)


def spaced_out(text: str, dice: random.Random) -> str:
    return " ".join(text)


def mathematical(text: str, dice: random.Random) -> str:
    return "".join(chr(0x1D41A + ord(c) - ord("a")) if "a" <= c <= "z" else c for c in text)


def squared(text: str, dice: random.Random) -> str:
    return "".join(chr(0x1F170 + ord(c) - ord("a")) if "a" <= c <= "z" else c for c in text)


EVASIONS = (
    zero_width,
    bidi,
    look_alikes,
    full_width,
    accents,
    hyphenated,
    reflowed,
    spaced_out,
    mathematical,
    squared,
)


@pytest.mark.parametrize("evade", EVASIONS, ids=lambda evade: evade.__name__)
def test_evasion_by_unicode_does_not_hide_a_copy(
    evade: Callable[[str, random.Random], str],
) -> None:
    copy = evade(WORK[400:900], random.Random(1))
    before = prose(2, 40) + "\n\n"
    text = f"{before}{copy}\n\n{prose(3, 40)}"
    (match,) = WorkIndex({"work": WORK}).find(text)
    assert match.edit_class == "normalised"
    assert abs(match.start - len(before)) <= 8 * max(1, len(copy) // 500)
    assert abs(match.end - len(before) - len(copy)) <= 8 * max(1, len(copy) // 500)
    assert folded_text(text[match.start : match.end]) == folded_text(
        WORK[match.work_start : match.work_end]
    )


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 1500),
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 12), st.text(max_size=12)), max_size=6),
)
def test_offsets_hold_for_any_edit_of_a_copy(start: int, edits: list[tuple[int, int, str]]) -> None:
    copy = WORK[start : start + 600]
    for place, lost, put in edits:
        copy = copy[:place] + put + copy[place + lost :]
    before = "é—日本 " * 5 + prose(2, 30) + "\n\n"
    text = f"{before}{copy}\n\n{prose(3, 30)}"
    matches = WorkIndex({"work": WORK}).find(text)
    for match in matches:
        piece, original = text[match.start : match.end], WORK[match.work_start : match.work_end]
        same = folded_text(piece) == folded_text(original)
        assert (match.edit_class == "edited") is not same
        assert (match.edit_class == "verbatim") is (piece == original)
        assert match.start >= len(before) - 12
        assert match.end <= len(before) + len(copy) + 12
    if len(edits) <= 2 and len(WORK) - start > 600:
        assert sum(match.end - match.start for match in matches) >= 0.8 * len(copy)
