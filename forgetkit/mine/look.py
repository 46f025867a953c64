"""The cheap half of mining: every detector looks at a task's documents, in one pass."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from forgetkit import registry, schema
from forgetkit.corpus import DocumentBatch, Quarantine
from forgetkit.corpus.batches import read_piece
from forgetkit.corpus.pieces import Piece
from forgetkit.engine import Output, Part, Plan, Task, once
from forgetkit.engine.books import books_output
from forgetkit.files import digest_of
from forgetkit.mine.calibrate import calibrated
from forgetkit.mine.config import MineConfig
from forgetkit.mine.detector import Detector, Found, Sought, Thinning
from forgetkit.mine.sought import read_sought
from forgetkit.progress import Progress
from forgetkit.spans import Span

if TYPE_CHECKING:
    import pyarrow as pa

PLACES = 16
"""Places of the corpus, evenly spread, that detectors learn from."""
HELD = 4
"""Tables of candidates that are held until they are thinned together."""
CHUNK = 4096
"""Spans that are Python objects at the same time."""


@dataclass(frozen=True)
class _Built:
    """Detectors, and the ids of the works they look for."""

    detectors: dict[str, Detector]
    work_ids: list[str]


@runtime_checkable
class Learning(Protocol):
    """A detector that learns from a sample of the corpus before it looks."""

    def wants(self, size: int) -> bool:
        """Say whether a corpus of so many bytes is worth it."""

    def learn(self, batches: Iterator[DocumentBatch], progress: Progress) -> Output:
        """Return what a sample teaches; it is kept as a part."""

    def take(self, part: Part) -> None:
        """Look with what was learned from here on."""


_BUILT: dict[str, _Built] = {}
_BUILDING = threading.Lock()


class Look:
    """Look at tasks with the detectors of a run; made anew in every process that does so.

    Args:
        works: files with works.
        seeds: file with seeds.
        config: settings.
        key: digest of what these files hold and of the settings.
    """

    def __init__(
        self, works: Sequence[Path], seeds: Path | None, config: MineConfig, key: str
    ) -> None:
        self._works, self._seeds, self._config = tuple(works), seeds, config
        self._key = key
        self._learned: dict[str, Part] = {}
        self._own: _Built | None = None
        self.calibration: dict[str, dict[str, int | float | str]] = {}

    def __getstate__(self) -> dict[str, Any]:
        here = {
            "_works": tuple(path.absolute() for path in self._works),
            "_seeds": self._seeds and self._seeds.absolute(),
            "_config": self._config.with_whole_paths(),
        }
        return vars(self) | {"_own": None} | here

    def prepare(self, progress: Progress) -> None:
        """Make the detectors of this run, in this process, with calibrated thresholds if asked.

        Raises:
            UsageError: one has nothing to look for.
            InputError: the labels to calibrate with cannot be used.
        """
        sought = read_sought(self._works, self._seeds)
        self._own = _build(sought, self._config)
        self._config, self.calibration = calibrated(self._config, self._own.detectors, progress)
        if self.calibration:
            self._own = _build(sought, self._config)

    def learn(self, planned: Plan, parts: Path, progress: Progress) -> None:
        """Let detectors learn from a sample of the corpus, once: what they learn is a part.

        Args:
            planned: the corpus.
            parts: where the part is written.
            progress: who watches.
        """
        wanting = {
            name: detector
            for name, detector in self.detectors.items()
            if isinstance(detector, Learning) and detector.wants(planned.size)
        }
        if not wanting:
            return
        tasks = [planned.tasks[at * len(planned.tasks) // PLACES] for at in range(PLACES)]
        pieces = list(dict.fromkeys(task.pieces[0] for task in tasks))
        key = digest_of([self._key, "learn", [task.key("") for task in tasks]])[:32]
        for name, detector in wanting.items():
            batches = self._first_batches(pieces)
            lesson = partial(detector.learn, batches, progress)
            part = once(parts, digest_of([key, name])[:32], lesson)
            detector.take(part)
            self._learned[name] = part
        self._key = digest_of([self._key, [dict(part.digests) for part in self._learned.values()]])

    def _first_batches(self, pieces: Sequence[Piece]) -> Iterator[DocumentBatch]:
        quarantine = Quarantine(None)  # of a reading that is not in the books
        for piece in pieces:
            read = read_piece(piece, columns=self._config.columns, quarantine=quarantine)
            yield from itertools.islice(read, 1)

    @property
    def key(self) -> str:
        """Return the digest of all that what a task gives depends on, the corpus apart."""
        return self._key

    @property
    def detectors(self) -> dict[str, Detector]:
        """Return the detectors by name."""
        return self._built().detectors

    @property
    def work_ids(self) -> list[str]:
        """Return the ids of the works that are looked for."""
        return self._built().work_ids

    def _built(self) -> _Built:
        if self._own is not None:
            return self._own
        with _BUILDING:
            if self._key not in _BUILT:
                _BUILT.clear()
                sought = read_sought(self._works, self._seeds)
                built = _build(sought, self._config)
                for name, part in self._learned.items():
                    built.detectors[name].take(part)  # type: ignore[attr-defined]
                _BUILT[self._key] = built
            return _BUILT[self._key]

    @property
    def in_threads(self) -> bool:
        """Say whether no detector asks for a process of its own."""
        return not any(getattr(d, "holds_the_lock", False) for d in self.detectors.values())

    def __call__(self, task: Task) -> Output:
        """Return the spans, candidates, bad rows and books of a task."""
        detectors = self.detectors
        collected = _Collected(detectors)
        quarantine = Quarantine(self._config.max_bad_rows)
        for piece in task.pieces:
            for batch in read_piece(piece, columns=self._config.columns, quarantine=quarantine):
                for name, detector in detectors.items():
                    collected.add(name, detector.look(batch))
                collected.end_of_batch()
            quarantine.balance(piece.label)
        return collected.output(quarantine)


def _build(sought: Sought, config: MineConfig) -> _Built:
    detectors = {
        name: registry.lookup("detectors", name).load()(sought, config) for name in config.detectors
    }
    return _Built(detectors, [work.work_id for work in sought.works])


class _Collected:
    """What the detectors found in a task so far."""

    def __init__(self, detectors: Mapping[str, Detector]) -> None:
        self._detectors = detectors
        self._spans: list[Span] = []
        self._tables: list[pa.Table] = []
        self._candidates: dict[str, list[pa.Table]] = {}
        self._counts: dict[str, Counter[str]] = {}

    def add(self, name: str, found: Found) -> None:
        """Take what one detector found in the current batch."""
        self._spans += found.spans
        if found.candidates is not None and found.candidates.num_rows:
            self._candidates.setdefault(name, []).append(found.candidates)
        self._counts.setdefault(name, Counter()).update(found.counts)

    def end_of_batch(self) -> None:
        """Turn the spans of a batch into rows; leave out candidates that are not needed."""
        for name, tables in self._candidates.items():
            self._candidates[name] = gathered(self._detectors[name], tables)
        if self._spans:
            self._tables.append(as_table(sorted(self._spans, key=lambda span: span.place)))
            self._spans = []

    def output(self, quarantine: Quarantine) -> Output:
        """Return all of it."""
        import pyarrow as pa

        tables = {f"candidates-{n}": pa.concat_tables(t) for n, t in self._candidates.items()}
        if self._tables:
            tables["spans"] = pa.concat_tables(self._tables)
        bad, books = books_output(quarantine)
        looks = {name: dict(sorted(counts.items())) for name, counts in self._counts.items()}
        return Output(tables | bad, books | {"looks": looks})


def gathered(detector: Detector, tables: Iterable[pa.Table]) -> list[pa.Table]:
    """Return candidates in order, in few tables where the detector needs only some of them."""
    import pyarrow as pa

    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if len(held) > HELD and isinstance(detector, Thinning):
            held = [detector.thin(pa.concat_tables(held))]
    return held


def as_table(spans: Sequence[Span]) -> pa.Table:
    """Return spans as rows of `spans.parquet`."""
    import pyarrow as pa

    return pa.Table.from_pylist([span.row() for span in spans], schema=schema.spans())


def as_spans(rows: Sequence[Mapping[str, Any]]) -> list[Span]:
    """Return rows as spans."""
    return [Span.of_row(row) for row in rows]
