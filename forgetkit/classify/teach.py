"""Labels from a teacher: a stronger classifier reads a sample drawn evenly over a student's scores.

A random sample of a corpus holds almost no harm. So the bundled student scores all texts, they are
cut into ten bands of its highest score, and the teacher reads as many of each band; a held-out row
then counts in the figures as the sample has it, not as the corpus has it (the card says so).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forgetkit.classify import open_classifier
from forgetkit.classify.fit import LEAST, Labelled, fraction
from forgetkit.classify.labels import text_of
from forgetkit.classify.linear import open_bundled
from forgetkit.corpus import Document, read_all
from forgetkit.errors import InputError
from forgetkit.progress import Progress

if TYPE_CHECKING:
    from forgetkit.classify.training import FilterConfig

BANDS = 10
_BATCH = 64


def taught(
    corpus: Sequence[Path], config: FilterConfig, progress: Progress
) -> dict[str, list[Labelled]]:
    """Return what a teacher says of a stratified sample of a corpus, by category.

    Raises:
        InputError: the corpus has too few texts, or the teacher finds nothing in the sample.
    """
    teacher = open_classifier(config.teacher or "bundled")
    chosen = _stratified(read_all(corpus), config.sample)
    texts = [text_of(document) for document in chosen]
    progress.stage(f"asking {teacher.name}", len(texts))
    parts = []
    for start in range(0, len(texts), _BATCH):
        parts.append(teacher.score(texts[start : start + _BATCH]))
        progress.advance(len(parts[-1]))
    scores = np.concatenate(parts)
    found: dict[str, list[Labelled]] = {}
    for column, name in enumerate(teacher.categories):
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


def _stratified(documents: Sequence[Document], sample: int) -> list[Document]:
    """Return distinct documents, as many of each band of the bundled student's highest score."""
    distinct = list({text_of(document): document for document in documents}.values())
    texts = [text_of(document) for document in distinct]
    highest = open_bundled().score(texts).max(axis=1)
    order = np.argsort(highest, kind="stable")
    chosen: list[int] = []
    for band in np.array_split(order, BANDS):
        keyed = sorted(band.tolist(), key=lambda place: fraction("sample", distinct[place].doc_id))
        chosen += keyed[: -(-sample // BANDS)]
    return [distinct[place] for place in sorted(chosen)]
