"""All documents as columns of numbers, in one order: the other corpus first, then ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled
from forgetkit.dedupe.signing import key_name
from forgetkit.dedupe.stretches import Stretches
from forgetkit.files import scratch

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
        where: their signatures, by piece of a file.
        settled: so many documents, the first ones, belong to the other corpus.
        rows: `(n,)` row in its file.
        characters: `(n,)` length in code points.
        grams: `(n,)` word 5-grams.
        first: `(n,)` the first document with the same fingerprint.
    """

    where: Stretches
    settled: int
    rows: Numbers
    characters: Numbers
    grams: Numbers
    first: Numbers

    @classmethod
    def load(cls, where: Stretches, settled_pieces: int, *, alone: bool) -> Catalogue:
        """Read the numbers of all documents and find the exact copies.

        Args:
            where: their signatures.
            settled_pieces: so many pieces, the first ones, belong to the other corpus.
            alone: our own exact copies are no copies.
        """
        settled = int(where.bounds[settled_pieces])
        prints = np.stack([where.column(name) for name in ("print_a", "print_b")], axis=1)
        first = first_equal(prints)
        if alone:
            own = np.arange(len(first))
            first = np.where(first < settled, first, own)
        rows, characters, grams = map(where.column, ("row", "characters", "grams"))
        return cls(where, settled, rows, characters, grams, first)

    def __len__(self) -> int:
        return len(self.rows)

    def sources(self, numbers: Numbers) -> list[str]:
        """Return `file:row` of documents."""
        pieces = self.where.piece_of(numbers).tolist()
        rows = self.rows[numbers].tolist()
        return [f"{self.where.labels[p]}:{row}" for p, row in zip(pieces, rows, strict=True)]

    def doc_ids(self, numbers: Numbers) -> list[str]:
        """Return the ids of documents, in the order given."""
        names: list[str] = self.where.taken(numbers, ["doc_id"])["doc_id"].to_pylist()
        return names


class BandKeys:
    """Keys of all bands of some documents, on disk, one band behind the other.

    Args:
        path: file to write; it is made anew.
        catalogue: all documents.
        chosen: `(m,)` sorted numbers of those whose keys are wanted.
        bands: how many.
    """

    def __init__(self, path: Path, catalogue: Catalogue, chosen: Numbers, bands: int) -> None:
        self._path, self._count, self.bands = path, len(chosen), bands
        names = [key_name(band) for band in range(bands)]
        done, ends = 0, catalogue.where.ends
        with scratch(path) as stream:
            stream.truncate(bands * self._count * 8)
            for number, part in enumerate(catalogue.where.tables):
                begin, end = np.searchsorted(chosen, (ends[number], ends[number + 1]))
                inside = chosen[begin:end] - ends[number]
                if not len(inside):
                    continue
                table = part.columns(names)
                for band, name in enumerate(names):
                    stream.seek((band * self._count + done) * 8)
                    stream.write(table[name].to_numpy()[inside].astype("<u8").tobytes())
                done += len(inside)

    def __call__(self, band: int) -> npt.NDArray[np.uint64]:
        """Return the keys of one band, `(m,)`."""
        offset = band * self._count * 8
        return np.fromfile(self._path, "<u8", self._count, offset=offset)
