"""One pass over the bytes of a block: where its lines end, and what a parser must be told of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled, inlined

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

_CHUNK = 64
"""Bytes that are looked at together; the compiler turns them into one or two vectors."""


def marked(data: bytes) -> tuple[Places, Places, Places]:
    """Return where lines end, where brackets open, and where an odd value may begin.

    Args:
        data: JSON lines.

    Returns:
        Places of LF; places of ``{`` and ``[``; places of NUL and of ``Na``, ``In`` and ``u0``,
        with which NaN, Infinity and an escaped NUL begin. All ascending.
    """
    view = np.frombuffer(data, np.uint8)
    room = 1024 + len(view) // 256
    while True:
        found = np.empty(room, np.int64)
        count = _marks(view, found)
        if count <= room:
            break
        room = count
    found = found[:count]
    at = view[found]
    is_end, is_open = at == ord("\n"), (at & 0xDF) == ord("[")
    return found[is_end], found[is_open], found[~(is_end | is_open)]


@inlined
def _is_mark(byte: np.uint8, following: np.uint8) -> np.uint8:
    """Return 1 for a mark, without a branch."""
    return np.uint8(
        (byte == 10)
        | (byte == 0)
        | ((byte & 0xDF) == 0x5B)
        | ((byte == 0x4E) & (following == 0x61))
        | ((byte == 0x49) & (following == 0x6E))
        | ((byte == 0x75) & (following == 0x30))
    )


@compiled
def _marks(view: Bytes, found: Places) -> int:
    """Fill the places of all marks as far as there is room; return how many there are."""
    count, last = 0, len(view) - 1
    whole = max(last, 0) // _CHUNK * _CHUNK
    for start in range(0, whole, _CHUNK):
        any_mark = np.uint8(0)
        for at in range(start, start + _CHUNK):
            any_mark |= _is_mark(view[at], view[at + 1])
        if any_mark:
            for at in range(start, start + _CHUNK):
                if _is_mark(view[at], view[at + 1]):
                    if count < len(found):
                        found[count] = at
                    count += 1
    for at in range(whole, len(view)):
        if _is_mark(view[at], view[at + 1] if at < last else np.uint8(0)):
            if count < len(found):
                found[count] = at
            count += 1
    return count
