"""Thrift's compact protocol, as far as the footer of a Parquet file needs it.

A structure is read as numbers of fields with kinds and values, and written again from them, so
that fields nobody here knows survive. Apache Thrift, "Thrift Compact protocol encoding".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
_INTEGERS = (I16, I32, I64)
MAX_DEPTH = 32


@dataclass
class Struct:
    """Fields by number, each a kind and a value."""

    fields: dict[int, tuple[int, Any]] = field(default_factory=dict)

    def get(self, number: int, default: Any = None) -> Any:
        """Return the value of a field, or the default where it is absent."""
        return self.fields[number][1] if number in self.fields else default

    def put(self, number: int, value: Any) -> None:
        """Change the value of a field that is there."""
        if number in self.fields:
            self.fields[number] = (self.fields[number][0], value)

    def copy(self) -> Struct:
        """Return a structure of the same values, to be changed field by field."""
        return Struct(dict(self.fields))


@dataclass
class Items:
    """A list or set: the kind of its members, and the members."""

    kind: int
    values: list[Any]


class Reader:
    """Read one structure from bytes; ValueError where they are no such thing."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def struct(self, depth: int = 0) -> Struct:
        """Read a structure."""
        if depth > MAX_DEPTH:
            raise ValueError("nested too deep")
        found, number = Struct(), 0
        while (head := self._byte()) & 15:
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            value = kind == TRUE if kind in (TRUE, FALSE) else self._value(kind, depth)
            found.fields[number] = (kind, value)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == BINARY:
            return self._take(self._unsigned())
        if kind == STRUCT:
            return self.struct(depth + 1)
        if kind in (LIST, SET):
            return self._items(depth)
        if kind in (TRUE, FALSE, BYTE):  # within a list
            return self._byte()
        if kind == DOUBLE:
            return self._take(8)
        raise ValueError(f"unknown kind {kind}")

    def _items(self, depth: int) -> Items:
        head = self._byte()
        size = head >> 4 if head >> 4 < 15 else self._unsigned()
        if size > len(self._content):
            raise ValueError("list longer than its file")
        return Items(head & 15, [self._value(head & 15, depth + 1) for _ in range(size)])

    def _integer(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("number too long")

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, size: int) -> bytes:
        part = self._content[self._at : self._at + size]
        if len(part) < size:
            raise ValueError("ends too early")
        self._at += size
        return part


def write(struct: Struct) -> bytes:
    """Return the bytes of a structure; what `Reader` read comes back as it was."""
    out = bytearray()
    last = 0
    for number, (kind, value) in sorted(struct.fields.items()):
        if kind in (TRUE, FALSE):
            kind = TRUE if value else FALSE
        step = number - last
        if 0 < step < 16:
            out.append(step << 4 | kind)
        else:
            out.append(kind)
            out += _integer(number)
        last = number
        if kind not in (TRUE, FALSE):
            out += _written(kind, value)
    out.append(0)
    return bytes(out)


def _written(kind: int, value: Any) -> bytes:
    if kind in _INTEGERS:
        return _integer(value)
    if kind == BINARY:
        return _unsigned(len(value)) + bytes(value)
    if kind == STRUCT:
        return write(value)
    if kind in (LIST, SET):
        return _items(value)
    return bytes(value) if kind == DOUBLE else bytes([value])


def _items(items: Items) -> bytes:
    size = len(items.values)
    head = bytes([size << 4 | items.kind]) if size < 15 else bytes([0xF0 | items.kind])
    more = b"" if size < 15 else _unsigned(size)
    return head + more + b"".join(_written(items.kind, value) for value in items.values)


def _integer(value: int) -> bytes:
    return _unsigned((value << 1) ^ (value >> 63))


def _unsigned(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
