"""Copy a passage as it occurs in the wild; the edges of the copy stay exact."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from sample_corpus.prose import trimmed

KINDS = ("whole", "part", "rewrapped", "quotes_dashes", "light_edit", "ocr")
MIN_PART = 200  # characters of the shortest quotation
KEPT_WORDS = 4  # a light edit changes none of the first and last so many words
EDGE = 4  # a scan error changes none of the first and last so many characters


@dataclass(frozen=True)
class Passage:
    """A passage of the work: its text and where it starts in the work's text (code points)."""

    text: str
    start: int


@dataclass(frozen=True)
class Copy:
    """A copy of a passage: `body` is the copied text, `before` and `after` its quote marks.

    `work_start` and `work_end` say which characters of the work the body stands for.
    """

    before: str
    body: str
    after: str
    work_start: int
    work_end: int
    kind: str


def make_copy(passage: Passage, kind: str, words: dict[str, list[str]], rng: random.Random) -> Copy:
    """Copy a passage in one of `KINDS`.

    Args:
        passage: what is copied.
        kind: one of `KINDS`.
        words: `synonyms` (word, other word alternating) and `insertions` for the light edit.
        rng: source of every choice.

    Raises:
        ValueError: the edit changed an edge of the copy.
    """
    source = part_of(passage, rng) if kind == "part" else passage
    text = EDITS[kind](source.text, words, rng)
    start, end = trimmed(source.text)
    first, last = trimmed(text)
    if (text[first], text[last - 1]) != (source.text[start], source.text[end - 1]):
        raise ValueError(f"{kind} changed an edge of the copy at {source.start}")
    return Copy(
        text[:first],
        text[first:last],
        text[last:],
        source.start + start,
        source.start + end,
        kind,
    )


def part_of(passage: Passage, rng: random.Random) -> Passage:
    """Return a quotation of 35 to 70 % of the passage, at word boundaries, one paragraph's."""
    text = passage.text
    starts = [m.start() for m in re.finditer(r"(?<![^\s])[^\W_]", text)]
    wanted = max(MIN_PART + 20, round(len(text) * rng.uniform(0.35, 0.7)))
    options = [start for start in starts if start + wanted <= len(text)]
    rng.shuffle(options)
    options.sort(key=lambda start: "\n\n" in text[start : start + wanted])
    start = options[0]
    end = start + len(text[start : start + wanted].rsplit(None, 1)[0])
    while not text[end - 1].isalnum():
        end -= 1
    return Passage(text[start:end], passage.start + start)


def unchanged(text: str, words: dict[str, list[str]], rng: random.Random) -> str:
    """Return the text as it is."""
    del words, rng
    return text


def rewrapped(text: str, words: dict[str, list[str]], rng: random.Random) -> str:
    """Break the lines at 60 to 76 columns; some are indented, quoted, or break a word."""
    del words
    width = rng.randint(60, 76)
    margin = rng.choices(["", "    ", "> "], [5, 2, 2])[0]
    breaks_words = rng.random() < 0.6
    blocks = []
    for paragraph in text.split("\n\n"):
        lines, line = [], ""
        for word in paragraph.split():
            room = width - len(line) - 2
            if not line:
                line = word
            elif len(line) + 1 + len(word) <= width:
                line += " " + word
            elif breaks_words and word.isalpha() and len(word) >= 7 and room >= 3:
                cut = min(room, len(word) - 3)
                lines.append(f"{line} {word[:cut]}-")
                line = word[cut:]
            else:
                lines.append(line)
                line = word
        lines.append(line)
        blocks.append("\n".join(margin + line for line in lines))
    return f"\n{margin.rstrip()}\n".join(blocks)


def quotes_dashes(text: str, words: dict[str, list[str]], rng: random.Random) -> str:
    """Set curly quotes, other dashes, the ellipsis character and a few no-break spaces."""
    del words
    dash = rng.choice(["\u2014", " \u2014 ", " \u2013 ", "\u2013"])
    swapped = re.sub(r"(?<![^\s(\-\u2014\u2013\"'])'(?=\w)", "\u2018", text).replace("'", "\u2019")
    swapped = re.sub(r"(?<![^\s(\-\u2014\u2013\u2018])\"(?=[\w\u2018\u2019])", "\u201c", swapped)
    swapped = swapped.replace('"', "\u201d").replace("...", "\u2026")
    swapped = swapped.replace("\u2014", "--") if "\u2014" in text else swapped.replace("--", dash)
    swapped = re.sub(r"\b(Mr|Mrs|Dr|St)\. ", "\\1.\u00a0", swapped)
    spaces = [m.start() for m in re.finditer(r"(?<=\w) (?=\w)", swapped)]
    for at in rng.sample(spaces, min(len(spaces), rng.randint(2, 5))):
        swapped = swapped[:at] + "\u00a0" + swapped[at + 1 :]
    return swapped


