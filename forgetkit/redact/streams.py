"""Streams in and out of one file: lines with their ends, the same compression, one digest."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from forgetkit.corpus.lines import MAX_LINE, read_blocks

BLOCK = 2**20
LEVEL = 2  # of isal, 0 to 3: as small as zlib's 4, at several times its speed


class Digested(io.RawIOBase):
    """Write to a file and hash what is written.

    Args:
        inner: the file; None writes nowhere, for a reading that only counts.
    """

    def __init__(self, inner: BinaryIO | None) -> None:
        super().__init__()
        self._inner = inner
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, content: Any) -> int:
        """Write bytes, all of them."""
        left = memoryview(content).cast("B")
        size = len(left)
        if self._inner is None:
            return size
        self._hash.update(left)
        self.size += size
        while left:
            left = left[self._inner.write(left) :]
        return size

    @property
    def counts_only(self) -> bool:
        """Say whether it writes nowhere."""
        return self._inner is None

    @property
    def sha256(self) -> str:
        """Return the digest of all that was written."""
        return self._hash.hexdigest()


@contextlib.contextmanager
def compressed_like(path: Path, sink: Digested) -> Iterator[IO[bytes]]:
    """Yield a stream that compresses as the file at `path` is compressed, into `sink`.

    The codec is kept, and zstd's checksum; the level is not: neither format records it.
    """
    if sink.counts_only:
        yield cast("IO[bytes]", sink)
    elif path.suffix.lower() == ".gz":
        with gzip_member(sink) as stream:
            yield stream
    elif path.suffix.lower() == ".zst":
        import zstandard

        with path.open("rb") as stream:
            has_checksum = zstandard.get_frame_parameters(stream.read(18)).has_checksum
        with zstandard.ZstdCompressor(write_checksum=has_checksum).stream_writer(
            cast("IO[bytes]", sink), closefd=False
        ) as writer:
            yield cast("IO[bytes]", writer)
    else:
        yield cast("IO[bytes]", sink)


@contextlib.contextmanager
def gzip_member(sink: Digested) -> Iterator[IO[bytes]]:
    """Yield a stream whose bytes become one gzip member without name or time."""
    if sink.counts_only:
        yield cast("IO[bytes]", sink)
        return
    from isal import igzip

    with igzip.IGzipFile("", "wb", LEVEL, cast("BinaryIO", sink), mtime=0) as stream:
        yield cast("IO[bytes]", stream)


def readable(path: Path) -> BinaryIO:
    """Open the decompressed bytes of a file as a buffered stream.

    Reading raises BrokenStreamError where a compressed file is broken.
    """
    return cast("BinaryIO", io.BufferedReader(_Blocks(read_blocks(path)), BLOCK))


class _Blocks(io.RawIOBase):
    """A raw stream of blocks."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
        part = self._rest[: len(buffer)]
        buffer[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)


def line_groups(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Yield a stream in groups of whole lines, about a megabyte each, with their ends.

    Yields:
        The bytes, and whether a line ends with them: a line too long to hold comes in pieces.
    """
    held: list[bytes] = []
    size = 0
    while piece := stream.read(BLOCK):
        end = piece.rfind(b"\n") + 1
        if end:
            yield b"".join([*held, piece[:end]]), True
            held, size = [], 0
        held.append(piece[end:])
        size += len(piece) - end
        if size > MAX_LINE:
            yield b"".join(held), False
            held, size = [], 0
    if size:
        yield b"".join(held), True
