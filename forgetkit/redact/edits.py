"""What happens inside one text: ranges that go, what stands there instead, readable joins."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

Edit = tuple[int, int, str]
"""First code point that goes, one past the last, and what stands there instead."""

CLOSING = frozenset(",.;:!?)]}»”’…")


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that overlap or touch.

    >>> merged([(4, 8), (0, 2), (6, 9), (9, 10)])
    [(0, 2), (4, 10)]
    """
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def masks(ranges: Iterable[tuple[int, int]], placeholder: str) -> list[Edit]:
    """Put one placeholder in place of each range."""
    return [(start, end, placeholder) for start, end in merged(ranges)]


def cuts(text: str, ranges: Iterable[tuple[int, int]]) -> list[Edit]:
    r"""Take ranges out together with the white space around them, and join what is left.

    Between two pieces stays the white space of one side: the one with more line ends, else the
    left one, and no space before a closing mark. Two words that would become one get a space.
    A text begins with no white space left of a cut, and ends with what stood at its own end.

    >>> text = "One two.\n\nGone. Three"
    >>> cuts(text, [(10, 15)])
    [(8, 16, '\n\n')]
    >>> applied("so[x]on", cuts("so[x]on", [(2, 5)]))
    'so on'
    """
    holes = merged(ranges)
    wide = merged(_widened(text, start, end) for start, end in holes)
    found: list[Edit] = []
    for begin, end in wide:
        inside = [hole for hole in holes if begin <= hole[0] and hole[1] <= end]
        left, right = text[begin : inside[0][0]], text[inside[-1][1] : end]
        found.append((begin, end, _join(text, begin, end, left, right)))
    return found


def _widened(text: str, start: int, end: int) -> tuple[int, int]:
    while start and text[start - 1].isspace():
        start -= 1
    while end < len(text) and text[end].isspace():
        end += 1
    return start, end


def _join(text: str, begin: int, end: int, left: str, right: str) -> str:
    if begin == 0:
        return ""
    if end == len(text):
        return right
    if left or right:
        space = right if right.count("\n") > left.count("\n") or not left else left
        return "" if text[end] in CLOSING and "\n" not in space else space
    return " " if _is_word(text[begin - 1]) and _is_word(text[end]) else ""


def _is_word(character: str) -> bool:
    """Say whether a letter or digit belongs to a script that puts spaces between words."""
    return character.isalnum() and unicodedata.east_asian_width(character) not in "WF"


def applied(text: str, edits: Sequence[Edit]) -> str:
    """Return a text after its edits.

    >>> applied("abcdef", [(1, 3, "-"), (4, 5, "")])
    'a-df'
    """
    return "".join(spliced(text, edits))


def spliced(pieces: Sequence[str], edits: Sequence[Edit]) -> list[str]:
    """Edit a text that is given in pieces, one for each code point, perhaps escaped."""
    kept: list[str] = []
    at = 0
    for start, end, instead in edits:
        kept += [*pieces[at:start], instead]
        at = end
    return kept + list(pieces[at:])
