from __future__ import annotations

import random
import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forgetkit.match import clusters_of, jaccard, near_copies, shingles
from forgetkit.match.fingerprints import fingerprint, key_of
from forgetkit.match.letters import (
    ALONE,
    END,
    NOTHING,
    SEVERAL,
    SYMBOL,
    letters,
    symbols_of,
)
from forgetkit.match.shingles import column_of, shared, sort_distinct
from forgetkit.match.signatures import Bands, Signer, bands_for, salts_of
from forgetkit.match.words import MOST_BYTES, MOST_WORDS, Column, read_words

KEY = key_of(bytes(range(16)))
PATIENT = settings(deadline=None, max_examples=80)
LETTERS = "etaoinshrdlucmfwypvbg"


def prose(seed: int, words: int) -> list[str]:
    dice = random.Random(seed)
    return ["".join(dice.choice(LETTERS) for _ in range(dice.randint(2, 9))) for _ in range(words)]


def entry_symbols(point: int) -> list[int]:
    table = letters()
    entry = int(table.entries[point])
    if not entry & SEVERAL:
        return [] if entry in (END, NOTHING) else [entry]
    place = entry & (SEVERAL - 1)
    return [int(s) for s in table.pool[place + 1 : place + 1 + int(table.pool[place])]]


def reference_words(text: str) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    word: list[int] = []
    for character in text:
        symbols = entry_symbols(ord(character))
        if not symbols and letters().entries[ord(character)] == NOTHING:
            continue
        if not symbols:
            found.append(tuple(word))
            word = []
        for symbol in symbols:
            if symbol & ALONE:
                found += [tuple(word), (symbol & SYMBOL,)]
                word = []
            else:
                word.append(symbol)
    return [one for one in [*found, tuple(word)] if one]


def read(text: str) -> tuple[bytes, list[int]]:
    data = np.frombuffer(text.encode() + b"x", np.uint8)
    folded = np.zeros(len(data) * MOST_BYTES, np.uint8)
    words = np.zeros(len(data) * MOST_WORDS, np.uint64)
    table = letters()
    length, count = read_words(data, 0, len(data) - 1, table.entries, table.pool, folded, words)
    return folded[:length].tobytes(), [int(word) for word in words[:count]]