def light_edit(text: str, words: dict[str, list[str]], rng: random.Random) -> str:
    """Replace, delete or insert 2 to 5 % of the words, none at the edges."""
    synonyms = dict(zip(words["synonyms"][::2], words["synonyms"][1::2], strict=True))
    pieces = re.split(r"(\s+)", text)  # words at even places, spaces at odd ones
    inner = list(range(2 * KEPT_WORDS, len(pieces) - 2 * KEPT_WORDS, 2))
    wanted = max(2, round(len(pieces) // 2 * rng.uniform(0.025, 0.048)))
    rng.shuffle(inner)
    chosen: list[int] = []
    replaceable = [at for at in inner if core_of(pieces[at])[1] in synonyms]
    for at in [*replaceable[: wanted * 2 // 3], *inner]:
        if len(chosen) < wanted and all(abs(at - other) > 4 for other in chosen):
            chosen.append(at)
    for at in sorted(chosen, reverse=True):
        before, word, after = core_of(pieces[at])
        if word in synonyms:
            pieces[at] = before + synonyms[word] + after
        elif rng.random() < 0.5 and word and not before and not after:
            del pieces[at : at + 2]
        else:
            pieces[at : at + 1] = [rng.choice(words["insertions"]), " ", pieces[at]]
    return "".join(pieces)


def core_of(word: str) -> tuple[str, str, str]:
    """Split a word into the marks before it, its letters, and the marks after it."""
    match = re.fullmatch(r"(\W*)([^\W_]*)(.*)", word, re.DOTALL)
    return ("", word, "") if match is None else (match[1], match[2], match[3])


SCAN_ERRORS = (
    ("rn", "m"),
    ("m", "rn"),
    ("li", "h"),
    ("h", "b"),
    ("l", "1"),
    ("l", "I"),
    ("I", "l"),
    ("I", "1"),
    ("O", "0"),
    ("o", "0"),
    ("e", "c"),
    ("c", "e"),
    ("cl", "d"),
    ("ii", "u"),
    ("s", "\u017f"),
    (" ", ""),
)


def ocr(text: str, words: dict[str, list[str]], rng: random.Random) -> str:
    """Misread 1.5 to 3 % of the characters as a scanner does; break a few words by a hyphen."""
    del words
    wanted = round(len(text) * rng.uniform(0.015, 0.029))
    taken: list[tuple[int, str, str]] = [broken_word(text, rng)] if rng.random() < 0.7 else []
    tries = 0
    while len(taken) < wanted and tries < 4000:
        tries += 1
        wrong, read = rng.choice(SCAN_ERRORS)
        at = rng.randrange(EDGE, len(text) - EDGE)
        near = any(abs(at - other) < 3 for other, _, _ in taken)
        final_s = wrong == "s" and not text[at + 1 : at + 2].isalpha()
        paragraph = "\n" in text[at - 1 : at + 2]
        if text.startswith(wrong, at) and not (near or final_s or paragraph):
            taken.append((at, wrong, read))
    for at, wrong, read in sorted(taken, reverse=True):
        text = text[:at] + read + text[at + len(wrong) :]
    return text


def broken_word(text: str, rng: random.Random) -> tuple[int, str, str]:
    """Return an error that breaks a long word: `exam- ple`."""
    longer = [m.start() for m in re.finditer(r"\b[a-z]{7,}\b", text[EDGE:-EDGE])]
    return rng.choice(longer) + EDGE + 3, "", "- "


EDITS: dict[str, Callable[[str, dict[str, list[str]], random.Random], str]] = {
    "whole": unchanged,
    "part": unchanged,
    "rewrapped": rewrapped,
    "quotes_dashes": quotes_dashes,
    "light_edit": light_edit,
    "ocr": ocr,
}
