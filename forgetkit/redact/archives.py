"""Web archives: records without a span are copied as bytes; a changed one gets new lengths."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from forgetkit.corpus.warc import MAX_HEAD
from forgetkit.redact.edits import applied
from forgetkit.redact.marks import Redaction
from forgetkit.redact.streams import BLOCK, Digested, compressed_like, gzip_member, readable

_LENGTH = re.compile(rb"(?im)^(content-length:[ \t]*)\d+")
_DIGEST = re.compile(rb"(?im)^(warc-(block|payload)-digest:[ \t]*)([^\r\n]*)(\r?\n)")
_CHARSET = re.compile(rb"(?i)charset=[\"' ]*([\w.:-]+)")


@dataclass(frozen=True)
class _Record:
    """Head of one record with its blank line, and the length of its body; None: not a record."""

    head: bytes
    length: int | None

    def value(self, name: str) -> str:
        """Return a header's value, or an empty string."""
        for line in self.head.split(b"\n")[1:]:
            key, _, value = line.decode("utf-8", "replace").partition(":")
            if key.strip().lower() == name:
                return value.strip()
        return ""


class _Member:
    """One gzip member, opened by the first byte: a record that goes leaves none."""

    def __init__(self, sink: Digested, stack: contextlib.ExitStack) -> None:
        self._sink, self._stack = sink, stack
        self._stream: IO[bytes] | None = None

    def write(self, content: bytes) -> None:
        """Write bytes of the record."""
        if content and self._stream is None:
            self._stream = self._stack.enter_context(gzip_member(self._sink))
        if self._stream is not None:
            self._stream.write(content)


def rewrite_archive(path: Path, sink: Digested, redaction: Redaction) -> None:
    """Write a web archive without the spans; with `.gz` each record becomes one member."""
    alone = path.suffix.lower() == ".gz"
    whole = contextlib.nullcontext(sink) if alone else compressed_like(path, sink)
    with whole as common, readable(path) as stream:
        line, number = stream.readline(MAX_HEAD), 0
        while line:
            number += 1
            with contextlib.ExitStack() as stack:
                out = _Member(sink, stack) if alone else common
                line = _record(stream, line, number, cast("IO[bytes]", out), redaction)


def _record(
    stream: BinaryIO, line: bytes, number: int, out: IO[bytes], redaction: Redaction
) -> bytes:
    """Write one record that begins with `line`, and return the first line of the next."""
    while line and not line.strip():  # only at the start of a file
        out.write(line)
        line = stream.readline(MAX_HEAD)
    record = _head(stream, line)
    if record.length is None:  # nothing says where the next record is
        out.write(record.head)
        _pass(stream, out, None)
        return b""
    redaction.rows += 1
    goes = False
    if number in redaction.marks:
        body = stream.read(record.length)
        changed = _changed(record, body, number, redaction)
        goes = changed is None
        out.write(changed or b"")
    else:
        out.write(record.head)
        _pass(stream, out, record.length)
    while (line := stream.readline(MAX_HEAD)) and not line.strip():
        if not goes:
            out.write(line)
    return line


def _head(stream: BinaryIO, line: bytes) -> _Record:
    head = line
    if not line.startswith(b"WARC/"):
        return _Record(head, None)
    while len(head) < MAX_HEAD and (line := stream.readline(MAX_HEAD)):
        head += line
        if not line.strip():
            break
    length = _Record(head, 0).value("content-length")
    return _Record(head, int(length) if length.isascii() and length.isdigit() else None)


def _pass(stream: BinaryIO, out: IO[bytes], length: int | None) -> None:
    """Copy so many bytes, or all that follow."""
    while length is None or length:
        piece = stream.read(BLOCK if length is None else min(BLOCK, length))
        if not piece:
            return
        out.write(piece)
        length = None if length is None else length - len(piece)


def _changed(record: _Record, body: bytes, number: int, redaction: Redaction) -> bytes | None:
    inner = b""
    kind = record.value("content-type").encode()
    if kind.startswith(b"application/http"):
        inner = re.split(rb"(?<=\n)\r?\n", body, maxsplit=1)[0]
        inner = body[: body.index(b"\n", len(inner)) + 1]
        kind = inner
    found = _CHARSET.search(kind)
    stated = found.group(1).decode() if found else "utf-8"
    charset = "utf-8" if record.value("warc-type") == "conversion" else stated
    text = body[len(inner) :].decode(charset, "replace")
    doc_id = record.value("warc-record-id").strip("<>") or None
    edits = redaction.judge(number, {"id": doc_id, "text": text})
    if edits is None:
        return None
    payload = applied(text, edits["text"]).encode(charset, "replace")
    inner = _LENGTH.sub(rb"\g<1>%d" % len(payload), inner)
    head = _LENGTH.sub(rb"\g<1>%d" % len(inner + payload), record.head)
    return _digested(head, inner + payload, payload) + inner + payload


def _digested(head: bytes, block: bytes, payload: bytes) -> bytes:
    """Return a head whose SHA-1 digests are those of the new body; others are left out."""

    def line(match: re.Match[bytes]) -> bytes:
        if not match[3].lower().startswith(b"sha1:"):
            return b""
        content = block if match[2].lower() == b"block" else payload
        digest = hashlib.sha1(content, usedforsecurity=False).digest()
        return match[1] + b"sha1:" + base64.b32encode(digest) + match[4]

    return _DIGEST.sub(line, head)
