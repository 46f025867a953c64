"""Windows of whole sentences over a column of texts: the cut of `detector.windows`, compiled.

A sentence ends after `. ! ? …`, closing quotes and white space, after `。！？`, or at a blank line.
A window takes whole sentences up to a length; a longer sentence is cut. Nothing is copied: a
window is a piece of the column's UTF-8 buffer with its place in code points.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled, inlined

if TYPE_CHECKING:
    import pyarrow as pa

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

_PLAIN, _SPACE, _NEWLINE, _STOP, _CLOSING, _FULL = 0, 1, 2, 3, 4, 5
_BLANK, _TAB = 32, 9
_TABLED = 0x10000
_FIELDS = 5  # row, first byte, end byte, first code point, end code point


@dataclass(frozen=True)
class Cuts:
    """Windows of a column, in order.

    Attributes:
        data: the column's UTF-8 buffer.
        row: row in the column, (n,).
        first: first byte in the buffer, (n,).
        last: one past the last byte, (n,).
        start: first code point in the row's text, (n,).
        end: one past the last code point, (n,).
    """

    data: Bytes
    row: Places
    first: Places
    last: Places
    start: Places
    end: Places

    def __len__(self) -> int:
        return len(self.row)

    def text(self, window: int) -> str:
        """Return the text of one window."""
        piece = self.data[self.first[window] : self.last[window]]
        return piece.tobytes().decode("utf-8", "replace")

    def only(self, chosen: npt.NDArray[Any]) -> Cuts:
        """Return some of the windows, by a mask or by numbers."""
        parts = (self.row, self.first, self.last, self.start, self.end)
        return Cuts(self.data, *(part[chosen] for part in parts))

    def without(self, taken: Iterable[tuple[int, int, int]], least: int) -> Cuts:
        """Return what some passages leave of the windows; one may fall into several.

        Args:
            taken: row, first code point and the one past the last of each passage.
            least: shorter pieces are left out, in code points.
        """
        pieces: dict[int, list[tuple[int, int]]] = {}
        for row, start, end in taken:
            low, high = np.searchsorted(self.row, [row, row + 1])
            low, high = low + np.searchsorted(self.end[low:high], start, "right"), high
            for window in range(low, low + int(np.searchsorted(self.start[low:high], end))):
                whole_ = (int(self.start[window]), int(self.end[window]))
                pieces[window] = [
                    piece
                    for first, last in pieces.get(window, [whole_])
                    for piece in ((first, min(last, start)), (max(first, end), last))
                    if piece[1] > piece[0]
                ]
        if not pieces:
            return self
        is_whole = np.ones(len(self), bool)
        is_whole[list(pieces)] = False
        made = [
            self._piece(window, *stripped)
            for window, left in pieces.items()
            for piece in left
            if (stripped := self._stripped(window, *piece))[1] - stripped[0] >= least
        ]
        parts = np.array([self.row, self.first, self.last, self.start, self.end])[:, is_whole]
        parts = np.concatenate([parts, np.array(made, np.int64).reshape(-1, _FIELDS).T], axis=1)
        return Cuts(self.data, *parts[:, np.lexsort((parts[3], parts[0]))])

    def _stripped(self, window: int, start: int, end: int) -> tuple[int, int]:
        """Return the bounds of part of a window without the white space around it."""
        text = self.text(window)[start - self.start[window] : end - self.start[window]]
        start += len(text) - len(text.lstrip())
        return start, start + len(text.strip())

    def _piece(self, window: int, start: int, end: int) -> tuple[int, int, int, int, int]:
        text, origin = self.text(window), self.start[window]
        first = int(self.first[window]) + len(text[: start - origin].encode("utf-8"))
        last = first + len(text[start - origin : end - origin].encode("utf-8"))
        return int(self.row[window]), first, last, start, end


def column_buffers(column: pa.LargeStringArray) -> tuple[Bytes, Places, Places]:
    """Return a column's UTF-8 and, by row, first byte and end byte; a null row is empty."""
    _, offsets, data = column.buffers()
    places = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    first, last = places[:-1], places[1:]
    if column.null_count:
        last = np.where(np.asarray(column.is_valid()), last, first)
    return np.frombuffer(data or b"\0", np.uint8), first, last


def cut(column: pa.LargeStringArray, length: int, least: int = 1) -> Cuts:
    """Cut each text of a column into windows of whole sentences.

    Args:
        column: texts; null rows have no windows.
        length: code points that a window holds at most.
        least: shorter windows are left out, in code points.
    """
    data, first, last = column_buffers(column)
    total = int((last - first).sum())
    room = 2 * total // length + 2 * len(first) + 2
    found = np.empty((_FIELDS, room), np.int64)
    filled = _windows(data, first, last, _classes(), length, least, found)
    return Cuts(data, *(found[field, :filled].copy() for field in range(_FIELDS)))


