"""Two texts side by side, word against word, with a mark for what differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from forgetkit.match.fold import folded_text

Mark = Literal["=", "~", "|", "<", ">"]
MOST_WORDS = 4000
"""Words of each text that are compared: the alignment's cost grows with their product."""


@dataclass(frozen=True)
class Line:
    """One line of two columns.

    Attributes:
        mark: `=` equal, `~` equal letters and digits, `|` changed, `<` only in the first text,
            `>` only in the second.
        here: words of the first text.
        there: words of the second.
    """

    mark: Mark
    here: str
    there: str


def side_by_side(here: str, there: str, width: int = 36) -> list[Line]:
    """Align two texts word by word.

    Args:
        here: the first text; of its words and the other's the first 4,000 are shown.
        there: the second.
        width: characters a column; a longer word has a line for itself.

    >>> [(line.mark, line.here, line.there) for line in side_by_side("One two.", "One, 2.")]
    [('~', 'One', 'One,'), ('|', 'two.', '2.')]
    """
    words, others = here.split()[:MOST_WORDS], there.split()[:MOST_WORDS]
    keys, other_keys = _keys(words), _keys(others)
    lines: list[Line] = []
    matcher = SequenceMatcher(None, keys, other_keys, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            lines += _equal(words[a:b], others[c:d], width)
        else:
            lines += _different(words[a:b], others[c:d], width)
    return lines


def _keys(words: Sequence[str]) -> list[str]:
    return [folded_text(word) or word for word in words]


def _equal(words: Sequence[str], others: Sequence[str], width: int) -> Iterator[Line]:
    begin = 0
    for end in range(1, len(words) + 1):
        longest = max(len(" ".join(side[begin : end + 1])) for side in (words, others))
        if end == len(words) or longest > width:
            here, there = " ".join(words[begin:end]), " ".join(others[begin:end])
            yield Line("=" if here == there else "~", here, there)
            begin = end


def _different(words: Sequence[str], others: Sequence[str], width: int) -> Iterator[Line]:
    left, right = _filled(words, width), _filled(others, width)
    for number in range(max(len(left), len(right))):
        here = left[number] if number < len(left) else ""
        there = right[number] if number < len(right) else ""
        yield Line("|" if here and there else "<" if here else ">", here, there)


def _filled(words: Sequence[str], width: int) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines
