"""JSON lines by the block: Arrow's parser where a block is sound, the strict one where it is not.

Arrow reads 300-600 MB a second and one core, but it lets pass what the strict parser refuses, and
one bad line costs it the block. So lines that it might judge otherwise are set aside before, and
lines among which it finds trouble are read one by one: both ways give the same documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from forgetkit.corpus import lines
from forgetkit.corpus.accept import accept
from forgetkit.corpus.batch import DocumentBatch
from forgetkit.corpus.blocks import Block
from forgetkit.corpus.columns import Wanted, batch_of, joined
from forgetkit.corpus.document import Document
from forgetkit.corpus.lines import Line
from forgetkit.corpus.quarantine import Quarantine
from forgetkit.corpus.rows import MAX_DEPTH, depth, json_row

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

BOM = b"\xef\xbb\xbf"
FEWEST = 32
"""Lines that are read one by one when Arrow refuses them together."""
_DIGITS = 4300  # digits from which Python refuses an integer
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % _DIGITS)
_SAMPLES = 16
_STRIDE = _DIGITS // (_SAMPLES + 1)  # so that a number of that length holds so many samples
_LONG_SAMPLE = re.compile(rb"[0-9]{%d}" % _SAMPLES)
_ODD = re.compile(rb"\0|\\u0000|(?:NaN|Inf(?:inity)?)(?=[ \t\r\n,\]}]|$)")
"""What Arrow takes and the strict parser may not; a name of a number ends a value."""
_BEFORE = len(b"\\")  # the mark of an escaped NUL stands behind its backslash


@dataclass(frozen=True)
class _Lines:
    """A block and where its lines begin and end (without LF), and what `marked` found in them."""

    block: Block
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    opening: npt.NDArray[np.int64]
    odd: npt.NDArray[np.int64]

    def line(self, index: int) -> Line:
        """Return one line as the strict parser wants it."""
        start, end = int(self.starts[index]), int(self.ends[index])
        number, offset = self.block.number + index, self.block.offset + start
        content = self.block.data[start:end].removesuffix(b"\r")
        if end - start > lines.MAX_LINE:
            reason = f"line of more than {lines.MAX_LINE} bytes"
            return Line(number, offset, self.block.data[start:end], reason)
        return Line(number, offset, content.removeprefix(BOM) if number == 1 else content)


class JsonlReader:
    """Turn blocks of one file into batches.

    Args:
        label: the file.
        wanted: columns by role.
        quarantine: takes bad rows and keeps the books.
    """

    def __init__(self, label: str, wanted: Wanted, quarantine: Quarantine) -> None:
        self._label, self._wanted, self._quarantine = label, wanted, quarantine
        self._run = 1 << 20  # lines tried together; shrinks where the data is bad

    def batch(self, block: Block) -> DocumentBatch | None:
        """Return the documents of a block, None when it holds none."""
        found = _lines(block)
        regular, alone = _sort_lines(found)
        batches: list[DocumentBatch] = []
        documents = [d for index in alone.nonzero()[0] for d in self._strict(found, int(index))]
        for first, last in _stretches(alone):
            batches += self._stretch(found, regular, first, last, documents)
        if documents:
            documents.sort(key=lambda document: int(document.source.rpartition(":")[2]))
            batches.append(DocumentBatch.of(documents))
        return joined(batches) if batches else None

    def _stretch(
        self,
        found: _Lines,
        regular: npt.NDArray[np.bool_],
        first: int,
        last: int,
        documents: list[Document],
    ) -> Iterator[DocumentBatch]:
        """Read the lines [first, last), in smaller and smaller parts where there is trouble."""
        while first < last:
            end = min(last, first + self._run)
            if not regular[first:end].any():
                first = end
                continue
            batch = self._together(found, regular, first, end, documents)
            if batch is not None:
                if len(batch):
                    yield batch
                self._run *= 2
            elif end - first > FEWEST:
                self._run = max(FEWEST, (end - first) // 4)
                continue
            else:
                for index in range(first, end):
                    documents += self._strict(found, index)
            first = end

    def _strict(self, found: _Lines, index: int) -> list[Document]:
        """Read one line by the strict parser; a blank one is no row."""
        line = found.line(index)
        if not line.reason and not line.content.strip():
            return []
        made = accept(json_row(line), self._label, self._wanted, self._quarantine)
        return [made] if made is not None else []

    def _together(
        self,
        found: _Lines,
        regular: npt.NDArray[np.bool_],
        first: int,
        last: int,
        documents: list[Document],
    ) -> DocumentBatch | None:
        """Read the lines [first, last) by Arrow; None when they need the strict parser."""
        import numpy as np

        numbers = np.flatnonzero(regular[first:last]) + first
        table = self._parse(found, first, last, int(numbers[0]))
        if table is None or table.num_rows != len(numbers):
            return None
        roles: dict[str, list[pa.Array]] = {}
        for role, options in self._wanted.items():
            named = [name for name in options if name in table.column_names]
            roles[role] = [_whole(table.column(name)) for name in named]
            if len(named) < len(options) and any(a.null_count for a in roles[role][-1:]):
                return None
        batch, good = batch_of(self._label, numbers + found.block.number, roles)
        self._quarantine.kept(self._label, len(batch))
        for index in numbers[~good]:
            documents += self._strict(found, int(index))
        return batch

    def _parse(self, found: _Lines, first: int, last: int, sample: int) -> pa.Table | None:
        import pyarrow as pa
        import pyarrow.json as pj

        schema = self._schema(found.line(sample))
        begin, end = int(found.starts[first]), int(found.ends[last - 1])
        content = pa.py_buffer(found.block.data).slice(begin, end - begin)
        if schema is None or not _is_utf8(content):
            return None
        try:
            return pj.read_json(
                pa.BufferReader(content),
                read_options=pj.ReadOptions(use_threads=False, block_size=end - begin + 1),
                parse_options=pj.ParseOptions(
                    explicit_schema=schema, unexpected_field_behavior="ignore"
                ),
            )
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None

    def _schema(self, line: Line) -> pa.Schema | None:
        """Return the columns to read, by what one line holds; None when Arrow cannot read it."""
        import pyarrow as pa

        values = json_row(line).values
        if values is None:
            return None
        fields: dict[str, pa.DataType] = {}
        for role, options in self._wanted.items():
            filled = False
            for name in options:
                kind = _kind(values.get(name), role)
                if kind is None and not filled:
                    return None
                if kind is None:
                    break
                filled = filled or values.get(name) is not None
                fields[name] = kind
        return pa.schema(list(fields.items()))


def _kind(value: Any, role: str) -> pa.DataType | None:
    import pyarrow as pa

    if value is None or isinstance(value, str):
        return pa.large_string()
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return pa.int64() if role == "id" and is_number else None


def _lines(block: Block) -> _Lines:
    """Find the lines of a block and what is marked in them."""
    import numpy as np

    from forgetkit.corpus.marks import marked

    ends, opening, odd = marked(block.data)
    if not block.data.endswith(b"\n"):
        ends = np.append(ends, len(block.data))
    return _Lines(block, np.concatenate([[0], ends[:-1] + 1]), ends, opening, odd)


def _sort_lines(found: _Lines) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Say which lines begin and end like an object, and which must be read alone."""
    import numpy as np

    view = np.frombuffer(found.block.data, np.uint8)
    starts, ends = found.starts, found.ends
    last = np.maximum(ends - 1, 0)
    last = np.maximum(last - (view[last] == ord("\r")), 0)
    regular = (ends > starts) & (view[np.minimum(starts, len(view) - 1)] == ord("{"))
    regular &= view[last] == ord("}")
    alone = ends - starts > lines.MAX_LINE
    alone[_suspects(found)] = True
    for index in np.flatnonzero(~regular):
        content = found.block.data[int(starts[index]) : int(ends[index])].strip(b" \t\r")
        regular[index] = content[:1] == b"{" and content[-1:] == b"}"
        alone[index] |= bool(content) and not regular[index]
    return regular & ~alone, alone


