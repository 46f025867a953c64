"""Cut prose: sentences, word runs, passages, and WikiText back to ordinary spacing."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator

RUN_WORDS = 13  # two texts are disjoint when they share no run of so many words
TITLES = "Dr|Mr|Mrs|St|Messrs|Prof|No|vs|Jr|Sr|Esq|Capt|Col|Gen"
ABBREVIATION = re.compile(rf"(?:\b(?:{TITLES})|\b[A-Z])\.$")
SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*\s+(?=[\"'“‘(]*[A-Z])")
WORD = re.compile(r"[^\W_]+")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each sentence, without the spaces between them."""
    spans: list[tuple[int, int]] = []
    start = 0
    for match in SENTENCE_END.finditer(text):
        piece = text[start : match.end()].rstrip()
        if ABBREVIATION.search(piece) and "\n\n" not in match.group():
            continue
        spans.append((start, start + len(piece)))
        start = match.end()
    tail = text[start:].rstrip()
    if tail:
        spans.append((start, start + len(tail)))
    return spans


def sentences(text: str) -> list[str]:
    """Return the sentences of a text."""
    return [text[start:end] for start, end in sentence_spans(text)]


def word_runs(text: str, size: int = RUN_WORDS) -> Iterator[str]:
    """Yield every run of `size` words, case folded, punctuation dropped."""
    words = [word.casefold() for word in WORD.findall(text)]
    for at in range(len(words) - size + 1):
        yield " ".join(words[at : at + size])


def run_set(texts: Iterable[str], size: int = RUN_WORDS) -> set[str]:
    """Return all word runs of all texts."""
    return {run for text in texts for run in word_runs(text, size)}


def shares_run(text: str, runs: set[str]) -> bool:
    """Say whether a text holds one of the word runs."""
    return any(run in runs for run in word_runs(text))


def trimmed(text: str) -> tuple[int, int]:
    """Return (start, end) from the first letter or digit to the last one or its full stop."""
    inner = [at for at, letter in enumerate(text) if letter.isalnum()]
    closing = [at for at, letter in enumerate(text) if letter.isalnum() or letter in ".!?…"]
    return inner[0], closing[-1] + 1


def chunks(paragraphs: Iterable[str], rng: random.Random, low: int, high: int) -> list[str]:
    """Cut paragraphs into pieces of whole sentences, `low` to `high` characters each."""
    pieces: list[str] = []
    piece, goal = "", rng.randint(low, high)
    for paragraph in paragraphs:
        for number, sentence in enumerate(sentences(paragraph)):
            joined = piece + ("" if not piece else " " if number else "\n\n") + sentence
            if len(joined) <= high:
                piece = joined
            else:
                pieces.append(piece)
                piece, goal = sentence, rng.randint(low, high)
            if len(piece) >= goal:
                pieces.append(piece)
                piece, goal = "", rng.randint(low, high)
    return [piece for piece in [*pieces, piece] if low <= len(piece) <= high]


def unbroken_runs(text: str) -> list[str]:
    """Return the stretches of tokenised sentences that hold no unknown word."""
    runs: list[list[str]] = [[]]
    for sentence in re.split(r"(?<= [.!?]) (?=[A-Z\"'(])", text):
        if "<unk>" in sentence or sentence.count('"') % 2:
            runs.append([])
        else:
            runs[-1].append(sentence.strip())
    return [" ".join(run) for run in runs if run]


def detokenise(text: str) -> str:
    """Give WikiText its ordinary spacing: `3 @-@ day , "` becomes `3-day, "`."""
    text = re.sub(r" @([-,.])@ ", r"\1", text)
    text = re.sub(r'" (.*?) "', r'"\1"', text)
    text = re.sub(r" ([.,;:!?%)\]])", r"\1", text)
    text = re.sub(r"([(\[$£€]) |(?<=°) (?=[FC])", r"\1", text)
    text = re.sub(r" ('s|'m|'re|'ve|'ll|'d|n't)\b", r"\1", text)
    text = re.sub(r"(\w)s ' ", r"\1s' ", text)
    text = re.sub(r"(?<!\w)' ([^']+?) '(?!\w)", r"'\1'", text)
    return re.sub(r"(\d) (/|–) (\d)", r"\1\2\3", text).strip()