def siphash(data: bytes, key: bytes, compress: int, finish: int) -> bytes:
    """Return the reference value of Aumasson and Bernstein, 128 bits."""
    mask = 2**64 - 1
    k = [int.from_bytes(key[i : i + 8], "little") for i in (0, 8)]
    v = [
        k[0] ^ 0x736F6D6570736575,
        k[1] ^ 0x646F72616E646F6D ^ 0xEE,
        k[0] ^ 0x6C7967656E657261,
        k[1] ^ 0x7465646279746573,
    ]

    def turn(value: int, by: int) -> int:
        return ((value << by) | (value >> (64 - by))) & mask

    def half(a: int, b: int, by: int) -> None:
        v[a] = (v[a] + v[b]) & mask
        v[b] = turn(v[b], by) ^ v[a]

    def rounds(count: int) -> None:
        for _ in range(count):
            half(0, 1, 13)
            v[0] = turn(v[0], 32)
            half(2, 3, 16)
            half(0, 3, 21)
            half(2, 1, 17)
            v[2] = turn(v[2], 32)

    padded = data + bytes((7 - len(data)) % 8) + bytes([len(data) & 255])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        rounds(compress)
        v[0] ^= word
    v[2] ^= 0xEE
    rounds(finish)
    first = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    rounds(finish)
    return first.to_bytes(8, "little") + (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")


def test_our_reference_gives_the_published_value_of_siphash() -> None:
    published = bytes.fromhex("a3817f04ba25a8e66df67214c7550293")
    assert siphash(b"", bytes(range(16)), 2, 4) == published


@PATIENT
@given(st.binary(max_size=80), st.integers(0, 9))
def test_a_fingerprint_is_siphash_wherever_the_text_stands(data: bytes, before: int) -> None:
    array = np.frombuffer(bytes(before) + data + b"after", np.uint8)
    first, second = fingerprint(array, before, before + len(data), KEY)
    found = int(first).to_bytes(8, "little") + int(second).to_bytes(8, "little")
    assert found == siphash(data, bytes(range(16)), 1, 3)


def test_the_table_agrees_with_the_rule_for_single_characters() -> None:
    points = [*range(0x3000), 0x3400, 0x4E00, 0x9FFF, 0xAC00, 0xAC01, 0xD7A3, 0xFB03, 0xFF71]
    for point in points:
        symbols = [symbol & SYMBOL for symbol in entry_symbols(point)]
        assert symbols == symbols_of(chr(point)), hex(point)


def test_no_character_needs_more_room_than_is_given() -> None:
    for point in range(0x110000):
        if letters().entries[point] > NOTHING:
            symbols, size = entry_symbols(point), len(chr(point).encode())
            room = sum(1 if symbol & SYMBOL < 0x80 else 3 for symbol in symbols)
            alone = sum(bool(symbol & ALONE) for symbol in symbols)
            assert room <= MOST_BYTES * size
            assert alone <= MOST_WORDS * size


@PATIENT
@given(st.text())
@example("It is—so! Don't\u200b stop\u00adping, É")
@example("吾輩は猫である。ｱｲｳ ㌖ﷺ")
@example("สวัสดี हिन्दी 한국어 ﬃ")
def test_words_are_those_of_the_plain_reference(text: str) -> None:
    expected = reference_words(text)
    folded, words = read(text)
    assert len(words) == len(expected)
    by_word: dict[tuple[int, ...], int] = {}
    for word, value in zip(expected, words, strict=True):
        assert by_word.setdefault(word, value) == value
    assert len(set(by_word.values())) == len(by_word)
    assert len(folded) == sum(1 if s < 0x80 else 3 for word in expected for s in word)


def test_words_are_the_same_wherever_they_stand_in_the_text() -> None:
    sentence = "It is so, of Émile and 犬: don't ask why."
    _, alone = read(sentence)
    for before in range(20):  # the kernel takes eight bytes at once where it can
        folded, words = read("a" * before + " " + sentence)
        assert words[-len(alone) :] == alone
        assert len(words) == len(alone) + (before > 0)
        assert folded[before:] == read(sentence)[0]


def test_words_of_latin_text_are_what_a_reader_expects() -> None:
    text = "The Café—of ①  “Émile” isn't_here."
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    expected = re.findall(r"[^\W_]+", plain)
    assert ["".join(map(chr, word)) for word in reference_words(text)] == expected


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("É", "E\u0301", True),
        ("naïve", "NAIVE", True),
        ("ﬁne", "fine", True),
        ("soft\u00adly", "softly", True),
        ("कि", "का", False),
        ("ab", "a b", False),
        ("สี", "สา", False),
    ],
)
def test_what_counts_as_the_same_word(a: str, b: str, same: bool) -> None:
    assert (read(a)[1] == read(b)[1]) is same


@PATIENT
@given(st.lists(st.integers(0, 2**64 - 1), max_size=60))
@example([5] * 40)
@example([1, 2] * 30)
def test_sorting_gives_the_distinct_hashes_in_order(values: list[int]) -> None:
    array = np.array(values, np.uint64)
    count = sort_distinct(array, len(array), np.zeros(len(array) + 1, np.uint64))
    assert array[:count].tolist() == sorted(set(values))


@PATIENT
@given(st.sets(st.integers(0, 300)), st.sets(st.integers(0, 300)), st.integers(0, 40))
def test_shared_counts_exactly_or_says_too_few(a: set[int], b: set[int], least: int) -> None:
    one, other = (np.array(sorted(values), np.uint64) for values in (a, b))
    both = len(a & b)
    assert shared(one, other, least) == (both if both >= least else -1)


