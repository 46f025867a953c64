"""The 13 ways a passage is copied into the corpus; its edges always stay exact.

verbatim; rewrapped (lines re-broken, words hyphenated, indented or quoted); case; punctuation
(quotes, dashes, ellipses, lost commas); spacing (spaces lost, doubled, no-break); ocr_light and
ocr_heavy (2 and 5 % of the characters misread); words_2, words_5, words_10 (so many per cent of
the words replaced); indel (5 % of the words left out or put in); gap (a sentence left out, or a
strange one put in); look_alikes (Cyrillic, Greek, full-width letters, ligatures, zero-width marks).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

import origins  # noqa: F401  (puts sample_data on the path)
from sample_corpus.edits import EDGE, KEPT_WORDS, SCAN_ERRORS, quotes_dashes, rewrapped

Edit = Callable[[str, Sequence[str], random.Random], str]

_LOOK_ALIKES = dict(
    zip("aceopxyisABEKMHOPCTX", "асеорхуіѕАВЕКМНОРСТХ", strict=True)  # Latin, Cyrillic
) | {"v": "ν", "n": "ｎ", "t": "ｔ", "r": "ｒ", "Z": "Ζ", "N": "Ν"}  # Greek, full width
_LIGATURES = (("ffi", "ﬃ"), ("fi", "ﬁ"), ("fl", "ﬂ"), ("ff", "ﬀ"))
_INVISIBLE = ("\u200b", "\u200d", "\u2060", "\u00ad", "\ufeff")


def verbatim(text: str, words: Sequence[str], rng: random.Random) -> str:
    """Return the text as it is."""
    del words, rng
    return text


def reflowed(text: str, words: Sequence[str], rng: random.Random) -> str:
    """Break the lines anew; some are indented or quoted, or break a word."""
    del words
    return rewrapped(text, {}, rng)


def case(text: str, words: Sequence[str], rng: random.Random) -> str:
    """Set it all in capitals, in small letters, as a title, or at random."""
    del words
    how = rng.randrange(4)
    if how == 3:
        return "".join(c.upper() if rng.random() < 0.5 else c.lower() for c in text)
    return (text.upper(), text.lower(), text.title())[how]


def punctuation(text: str, words: Sequence[str], rng: random.Random) -> str:
    """Set other quotes and dashes, and lose some of the commas and semicolons."""
    del words
    set_anew: str = quotes_dashes(text, {}, rng)
    return "".join(c for c in set_anew if c not in ",;" or rng.random() < 0.6)


def spacing(text: str, words: Sequence[str], rng: random.Random) -> str:
    """Lose a third of the spaces; double some, or make them no-break spaces."""
    del words
    choices = ("", "", "", " ", " ", " ", " ", "  ", "\u00a0", "\n")
    return re.sub(r" ", lambda _: rng.choice(choices), text)


def scan_errors(share: float) -> Edit:
    """Return an edit that misreads so many of the characters as a scanner does."""

    def misread(text: str, words: Sequence[str], rng: random.Random) -> str:
        del words
        wanted, taken = round(len(text) * share), dict[int, tuple[str, str]]()
        for _ in range(60 * wanted):
            if len(taken) >= wanted:
                break
            wrong, read = rng.choice(SCAN_ERRORS)
            at = rng.randrange(EDGE, len(text) - EDGE)
            near = any(at + d in taken for d in (-2, -1, 0, 1, 2))
            if text.startswith(wrong, at) and not near:
                taken[at] = (wrong, read)
        for at in sorted(taken, reverse=True):
            wrong, read = taken[at]
            text = text[:at] + read + text[at + len(wrong) :]
        return text

    return misread


def replaced(share: float) -> Edit:
    """Return an edit that puts another word for so many of the words."""

    def replace(text: str, words: Sequence[str], rng: random.Random) -> str:
        pieces = re.split(r"(\s+)", text)
        inner = range(2 * KEPT_WORDS, len(pieces) - 2 * KEPT_WORDS, 2)
        wanted = max(1, round((len(pieces) + 1) / 2 * share))
        for at in rng.sample(inner, min(wanted, len(inner))):
            pieces[at] = _other(pieces[at], words, rng)
        return "".join(pieces)

    return replace


def _other(word: str, words: Sequence[str], rng: random.Random) -> str:
    while True:
        chosen = rng.choice(words)
        if chosen.casefold() != word.casefold():
            return chosen


def indel(text: str, words: Sequence[str], rng: random.Random) -> str:
    """Leave out or put in 5 % of the words."""
    pieces = re.split(r"(\s+)", text)
    inner = range(2 * KEPT_WORDS, len(pieces) - 2 * KEPT_WORDS, 2)
    wanted = max(1, round((len(pieces) + 1) / 2 * 0.05))
    for at in sorted(rng.sample(inner, min(wanted, len(inner))), reverse=True):
        if rng.random() < 0.5:
            del pieces[at : at + 2]
        else:
            pieces[at:at] = [rng.choice(words), " "]
    return "".join(pieces)


def gap(text: str, words: Sequence[str], rng: random.Random) -> str:
    """Leave out 8 to 14 words in the middle third, or put as many strange ones in."""
    pieces = re.split(r"(\s+)", text)
    third = len(pieces) // 6 * 2
    at = rng.randrange(third, max(third + 2, 2 * third), 2)
    count = rng.randint(8, 14)
    if rng.random() < 0.5:
        strange = [piece for _ in range(count) for piece in (rng.choice(words), " ")]
        return "".join([*pieces[:at], *strange, *pieces[at:]])
    stop = min(at + 2 * count, len(pieces) - 2 * KEPT_WORDS - (len(pieces) + 1) % 2)
    return "".join(pieces[:at] + pieces[stop - (stop - at) % 2 :])


def look_alikes(text: str, words: Sequence[str], rng: random.Random) -> str:
    """Put look-alikes for 10 % of the letters, ligatures, and invisible marks."""
    del words
    inner = text[EDGE:-EDGE]
    for plain, joined in _LIGATURES:
        inner = inner.replace(plain, joined if rng.random() < 0.7 else plain)
    changed = []
    for letter in inner:
        other = _LOOK_ALIKES.get(letter, letter) if rng.random() < 0.2 else letter
        changed.append(other)
        if rng.random() < 0.02:
            changed.append(rng.choice(_INVISIBLE))
    return text[:EDGE] + "".join(changed) + text[-EDGE:]


EDITS: dict[str, Edit] = {
    "verbatim": verbatim,
    "rewrapped": reflowed,
    "case": case,
    "punctuation": punctuation,
    "spacing": spacing,
    "ocr_light": scan_errors(0.02),
    "ocr_heavy": scan_errors(0.05),
    "words_2": replaced(0.02),
    "words_5": replaced(0.05),
    "words_10": replaced(0.10),
    "indel": indel,
    "gap": gap,
    "look_alikes": look_alikes,
}
