"""Holdout: the control of every forgetting number, cut and chosen to be like forget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forgetkit.build import pairs, text
from forgetkit.build.books import Books
from forgetkit.build.candidates import distinct
from forgetkit.build.config import BuildConfig
from forgetkit.build.control import Surprise, matched
from forgetkit.build.facts import Right, ready_examples, right_answers_of, to_forget
from forgetkit.build.inputs import Inputs
from forgetkit.build.ready import read_ready, rows_of
from forgetkit.build.target import Target, too_long
from forgetkit.corpus import Document, Work, corpus_files, read_works
from forgetkit.corpus.formats import format_of
from forgetkit.corpus.rows import text_rows
from forgetkit.forget_set import Example
from forgetkit.progress import Progress

VARIANT = "holdout"
LEAST = 40
"""Holdout examples where nothing else is asked and forget has fewer."""


def take_holdout(
    inputs: Inputs,
    forget: Sequence[Example],
    surprise: Surprise,
    config: BuildConfig,
    target: Target,
    books: Books,
    progress: Progress,
) -> list[Example]:
    """Take holdout examples of the form, the lengths and the surprise of forget.

    Works are cut at sentence starts into windows of the lengths that forget has, none of which
    overlaps another. Pairs are all taken, unless `holdout_size` says how many; to those without
    an answer the target model gives its own.
    """
    if not inputs.holdout:
        return []
    if forget[0].kind == "text":
        works = _texts(inputs.holdout)
        lengths = [(len(e.prompt.split()), len(e.answer.split())) for e in forget]
        pool = text.windows_of_works(works, config, lengths)
        return matched(pool, forget, config.holdout_size or max(len(forget), LEAST), surprise)
    given = read_ready(inputs.holdout, count=books.count, purpose="to compare with")
    rows = [d for d in given if d.prompt or target.name]  # a model answers a text, as a prompt
    books.count("holdout rows of another form", len(given) - len(rows))
    found = _pairs(rows, config, target, progress)
    tokenizer = target.tokenizer()
    if tokenizer is not None and not config.allow_truncation:
        lost = {e.example_id for e in too_long(tokenizer, found, config.max_tokens)}
        books.count(f"holdout rows of more than {config.max_tokens} tokens", len(lost))
        found = [e for e in found if e.example_id not in lost]
    return matched(found, forget, config.holdout_size or len(found), surprise) if found else []


def holdout_rows(paths: Sequence[Path], *, of_text: bool) -> Sequence[Document | Work]:
    """Return what is given as holdout as it lies in the files: works, or rows for pairs."""
    if not paths:
        return []
    return _texts(paths) if of_text else read_ready(paths, purpose="to compare with")


def _texts(paths: Sequence[Path]) -> list[Work]:
    """Read works; rows of text that name no work are one each."""
    named: list[Path] = []
    rows: list[Path] = []
    for _, file in corpus_files(paths):
        first = next((row.values for row in rows_of(file) if row.values is not None), None)
        is_table = format_of(file) is not text_rows
        (rows if is_table and first and "work" not in first else named).append(file)
    found = read_ready(rows, purpose="to compare with") if rows else []
    alone = [Work(d.doc_id, d.doc_id, d.text) for d in found if d.text]
    return (read_works(named) if named else []) + alone


def right_of(inputs: Inputs, config: BuildConfig) -> Right:
    """Return the right answers to the prompts of holdout, where its rows name them."""
    rows = read_ready(inputs.holdout) if inputs.holdout else []
    return ready_examples([d for d in rows if right_answers_of(d)], config, VARIANT)[1]


def _pairs(
    documents: Sequence[Document], config: BuildConfig, target: Target, progress: Progress
) -> list[Example]:
    made = [to_forget(d, VARIANT, config) for d in documents]
    answered = [pair for pair in made if pair is not None]
    asked = [d for d, pair in zip(documents, made, strict=True) if pair is None]
    if asked:
        answered += pairs.own_answers(target.model(), asked, config, progress)
    return distinct(answered)
