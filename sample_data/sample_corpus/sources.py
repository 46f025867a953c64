"""Read `sample_data/sources/`: works, the two Genesis translations, encyclopaedia, questions."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sample_corpus.prose import detokenise, unbroken_runs

SOURCES = Path(__file__).resolve().parent.parent / "sources"
PUBLIC_DOMAIN = "Public domain (US)"
QA_LICENCES = {
    "self-instruct-seed": "Apache-2.0",
    "gsm8k-train": "MIT",
    "webquestions-train": "CC BY 4.0",
}
OWN_LICENCE = "Apache-2.0"
ENCYCLOPAEDIA_LICENCE = "CC BY-SA 3.0"
GENESIS = "genesis"
VERSES_A_PARAGRAPH = 6


@dataclass(frozen=True)
class Work:
    """A whole work; its text is its paragraphs, joined by a blank line."""

    key: str
    title: str
    author: str
    paragraphs: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n\n".join(self.paragraphs)


@dataclass(frozen=True)
class Article:
    """A paragraph of the encyclopaedia.

    `text` leaves out the sentences with unknown words; `runs` are its unbroken stretches of
    sentences without one.
    """

    key: str
    text: str
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """A question, its answer and where both are from."""

    key: str
    prompt: str
    answer: str
    source: str

    @property
    def licence(self) -> str:
        return QA_LICENCES[self.source]


def rows_of(name: str) -> list[dict[str, Any]]:
    """Read one gzip JSON lines file of the sources."""
    with gzip.open(SOURCES / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def load_works() -> dict[str, Work]:
    """Return every work by its key, Genesis in the King James text among them."""
    paragraphs: dict[str, list[str]] = {}
    names: dict[str, tuple[str, str]] = {}
    for row in rows_of("works.jsonl.gz"):
        text = " ".join(row["text"].replace("*", "").split())
        names[row["work"]] = (row["title"], row["author"])
        if any(letter.isalpha() for letter in text):
            paragraphs.setdefault(row["work"], []).append(text)
    works = {key: Work(key, *names[key], tuple(texts)) for key, texts in paragraphs.items()}
    verses = [row["kjv"] for row in rows_of("genesis.jsonl.gz")]
    grouped = [
        " ".join(verses[at : at + VERSES_A_PARAGRAPH])
        for at in range(0, len(verses), VERSES_A_PARAGRAPH)
    ]
    works[GENESIS] = Work(GENESIS, "Genesis", "the King James Version", tuple(grouped))
    return works


def load_other_translation(max_jaccard: float = 0.6) -> list[str]:
    """Return the World English sentences that share at most `max_jaccard` of the words.

    Jaccard is that of the two sentences' word sets, as the source states it. A sentence above it
    is so close to the King James text that a reader could call it a copy, so it is left out.
    """
    rows = rows_of("genesis.jsonl.gz")
    return [row["web"] for row in rows if row["jaccard"] <= max_jaccard]


def load_articles() -> list[Article]:
    """Return the encyclopaedia's paragraphs that keep 150 characters without unknown words."""
    articles = []
    for row in rows_of("encyclopaedia.jsonl.gz"):
        runs = tuple(detokenise(run) for run in unbroken_runs(row["text"]))
        text = " ".join(runs)
        if len(text) >= 150:
            articles.append(Article(row["id"], text, runs))
    return articles


def load_questions() -> list[Question]:
    """Return the questions; the mark before the result of a sum becomes words."""
    return [
        Question(
            row["id"],
            row["question"].strip(),
            row["answer"].strip().replace("#### ", "The answer is "),
            row["source"],
        )
        for row in rows_of("questions.jsonl.gz")
    ]


def load_written() -> dict[str, Any]:
    """Return the project's own sentences: lead-ins, headings, pages about a work."""
    written: dict[str, Any] = json.loads((SOURCES / "written.json").read_text(encoding="utf-8"))
    return written
