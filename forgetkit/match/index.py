"""The index of works: built once, kept in a file, shared by all who scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forgetkit.match.verbatim import Least, Match, match_of

if TYPE_CHECKING:
    import pyarrow as pa

    from forgetkit.match.build import Arrays
    from forgetkit.match.kernels import Bytes, Places


@dataclass(frozen=True)
class IndexParams:
    """How works are indexed.

    Attributes:
        seed: symbols that a copy must share without an edit somewhere, 8 to 64.
        density: one in so many stretches is kept, chosen by its hash; 1, 2, 4, 8 or 16.
    """

    seed: int = 24
    density: int = 8


class WorkIndex:
    """Find copies of works in many documents.

    Args:
        works: text by work id.
        seed: see `IndexParams`.
        density: see `IndexParams`.
        min_chars: least length of a copy, in code points of the document.
        min_words: least length in words; either is enough.
        min_identity: least share of agreeing symbols, in (0, 1].
    """

    def __init__(
        self,
        works: Mapping[str, str],
        *,
        seed: int = 24,
        density: int = 8,
        min_chars: int = 100,
        min_words: int = 50,
        min_identity: float = 0.85,
    ) -> None:
        from forgetkit.match.build import build

        names = sorted(works)
        arrays = build({name: works[name] for name in names}, seed, density)
        self._hold(names, arrays, IndexParams(seed, density))
        self._least = Least(min_chars, min_words, min_identity)

    def _hold(self, names: Sequence[str], arrays: Arrays, params: IndexParams) -> None:
        from forgetkit.match.kernels import rules
        from forgetkit.match.scan import hash_values

        self._names, self._arrays, self.params = list(names), arrays, params
        self._rules = rules()
        self._values = hash_values(params.seed)
        self._seeds = arrays.seeds(params.seed, params.density)

    def find(self, text: str) -> list[Match]:
        """Return the copies in one text, sorted by place; those of one work do not nest."""
        data = np.frombuffer(text.encode("utf-8", "surrogatepass") or b"\0", np.uint8)
        return [match for _, match in self._find(data, np.array([0, len(data)]))]

    def find_column(self, column: pa.LargeStringArray) -> list[tuple[int, Match]]:
        """Return the copies in a column of texts: row and match, sorted by row and place."""
        data, offsets = buffers(column)
        return self._find(data, offsets)

    def _find(self, data: Bytes, offsets: Places) -> list[tuple[int, Match]]:
        from forgetkit.match.locate import END, ROW, START, in_order, located_regions
        from forgetkit.match.scan import scan

        found = scan(data, offsets, self._rules, self._seeds, self._values, self._least.score)
        if not len(found):
            return []
        found, groups = in_order(found, self._arrays.symbol_starts)
        regions = located_regions(
            data, offsets, self._rules, self._arrays, found, groups, self._least.identity
        )
        matches = []
        long_enough = regions.places[:, END] - regions.places[:, START] >= self._least.bytes
        for number in np.flatnonzero(long_enough).tolist():
            place, likeness = regions.places[number], float(regions.likeness[number])
            row = int(place[ROW])
            bounds = (int(offsets[row]), int(offsets[row + 1]))
            match = match_of(data, bounds, self._names, self._arrays, place, likeness, self._least)
            if match is not None:
                matches.append((row, match))
        return sorted(matches, key=lambda m: (m[0], m[1].start, m[1].end, m[1].work_id))


def buffers(column: pa.LargeStringArray) -> tuple[Bytes, Places]:
    """Return the UTF-8 and the offsets of a column, without a copy; a null is an empty text."""
    if column.null_count:
        column = column.fill_null("")
    _, offsets, data = column.buffers()
    if data is None or not data.size:
        return np.zeros(1, np.uint8), np.zeros(len(column) + 1, np.int64)
    places = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    return np.frombuffer(data, np.uint8), places
