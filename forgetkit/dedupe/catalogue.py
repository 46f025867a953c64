"""All documents as columns of numbers, in one order: the other corpus first, then ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetkit.dedupe.signing import key_name
from forgetkit.match.compile import compiled

Numbers = npt.NDArray[np.int64]
Prints = npt.NDArray[np.uint64]


@compiled
def first_equal(prints: Prints) -> Numbers:
    """Return, for each fingerprint `(n, 2)`, the number of the first one that equals it."""
    size = 16
    while size < 2 * len(prints):
        size *= 2
    slots = np.full(size, -1, np.int64)
    found = np.empty(len(prints), np.int64)
    for i in range(len(prints)):
        at = np.int64(prints[i, 0] & np.uint64(size - 1))
        while slots[at] >= 0 and (
            prints[slots[at], 0] != prints[i, 0] or prints[slots[at], 1] != prints[i, 1]
        ):
            at = (at + 1) & (size - 1)
        if slots[at] < 0:
            slots[at] = i
        found[i] = slots[at]
    return found


@dataclass(frozen=True)
class Catalogue:
    """What is known of n documents.

    Attributes:
        parts: files of signatures, in order.
        labels: the file that each part is about.
        bounds: `(parts + 1,)` number of the first document of each part.
        settled: so many documents, the first ones, belong to the other corpus.
        rows: `(n,)` row in its file.
        characters: `(n,)` length in code points.
        grams: `(n,)` word 5-grams.
        first: `(n,)` the first document with the same fingerprint.
    """

    parts: tuple[Path, ...]
    labels: tuple[str, ...]
    bounds: Numbers
    settled: int
    rows: Numbers
    characters: Numbers
    grams: Numbers
    first: Numbers

    @classmethod
    def load(
        cls, parts: Sequence[Path], labels: Sequence[str], settled_parts: int, *, alone: bool
    ) -> Catalogue:
        """Read the numbers of all parts and find the exact copies.

        Args:
            parts: files of signatures.
            labels: the file that each is about.
            settled_parts: so many, the first ones, belong to the other corpus.
            alone: our own exact copies are no copies.
        """
        bounds = np.concatenate(([0], np.cumsum([_rows_in(part) for part in parts]))).astype(
            np.int64
        )
        settled = int(bounds[settled_parts])
        prints = np.stack([_column(parts, name) for name in ("print_a", "print_b")], axis=1)
        first = first_equal(prints)
        if alone:
            own = np.arange(len(first))
            first = np.where(first < settled, first, own)
        return cls(
            tuple(parts),
            tuple(labels),
            bounds,
            settled,
            _column(parts, "row"),
            _column(parts, "characters"),
            _column(parts, "grams"),
            first,
        )

    def __len__(self) -> int:
        return len(self.rows)

    def part_of(self, numbers: Numbers) -> Numbers:
        """Return which part documents stand in."""
        return np.asarray(np.searchsorted(self.bounds, numbers, side="right") - 1, np.int64)

    def within(self, part: int, numbers: Numbers) -> Numbers:
        """Return those of some sorted documents that stand in a part."""
        begin, end = np.searchsorted(numbers, (self.bounds[part], self.bounds[part + 1]))
        return numbers[begin:end]

    def sources(self, numbers: Numbers) -> list[str]:
        """Return `file:row` of documents."""
        parts = self.part_of(numbers)
        return [
            f"{self.labels[part]}:{self.rows[number]}"
            for part, number in zip(parts.tolist(), numbers.tolist(), strict=True)
        ]

    def doc_ids(self, numbers: Numbers) -> list[str]:
        """Return the ids of documents, in the order given."""
        wanted = np.unique(numbers)
        names: list[str] = []
        for number, part in enumerate(self.parts):
            inside = self.within(number, wanted)
            if len(inside):
                column = _read(part, "doc_id").combine_chunks()
                names += column.take(_indices(inside - self.bounds[number])).to_pylist()
        place = np.searchsorted(wanted, numbers)
        return [names[at] for at in place.tolist()]


class BandKeys:
    """Keys of all bands of some documents, on disk, one band behind the other.

    Args:
        path: file to write; it is made anew.
        catalogue: all documents.
        chosen: `(m,)` sorted numbers of those whose keys are wanted.
        bands: how many.
    """

    def __init__(self, path: Path, catalogue: Catalogue, chosen: Numbers, bands: int) -> None:
        import pyarrow.parquet as pq

        self._path, self._count, self.bands = path, len(chosen), bands
        names = [key_name(band) for band in range(bands)]
        done = 0
        with path.open("wb") as stream:
            stream.truncate(bands * self._count * 8)
            for number, part in enumerate(catalogue.parts):
                inside = catalogue.within(number, chosen) - catalogue.bounds[number]
                if not len(inside):
                    continue
                table = pq.read_table(part, columns=names)
                for band, name in enumerate(names):
                    stream.seek((band * self._count + done) * 8)
                    stream.write(table[name].to_numpy()[inside].astype("<u8").tobytes())
                done += len(inside)

    def __call__(self, band: int) -> npt.NDArray[np.uint64]:
        """Return the keys of one band, `(m,)`."""
        offset = band * self._count * 8
        return np.fromfile(self._path, "<u8", self._count, offset=offset)


def _indices(numbers: Numbers) -> Any:
    import pyarrow as pa

    return pa.array(numbers)


def _read(part: Path, name: str) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(part, columns=[name])[name]


def _rows_in(part: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(part).num_rows)


def _column(parts: Sequence[Path], name: str) -> Any:
    return np.concatenate([_read(part, name).to_numpy() for part in parts])
