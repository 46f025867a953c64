"""Choose the passages, plan their copies, and put the documents together."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sample_corpus.edits import KINDS, Copy, Passage, make_copy
from sample_corpus.hosts import (
    CONTROL,
    GENRE,
    Document,
    Host,
    Shelf,
    document_with_copies,
    own_page,
    plain_document,
)
from sample_corpus.prose import run_set, sentence_spans, shares_run
from sample_corpus.sources import GENESIS, PUBLIC_DOMAIN, Work, load_other_translation

PASSAGES = 16
TAUGHT = 6
PASSAGE_CHARACTERS = (380, 480)
WIDER_CHARACTERS = (320, 760)  # where long sentences leave no passage of the usual length
DOCUMENTS_WITH_COPIES = 45
LONGER_LISTS = 6  # so many passages are copied four times, the others three times
# Shares of the documents without copies: near first, far last.
SHARES = {"near": 0.20, "genre": 0.24, "encyclopaedia": 0.14, "thread": 0.20, "other": 0.22}


@dataclass(frozen=True)
class Corpus:
    """The finished documents by their id, in shuffled order, and the passages."""

    documents: dict[str, Document]
    passages: list[Passage]
    taught: list[int]


def choose_passages(work: Work) -> list[Passage]:
    """Choose one passage in each of 16 equal stretches of the work.

    A passage runs from the start of a sentence to the end of one. Those within one paragraph are
    preferred, then narrative over dialogue, then the middle of the length range.

    Raises:
        ValueError: the work is too short or has no such passage in a stretch.
    """
    best = best_passages(work.text, *WIDER_CHARACTERS)
    best |= best_passages(work.text, *PASSAGE_CHARACTERS)
    if len(best) < PASSAGES:
        raise ValueError(f"{work.key} has passages in {len(best)} of {PASSAGES} stretches only")
    return [Passage(work.text[start:end], start) for _, (start, end) in sorted(best.items())]


def best_passages(text: str, low: int, high: int) -> dict[int, tuple[int, int]]:
    """Return the start and end of the best passage of each stretch that has one."""
    spans = sentence_spans(text)
    size = len(text) / PASSAGES
    found: dict[int, list[tuple[int, int, int]]] = {}
    for at, (start, _) in enumerate(spans):
        stretch = int(start / size)
        for _, end in spans[at : at + 20]:
            if low <= end - start <= high and end <= (stretch + 1) * size:
                cost = passage_cost(text[start:end], (low + high) // 2)
                found.setdefault(stretch, []).append((cost, start, end))
    return {stretch: min(options)[1:] for stretch, options in found.items()}


def passage_cost(piece: str, length: int) -> int:
    """Return how far a passage is from narrative of one paragraph and the wished length."""
    broken_quotes = piece.count("'\"")
    cost = 400 * piece.count("\n\n") + 30 * (piece.count('"') + broken_quotes)
    return cost + 1000 * bool(broken_quotes) + abs(len(piece) - length)


def choose_taught(rng: random.Random) -> list[int]:
    """Choose the six taught passages, three in each half of the work."""
    half = PASSAGES // 2
    first = rng.sample(range(half), TAUGHT // 2)
    second = rng.sample(range(half, PASSAGES), TAUGHT // 2)
    return sorted(first + second)


def plan_copies(
    passages: list[Passage], words: dict[str, list[str]], rng: random.Random
) -> list[list[Copy]]:
    """Copy each passage three or four times in different kinds; return one list a document."""
    longer = set(rng.sample(range(PASSAGES), LONGER_LISTS))
    kinds = list(KINDS)
    rng.shuffle(kinds)
    slots: list[tuple[int, Copy]] = []
    for number, passage in enumerate(passages):
        for _ in range(4 if number in longer else 3):
            kind = kinds[len(slots) % len(kinds)]
            slots.append((number, make_copy(passage, kind, words, rng)))
    rng.shuffle(slots)
    single, rest = slots[:DOCUMENTS_WITH_COPIES], slots[DOCUMENTS_WITH_COPIES:]
    groups = [[copy] for _, copy in single]
    for number, copy in rest:
        partner = next(
            at for at, (other, _) in enumerate(single) if other != number and len(groups[at]) == 1
        )
        groups[partner].append(copy)
    return groups


def compose(work: Work, works: dict[str, Work], shelf: Shelf, count: int, seed: int) -> Corpus:
    """Make a corpus of `count` documents, 45 of them with copies of the work.

    Outside the copies no document shares a run of 13 words with the work.
    """
    rng = shelf.rng
    passages = choose_passages(work)
    taught = choose_taught(rng)
    groups = plan_copies(passages, shelf.written, rng)
    runs = run_set([work.text])
    documents: list[Document] = []
    hosts = host_makers(shelf, [key for key in works if key not in {work.key, CONTROL, GENESIS}])
    for number, group in enumerate(groups):
        make = partial(with_copies, hosts[number % len(hosts)], group, work, shelf)
        documents.append(fresh(make, runs))
    for make_look_alike in look_alikes(work, works, shelf, count - len(documents)):
        documents.append(fresh(make_look_alike, runs))
    rng.shuffle(documents)
    named = {document_id(seed, work.key, at): item for at, item in enumerate(documents)}
    return Corpus(dict(sorted(named.items())), passages, taught)


def document_id(seed: int, work: str, number: int) -> str:
    """Return an opaque id of 12 hexadecimal digits."""
    return hashlib.sha256(f"{work}/{seed}/{number}".encode()).hexdigest()[:12]


def with_copies(host: Callable[[], Host], copies: list[Copy], work: Work, shelf: Shelf) -> Document:
    """Take a new host and put the copies into it."""
    return document_with_copies(host(), copies, work, shelf)


def fresh(make: Callable[[], Document], runs: set[str], tries: int = 20) -> Document:
    """Make documents until one shares no word run with the work outside its copies.

    Raises:
        LookupError: none did, or the material is used up.
    """
    for _ in range(tries):
        document = make()
        if not any(shares_run(text, runs) for text in document.outside()):
            return document
    raise LookupError(f"{tries} documents in a row share words with the work")


def host_makers(shelf: Shelf, keys: list[str]) -> list[Callable[[], Host]]:
    """Return the makers of hosts for copies: essay, thread and anthology page, in turn."""
    far = [key for key in keys if key not in GENRE and key in shelf.left]
    genre = [key for key in keys if key in GENRE]
    return [
        lambda: shelf.encyclopaedia(1, 3),
        lambda: shelf.thread(2, 3),
        lambda: shelf.fiction(genre + far, 400, 800),
        lambda: shelf.fiction(far, 400, 800),
    ]


def look_alikes(
    work: Work, works: dict[str, Work], shelf: Shelf, count: int
) -> Iterator[Callable[[], Document]]:
    """Yield a maker for each document without copies."""
    pages: list[str] = shelf.written["about"].get(work.key, [])
    yield from [partial(own_page, page) for page in pages]
    makers = look_alike_makers(work, works, shelf)
    left = count - len(pages)
    numbers = {name: round(left * share) for name, share in SHARES.items()}
    numbers["other"] += left - sum(numbers.values())
    for name, number in numbers.items():
        yield from [makers[name]] * number


def look_alike_makers(
    work: Work, works: dict[str, Work], shelf: Shelf
) -> dict[str, Callable[[], Document]]:
    """Return a maker for each share of the look-alikes; what is used up falls to the next one."""
    usable = [key for key in works if key not in {work.key, CONTROL, GENESIS}]
    same = [key for key in usable if works[key].author == work.author]
    genre = [key for key in usable if key in GENRE and key not in same]
    far = [key for key in usable if key not in genre and key not in same]
    translations = other_translation(shelf) if work.key == GENESIS else iter(())

    def near() -> Document:
        for host in translations:
            return plain_document(host, shelf)
        try:
            return plain_document(shelf.fiction(same, 320, 600), shelf, 0.3)
        except LookupError:
            return kindred()

    def kindred() -> Document:
        try:
            return plain_document(shelf.fiction(genre), shelf, 0.2)
        except LookupError:
            return plain_document(shelf.fiction(far), shelf, 0.2)

    return {
        "near": near,
        "genre": kindred,
        "encyclopaedia": lambda: plain_document(shelf.encyclopaedia(), shelf, 0.3),
        "thread": lambda: plain_document(shelf.thread(), shelf, 0.2),
        "other": lambda: plain_document(shelf.fiction(far), shelf, 0.2),
    }


def other_translation(shelf: Shelf) -> Iterator[Host]:
    """Yield passages of three to six World English sentences, two or three a host.

    Only sentences with word Jaccard <= .6 to the King James text are used: the passage tells the
    same in other words, and a reasonable reader would not call it a copy.
    """
    verses = load_other_translation()
    while len(verses) >= 18:
        paragraphs = []
        for _ in range(shelf.rng.randint(2, 3)):
            size = shelf.rng.randint(3, 6)
            paragraphs.append(" ".join(verses[:size]))
            del verses[:size]
        yield Host(paragraphs, "World English Bible", PUBLIC_DOMAIN)


def truth_rows(corpus: Corpus, files: dict[str, str], work: str) -> list[dict[str, Any]]:
    """Return one row a copy; it does not say which passages are taught."""
    return [
        {
            "doc_id": key,
            "file": files[key],
            "start": placed.start,
            "end": placed.end,
            "work": work,
            "work_start": placed.copy.work_start,
            "work_end": placed.copy.work_end,
            "kind": placed.copy.kind,
        }
        for key, document in corpus.documents.items()
        for placed in document.copies
    ]
