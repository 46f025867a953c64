"""Whole lines of a file, some megabytes at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from forgetkit.corpus import lines
from forgetkit.corpus.lines import BrokenStreamError, Line

TARGET = 2 * 2**20
"""Bytes of a block: enough to spread the cost of a call, few enough to stay near the caches."""


@dataclass(frozen=True)
class Block:
    """Whole lines that follow each other.

    Attributes:
        data: their bytes with their ends; the last line of a file may lack its end.
        number: number of the first line, from 1.
        offset: its first byte in the decompressed file.
    """

    data: bytes
    number: int
    offset: int


def line_blocks(
    pieces: Iterable[bytes], number: int = 1, offset: int = 0
) -> Iterator[Block | Line]:
    """Yield the lines of a stream in blocks; what cannot be used comes as a line with a reason.

    The same lines as `read_lines` gives, which also says what a reason may be.

    Args:
        pieces: the bytes of the stream.
        number: number of its first line.
        offset: place of its first byte in the file.
    """
    gatherer = _Gatherer(number, offset)
    try:
        for piece in pieces:
            yield from gatherer.take(piece)
    except BrokenStreamError as error:
        yield from gatherer.broken(str(error))
    else:
        yield from gatherer.end()


class _Gatherer:
    """Hold bytes until they are worth a block; hash a line that is too long to hold."""

    def __init__(self, number: int, offset: int) -> None:
        self._number, self._offset = number, offset
        self._held: list[bytes] = []
        self._size = 0
        self._long: hashlib._Hash | None = None

    def take(self, piece: bytes) -> Iterator[Block | Line]:
        if self._long is not None:
            end = piece.find(b"\n")
            part = piece if end < 0 else piece[:end]
            self._long.update(part)
            self._size += len(part)
            if end < 0:
                return
            yield self._unusable("", ended=True)
            piece = piece[end + 1 :]
        self._held.append(piece)
        self._size += len(piece)
        if self._size >= min(TARGET, lines.MAX_LINE):
            yield from self._whole_lines()

    def _whole_lines(self) -> Iterator[Block]:
        """Yield what is held up to its last line end, copied once, and hold the rest."""
        last = len(self._held) - 1
        while last >= 0 and (end := self._held[last].rfind(b"\n") + 1) == 0:
            last -= 1
        if last >= 0:
            cut = self._held[last]
            yield self._block(b"".join([*self._held[:last], memoryview(cut)[:end]]))
            self._held = [cut[end:], *self._held[last + 1 :]]
            self._size = sum(map(len, self._held))
        if self._size > lines.MAX_LINE:
            self._long = hashlib.sha256(b"".join(self._held))
            self._held = []

    def end(self) -> Iterator[Block | Line]:
        if self._long is not None:
            yield self._unusable("", ended=False)
        elif self._size:
            yield self._block(b"".join(self._held))

    def broken(self, reason: str) -> Iterator[Block | Line]:
        if self._long is None:
            yield from self._whole_lines()
        yield self._unusable(reason, ended=False)

    def _block(self, data: bytes) -> Block:
        import numpy as np

        block = Block(data, self._number, self._offset)
        self._number += int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))
        self._offset += len(data)
        return block

    def _unusable(self, reason: str, *, ended: bool) -> Line:
        reason = reason or f"line of more than {lines.MAX_LINE} bytes"
        digest = self._long or hashlib.sha256(b"".join(self._held))
        line = Line(self._number, self._offset, b"", reason, digest.hexdigest())
        self._number += 1
        self._offset += self._size + ended
        self._held, self._size, self._long = [], 0, None
        return line
