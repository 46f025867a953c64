"""Detector `semantic`: passages told in other words, by rare words first, then by meaning.

Every document is compared with the works by its rare words (`match.reworded`): that alone finds
passages with words changed, moved or put in between, with their bounds. The windows that such words
or fitted static vectors (`likely`) make most likely, and a random sample of the others, are then
read by an embedding model, which knows paraphrases that share no words. The sample says how much of
what the model would find was never looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forgetkit.corpus import DocumentBatch
from forgetkit.embed import Embedder, check_embedder, nearest, open_embedder
from forgetkit.engine import Output, Part
from forgetkit.errors import UsageError
from forgetkit.match.reworded import Passage, Reworded, Runs
from forgetkit.mine.cascade import TALLY, Reading, draws, kept, reading, thinned
from forgetkit.mine.config import MineConfig
from forgetkit.mine.cuts import Cuts, column_buffers, cut
from forgetkit.mine.detector import Found, Sought
from forgetkit.mine.likely import Likely, learned, likely, static_of
from forgetkit.mine.margin import margins
from forgetkit.mine.sought_windows import Seed, SoughtWindows
from forgetkit.progress import Progress
from forgetkit.spans import Span

if TYPE_CHECKING:
    import pyarrow as pa

    from forgetkit.embed.static import StaticEmbedder

LEAST = 40  # code points: shorter windows are headings and exclamations, close to everything
FLOOR = 0.2  # share of rare words that makes a window worth reading before all others
WORDS_WEIGH = 0.1  # of the share of rare words, beside the cosine of the prefilter
SAMPLE = 2500  # windows of all the others that are read at most: the whole of a small corpus
WHOLE = 20_000  # windows of works that the model reads all; of more only those nominated
FEW = 4  # windows of works that the prefilter nominates for each window of the corpus
NOMINATED = 16  # for a window to which one of those few comes near
NEAR = 0.1  # below the threshold that is still near
BESIDE = 32  # other windows of the nearest work, evenly spread, that the margin is taken from

Chosen = npt.NDArray[np.int64]
_WorkPlace = tuple[str | None, int | None, int | None]  # id of the work or seed, start, end


class Semantic:
    """Find passages of works, and texts like the seeds, by rare words and by meaning.

    Reimers & Gurevych 2019, arXiv:1908.10084, for the model; `max_windows` bounds what it reads.

    Raises:
        UsageError: there is neither a work nor a seed.
        InputError: the embedding model is not there.
    """

    def __init__(
        self, sought: Sought, config: MineConfig, embedder: Embedder | None = None
    ) -> None:
        self._config, self._embedder = config, embedder
        self._seeds = SoughtWindows(sought, config.semantic_window, LEAST)
        if not self._seeds:
            raise UsageError("the semantic detector needs works or seeds", mend="Give --works.")
        if embedder is None:
            check_embedder(config.embedder)
        self._works = {work.work_id: work.text for work in sought.works}
        listed = {f"\0{name}": text for name, text in sought.seeds_by_id().items()}
        self._reworded = Reworded(self._works | listed)
        self._likely: Likely | None = None
        self._fitted_on = 0
        self._counts: dict[str, int | float | str] = {}

    def wants(self, size: int) -> bool:
        """Say whether a corpus of so many bytes holds more windows than are read anyway."""
        return size > SAMPLE * self._config.semantic_window and self._static is not None

    def learn(self, batches: Iterator[DocumentBatch], progress: Progress) -> Output:
        """Fit the prefilter on a sample of the corpus and of what is looked for."""
        if self._static is None:
            return Output()
        progress.stage("fitting the prefilter", None)
        return learned(
            batches,
            self._seeds,
            self._embedder or open_embedder(self._config.embedder),
            self._static,
            window=self._config.semantic_window,
            least=LEAST,
            budget=self._config.max_windows,
            threshold=self._config.semantic_threshold,
            recall=self._config.recall,
        )

    def take(self, part: Part) -> None:
        """Look with the prefilter that was fitted."""
        if self._static is not None:
            self._likely = likely(part, self._static, self._seeds)
            self._fitted_on = int(part.counts.get("windows_fitted", 0))

    @cached_property
    def _static(self) -> StaticEmbedder | None:
        return static_of(self._config.embedder) if self._config.semantic_prefilter else None

    def look(self, batch: DocumentBatch) -> Found:
        """Return passages found by their words, and the windows worth reading by meaning."""
        import pyarrow as pa

        spans: list[Span] = []
        tables = []
        for field, column in batch.columns.items():
            data, first, last = column_buffers(column)
            passages, runs = self._reworded.find(data, first, last)
            spans += [self._passage_span(batch, field, passage) for passage in passages]
            found = cut(column, self._config.semantic_window, LEAST)
            found = found.without([(p.row, p.start, p.end) for p in passages], LEAST)
            if len(found):
                tables.append(self._candidates(batch, field, found, runs))
        return Found(spans, pa.concat_tables(tables) if tables else None)

    def _passage_span(self, batch: DocumentBatch, field: str, passage: Passage) -> Span:
        text = batch.columns[field][passage.row].as_py()[passage.start : passage.end]
        is_work = passage.work_id in self._works
        row = _row(batch, field, passage.row) | {"start": passage.start, "text": text}
        return _span(
            row,
            "reworded" if is_work else "seed",
            passage.share,
            (passage.work_id, passage.work_start, passage.work_end)
            if is_work
            else (passage.work_id.removeprefix("\0"), None, None),
        )

    def _candidates(self, batch: DocumentBatch, field: str, found: Cuts, runs: Runs) -> pa.Table:
        import pyarrow as pa

        rank = _best_share(found, runs)
        draw = draws(f"{batch.label}\0{field}", batch.rows[found.row], found.start)
        above = rank >= FLOOR
        if self._likely is not None:
            score = self._likely.score(found)
            above |= score >= self._likely.floor
            rank = score + WORDS_WEIGH * rank
        chosen = kept(rank, draw, above, budget=self._config.max_windows, sample=SAMPLE)
        rows = []
        for window in chosen.tolist():
            row = _row(batch, field, int(found.row[window])) | {"number": window, TALLY: 0}
            row |= {"start": int(found.start[window]), "text": found.text(window)}
            row |= {"gap": _gap(found, window), "is_above": bool(above[window])}
            rows.append(row | {"rank": float(rank[window]), "draw": float(draw[window])})
        let_go = len(found) - len(chosen)
        if let_go:
            rows.append({TALLY: let_go, "rank": 0.0, "draw": 1.0, "is_above": False})
        return pa.Table.from_pylist(rows, schema=_schema())

    def best(self, batch: DocumentBatch, progress: Progress) -> npt.NDArray[np.float64]:
        """Return the highest cosine of each document's windows, 1 for a passage by words, (N,)."""
        highest = np.zeros(len(batch))
        for column in batch.columns.values():
            passages, _ = self._reworded.find(*column_buffers(column))
            highest[[passage.row for passage in passages]] = 1.0
            found = cut(column, self._config.semantic_window, LEAST)
            texts = [found.text(window) for window in range(len(found))]
            scores, _, apart = self._nearest(texts, progress)
            scores = np.where(apart >= self._config.semantic_margin, np.clip(scores, 0, 1), 0)
            np.maximum.at(highest, found.row, scores)
        return highest

    def finish(self, candidates: pa.Table | None, progress: Progress) -> list[Span]:
        """Read what is worth it by meaning, and return the spans that come close enough."""
        if candidates is None:
            self._account(Reading(np.zeros(0, np.int64), np.zeros(0, np.int64), 0), _NONE, _NONE)
            return []
        plan = self._plan(candidates)
        chosen = np.sort(np.concatenate([plan.top, plan.sample]))
        rows = candidates.take(chosen).to_pylist()
        at_least = self._config.semantic_threshold
        scores, ids, apart = self._nearest([row["text"] for row in rows], progress, at_least)
        is_hit = scores >= at_least
        is_hit &= apart >= self._config.semantic_margin
        self._account(plan, is_hit, np.isin(chosen, plan.sample))
        hits = np.flatnonzero(is_hit).tolist()
        return self._joined(
            [(rows[at], float(scores[at]), self._seeds.seed(ids[at])) for at in hits]
        )

    def thin(self, candidates: pa.Table) -> pa.Table:
        """Return the windows of some batches that may still be read."""
        return thinned(candidates, budget=self._config.max_windows, sample=SAMPLE)

    def _plan(self, candidates: pa.Table) -> Reading:
        """Return what is read: by rank first; the budget that is left goes to the sample."""
        budget = self._config.max_windows - self._fitted_on
        above = int(np.sum(candidates.column("is_above").to_numpy()))
        sample = min(SAMPLE, max(budget - above, budget // 10))
        return reading(candidates, budget=budget - min(sample, budget // 10), sample=sample)

    def _nearest(
        self, texts: list[str], progress: Progress, least: float = 0.0
    ) -> tuple[npt.NDArray[np.float32], list[int], npt.NDArray[np.float32]]:
        """Return the cosine of the nearest seed of each text, its number, and the margin.

        The margin is 0 where the cosine is below `least`.
        """
        reader = _Reader(self._embedder or open_embedder(self._config.embedder), progress)
        wanted = reader.vectors(texts)
        chosen = list(range(len(self._seeds)))
        if self._likely is not None and len(chosen) > WHOLE:
            chosen = self._nominated(self._likely, texts, reader, least)
        seeds = reader.vectors([self._seeds[number] for number in chosen])
        scores, places = nearest(seeds, wanted, 1)
        ids = [chosen[number] for number in places[:, 0].tolist()]
        bounds = self._seeds.bounds[chosen]
        works = [self._seeds.work_id(number) for number in chosen]
        apart = margins(scores[:, 0], places[:, 0], wanted, seeds, works, bounds, least)
        return scores[:, 0], ids, apart

    def _nominated(
        self, likely: Likely, texts: list[str], reader: _Reader, least: float
    ) -> list[int]:
        """Return the windows of works that may be nearest, and some of all over those works.

        Most texts are like no work: of each, few windows are read; more where these come near.
        """
        wanted = reader.vectors(texts)
        chosen = likely.nominated(texts, FEW)
        scores, _ = self._compared(chosen, wanted, reader)
        near = np.flatnonzero(scores >= least - NEAR)
        more = likely.nominated([texts[at] for at in near.tolist()], NOMINATED)
        chosen = sorted({*chosen, *more})
        scores, best = self._compared(chosen, wanted, reader)
        spread: list[int] = []
        for work in np.unique(self._seeds.work[best[scores >= least]]).tolist():
            own = np.flatnonzero(self._seeds.work == work) if work >= 0 else _NOBODY
            spread += own[:: max(1, len(own) // BESIDE)].tolist()
        return sorted({*chosen, *spread})

    def _compared(
        self, chosen: list[int], wanted: npt.NDArray[np.float32], reader: _Reader
    ) -> tuple[npt.NDArray[np.float32], Chosen]:
        """Return the cosine of the nearest of some seeds to each text, and its number, (n,)."""
        if not chosen:
            return np.full(len(wanted), -1, np.float32), np.zeros(len(wanted), np.int64)
        seeds = reader.vectors([self._seeds[number] for number in chosen])
        scores, places = nearest(seeds, wanted, 1)
        return scores[:, 0], np.array(chosen, np.int64)[places[:, 0]]

    def _account(
        self, plan: Reading, is_hit: npt.NDArray[np.bool_], is_sample: npt.NDArray[np.bool_]
    ) -> None:
        recall = plan.estimate(is_hit[~is_sample], is_hit[is_sample])
        self._counts = {
            "windows_read": len(is_hit),
            "windows_never_read": plan.never_read,
            **recall.report(),
        }
        if self._likely is not None:
            self._counts |= {"windows_fitted": self._fitted_on, **self._likely.report()}

    def _joined(self, hits: list[tuple[dict[str, Any], float, Seed]]) -> list[Span]:
        """Join windows that follow each other and resemble one work; the best place is kept."""
        runs: list[list[tuple[dict[str, Any], float, Seed]]] = []
        for hit in hits:
            if runs and _follows(runs[-1][-1], hit):
                runs[-1].append(hit)
            else:
                runs.append([hit])
        return [_run_span(run) for run in runs]

    def report(self) -> dict[str, int | float | str]:
        """Return what the model read and never read, and the recall that a sample suggests."""
        return dict(self._counts)


class _Reader:
    """Read texts by a model, each once."""

    def __init__(self, embedder: Embedder, progress: Progress) -> None:
        self._embedder, self._progress = embedder, progress
        self._rows: dict[str, npt.NDArray[np.float32]] = {}

    def vectors(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Return the vectors of texts, (n, D)."""
        new = sorted({*texts} - self._rows.keys())
        if new:
            self._progress.stage("reading by meaning", len(new))
        done = 0

        def step(now: int, _total: int) -> None:
            nonlocal done
            self._progress.advance(now - done)
            done = now

        found = self._embedder.encode(new, progress=step)
        self._rows |= dict(zip(new, found, strict=True))
        return np.stack([self._rows[text] for text in texts]) if texts else found[:0]


_NONE, _NOBODY = np.zeros(0, np.bool_), np.zeros(0, np.int64)


def _follows(
    last: tuple[dict[str, Any], float, Seed], hit: tuple[dict[str, Any], float, Seed]
) -> bool:
    before, after = last[0], hit[0]
    same = all(before[name] == after[name] for name in ("source", "doc_id", "field"))
    same &= before["gap"] is not None
    return same and last[2].work_id == hit[2].work_id and after["number"] == before["number"] + 1


def _run_span(run: list[tuple[dict[str, Any], float, Seed]]) -> Span:
    text = "".join(row["text"] + row["gap"] for row, _, _ in run[:-1]) + run[-1][0]["text"]
    _, score, seed = max(run, key=lambda hit: hit[1])
    place: _WorkPlace = (seed.seed_id, None, None)
    if seed.work_id is not None and seed.window is not None:
        place = seed.work_id, seed.window.start, seed.window.end
    return _span(run[0][0] | {"text": text}, "paraphrase", min(1.0, score), place)


def _span(row: dict[str, Any], category: str, score: float, place: _WorkPlace) -> Span:
    is_pair = row["prompt"] is not None and row["answer"] is not None
    work_id, work_start, work_end = place
    return Span(
        doc_id=row["doc_id"],
        source=row["source"],
        field=row["field"],
        start=row["start"],
        end=row["start"] + len(row["text"]),
        detector="semantic",
        category=category,
        score=round(score, 4),
        text=row["text"],
        work_id=work_id,
        work_start=work_start,
        work_end=work_end,
        similarity=round(score, 4),
        prompt=row["prompt"] if is_pair else None,
        answer=row["answer"] if is_pair else None,
    )


def _row(batch: DocumentBatch, field: str, row: int) -> dict[str, Any]:
    values: dict[str, Any] = {"source": batch.source(row), "doc_id": batch.doc_ids[row].as_py()}
    for name in ("prompt", "answer"):
        column = batch.columns.get(name)
        values[name] = None if column is None else column[row].as_py()
    return values | {"field": field}


def _gap(found: Cuts, window: int) -> str | None:
    """Return the white space up to the next window of the same text; None: there is more."""
    following = window + 1
    if following == len(found) or found.row[following] != found.row[window]:
        return None
    piece = found.data[found.last[window] : found.first[following]].tobytes()
    return None if piece.decode("utf-8", "replace").strip() else piece.decode("utf-8")


def _best_share(found: Cuts, runs: Runs) -> npt.NDArray[np.float64]:
    """Return for each window the best share of a run of words that begins in it, (n,)."""
    wide = np.int64(1) << 40
    keys = runs.row * wide + runs.start
    low = np.searchsorted(keys, found.row * wide + found.start)
    high = np.searchsorted(keys, found.row * wide + found.end)
    share = np.append(runs.share, 0.0)
    best = np.zeros(len(found))
    held = np.flatnonzero(high > low)
    if len(held):
        pairs = np.stack([low[held], high[held]], axis=1).ravel()
        best[held] = np.maximum.reduceat(share, pairs)[::2]
    return best


def _schema() -> pa.Schema:
    import pyarrow as pa

    texts = ("source", "doc_id", "field", "prompt", "answer", "text", "gap")
    numbers = [("number", pa.int64()), ("start", pa.int64()), (TALLY, pa.int64())]
    ranks = [("rank", pa.float64()), ("draw", pa.float64()), ("is_above", pa.bool_())]
    return pa.schema([(name, pa.large_string()) for name in texts] + numbers + ranks)
