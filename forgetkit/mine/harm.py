"""Detector `harm`: text that a classifier finds harmful, cheap student first.

A linear student scores every window of every text and every prompt and answer. Where there is a
stronger judge (the embedding head of the student, detoxify, any sequence classifier), it reads
what the student ranks highest, within a budget, and a random sample of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forgetkit.classify import Classifier, open_classifier
from forgetkit.classify.categories import harmful_categories
from forgetkit.classify.linear import LinearClassifier, open_bundled
from forgetkit.classify.marks import marks
from forgetkit.corpus import DocumentBatch
from forgetkit.errors import InputError, UsageError, nearest
from forgetkit.mine.cascade import Reading, kept, reading, thinned
from forgetkit.mine.config import MineConfig
from forgetkit.mine.detector import Found, Sought
from forgetkit.mine.pieces import KINDS, Pieces, piece_text, pieces, spans_of, table
from forgetkit.progress import Progress
from forgetkit.spans import Span

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT_READS = {"harmful_answer": "pair", "harmful_request": "prompt"}
DEFAULT_THRESHOLD = 0.5
_CHUNK = 256

Scores = npt.NDArray[np.float32]


class Harm:
    """Score windows of texts, prompts and answers, and whole prompts and pairs.

    A category reads a text, a prompt, or a pair of prompt and answer. In a pair document,
    categories of pairs mark the answer, those of prompts the prompt, and those of texts either,
    whole; the answer is marked if it is hit, else the prompt. A text is read by the categories of
    texts alone. Each category that reaches its threshold gives a span of its own.

    Raises:
        UsageError: a category that the classifier does not have.
        InputError: the classifier does not say which of its labels mean harm.
    """

    def __init__(
        self, sought: Sought, config: MineConfig, classifier: Classifier | None = None
    ) -> None:
        self._config = config
        self._judge, self._student = _stages(config, classifier)
        self._decides: Any = self._judge or self._student
        known = tuple(self._decides.categories)
        for name in config.harm_categories:
            if name not in known:
                raise UsageError(f"unknown category '{name}'", mend=nearest(name, known))
        wanted = config.harm_categories or harmful_categories(self._decides, "harm_categories")
        self._thresholds = {name: self._threshold(name) for name in known if name in wanted}
        self._limits = np.array([self._thresholds.get(name, np.inf) for name in known])
        self._allowed = {
            kind: np.array([self._reads(name) == KINDS[kind] for name in known]) for kind in KINDS
        }
        counts = np.isfinite(self._limits)
        self._kinds = {kind for kind in KINDS if (self._allowed[kind] & counts).any()}
        self._counts: dict[str, int | float | str] = {}

    def _threshold(self, category: str) -> float:
        if self._config.harm_threshold is not None:
            return self._config.harm_threshold
        own = getattr(self._decides, "threshold", None)
        return float(own(category)) if own is not None else DEFAULT_THRESHOLD

    def _reads(self, category: str) -> str:
        own = getattr(self._decides, "reads", None)
        return str(own(category)) if own is not None else DEFAULT_READS.get(category, "text")

    def look(self, batch: DocumentBatch) -> Found:
        """Score a batch by the student; return its spans, or candidates for the judge."""
        found = pieces(batch, self._config.harm_window, self._kinds)
        if not len(found):
            return Found()
        scores = self._student.score_pieces(found.data, found.first, found.last)
        counts = {"pieces": len(found)}
        if self._judge is None:
            chosen = np.flatnonzero(self._hits(found.kind, scores).any(axis=1))
            rows = table(batch, found, chosen)
            return Found(self._spans(rows, scores[chosen]), counts=counts)
        rank, is_above = self._ranked(found, scores)
        chosen = kept(
            rank,
            found.draw,
            is_above,
            budget=self._config.harm_budget,
            sample=self._config.harm_sample,
        )
        let_go = len(found) - len(chosen)
        rows = table(batch, found, chosen, rank=rank, is_above=is_above, let_go=let_go)
        return Found(candidates=rows, counts=counts)

    def _ranked(self, found: Pieces, scores: Scores) -> tuple[Scores, npt.NDArray[np.bool_]]:
        """Return rank and whether a piece lies above the floor of a category that reads it."""
        names = self._student.categories
        floors = np.array([self._student.floor(name) for name in names])
        reads = np.array([self._student.reads(name) for name in names])
        legal = np.stack([reads == KINDS[kind] for kind in KINDS])[found.kind]
        relative = np.where(legal, scores / np.maximum(floors, 1e-6), 0)
        return scores.max(axis=1, where=legal, initial=0.0), relative.max(axis=1) >= 1

    def _hits(self, kinds: npt.NDArray[Any], scores: Scores) -> npt.NDArray[np.bool_]:
        """Return which categories of each piece reach their thresholds, (n, C)."""
        legal = np.stack([self._allowed[kind] for kind in KINDS])[kinds]
        return np.asarray(legal & (scores >= self._limits), np.bool_)

    def best(self, batch: DocumentBatch, progress: Progress) -> npt.NDArray[np.float64]:
        """Return the highest score of each document in a category that reads it, (N,)."""
        found = pieces(batch, self._config.harm_window, self._kinds)
        highest = np.zeros(len(batch))
        if not len(found):
            return highest
        if self._judge is None:
            scores = self._student.score_pieces(found.data, found.first, found.last)
        else:
            scores = self._read(table(batch, found, np.arange(len(found))), progress)
        legal = np.stack([self._allowed[kind] for kind in KINDS])[found.kind]
        legal &= np.isfinite(self._limits)
        np.maximum.at(highest, found.row, np.where(legal, scores, 0).max(axis=1))
        return highest

    def thin(self, candidates: pa.Table) -> pa.Table:
        """Return the pieces of some batches that may still be judged."""
        sample = self._config.harm_sample
        return thinned(candidates, budget=self._config.harm_budget, sample=sample)

    def finish(self, candidates: pa.Table | None, progress: Progress) -> list[Span]:
        """Let the judge read what is worth it and return its spans."""
        if candidates is None or self._judge is None:
            return []
        plan = reading(candidates, budget=self._config.harm_budget, sample=self._config.harm_sample)
        chosen = np.sort(np.concatenate([plan.top, plan.sample]))
        rows = candidates.take(chosen)
        scores = self._read(rows, progress)
        is_hit = np.asarray(self._hits(rows.column("kind").to_numpy(), scores).any(axis=1), bool)
        self._account(plan, is_hit, np.isin(chosen, plan.sample))
        return self._spans(rows.filter(is_hit), scores[is_hit])

    def _read(self, rows: pa.Table, progress: Progress) -> Scores:
        texts = [piece_text(row) for row in rows.to_pylist()]
        progress.stage(f"judging by {self._decides.name}", len(texts))
        distinct = list(dict.fromkeys(texts))
        parts = [np.zeros((0, len(self._decides.categories)), np.float32)]
        for start in range(0, len(distinct), _CHUNK):
            parts.append(self._decides.score(distinct[start : start + _CHUNK]))
            progress.advance(len(parts[-1]))
        place = {text: number for number, text in enumerate(distinct)}
        return np.concatenate(parts)[[place[text] for text in texts]]

    def _account(
        self, plan: Reading, is_hit: npt.NDArray[np.bool_], is_sample: npt.NDArray[np.bool_]
    ) -> None:
        recall = plan.estimate(is_hit[~is_sample], is_hit[is_sample])
        self._counts = {
            "pieces_judged": len(is_hit),
            "pieces_never_judged": plan.never_read,
            **recall.report(),
        }

    def _spans(self, rows: pa.Table, scores: Scores) -> list[Span]:
        places, columns = np.nonzero(self._hits(rows.column("kind").to_numpy(), scores))
        listed = rows.to_pylist()
        spans = spans_of(
            [listed[place] for place in places.tolist()],
            [self._decides.categories[column] for column in columns.tolist()],
            scores[places, columns].tolist(),
        )
        if self._config.harm_spans == "windows":
            return spans
        return [word for span in spans for word in self._words(span)]

    def _words(self, span: Span) -> list[Span]:
        """Return the words that speak for a span's category; a category of others stays whole."""
        if span.category not in self._student.categories:
            return [span]
        return [
            replace(
                span,
                start=span.start + start,
                end=span.start + end,
                text=span.text[start:end],
            )
            for start, end in marks(self._student, span.text, span.category)
        ]

    def report(self) -> dict[str, int | float | str]:
        """Return the stages, the thresholds that were applied, and what was never judged."""
        thresholds = {f"threshold {name}": value for name, value in self._thresholds.items()}
        stages: dict[str, int | float | str] = {"classifier": self._decides.name}
        if self._judge is not None:
            stages["student"] = self._student.name
        return {**stages, **thresholds, **self._counts}


