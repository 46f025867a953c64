"""Copies of works in documents: fold, seed, chain, align, settle the boundaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from forgetkit.match.boundary import is_quotation, settle_end, settle_start
from forgetkit.match.chain import Region, chains, regions
from forgetkit.match.fold import Folded, fold
from forgetkit.match.seeding import Runs, SeedTable, agreeing, runs

EditClass = Literal["verbatim", "normalised", "edited"]
SHORT = 3
"""Times the least length below which a copy must be alike to half way between `min_identity` and
1: a sentence or two of another translation reach .89, three hundred characters of it do not."""
_WALL = np.uint32(0xFFFFFFFF)  # stands between works; no text folds to it


@dataclass(frozen=True)
class Match:
    """One copied span, in code points of both original texts.

    Attributes:
        work_id: the work.
        start: first code point in the document.
        end: one past the last.
        work_start: first code point in the work.
        work_end: one past the last.
        similarity: share of symbols (letters and digits) that agree, in [0, 1].
        edit_class: verbatim (equal text), normalised (equal symbols) or edited.
        is_quote: it stands in quotation marks or a block quotation.
    """

    work_id: str
    start: int
    end: int
    work_start: int
    work_end: int
    similarity: float
    edit_class: EditClass
    is_quote: bool


class WorkIndex:
    """Find copies of a few works in many documents.

    Args:
        works: text by work id.
        seed: symbols that a copy must share without an edit somewhere. Shorter finds worse
            scans and costs time.
        min_chars: least length of a copy, in code points of the document.
        min_words: least length in words; either is enough.
        min_identity: least share of agreeing symbols, in (0, 1].
    """

    def __init__(
        self,
        works: Mapping[str, str],
        *,
        seed: int = 16,
        min_chars: int = 100,
        min_words: int = 50,
        min_identity: float = 0.85,
    ) -> None:
        self._texts = dict(sorted(works.items()))
        self._folded = {name: fold(text) for name, text in self._texts.items()}
        self._names = list(self._texts)
        pieces: list[np.ndarray] = []
        self._first: list[int] = []
        at = 0
        for folded in self._folded.values():
            self._first.append(at)
            pieces += [folded.symbols, np.full(seed, _WALL, np.uint32)]
            at += len(folded) + seed
        self._symbols = np.concatenate(pieces) if pieces else np.zeros(0, np.uint32)
        self._table = SeedTable.build(self._symbols, seed)
        self._min_chars, self._min_words = min_chars, min_words
        self._min_identity = min_identity
        self._strict_identity = (1.0 + min_identity) / 2

    def find(self, text: str) -> list[Match]:
        """Return the copies in one text, sorted by place; those of one work do not nest."""
        folded = fold(text)
        here, there = self._table.lookup(folded.symbols)
        if not len(here):
            return []
        found = agreeing(folded.symbols, self._symbols, runs(here, there, self._table.k))
        owner = np.searchsorted(self._first, found.there, side="right") - 1
        matches = []
        for work in np.unique(owner).tolist():
            mask = owner == work
            own = Runs(found.here[mask], found.there[mask] - self._first[work], found.length[mask])
            matches += self._in_work(text, folded, self._names[work], own)
        return sorted(matches, key=lambda m: (m.start, m.end, m.work_id))

    def _in_work(self, text: str, folded: Folded, name: str, found: Runs) -> list[Match]:
        work = self._folded[name]
        candidates: list[Region] = []
        for chain in chains(found):
            first, last = chain[0], chain[-1]
            begin, stop = found.here[first], found.here[last] + found.length[last]
            if not any(r.here <= begin and stop <= r.here_end for r in candidates):
                candidates += regions(
                    found, chain, folded.symbols, work.symbols, self._min_identity
                )
        candidates.sort(key=lambda r: (-(r.here_end - r.here) * r.similarity, r.here, r.there))
        kept: list[Region] = []
        for region in candidates:
            if all(_shared(region, other) < 0.5 for other in kept):
                kept.append(region)
        matches = [self._match(text, folded, name, region) for region in kept]
        return [m for m in matches if m is not None]

    def _match(self, text: str, folded: Folded, name: str, region: Region) -> Match | None:
        """Return the region in code points, or None when it is too short."""
        work, original = self._folded[name], self._texts[name]
        start, work_start = settle_start(
            text,
            int(folded.offsets[region.here]),
            original,
            int(work.offsets[region.there]),
        )
        end, work_end = settle_end(
            text,
            int(folded.offsets[region.here_end - 1]) + 1,
            original,
            int(work.offsets[region.there_end - 1]) + 1,
        )
        piece, work_piece = text[start:end], original[work_start:work_end]
        if len(piece) < self._min_chars and len(piece.split()) < self._min_words:
            return None
        if not piece or not work_piece:
            return None
        if len(piece) < SHORT * self._min_chars and region.similarity < self._strict_identity:
            return None
        same = np.array_equal(fold(piece).symbols, fold(work_piece).symbols)
        edit_class: EditClass = "edited"
        if same:
            edit_class = "verbatim" if piece == work_piece else "normalised"
        return Match(
            work_id=name,
            start=start,
            end=end,
            work_start=work_start,
            work_end=work_end,
            similarity=1.0 if same else min(0.9999, round(region.similarity, 4)),
            edit_class=edit_class,
            is_quote=is_quotation(text, start, end),
        )


def _shared(a: Region, b: Region) -> float:
    """Return how much of a lies in b, in the document, in [0, 1]."""
    overlap = min(a.here_end, b.here_end) - max(a.here, b.here)
    return max(0, overlap) / max(1, a.here_end - a.here)