def whole(column: pa.LargeStringArray) -> Cuts:
    """Return each text that is not empty as one window."""
    data, first, last = column_buffers(column)
    row = np.flatnonzero(last > first)
    ends = np.empty(len(row), np.int64)
    _lengths(data, first[row], last[row], ends)
    return Cuts(data, row, first[row], last[row], np.zeros(len(row), np.int64), ends)


@lru_cache(maxsize=1)
def _classes() -> Bytes:
    found = np.zeros(_TABLED, np.uint8)
    for point in (*range(0x86), *range(0xA0, 0x3001)):
        if chr(point).isspace():
            found[point] = _SPACE
    for character, kind in (("\n", _NEWLINE), (".!?…", _STOP), ("\"'”’)]", _CLOSING)):
        found[[ord(c) for c in character]] = kind
    found[[ord(c) for c in "。！？"]] = _FULL
    return found


@inlined
def _size(first: int) -> int:
    """Return the bytes of a code point by its first byte."""
    return 1 + int(first >= 0xC0) + int(first >= 0xE0) + int(first >= 0xF0)


@inlined
def _point(data: Bytes, at: int, size: int) -> int:
    """Return a code point; those of four bytes are all plain here."""
    if size == 1:
        return int(data[at])
    if size == 2:
        return (int(data[at]) & 0x1F) << 6 | (int(data[at + 1]) & 0x3F)
    if size == 3:
        high = (int(data[at]) & 0x0F) << 12 | (int(data[at + 1]) & 0x3F) << 6
        return high | (int(data[at + 2]) & 0x3F)
    return 0x61


@compiled
def _lengths(data: Bytes, first: Places, last: Places, lengths: Places) -> None:
    for row in range(len(first)):
        count = 0
        for at in range(first[row], last[row]):
            count += int((data[at] & 0xC0) != 0x80)
        lengths[row] = count


@compiled
def _emit(open_: Places, row: int, least: int, found: Places, filled: int) -> int:
    """Write the open window, if there is one long enough; return how many are written."""
    if open_[3] - open_[2] < max(least, 1):
        return filled
    found[0, filled] = row
    for field in range(4):
        found[field + 1, filled] = open_[field]
    return filled + 1


@compiled
def _add(
    data: Bytes,
    sentence: Places,
    length: int,
    row: int,
    least: int,
    open_: Places,
    found: Places,
    filled: int,
) -> int:
    """Put one sentence (first, last, start, end) into the open window or begin another."""
    first, start = sentence[0], sentence[2]
    while start < sentence[3]:
        end, last = min(start + length, sentence[3]), sentence[1]
        if end < sentence[3]:
            last = first
            for _ in range(end - start):
                last += _size(data[last])
        if open_[3] > open_[2] and end - open_[2] <= length:
            open_[1], open_[3] = last, end
        else:
            filled = _emit(open_, row, least, found, filled)
            open_[0], open_[1], open_[2], open_[3] = first, last, start, end
        first, start = last, end
    return filled


@compiled
def _windows(
    data: Bytes,
    firsts: Places,
    lasts: Places,
    classes: Bytes,
    length: int,
    least: int,
    found: Places,
) -> int:
    """Fill (row, first, last, start, end) of every window; return how many there are."""
    filled = 0
    open_, sentence = np.zeros(4, np.int64), np.zeros(4, np.int64)
    for row in range(len(firsts)):
        open_[:] = 0
        at, point, last = firsts[row], 0, lasts[row]
        inside = armed = blank = False
        while at < last:
            size = _size(data[at])
            if at + size > last:
                break
            code = _point(data, at, size)
            kind = classes[code]
            is_space = kind in (_SPACE, _NEWLINE)
            ends = is_space and (armed or (blank and kind == _NEWLINE))
            if ends and inside:
                filled = _add(data, sentence, length, row, least, open_, found, filled)
                inside = False
            if not is_space:
                if not inside:
                    sentence[0], sentence[2], inside = at, point, True
                sentence[1], sentence[3] = at + size, point + 1
                if kind == _FULL:
                    filled = _add(data, sentence, length, row, least, open_, found, filled)
                    inside = False
            armed = kind == _STOP or (armed and kind == _CLOSING)
            blank = kind == _NEWLINE or (blank and code in (_BLANK, _TAB))
            at += size
            point += 1
        if inside:
            filled = _add(data, sentence, length, row, least, open_, found, filled)
        filled = _emit(open_, row, least, found, filled)
    return filled
