"""Detector `semantic`: windows close to a work or to seeds in embedding space."""

from __future__ import annotations

from dataclasses import dataclass, replace

from forgetkit.corpus import Document
from forgetkit.embed import Embedder, nearest, open_embedder
from forgetkit.errors import UsageError
from forgetkit.mine.config import MineConfig
from forgetkit.mine.detector import Hit, Sought, Window, merged, span_of, windows
from forgetkit.progress import Progress
from forgetkit.spans import Span

_LEAST = 40  # code points: shorter windows are headings and exclamations, close to everything


@dataclass(frozen=True)
class _Seed:
    """A text that stands for what is looked for, and where it comes from."""

    text: str
    work_id: str | None = None
    window: Window | None = None


class Semantic:
    """Embed windows of the corpus and compare them with windows of the works.

    Reimers & Gurevych 2019, arXiv:1908.10084. Every window is read, up to `max_windows`.

    Raises:
        UsageError: there is neither a work nor a seed.
        InputError: the embedding model is not there.
    """

    def __init__(
        self, sought: Sought, config: MineConfig, embedder: Embedder | None = None
    ) -> None:
        self._config = config
        self._seeds = _seeds(sought, config.semantic_window)
        if not self._seeds:
            raise UsageError("the semantic detector needs works or seeds", mend="Give --works.")
        self._embedder = embedder or open_embedder(config.embedder)
        self._kept: list[tuple[Document, str, list[Window]]] = []
        self._count = self._unread = 0

    def look(self, document: Document) -> list[Span]:
        """Keep the windows of one document, as long as there is room."""
        for field, text in document.fields():
            found = [w for w in windows(text, self._config.semantic_window) if _counts(w)]
            room = self._config.max_windows - self._count
            self._unread += max(0, len(found) - room)
            if found[:room]:
                self._kept.append((document, field, found[:room]))
                self._count += len(found[:room])
        return []

    def finish(self, progress: Progress) -> list[Span]:
        """Embed what was kept and return the spans that come close enough."""
        texts = [
            dict(document.fields())[field][window.start : window.end]
            for document, field, found in self._kept
            for window in found
        ]
        distinct = sorted({*texts, *(seed.text for seed in self._seeds)})
        progress.stage("reading by meaning", len(distinct))
        done = 0

        def step(now: int, _total: int) -> None:
            nonlocal done
            progress.advance(now - done)
            done = now

        vectors = self._embedder.encode(distinct, progress=step)
        row = {text: number for number, text in enumerate(distinct)}
        seeds = vectors[[row[seed.text] for seed in self._seeds]]
        scores, ids = nearest(seeds, vectors[[row[text] for text in texts]], 1)
        best = [(float(s[0]), int(i[0])) for s, i in zip(scores, ids, strict=True)]
        return self._spans(best)

    def _spans(self, best: list[tuple[float, int]]) -> list[Span]:
        spans = []
        at = 0
        for document, field, found in self._kept:
            pairs = zip(found, best[at : at + len(found)], strict=True)
            at += len(found)
            hits = [
                self._hit(window, score, seed)
                for window, (score, seed) in pairs
                if score >= self._config.semantic_threshold
            ]
            for hit in merged(hits, dict(document.fields())[field]):
                spans.append(_span(document, field, hit))
        return spans

    def _hit(self, window: Window, score: float, number: int) -> Hit:
        seed = self._seeds[number]
        if seed.window is None:
            return Hit(window, score)
        return Hit(window, score, seed.work_id, seed.window.start, seed.window.end)

    def report(self) -> dict[str, int | float | str]:
        """Return how many windows were read and how many never were."""
        return {"windows_read": self._count, "windows_never_read": self._unread}


def _counts(window: Window) -> bool:
    return window.end - window.start >= _LEAST


def _seeds(sought: Sought, length: int) -> list[_Seed]:
    seeds = [_Seed(text) for text in sought.seeds]
    for work in sought.works:
        for window in windows(work.text, length, overlap=True):
            if _counts(window):
                text = work.text[window.start : window.end]
                seeds.append(_Seed(text, work.work_id, window))
    return seeds


def _span(document: Document, field: str, hit: Hit) -> Span:
    span = span_of(
        document,
        field,
        hit.window.start,
        hit.window.end,
        detector="semantic",
        category="paraphrase",
        score=min(1.0, hit.score),
    )
    return replace(
        span,
        work_id=hit.work_id,
        work_start=hit.work_start,
        work_end=hit.work_end,
        similarity=span.score,
    )
