"""The footer of a Parquet file, and column chunks that move from file to file as bytes.

Numbers of fields are those of parquet.thrift (apache/parquet-format, 2.11).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from forgetkit.errors import InputError
from forgetkit.redact.streams import BLOCK, Digested
from forgetkit.redact.thrift import Items, Reader, Struct, write

MAGIC = b"PAR1"
SCHEMA, ROWS, GROUPS = 2, 3, 4  # of FileMetaData
COLUMNS, GROUP_BYTES, GROUP_ROWS, SORTED, GROUP_START, GROUP_PACKED, ORDINAL = range(1, 8)
CHUNK_START, CHUNK_DATA, OFFSETS, OFFSETS_SIZE, INDEX, INDEX_SIZE = range(2, 8)  # of ColumnChunk
PATH, UNPACKED, PACKED, DATA_PAGE, INDEX_PAGE, DICTIONARY = 3, 6, 7, 9, 10, 11  # ColumnMetaData
BLOOM, BLOOM_SIZE = 14, 15
_SAME = (1, 2, 3, 4, 5)  # of SchemaElement: type, length, repetition, name, children


def read_footer(stream: BinaryIO, where: str) -> Struct:
    """Read the metadata at the end of a Parquet file.

    Raises:
        InputError: it is none, or it is encrypted.
    """
    size = stream.seek(0, 2)
    stream.seek(max(0, size - 8))
    tail = stream.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or length > size - 12:
        raise InputError("is no Parquet file, or an encrypted one", where=where)
    stream.seek(size - 8 - length)
    try:
        return Reader(stream.read(length)).struct()
    except ValueError as error:
        raise InputError("has a broken footer", where=where, found=str(error)) from error


def columns_of(metadata: Struct) -> list[tuple[object, ...]]:
    """Return what the schema says of each element but the name of its root."""
    elements: list[Struct] = metadata.get(SCHEMA).values
    found = [tuple(element.get(number) for number in _SAME) for element in elements]
    return [found[0][:3] + found[0][4:], *found[1:]]


@dataclass(frozen=True)
class Chunk:
    """A column chunk in some file."""

    stream: BinaryIO
    struct: Struct

    @property
    def data(self) -> Struct:
        """Return its ColumnMetaData."""
        found: Struct = self.struct.get(CHUNK_DATA)
        return found

    @property
    def path(self) -> tuple[bytes, ...]:
        """Return its path in the schema."""
        return tuple(self.data.get(PATH).values)

    @property
    def start(self) -> int:
        """Return its first byte: the dictionary page, where there is one."""
        begins = [self.data.get(DATA_PAGE), self.data.get(DICTIONARY) or 0]
        return int(min(place for place in begins if place))

    def bytes_at(self, start: int, size: int) -> Iterator[bytes]:
        """Yield `size` bytes of the file from `start` on."""
        self.stream.seek(start)
        while size:
            piece = self.stream.read(min(BLOCK, size))
            if not piece:
                raise InputError("a column chunk ends behind its file", where=self.where)
            size -= len(piece)
            yield piece

    @property
    def where(self) -> str:
        """Return the name of the file."""
        return str(getattr(self.stream, "name", ""))


def chunks_of(group: Struct, stream: BinaryIO) -> list[Chunk]:
    """Return the column chunks of a row group."""
    return [Chunk(stream, struct) for struct in group.get(COLUMNS).values]


class Writer:
    """Write a Parquet file from column chunks.

    Args:
        sink: where.
        metadata: of the file that this one is made from.
    """

    def __init__(self, sink: Digested, metadata: Struct) -> None:
        self._sink, self._metadata = sink, metadata.copy()
        self._groups: list[Struct] = []
        self._indexed: list[tuple[Chunk, Struct, int]] = []
        sink.write(MAGIC)

    def group(self, group: Struct, chunks: Sequence[Chunk], rows: int, *, resorted: bool) -> None:
        """Write a row group like another, of these chunks.

        Args:
            group: the other one.
            chunks: a chunk a column.
            rows: its rows.
            resorted: texts changed, so it may not be in the stated order any more.
        """
        made = group.copy()
        start = self._sink.size
        moved = [self._chunk(chunk) for chunk in chunks]
        made.put(COLUMNS, Items(group.get(COLUMNS).kind, moved))
        made.put(GROUP_BYTES, sum(one.get(CHUNK_DATA).get(UNPACKED) for one in moved))
        made.put(GROUP_PACKED, sum(one.get(CHUNK_DATA).get(PACKED) for one in moved))
        made.put(GROUP_ROWS, rows)
        made.put(GROUP_START, start)
        made.put(ORDINAL, len(self._groups))
        if resorted:
            made.fields.pop(SORTED, None)
        self._groups.append(made)

    def _chunk(self, chunk: Chunk) -> Struct:
        made, data = chunk.struct.copy(), chunk.data.copy()
        shift = self._sink.size - chunk.start
        for piece in chunk.bytes_at(chunk.start, data.get(PACKED)):
            self._sink.write(piece)
        for number in (DATA_PAGE, INDEX_PAGE, DICTIONARY):
            if data.get(number):
                data.put(number, data.get(number) + shift)
        if made.get(CHUNK_START):
            made.put(CHUNK_START, made.get(CHUNK_START) + shift)
        made.put(CHUNK_DATA, data)
        self._indexed.append((chunk, made, shift))
        return made

    def _bloom(self, chunk: Chunk, made: Struct) -> None:
        data: Struct = made.get(CHUNK_DATA)
        if not data.get(BLOOM):
            return
        if not data.get(BLOOM_SIZE):  # nothing says where it ends, and it may be left out
            data.fields.pop(BLOOM)
            return
        place = self._sink.size
        for piece in chunk.bytes_at(data.get(BLOOM), data.get(BLOOM_SIZE)):
            self._sink.write(piece)
        data.put(BLOOM, place)

    def _index(self, chunk: Chunk, made: Struct) -> None:
        if made.get(INDEX):
            place = self._sink.size
            for piece in chunk.bytes_at(made.get(INDEX), made.get(INDEX_SIZE)):
                self._sink.write(piece)
            made.put(INDEX, place)

    def _offsets(self, chunk: Chunk, made: Struct, shift: int) -> None:
        if not made.get(OFFSETS):
            return
        raw = b"".join(chunk.bytes_at(made.get(OFFSETS), made.get(OFFSETS_SIZE)))
        offsets = Reader(raw).struct()
        for page in offsets.get(1).values:  # PageLocation
            page.put(1, page.get(1) + shift)
        content = write(offsets)
        made.put(OFFSETS, self._sink.size)
        made.put(OFFSETS_SIZE, len(content))
        self._sink.write(content)

    def close(self) -> None:
        """Write indexes and footer."""
        for chunk, made, _ in self._indexed:
            self._bloom(chunk, made)
        for chunk, made, _ in self._indexed:
            self._index(chunk, made)
        for chunk, made, shift in self._indexed:
            self._offsets(chunk, made, shift)
        kind = self._metadata.get(GROUPS).kind
        self._metadata.put(GROUPS, Items(kind, self._groups))
        self._metadata.put(ROWS, sum(group.get(GROUP_ROWS) for group in self._groups))
        footer = write(self._metadata)
        self._sink.write(footer + len(footer).to_bytes(4, "little") + MAGIC)