def test_jaccard_of_equal_half_and_no_texts() -> None:
    text = " ".join(prose(1, 400))
    a = shingles(text)
    assert jaccard(a, shingles(text.upper())) == 1.0
    assert jaccard(a, shingles(" ".join(prose(2, 400)))) == 0.0
    assert jaccard(shingles(""), shingles("")) == 0.0
    assert len(shingles("one two")) == 1
    assert jaccard(shingles("a b c d e f"), shingles("a b c d e g")) == pytest.approx(1 / 3)


@PATIENT
@given(st.lists(st.sampled_from("abc"), max_size=30), st.lists(st.sampled_from("abc"), max_size=30))
def test_jaccard_is_that_of_sets_of_five_words(a: list[str], b: list[str]) -> None:
    def grams(words: list[str]) -> set[tuple[str, ...]]:
        width = min(5, len(words))
        return (
            {tuple(words[i : i + width]) for i in range(len(words) - width + 1)} if words else set()
        )

    one, other = grams(a), grams(b)
    expected = len(one & other) / len(one | other) if one | other else 0.0
    assert jaccard(shingles(" ".join(a)), shingles(" ".join(b))) == pytest.approx(expected)


def test_bands_are_the_widest_with_the_recall_asked_for() -> None:
    assert bands_for(0.8) == Bands(25, 5)
    for threshold in (0.3, 0.5, 0.7, 0.9, 1.0):
        assert bands_for(threshold).recall(threshold) >= 0.9995


@pytest.mark.parametrize("size", [6, 12, 40, 150, 700])
def test_every_near_copy_is_found_whatever_its_length(size: int) -> None:
    """Pairs at the threshold exactly are found like brute force finds them, short ones too."""
    dice = random.Random(size)
    texts: list[list[str]] = []
    for seed in range(150):
        words = prose(1000 * size + seed, size)
        changed = list(words)
        for _ in range(dice.randint(0, max(1, size // 40))):
            changed[dice.choice([0, -1, dice.randrange(size)])] = "changed"
        texts += [words, changed]
    written = [" ".join(words) for words in texts]
    sets = [set(shingles(text).tolist()) for text in written]
    truth = {
        (a, b)
        for a in range(0, len(sets), 2)
        for b in [a + 1]
        if len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= 0.8
    }
    found = near_copies(written)
    assert {(pair.first, pair.second) for pair in found} == truth
    assert len(truth) >= 10
    for pair in found:
        assert pair.jaccard == jaccard(
            shingles(written[pair.first]), shingles(written[pair.second])
        )


def test_clusters_are_named_by_their_first_text() -> None:
    text = " ".join(prose(5, 60))
    texts = ["other", text, "", text + " more", "another", text]
    assert clusters_of(6, near_copies(texts)) == [0, 1, 2, 1, 4, 1]


def test_a_thousand_copies_are_a_thousand_comparisons() -> None:
    assert len(near_copies([" ".join(prose(6, 60))] * 1000)) == 999


def test_texts_without_spaces_are_compared_by_characters() -> None:
    text = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"
    (pair,) = near_copies([text, text.replace("。", ""), "まったく別の文章です。"])
    assert (pair.first, pair.second, pair.jaccard) == (0, 1, 1.0)


def test_a_slice_of_a_column_with_nulls_is_read_in_place() -> None:
    array = pa.array(["skipped", "one two", None, "", "one  TWO!"], pa.large_string())[1:]
    signed = Signer(KEY, salts_of(0), bands_for(0.8)).sign(Column.of(array))
    prints = [tuple(map(int, row)) for row in signed.prints]
    assert prints[0] == prints[3] != prints[1]
    assert signed.counts.tolist() == [1, 0, 0, 1]


def test_raw_fingerprints_tell_case_and_folded_ones_do_not() -> None:
    column = column_of(["Same", "same", "!!", "!?"])
    for folds, equal in ((True, True), (False, False)):
        prints = Signer(KEY, salts_of(0), None, folds=folds).sign(column).prints.tolist()
        assert (prints[0] == prints[1]) is equal
        assert prints[2] != prints[3]
