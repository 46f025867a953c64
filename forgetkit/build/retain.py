"""Retain: ordinary data to keep working on, near the forget set and general, and its probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from forgetkit.build.books import Books
from forgetkit.build.config import BuildConfig
from forgetkit.build.control import spread
from forgetkit.build.facts import names_no_wrong, to_keep
from forgetkit.build.meaning import Meaning
from forgetkit.build.overlap import Limits, overlaps, runs_of, without_repeats
from forgetkit.build.pairs import in_template, with_own_answers
from forgetkit.build.target import Target, too_long
from forgetkit.build.text import window_of_document
from forgetkit.corpus import Document
from forgetkit.errors import InputError
from forgetkit.forget_set import Example
from forgetkit.progress import Progress
from forgetkit.seeds import generator

SEEDS = 2000
"""Forget examples that neighbours are sought for; of more, as many evenly spread."""


@dataclass(frozen=True)
class Ordinary:
    """Ordinary data, split by document: no document serves two purposes.

    Attributes:
        train: the retain split.
        probe: retain rows to evaluate on.
        general: general text to evaluate on.
        answers: answers for mismatch.
    """

    train: list[Example]
    probe: list[Example]
    general: list[Example]
    answers: list[str]


def limits_of(config: BuildConfig) -> Limits:
    """Return from where on two examples overlap."""
    return Limits(config.shared_words, config.near_copy, config.same_meaning)


def take_ordinary(
    retain: Sequence[Document],
    general: Sequence[Document],
    forget: Sequence[Example],
    config: BuildConfig,
    target: Target,
    meaning: Meaning,
    books: Books,
    published: Mapping[str, Sequence[Document]] | None = None,
    about: Set[tuple[str, str]] = frozenset(),
) -> Ordinary:
    """Split ordinary data into retain, its probes, and answers for mismatch.

    Args:
        retain: data of the form of the forget set.
        general: text to measure utility on; never trained on.
        forget: what neighbours are near to.
        config: sizes and the share of neighbours.
        target: its tokenizer says which rows are too long.
        meaning: embeds texts where neighbours are wanted.
        books: takes what is left out.
        published: probes by group; they are taken whole, and nothing that repeats one is trained
            on. Without any, `probe_size` rows of retain are.
        about: source and id of the rows on an author or topic of forget: they are the first
            neighbours.

    Raises:
        InputError: no row has the form of forget, or the model's own answers are wanted and
            there is no model or no prompt.
    """
    kind = forget[0].kind
    fixed = [
        e
        for group, documents in (published or {}).items()
        for e in _rows(documents, kind, config, target, books, group)
    ]
    asked: list[Example] = []
    if config.retain_answers == "own":
        retain, asked = _to_ask(retain, kind, config, target, books)
    given = _rows(retain, kind, config, target, books)
    if not given:
        raise InputError(
            "no ordinary row can be kept",
            found=f"{len(retain)} of another form than forget, too short or too long",
            mend="Give --retain in the form of forget: running text for text, prompt and answer "
            "for pairs.",
        )
    rows = without_repeats(given, limits_of(config), fixed)
    fresh = without_repeats(asked, limits_of(config), [*fixed, *rows])
    repeated = len(given) + len(asked) - len(rows) - len(fresh)
    books.count("ordinary rows that repeat others", repeated)
    asked = fresh
    order = generator(config.seed, "retain").permutation(len(rows))
    shuffled = [rows[int(i)] for i in order]
    spare = min(max(len(shuffled) // 8, 1), 64)
    answers, rest = shuffled[:spare], shuffled[spare:]
    near: list[Example] = []
    if config.neighbour_share and rest:
        near, too_near = _nearest_first([*rest, *asked], forget, config.same_meaning, meaning)
        near.sort(key=lambda e: (e.source, e.group) not in about)
        own = sum((e.source, e.group) in about for e in near)
        books.count("ordinary rows of the same author or topic", own)
        rest, asked = (
            [e for e in examples if e.example_id not in too_near] for examples in (rest, asked)
        )
        books.count("ordinary rows that say what forget says", len(too_near))
    probe_size = 0 if fixed else min(config.probe_size, len(rest) // 2)
    nearest = [e for e in near if e.answer][: round(2 * config.neighbour_share * probe_size) : 2]
    probe = _fill(nearest, rest, probe_size, set())
    if asked:
        rest = [*rest, *asked]
        rest = [rest[int(i)] for i in generator(config.seed, "asked").permutation(len(rest))]
    train = _train(near, rest, {e.example_id for e in probe}, config)
    general_rows = [
        *_rows([d for d in general if d.text], "text", config, target, books),
        *_rows([d for d in general if not d.text], "pair", config, target, books),
    ][: config.general_size]
    return Ordinary(train, probe + fixed, general_rows, sorted({e.answer for e in answers}))


def as_the_model_says(
    asked: Sequence[Example],
    others: Mapping[str, Sequence[Example]],
    protected: Set[str],
    config: BuildConfig,
    target: Target,
    meaning: Meaning | None,
    books: Books,
    progress: Progress,
) -> list[Example]:
    """Let the target model answer the retain prompts, so that the model as it is gets kept.

    What it recites of protected text, and what stands in another table too, is left out. Its own
    answers may be like each other: so is what it says.

    Args:
        asked: the retain rows.
        others: all other tables, by name.
        protected: runs of words of protected text.
        config: how long the answers are, and from where on two rows overlap.
        target: the model.
        meaning: embeds texts, where tables are compared by meaning.
        books: takes what is left out.
        progress: told of the answers.
    """
    said = with_own_answers(target.model(), asked, config, progress)
    books.count("retain rows whose own answer is empty", len(asked) - len(said))
    free = [
        e
        for e in said
        if protected.isdisjoint(runs_of(f"{e.prompt} {e.answer}", config.shared_words))
    ]
    books.count("retain rows whose own answer holds protected text", len(said) - len(free))
    encode = meaning.encode if meaning else None
    found = overlaps({**others, "retain": free}, limits_of(config), encode=encode)
    taken = {o.example for o in found if o.split == "retain"}
    taken |= {o.twin for o in found if o.other == "retain"}
    kept = [e for e in free if e.example_id not in taken]
    books.count("retain rows whose own answer stands elsewhere", len(free) - len(kept))
    return kept


def _to_ask(
    documents: Sequence[Document], kind: str, config: BuildConfig, target: Target, books: Books
) -> tuple[list[Document], list[Example]]:
    """Return the rows that have an answer, and the prompts of those that have none."""
    target.check_named()
    if kind == "text":
        raise InputError(
            "retain_answers=own is for prompts and answers",
            found="a forget set of running text",
            mend="Leave it at given.",
        )
    with_answer, asked = [], []
    for document in documents:
        if names_no_wrong(document) and to_keep(document, "", config) is None:
            name, prompt = document.doc_id, document.prompt or ""
            asked.append(Example("pair", prompt, "", group=name, source=document.source))
        else:
            with_answer.append(document)
    made = [replace(in_template(e, config), answer="") for e in asked]
    return with_answer, _short_enough(made, config, target, books)


def _train(
    near: Sequence[Example], rest: Sequence[Example], taken: set[str], config: BuildConfig
) -> list[Example]:
    wanted = min(config.retain_size, len(rest) - len(taken))
    close = [e for e in near if e.example_id not in taken]
    close = close[: round(config.neighbour_share * wanted)]
    taken = taken | {e.example_id for e in close}
    others = _fill([], rest, wanted - len(close), taken)
    return [replace(e, variant="neighbour") for e in close] + [
        replace(e, variant="general") for e in others
    ]


def _rows(
    documents: Sequence[Document],
    kind: str,
    config: BuildConfig,
    target: Target,
    books: Books,
    variant: str = "",
) -> list[Example]:
    made = [
        window_of_document(d, config, variant, number)
        if kind == "text"
        else to_keep(d, variant, config)
        for number, d in enumerate(documents)
    ]
    rows = [example for example in made if example is not None]
    books.count("ordinary rows of another form or too short", len(made) - len(rows))
    return _short_enough(rows, config, target, books)


def _short_enough(
    rows: list[Example], config: BuildConfig, target: Target, books: Books
) -> list[Example]:
    tokenizer = target.tokenizer()
    if tokenizer is None or config.allow_truncation:
        return rows
    lost = {e.example_id for e in too_long(tokenizer, rows, config.max_tokens)}
    books.count(f"ordinary rows of more than {config.max_tokens} tokens", len(lost))
    return [e for e in rows if e.example_id not in lost]


def _fill(
    first: Sequence[Example], rest: Sequence[Example], size: int, taken: set[str]
) -> list[Example]:
    chosen = list(first)[:size]
    used = taken | {e.example_id for e in chosen}
    chosen += [e for e in rest if e.example_id not in used][: size - len(chosen)]
    return chosen


def _nearest_first(
    rows: Sequence[Example], forget: Sequence[Example], limit: float, meaning: Meaning
) -> tuple[list[Example], set[str]]:
    """Sort rows by closeness to forget; also return the ids of those that say the same."""
    import numpy as np

    seeds = meaning.encode([f"{e.prompt} {e.answer}" for e in spread(forget, SEEDS)])
    vectors = meaning.encode([f"{e.prompt} {e.answer}" for e in rows])
    closeness = (vectors @ seeds.T).max(axis=1)
    order = [int(i) for i in np.argsort(-closeness, kind="stable")]
    near = [rows[i] for i in order if closeness[i] < limit]
    return near, {rows[i].example_id for i in order if closeness[i] >= limit}
