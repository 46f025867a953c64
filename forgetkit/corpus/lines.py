"""Bytes of a file, decompressed under caps, cut into lines at LF alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from forgetkit.errors import StorageError

MAX_LINE = 16 * 2**20
MAX_RATIO = 200
RATIO_FREE = 64 * 2**20
MAX_BYTES = 8 * 2**30
BLOCK = 2**20
SMALL_BLOCK = 1024  # a zstd block of 4 bytes may become 128 KiB, so feed it in small pieces


class BrokenStreamError(Exception):
    """Say that the rest of a compressed file cannot be read; never leaves this package."""


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True)
class Line:
    """One line without its end.

    Attributes:
        number: from 1.
        offset: its first byte in the decompressed file.
        content: its bytes; empty when it is too long or broken.
        reason: why it cannot be used; empty when it can.
        sha256: digest of its bytes when it cannot be used.
        raw: of `read_lines`, all its bytes: its end and a byte order mark too.
    """

    number: int
    offset: int
    content: bytes
    reason: str = ""
    sha256: str = ""
    raw: bytes = b""


def read_blocks(path: Path) -> Iterator[bytes]:
    """Yield the decompressed bytes of a plain, `.gz` or `.zst` file, block by block.

    Raises:
        StorageError: the file cannot be read.
        BrokenStreamError: it is truncated, corrupted or a decompression bomb.
    """
    try:
        with path.open("rb") as stream:
            if path.suffix == ".gz":
                yield from _gzip(lambda: stream.read(BLOCK))
            elif path.suffix == ".zst":
                yield from _zstd(lambda: stream.read(SMALL_BLOCK))
            else:
                while block := stream.read(BLOCK):
                    yield block
    except OSError as error:
        raise StorageError("cannot be read", where=str(path), found=str(error.strerror)) from error


def _zstd(read: Callable[[], bytes]) -> Iterator[bytes]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=2**27)
    try:
        yield from _decode(read, decompressor.decompressobj)
    except zstandard.ZstdError as error:
        raise BrokenStreamError("corrupted zstd data") from error


def _gzip(read: Callable[[], bytes]) -> Iterator[bytes]:
    from isal import isal_zlib  # twice as fast as zlib

    try:
        yield from _decode(read, lambda: _GzipMember(isal_zlib.decompressobj(wbits=31)))
    except isal_zlib.error as error:  # type: ignore[misc]
        raise BrokenStreamError("corrupted gzip data") from error


class _GzipMember:
    """Decompress one gzip member with bounded output a call."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data)

    @property
    def pending(self) -> bytes:
        return bytes(self._inner.unconsumed_tail)

    def decompress(self, data: bytes, /) -> bytes:
        return bytes(self._inner.decompress(data, BLOCK))


def _decode(read: Callable[[], bytes], make: Callable[[], _Decoder]) -> Iterator[bytes]:
    consumed = produced = 0
    decoder = make()
    fresh, data = True, read()
    consumed += len(data)
    while data:
        if decoder.eof:
            decoder, fresh = make(), True
        block = decoder.decompress(data)
        fresh = False
        produced += len(block)
        _check_bomb(consumed, produced)
        if block:
            yield block
        data = decoder.unused_data if decoder.eof else getattr(decoder, "pending", b"")
        if decoder.eof and not data.strip(b"\0"):
            data = b""  # gzip allows zero padding behind a member
        if not data:
            data = read()
            consumed += len(data)
    if not fresh and not decoder.eof:
        raise BrokenStreamError("truncated compressed data")


def _check_bomb(consumed: int, produced: int) -> None:
    if produced > MAX_BYTES:
        raise BrokenStreamError(f"decompresses to more than {MAX_BYTES} bytes")
    if produced > RATIO_FREE and produced > MAX_RATIO * consumed:
        raise BrokenStreamError(f"decompression ratio over {MAX_RATIO}:1")


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a file; only LF (with an optional CR before it) ends one.

    A line of more than 16 MiB, or the rest of a broken compressed file, comes as one line with
    a reason and a digest and without content. A byte order mark at the start is skipped.

    Raises:
        StorageError: the file cannot be read.
    """
    cutter = _Cutter()
    try:
        for block in read_blocks(path):
            yield from cutter.cut(block)
    except BrokenStreamError as error:
        yield cutter.rest(str(error))
        return
    if cutter.unfinished:
        yield cutter.rest("")


class _Cutter:
    """Cut blocks into lines, holding at most one line and hashing what is too long."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0
        self._digest = hashlib.sha256()
        self._number, self._offset = 1, 0

    @property
    def unfinished(self) -> bool:
        return self._length > 0

    def cut(self, block: bytes) -> Iterator[Line]:
        begin = 0
        while (end := block.find(b"\n", begin)) >= 0:
            self._take(block[begin:end])
            yield self._line("", ended=True)
            begin = end + 1
        self._take(block[begin:])

    def rest(self, reason: str) -> Line:
        return self._line(reason, ended=False)

    def _take(self, part: bytes) -> None:
        if not part:
            return
        self._length += len(part)
        if self._length > MAX_LINE:
            for held in self._parts:
                self._digest.update(held)
            self._parts.clear()
            self._digest.update(part)
        else:
            self._parts.append(part)

    def _line(self, reason: str, *, ended: bool) -> Line:
        content = b"".join(self._parts)
        if self._length > MAX_LINE and not reason:
            reason = f"line of more than {MAX_LINE} bytes"
        self._digest.update(content)
        if reason:
            line = Line(self._number, self._offset, b"", reason, self._digest.hexdigest())
        else:
            bare = content.removesuffix(b"\r")
            bare = bare.removeprefix(b"\xef\xbb\xbf") if self._number == 1 else bare
            raw = content + b"\n" if ended else content
            line = Line(self._number, self._offset, bare, raw=raw)
        self._offset += self._length + ended
        self._number += 1
        self._parts.clear()
        self._length, self._digest = 0, hashlib.sha256()
        return line