def _stages(
    config: MineConfig, given: Classifier | None
) -> tuple[Classifier | None, LinearClassifier]:
    """Return the judge, if there is one, and the student that scans."""
    opened = given or open_classifier(
        config.classifier,
        checkpoint=config.classifier_checkpoint,
        digest=config.classifier_digest,
    )
    if not isinstance(opened, LinearClassifier):
        if config.harm_student == "bundled":
            return opened, open_bundled()
        student = open_classifier(config.harm_student)
        if not isinstance(student, LinearClassifier):
            raise UsageError(
                "the student must be a filter of train-filter", where=config.harm_student
            )
        return opened, student
    return (_head(opened) if config.harm_head else None), opened


def _head(student: LinearClassifier) -> Classifier | None:
    """Return the student with its embedding head, where it has one and the model is there."""
    name = student.card.get("embedder")
    if name is None:
        return None
    from forgetkit.classify.head import EmbeddedClassifier
    from forgetkit.embed import open_embedder

    try:
        embedder = open_embedder(str(name))
    except InputError:
        return None

    def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return embedder.encode(texts)

    judge = EmbeddedClassifier(student, embed)
    if student.arrays["head"].shape[1] != embedder.dimension:
        raise InputError("has a head for another embedding model", where=student.name)
    return judge
