"""Make ordinary documents out of the sources, with or without copies inside."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sample_corpus.edits import Copy
from sample_corpus.prose import sentences
from sample_corpus.sources import (
    ENCYCLOPAEDIA_LICENCE,
    OWN_LICENCE,
    PUBLIC_DOMAIN,
    Article,
    Question,
    Work,
)

GENRE = (
    "the-black-cat",
    "the-fall-of-the-house-of-usher",
    "the-canterville-ghost",
    "the-yellow-wallpaper",
    "an-occurrence-at-owl-creek-bridge",
    "the-time-machine",
)
CONTROL = "a-scandal-in-bohemia"  # in no document and in no retain row
CORPUS_SHARE = 0.45  # of a long work; the rest of it is for retain and evaluation


@dataclass(frozen=True)
class Placed:
    """A copy and where its body is in the document (code points)."""

    copy: Copy
    start: int
    end: int


@dataclass
class Document:
    """A document under construction: its text so far and the copies in it."""

    source: str
    licence: str
    text: str = ""
    copies: list[Placed] = field(default_factory=list)

    def add(self, text: str, gap: str = "\n\n") -> None:
        """Add text after a gap (none at the start)."""
        self.text += (gap if self.text else "") + text

    def add_copy(self, copy: Copy, gap: str = "\n\n") -> None:
        """Add a copy with its quote marks and note where its body is."""
        self.add(copy.before, gap)
        start = len(self.text)
        self.text += copy.body
        self.copies.append(Placed(copy, start, len(self.text)))
        self.text += copy.after

    def outside(self) -> list[str]:
        """Return the stretches of text between the copies."""
        edges = [0, *(edge for copy in self.copies for edge in (copy.start, copy.end))]
        return [
            self.text[start:end]
            for start, end in zip(edges[::2], [*edges[1::2], len(self.text)], strict=True)
        ]


@dataclass(frozen=True)
class Host:
    """Ordinary paragraphs and where they are from."""

    paragraphs: list[str]
    source: str
    licence: str


class Shelf:
    """Hands out ordinary material, each piece once."""

    def __init__(
        self,
        works: dict[str, Work],
        articles: Sequence[Article],
        questions: Sequence[Question],
        written: dict[str, Any],
        rng: random.Random,
    ) -> None:
        self.rng = rng
        self.written = written
        self.titles = {key: (work.title, work.author) for key, work in works.items()}
        self.left = {
            key: list(work.paragraphs[: corpus_paragraphs(work)]) for key, work in works.items()
        }
        self.articles = list(articles)
        self.questions = list(questions)
        rng.shuffle(self.questions)

    def fiction(self, keys: Sequence[str], low: int = 300, high: int = 700) -> Host:
        """Take a run of paragraphs of one of the works, `low` to `high` characters.

        Raises:
            LookupError: none of the works has so much left.
        """
        rest = [sum(map(len, self.left[key])) for key in keys]
        open_works = [(key, size) for key, size in zip(keys, rest, strict=True) if size >= low]
        if not open_works:
            raise LookupError(f"no text left in {', '.join(keys)}")
        key = self.rng.choices(*zip(*open_works, strict=True))[0]
        goal = self.rng.randint(low, high)
        taken = [self.left[key].pop(0)]
        while self.left[key] and sum(map(len, taken)) + len(self.left[key][0]) <= goal:
            taken.append(self.left[key].pop(0))
        return Host(taken, f"classic-books/{key}", PUBLIC_DOMAIN)

    def encyclopaedia(self, low: int = 2, high: int = 2) -> Host:
        """Take consecutive paragraphs of the encyclopaedia.

        Raises:
            LookupError: none is left.
        """
        count = self.rng.randint(low, high)
        if len(self.articles) < count:
            raise LookupError("no encyclopaedia left")
        taken, self.articles = self.articles[:count], self.articles[count:]
        return Host([article.text for article in taken], "wikitext-2", ENCYCLOPAEDIA_LICENCE)

    def thread(self, low: int = 2, high: int = 3) -> Host:
        """Take questions and answers as the posts of a thread.

        Raises:
            LookupError: none is left.
        """
        count = self.rng.randint(low, high)
        if len(self.questions) < count:
            raise LookupError("no questions left")
        taken, self.questions = self.questions[:count], self.questions[count:]
        posts = []
        for question in taken:
            asker, answerer = self.rng.sample(self.written["names"], 2)
            posts.append(f"{asker} asked:\n{question.prompt}")
            posts.append(f"{answerer} wrote:\n{question.answer}")
            if self.rng.random() < 0.25:
                posts.append(f"{asker} wrote:\n{self.rng.choice(self.written['asides'])}")
        sources = sorted({question.source for question in taken})
        licences = sorted({question.licence for question in taken})
        return Host(posts, "; ".join(sources), "; ".join(licences))

    def sentence(self, name: str, work: Work) -> str:
        """Take one of the project's own sentences; it may name the work."""
        chosen: str = self.rng.choice(self.written[name])
        return chosen.format(title=work.title, author=work.author)

    def lead_in(self, name: str, copy: Copy, work: Work) -> str:
        """Take a sentence that does not by chance end in the word before the copy in the work."""
        before = last_word(work.text[: copy.work_start])
        chosen = self.sentence(name, work)
        others = (text.format(title=work.title, author=work.author) for text in self.written[name])
        return next(text for text in (chosen, *others) if last_word(text) != before)


