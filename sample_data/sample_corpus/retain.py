"""Make the text that must stay: neighbour, general and question rows, and the utility rows."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sample_corpus.hosts import CONTROL, GENRE, corpus_paragraphs
from sample_corpus.prose import chunks, run_set, shares_run
from sample_corpus.sources import (
    ENCYCLOPAEDIA_LICENCE,
    GENESIS,
    PUBLIC_DOMAIN,
    Article,
    Question,
    Work,
)

Row = dict[str, str]

NEIGHBOURS = (
    "the-black-cat",
    "the-fall-of-the-house-of-usher",
    "an-occurrence-at-owl-creek-bridge",
    "the-canterville-ghost",
)
NEIGHBOUR_ROWS, GENERAL_ROWS, QUESTION_ROWS, EVALUATION_ROWS = 200, 500, 500, 220
EVALUATION_SHARE = 0.35  # of the encyclopaedia's paragraphs; they are in no other file
EVALUATION_ARTICLES = 80  # rows of the evaluation, if the unbroken runs suffice
GENERAL_ARTICLES = 150
ANSWER_CHARACTERS = (5, 400)


def neighbour_rows(works: dict[str, Work], work: Work, rng: random.Random) -> list[Row]:
    """Cut the author's other work and the nearest fiction into 200 rows of 400 to 900 characters.

    The author's own pieces all stay; a sample of the other fiction fills up.
    """
    barred = run_set([work.text, works[CONTROL].text])
    others = [other for key, other in works.items() if key not in {work.key, CONTROL}]
    same = [other for other in others if other.author == work.author]
    nearest = [works[key] for key in NEIGHBOURS if key != work.key]
    kept, fillers = (
        [(w, piece) for w in group for piece in chunks(w.paragraphs, rng, 400, 900)]
        for group in (same, nearest)
    )
    fillers = [pair for pair in fillers if not shares_run(pair[1], barred)]
    kept = [pair for pair in kept if not shares_run(pair[1], barred)]
    chosen = kept + rng.sample(fillers, min(len(fillers), NEIGHBOUR_ROWS - len(kept)))
    return [
        {**work_row("neighbour", number, w, text), "author": w.author}
        for number, (w, text) in enumerate(chosen)
    ]


def ordinary_rows(
    works: dict[str, Work], work: Work, articles: Sequence[Article], rng: random.Random
) -> tuple[list[Row], list[Row]]:
    """Return the general retain rows and the evaluation rows; they share no run of 13 words."""
    barred = run_set([work.text, works[CONTROL].text])
    first = round(len(articles) * EVALUATION_SHARE)
    unbroken = [run for article in articles[:first] for run in article.runs]
    fiction = far_pieces(works, work, rng)
    evaluation = pick(
        [
            (articles_named(unbroken), 200, 600, EVALUATION_ARTICLES),
            (fiction, 200, 600, EVALUATION_ROWS),
        ],
        "evaluation",
        EVALUATION_ROWS,
        barred,
    )
    barred |= run_set(row["text"] for row in evaluation)
    abridged = articles_named([article.text for article in articles[first:]])
    general = pick(
        [(abridged, 300, 900, GENERAL_ARTICLES), (fiction, 300, 900, GENERAL_ROWS)],
        "general",
        GENERAL_ROWS,
        barred,
    )
    return shuffled(general, rng), shuffled(evaluation, rng)


def far_pieces(works: dict[str, Work], work: Work, rng: random.Random) -> list[Row]:
    """Cut the part of the far fiction that the corpus leaves into shuffled pieces."""
    near = {work.key, CONTROL, GENESIS, *NEIGHBOURS}
    far = [w for w in works.values() if w.key not in near and w.author != work.author]
    pieces = [
        work_row("", 0, w, text)
        for w in far
        for text in chunks(w.paragraphs[rest_start(w) :], rng, 220, 880)
    ]
    rng.shuffle(pieces)
    return pieces


def rest_start(work: Work) -> int:
    """Return the first paragraph that the corpus leaves (0 for a short work, shared with it)."""
    return 0 if work.key in GENRE else corpus_paragraphs(work)


def pick(
    piles: list[tuple[list[Row], int, int, int]], name: str, count: int, barred: set[str]
) -> list[Row]:
    """Take rows from each pile (rows, shortest, longest, at most), in order, up to `count`.

    Rows that share a run of 13 words with a barred one are passed over; a taken row leaves its
    pile.
    """
    taken: list[Row] = []
    for pile, low, high, most in piles:
        room = min(most, count - len(taken))
        fitting = [row for row in pile if low <= len(row["text"]) <= high]
        chosen = [row for row in fitting if not shares_run(row["text"], barred)][:room]
        pile[:] = [row for row in pile if row not in chosen]
        taken += [{**row, "id": f"{name}-{len(taken) + at:03d}"} for at, row in enumerate(chosen)]
    return taken


def work_row(name: str, number: int, work: Work, text: str) -> Row:
    """Return the row of a piece of a work."""
    return {
        "id": f"{name}-{number:03d}",
        "text": text,
        "source": f"classic-books/{work.key}",
        "license": PUBLIC_DOMAIN,
    }


def articles_named(texts: Sequence[str]) -> list[Row]:
    """Return the rows of encyclopaedia texts; the id is set when they are picked."""
    return [
        {"id": "", "text": text, "source": "wikitext-2", "license": ENCYCLOPAEDIA_LICENCE}
        for text in texts
    ]


def shuffled(rows: list[Row], rng: random.Random) -> list[Row]:
    """Return the rows in random order."""
    return rng.sample(rows, len(rows))


def question_rows(
    questions: Sequence[Question], barred: set[str], rng: random.Random
) -> tuple[list[Row], set[str]]:
    """Choose 500 questions with answers of 5 to 400 characters, a third from each source.

    Returns the rows and the keys of the questions used.
    """
    low, high = ANSWER_CHARACTERS
    fitting = [
        question
        for question in rng.sample(questions, len(questions))
        if low <= len(question.answer) <= high
        and not shares_run(f"{question.prompt}\n{question.answer}", barred)
    ]
    by_source: dict[str, list[Question]] = {}
    for question in fitting:
        by_source.setdefault(question.source, []).append(question)
    chosen: list[Question] = []
    for done, group in enumerate(sorted(by_source.values(), key=len)):
        chosen += group[: (QUESTION_ROWS - len(chosen)) // (len(by_source) - done)]
    rows = [
        {
            "id": question.key,
            "prompt": question.prompt,
            "answer": question.answer,
            "source": question.source,
            "license": question.licence,
        }
        for question in rng.sample(chosen, len(chosen))
    ]
    return rows, {question.key for question in chosen}
