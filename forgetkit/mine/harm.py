"""Detector `harm`: text that a classifier finds harmful."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forgetkit.classify import Classifier, open_classifier, pair_text
from forgetkit.corpus import Document, DocumentBatch
from forgetkit.errors import UsageError, nearest
from forgetkit.mine.config import MineConfig
from forgetkit.mine.detector import Found, Hit, Sought, merged, span_of, windows
from forgetkit.progress import Progress
from forgetkit.spans import Span

if TYPE_CHECKING:
    import pyarrow as pa

ANSWER = "harmful_answer"
REQUEST = "harmful_request"
DEFAULT_THRESHOLD = 0.5


class Harm:
    """Score windows of texts, and whole prompts and answers of pairs.

    In a pair the category `harmful_answer` reads prompt and answer together and marks the whole
    answer; `harmful_request` reads and marks the prompt; every other category reads and marks
    each on its own. A pair gives at most one span: of its answer if that is hit, else of its
    prompt. In a plain text only the other categories are read.

    Raises:
        UsageError: a category that the classifier does not have.
    """

    def __init__(
        self, sought: Sought, config: MineConfig, classifier: Classifier | None = None
    ) -> None:
        self._classifier = classifier or open_classifier(config.classifier)
        self._window = config.harm_window
        known = tuple(self._classifier.categories)
        for name in config.harm_categories:
            if name not in known:
                raise UsageError(f"unknown category '{name}'", mend=nearest(name, known))
        self._wanted = config.harm_categories or known
        self._thresholds = {name: self._threshold(name, config) for name in self._wanted}

    def _threshold(self, category: str, config: MineConfig) -> float:
        if config.harm_threshold is not None:
            return config.harm_threshold
        own = getattr(self._classifier, "threshold", None)
        return float(own(category)) if own is not None else DEFAULT_THRESHOLD

    def look(self, batch: DocumentBatch) -> Found:
        """Return the harmful spans of a batch."""
        documents = map(batch.document, range(len(batch)))
        return Found([span for document in documents for span in self._spans(document)])

    def _spans(self, document: Document) -> list[Span]:
        if document.prompt is not None:
            span = self._pair(document)
            return [span] if span is not None else []
        return self._text(document)

    def _pair(self, document: Document) -> Span | None:
        prompt, answer = document.prompt or "", document.answer or ""
        other = [name for name in self._wanted if name not in (ANSWER, REQUEST)]
        joined, alone, asked = self._scores([pair_text(prompt, answer), answer, prompt])
        hits: list[tuple[float, str]] = []
        if answer:
            hits = self._above(joined, [ANSWER]) or self._above(alone, other)
        if hits:
            return self._whole(document, "answer", answer, hits)
        hits = self._above(asked, [REQUEST]) or self._above(asked, other)
        return self._whole(document, "prompt", prompt, hits) if hits and prompt else None

    def _whole(
        self, document: Document, field: str, text: str, hits: list[tuple[float, str]]
    ) -> Span:
        score, category = max(hits)
        return span_of(
            document, field, 0, len(text), detector="harm", category=category, score=score
        )

    def _text(self, document: Document) -> list[Span]:
        found = windows(document.text, self._window)
        texts = [document.text[window.start : window.end] for window in found]
        by_category: dict[str, list[Hit]] = {}
        other = [name for name in self._wanted if name not in (ANSWER, REQUEST)]
        for window, scores in zip(found, self._scores(texts), strict=True):
            hits = self._above(scores, other)
            if hits:
                score, category = max(hits)
                by_category.setdefault(category, []).append(Hit(window, score))
        return [
            span_of(
                document,
                "text",
                hit.window.start,
                hit.window.end,
                detector="harm",
                category=category,
                score=hit.score,
            )
            for category, hits in sorted(by_category.items())
            for hit in merged(hits, document.text)
        ]

    def _scores(self, texts: Sequence[str]) -> list[dict[str, float]]:
        if not texts:
            return []
        names = self._classifier.categories
        rows = self._classifier.score(texts)
        return [dict(zip(names, map(float, row), strict=True)) for row in rows]

    def _above(self, scores: dict[str, float], names: Sequence[str]) -> list[tuple[float, str]]:
        return [
            (scores[name], name)
            for name in names
            if name in self._thresholds and scores[name] >= self._thresholds[name]
        ]

    def finish(self, candidates: pa.Table | None, progress: Progress) -> list[Span]:
        """Return nothing: `look` said it all."""
        return []

    def report(self) -> dict[str, int | float | str]:
        """Return the classifier and the thresholds that were applied."""
        thresholds = {f"threshold {name}": value for name, value in self._thresholds.items()}
        return {"classifier": self._classifier.name, **thresholds}
