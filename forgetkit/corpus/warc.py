"""Web archives (WARC 1.0 and 1.1, WET; ISO 28500).

A document is a `conversion` record (the text of a WET file) or a record of plain text. A page in
HTML has no text of its own to count code points in, so it is filtered, like requests and images:
make a WET file of it first.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from forgetkit.corpus.lines import MAX_LINE, BrokenStreamError, read_blocks
from forgetkit.corpus.rows import Row
from forgetkit.files import sha256_bytes

MAX_HEAD = 64 * 2**10
_ENCODED = ("transfer-encoding", "content-encoding")


def warc_rows(path: Path) -> Iterator[Row]:
    """Yield the records of a web archive, numbered from 1; what holds no text is filtered.

    The first record that cannot be understood ends the reading: nothing says where the next is.

    Raises:
        StorageError: the file cannot be read.
    """
    stream = _Counted(read_blocks(path))
    number = 0
    while True:
        number += 1
        try:
            row = _record(stream, number)
        except (BrokenStreamError, ValueError) as error:
            yield Row(number, stream.at, None, str(error), sha256_bytes(b""))
            return
        if row is None:
            return
        yield row


def _record(stream: _Counted, number: int) -> Row | None:
    """Read one record; None at the end of the file.

    Raises:
        ValueError: it is no record, or its end is missing.
    """
    first = stream.line()
    while first and not first.strip():
        first = stream.line()
    if not first:
        return None
    offset = stream.at - len(first)
    if not first.startswith(b"WARC/"):
        raise ValueError("not a WARC record")
    head = _head(stream)
    length = head.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        raise ValueError("WARC record without its length")
    charset = _charset(head)
    if charset is None or int(length) > MAX_LINE:
        stream.skip(int(length))
        if charset is None:
            return Row(number, offset, None, filtered=True)
        return Row(number, offset, None, f"record of more than {MAX_LINE} bytes", sha256_bytes(b""))
    body = stream.exactly(int(length))
    if head.get("content-type", "").startswith("application/http"):
        return _response(body, head, number, offset)
    return _text(body, charset, head, number, offset)


def _response(body: bytes, head: Mapping[str, str], number: int, offset: int) -> Row:
    """Return the row of an HTTP response: its body if that is plain, unencoded text."""
    stream = _Counted(iter([body]))
    stream.line()
    inner = _head(stream)
    charset = _charset(inner | {"warc-type": "resource"})
    if charset is None or any(name in inner for name in _ENCODED):
        return Row(number, offset, None, filtered=True)
    return _text(body[stream.at :], charset, head, number, offset)


def _text(body: bytes, charset: str, head: Mapping[str, str], number: int, offset: int) -> Row:
    try:
        text = body.decode(charset)
    except (ValueError, LookupError):  # UnicodeError of codecs like "undefined", NUL in a name
        return Row(number, offset, None, "text in another encoding than stated", sha256_bytes(body))
    values = {"id": head.get("warc-record-id", "").strip("<>") or None, "text": text}
    return Row(number, offset, values, raw=body)


def _head(stream: _Counted) -> dict[str, str]:
    """Read header lines up to the blank one, by lower-case name."""
    head: dict[str, str] = {}
    begin = stream.at
    while (line := stream.line().strip()) and stream.at - begin < MAX_HEAD:
        name, _, value = line.decode("utf-8", "replace").partition(":")
        head[name.strip().lower()] = value.strip()
    return head


def _charset(head: Mapping[str, str]) -> str | None:
    """Return the encoding of a record that may hold plain text, else None."""
    kind, _, rest = head.get("content-type", "").lower().partition(";")
    charset = rest.partition("charset=")[2].strip(" \"'") or "utf-8"
    known = head.get("warc-type")
    if known == "conversion":
        return "utf-8"
    if known == "response" and kind == "application/http":
        return charset
    return charset if known in ("response", "resource") and kind.strip() == "text/plain" else None


class _Counted:
    """Read lines and bytes of a stream of blocks, and count them."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._stream = io.BufferedReader(_Blocks(blocks), 2**18)
        self.at = 0

    def line(self) -> bytes:
        """Return the next line, at most 64 KiB of it; empty at the end."""
        line = self._stream.readline(MAX_HEAD)
        self.at += len(line)
        return line

    def exactly(self, size: int) -> bytes:
        """Return `size` bytes.

        Raises:
            ValueError: there are fewer.
        """
        body = self._stream.read(size)
        self.at += len(body)
        if len(body) < size:
            raise ValueError("truncated WARC record")
        return body

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        while size:
            size -= len(self.exactly(min(size, MAX_LINE // 16)))


class _Blocks(io.RawIOBase):
    """A raw stream of blocks."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, b""

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        self._rest = self._rest or next(self._blocks, b"")
        part = self._rest[: len(buffer)]
        buffer[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)