def _suspects(found: _Lines) -> list[int]:
    """Return the lines that Arrow takes and the strict parser may not."""
    import numpy as np

    data = found.block.data
    places = [
        at
        for at in found.odd.tolist()
        if _ODD.match(data, at) or _ODD.match(data, max(0, at - _BEFORE))
    ]
    if _LONG_SAMPLE.search(data[::_STRIDE]):
        places += [match.start() for match in _LONG_NUMBER.finditer(data)]
    suspects = {int(np.searchsorted(found.ends, place)) for place in places}
    suspects |= {index for index in _bracketed(found) if _is_deep(found.line(index))}
    return sorted(suspects)


def _bracketed(found: _Lines) -> list[int]:
    """Return the lines with so many opening brackets that they could nest too deep."""
    import numpy as np

    if len(found.opening) <= MAX_DEPTH:
        return []
    counts = np.diff(np.searchsorted(found.opening, found.ends), prepend=0)
    return [int(index) for index in np.flatnonzero(counts > MAX_DEPTH)]


def _is_deep(line: Line) -> bool:
    return depth(line.content) > MAX_DEPTH


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column of one chunk as it is; joining would copy it."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _stretches(alone: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the stretches [first, last) between lines that stand alone."""
    import numpy as np

    bounds = np.concatenate([[-1], np.flatnonzero(alone), [len(alone)]])
    return [(int(first) + 1, int(last)) for first, last in pairwise(bounds) if last - first > 1]


def _is_utf8(content: pa.Buffer) -> bool:
    import pyarrow as pa

    bounds = pa.array([0, content.size], pa.int64()).buffers()[1]
    try:
        pa.LargeStringArray.from_buffers(1, bounds, content).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
