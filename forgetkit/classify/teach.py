"""Labels from a teacher: a stronger classifier reads a sample drawn evenly over a student's scores.

A random sample of a corpus holds almost no harm. So the bundled student scores the texts, they are
cut into ten bands of its highest score, and the teacher reads as many of each band; a held-out row
then counts in the figures as the sample has it, not as the corpus has it (the card says so). Of a
large corpus the bands are cut out of a random sample, ten times as many texts as the teacher reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forgetkit.classify import open_classifier
from forgetkit.classify.categories import harmful_categories
from forgetkit.classify.fit import LEAST, Labelled, fraction
from forgetkit.classify.labels import text_of
from forgetkit.classify.linear import open_bundled
from forgetkit.corpus import Document, Quarantine, read_corpus
from forgetkit.corpus.read import WHOLE
from forgetkit.errors import InputError, UsageError, nearest
from forgetkit.progress import Progress

if TYPE_CHECKING:
    from forgetkit.classify.training import FilterConfig

BANDS = 10
HELD = 10
"""Texts that are held for each one that the teacher reads."""
_BATCH = 64


def taught(
    corpus: Sequence[Path], config: FilterConfig, progress: Progress
) -> dict[str, list[Labelled]]:
    """Return what a teacher says of a stratified sample of a corpus, by category.

    Raises:
        InputError: the corpus has too few texts, the teacher finds nothing in the sample, or does
            not say which of its labels mean harm.
        UsageError: a category that the teacher does not have.
        TooManyBadRowsError: a row cannot be read.
    """
    teacher = open_classifier(
        config.teacher or "bundled",
        checkpoint=config.classifier_checkpoint,
        digest=config.classifier_digest,
    )
    harmful = config.teacher_categories or harmful_categories(teacher, "teacher_categories")
    for name in harmful:
        if name not in teacher.categories:
            mend = nearest(name, teacher.categories)
            raise UsageError(f"unknown category '{name}'", mend=mend)
    quarantine = Quarantine(max_bad_rows=0, mend=WHOLE)
    documents = read_corpus(corpus, columns=config.columns, quarantine=quarantine)
    chosen = _stratified(_held(documents, HELD * config.sample), config.sample)
    quarantine.check()
    texts = [text_of(document) for document in chosen]
    progress.stage(f"asking {teacher.name}", len(texts))
    parts = []
    for start in range(0, len(texts), _BATCH):
        parts.append(teacher.score(texts[start : start + _BATCH]))
        progress.advance(len(parts[-1]))
    scores = np.concatenate(parts)
    found: dict[str, list[Labelled]] = {}
    for column, name in enumerate(teacher.categories):
        if name not in harmful:
            continue
        labels = scores[:, column] >= config.teacher_threshold
        if min(labels.sum(), (~labels).sum()) < 2 * LEAST:
            continue
        found[name] = [
            Labelled(
                document.doc_id,
                text,
                bool(label),
                "teacher",
                1.0,
                fraction("held", document.doc_id) < config.held_out,
            )
            for document, text, label in zip(chosen, texts, labels, strict=True)
        ]
    if not found:
        raise InputError(
            "the teacher finds too little of any category in the sample",
            where=teacher.name,
            found=f"{len(texts)} texts",
            mend="Give a larger or richer corpus, raise sample, or lower teacher_threshold.",
        )
    return found


def _held(documents: Iterable[Document], most: int) -> list[Document]:
    """Return distinct documents, a random sample (by a hash of their ids) where there are more."""
    held: dict[str, Document] = {}
    for document in documents:
        held[text_of(document)] = document
        if len(held) >= 2 * most:
            held = _lowest(held, most)
    return list((_lowest(held, most) if len(held) > most else held).values())


def _lowest(held: dict[str, Document], most: int) -> dict[str, Document]:
    draw = {text: fraction("held back", document.doc_id) for text, document in held.items()}
    stays = set(sorted(held, key=lambda text: (draw[text], text))[:most])
    return {text: document for text, document in held.items() if text in stays}


def _stratified(distinct: Sequence[Document], sample: int) -> list[Document]:
    """Return documents, as many of each band of the bundled student's highest score."""
    texts = [text_of(document) for document in distinct]
    highest = open_bundled().score(texts).max(axis=1)
    order = np.argsort(highest, kind="stable")
    chosen: list[int] = []
    for band in np.array_split(order, BANDS):
        keyed = sorted(band.tolist(), key=lambda place: fraction("sample", distinct[place].doc_id))
        chosen += keyed[: -(-sample // BANDS)]
    return [distinct[place] for place in sorted(chosen)]