def corpus_paragraphs(work: Work) -> int:
    """Return how many of a work's first paragraphs the corpus may use."""
    is_long = len(work.text) > 100_000 and work.key not in GENRE
    return round(len(work.paragraphs) * (CORPUS_SHARE if is_long else 1))


def plain_document(host: Host, shelf: Shelf, framed: float = 0.5) -> Document:
    """Write a host down as it is, sometimes under a title and an opening line."""
    document = Document(host.source, host.licence)
    if shelf.rng.random() < framed:
        document.add(shelf.rng.choice(shelf.written["titles"]))
        if shelf.rng.random() < 0.6:
            document.add(shelf.rng.choice(shelf.written["openings"]))
    for paragraph in host.paragraphs:
        document.add(paragraph)
    if shelf.rng.random() < framed / 3:
        document.add(shelf.rng.choice(shelf.written["tails"]))
    return document


def own_page(text: str) -> Document:
    """Make a page that the project wrote itself."""
    return Document("forgetkit sample_data", OWN_LICENCE, text)


def document_with_copies(host: Host, copies: list[Copy], work: Work, shelf: Shelf) -> Document:
    """Write a host down with one or two copies at its start, end, middle or inside a paragraph."""
    rng = shelf.rng
    document = Document(host.source, host.licence)
    slots = copy_slots(len(host.paragraphs), len(copies), rng)
    waiting = list(copies)
    if 0 not in slots and rng.random() < 0.5:
        document.add(rng.choice(shelf.written["titles"]))
    for number, paragraph in enumerate(host.paragraphs):
        pieces = sentences(paragraph)
        if number in slots:
            copy = waiting.pop(0)
            if number and fits_inline(copy, pieces) and rng.random() < 0.6:
                add_inline(document, pieces, copy, shelf, work)
                continue
            add_block(document, copy, shelf, work)
        document.add(paragraph)
    for copy in waiting:
        add_block(document, copy, shelf, work)
    return document


def last_word(text: str) -> str:
    """Return the last word of a text in small letters; empty where it has none."""
    return ["", *re.findall(r"\w+", text.lower())][-1]


def copy_slots(paragraphs: int, copies: int, rng: random.Random) -> list[int]:
    """Choose before which paragraphs the copies stand; `paragraphs` itself is the end."""
    middle = rng.randint(1, max(1, paragraphs - 1))
    first = rng.choice([0, middle, middle, paragraphs])
    others = [slot for slot in range(paragraphs + 1) if abs(slot - first) > 1]
    return sorted([first, *rng.sample(others, min(copies - 1, len(others)))])


def fits_inline(copy: Copy, pieces: list[str]) -> bool:
    """Say whether a copy can stand between two sentences of a paragraph: neither has lines."""
    return len(pieces) > 1 and "\n" not in copy.before + copy.body + "".join(pieces)


def add_inline(document: Document, pieces: list[str], copy: Copy, shelf: Shelf, work: Work) -> None:
    """Put a copy between two sentences of a paragraph."""
    cut = shelf.rng.randint(1, len(pieces) - 1)
    document.add(" ".join(pieces[:cut]))
    document.add(shelf.lead_in("inline_lead_ins", copy, work), " ")
    document.add_copy(copy, " ")
    document.add(" ".join(pieces[cut:]), " ")


def add_block(document: Document, copy: Copy, shelf: Shelf, work: Work) -> None:
    """Put a copy on its own, mostly with a line before it and sometimes one after it."""
    if document.text or shelf.rng.random() < 0.5:
        name = "headings" if shelf.rng.random() < 0.25 else "lead_ins"
        document.add(shelf.lead_in(name, copy, work))
    document.add_copy(copy)
    if shelf.rng.random() < 0.4:
        document.add(shelf.sentence("tails", work))
