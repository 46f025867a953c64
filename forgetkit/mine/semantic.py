"""Detector `semantic`: windows close to a work or to seeds in embedding space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forgetkit.corpus import Document, DocumentBatch
from forgetkit.embed import Embedder, nearest, open_embedder
from forgetkit.errors import UsageError
from forgetkit.mine.config import MineConfig
from forgetkit.mine.detector import Found, Hit, Sought, Window, merged, span_of, windows
from forgetkit.progress import Progress
from forgetkit.spans import Span

if TYPE_CHECKING:
    import pyarrow as pa

_KEPT = ("doc_id", "source", "text", "prompt", "answer")
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
        self._read = self._unread = 0

    def look(self, batch: DocumentBatch) -> Found:
        """Keep the documents of a batch that hold a window."""
        import pyarrow as pa

        documents = map(batch.document, range(len(batch)))
        rows = [
            {name: getattr(document, name) for name in _KEPT}
            for document in documents
            if any(self._windows(text) for _, text in document.fields())
        ]
        schema = pa.schema([(name, pa.large_string()) for name in _KEPT])
        return Found(candidates=pa.Table.from_pylist(rows, schema=schema) if rows else None)

    def _windows(self, text: str) -> list[Window]:
        return [w for w in windows(text, self._config.semantic_window) if _counts(w)]

    def finish(self, candidates: pa.Table | None, progress: Progress) -> list[Span]:
        """Embed what was kept, up to `max_windows`, and return the spans that come close enough."""
        kept = self._within_budget(candidates)
        texts = [text[w.start : w.end] for _, _, text, found in kept for w in found]
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
        return self._spans(kept, best)

    def _within_budget(
        self, candidates: pa.Table | None
    ) -> list[tuple[Document, str, str, list[Window]]]:
        kept = []
        for row in candidates.to_pylist() if candidates is not None else []:
            document = Document(**row)
            for field, text in document.fields():
                found = self._windows(text)
                taken = found[: self._config.max_windows - self._read]
                self._read += len(taken)
                self._unread += len(found) - len(taken)
                if taken:
                    kept.append((document, field, text, taken))
        return kept

    def _spans(
        self,
        kept: list[tuple[Document, str, str, list[Window]]],
        best: list[tuple[float, int]],
    ) -> list[Span]:
        spans = []
        at = 0
        for document, field, text, found in kept:
            pairs = zip(found, best[at : at + len(found)], strict=True)
            at += len(found)
            hits = [
                self._hit(window, score, seed)
                for window, (score, seed) in pairs
                if score >= self._config.semantic_threshold
            ]
            for hit in merged(hits, text):
                spans.append(_span(document, field, hit))
        return spans

    def _hit(self, window: Window, score: float, number: int) -> Hit:
        seed = self._seeds[number]
        if seed.window is None:
            return Hit(window, score)
        return Hit(window, score, seed.work_id, seed.window.start, seed.window.end)

    def report(self) -> dict[str, int | float | str]:
        """Return how many windows were read and how many never were."""
        return {"windows_read": self._read, "windows_never_read": self._unread}


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
