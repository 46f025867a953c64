"""The index of works: built once, kept in a file, shared by all who scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forgetkit.match.policy import Hit, long_together, rows_of, without_common, without_ignored
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


@dataclass(frozen=True)
class Policy:
    """What counts as a copy.

    Attributes:
        min_chars: least length of a copy, in code points of the document.
        min_words: least length in words; either is enough.
        min_identity: least share of agreeing symbols, in (0, 1].
        max_works: works that may share a stretch for it to count; None for any number.
        ignore: indexes of texts that anyone may quote (scripture, licences, boilerplate).
    """

    min_chars: int = 100
    min_words: int = 50
    min_identity: float = 0.8
    max_works: int | None = None
    ignore: tuple[WorkIndex, ...] = ()


@dataclass(frozen=True)
class Searched:
    """What a search gave.

    Attributes:
        hits: row and match, sorted by row and place.
        common: copies that were dropped, for they stand in too many works.
        ignored: copies that were dropped, for anyone may quote them.
    """

    hits: list[Hit]
    common: int
    ignored: int


class WorkIndex:
    """Find copies of works in many documents.

    Args:
        works: text by work id.
        params: how they are indexed.
        policy: what counts as a copy.
    """

    def __init__(
        self,
        works: Mapping[str, str],
        params: IndexParams | None = None,
        policy: Policy | None = None,
    ) -> None:
        from forgetkit.match.build import build

        params = params or IndexParams()
        names = sorted(works)
        arrays = build({name: works[name] for name in names}, params.seed, params.density)
        self._hold(names, arrays, params, policy)

    @classmethod
    def build(cls, works: Mapping[str, str], params: IndexParams | None = None) -> WorkIndex:
        """Index works, to be saved."""
        return cls(works, params)

    @classmethod
    def open(cls, path: Path, policy: Policy | None = None) -> WorkIndex:
        """Map a saved index into memory.

        Raises:
            InputError: the file is missing, is no index, or is one of another version.
            TamperedError: it is cut short or changed.
        """
        from forgetkit.match.index_file import read_index

        names, arrays, params = read_index(path)
        index = cls.__new__(cls)
        index._hold(names, arrays, IndexParams(**params), policy)
        return index

    def save(self, path: Path) -> str:
        """Write the index to a file; return the SHA-256 of its content."""
        from forgetkit.match.index_file import write_index

        return write_index(path, self.names, self._arrays, asdict(self.params))

    def _hold(
        self, names: Sequence[str], arrays: Arrays, params: IndexParams, policy: Policy | None
    ) -> None:
        from forgetkit.match.kernels import rules
        from forgetkit.match.scan import hash_values

        self.names, self._arrays, self.params = list(names), arrays, params
        self.policy = policy or Policy()
        self._least = Least(self.policy.min_chars, self.policy.min_words, self.policy.min_identity)
        self._rules = rules()
        self._values = hash_values(params.seed)
        self._seeds = arrays.seeds(params.seed, params.density)

    def works(self) -> dict[str, str]:
        """Return the text of each work by its id, sorted by id."""
        starts = self._arrays.text_starts.tolist()
        return {
            name: self._arrays.text[begin:end].tobytes().decode("utf-8", "surrogatepass")
            for name, begin, end in zip(self.names, starts[:-1], starts[1:], strict=True)
        }

    def find(self, text: str) -> list[Match]:
        """Return the copies in one text, sorted by place; those of one work do not nest."""
        data = np.frombuffer(text.encode("utf-8", "surrogatepass") or b"\0", np.uint8)
        return [match for _, match in _searched([self], data, np.array([0, len(data)])).hits]

    def find_column(self, column: pa.LargeStringArray) -> list[tuple[int, Match]]:
        """Return the copies in a column of texts: row and match, sorted by row and place."""
        return self.search_column(column).hits

    def search_column(self, column: pa.LargeStringArray) -> Searched:
        """Return the copies in a column of texts, and how many the policy dropped."""
        return search([self], column)

    def _copies(self, data: Bytes, offsets: Places) -> list[Hit]:
        from forgetkit.match.locate import hopeful, in_order, located_regions
        from forgetkit.match.scan import scan

        found = scan(data, offsets, self._rules, self._seeds, self._values, self._least.score)
        if not len(found):
            return []
        found, groups = in_order(found, self._arrays.symbol_starts)
        regions = located_regions(
            data, offsets, self._rules, self._arrays, found, groups, self._least.identity
        )
        kept = hopeful(regions.places, self._least.chars, self._least.words)
        text, works, starts = data.data, self._arrays.text.data, self._arrays.text_starts
        matches = []
        for place, likeness in zip(
            regions.places[kept].tolist(), regions.likeness[kept].tolist(), strict=True
        ):
            row, work = place[:2]
            bounds = int(offsets[row]), int(offsets[row + 1])
            work_bounds = int(starts[work]), int(starts[work + 1])
            match = match_of(
                text, bounds, self.names, works, work_bounds, place, likeness, self._least
            )
            if match is not None:
                matches.append((row, *match))
        return long_together(matches, self.policy.min_chars)


def search(indexes: Sequence[WorkIndex], column: pa.LargeStringArray) -> Searched:
    """Return the copies of the works of several indexes, and how many the policy dropped.

    The policy is that of the first; how many works share a stretch is counted over all of them.
    """
    return _searched(indexes, *buffers(column))


def _searched(indexes: Sequence[WorkIndex], data: Bytes, offsets: Places) -> Searched:
    policy = indexes[0].policy
    copies = [hit for index in indexes for hit in index._copies(data, offsets)]
    hits = copies = sorted(copies, key=lambda h: (h[0], h[1].start, h[1].end, h[1].work_id))
    if policy.max_works is not None:
        hits = without_common(hits, policy.max_works)
    common, total = len(copies) - len(hits), len(hits)
    for index in policy.ignore if hits else ():
        rows = sorted({row for row, _ in hits})
        found = index._copies(*rows_of(data, offsets, rows))
        hits = without_ignored(hits, [(rows[row], match) for row, match in found])
    return Searched(hits, common, total - len(hits))


def buffers(column: pa.LargeStringArray) -> tuple[Bytes, Places]:
    """Return the UTF-8 and the offsets of a column, without a copy; a null is an empty text."""
    if column.null_count:
        column = column.fill_null("")
    _, offsets, data = column.buffers()
    if data is None or not data.size:
        return np.zeros(1, np.uint8), np.zeros(len(column) + 1, np.int64)
    places = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    return np.frombuffer(data, np.uint8), places
