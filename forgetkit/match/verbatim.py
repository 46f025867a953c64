"""Matches: a region's boundaries settled on whole words, its length and likeness judged."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from forgetkit.match.boundary import WINDOW, is_quoted, settle_end, settle_start, words_agree
from forgetkit.match.fold import fold_table

EditClass = Literal["verbatim", "normalised", "edited"]
SHORT = 3
"""Times the least length below which a copy must be alike to half way between `min_identity` and
1: a sentence or two of another translation reach .89, three hundred characters of it do not."""
LONG_RUN = 60
"""Symbols in a row that agree, from which a short copy may be as edited as a long one: another
translation shares 57 at most in Genesis."""
LONGER = 2
"""Times the least length from which a copy may be as edited as a long one if its words agree."""
WORDS_AGREE = 0.89
"""Share of the words that must then stand in the work too, in this order: with one in ten changed
nine in ten do; of another translation .884 do at most, in Genesis."""
PART = 0.4
"""Share of the least length from which a piece counts together with others of the same work."""
PART_IDENTITY = 0.97
"""Least share of symbols in which such a piece agrees: other translations share short stretches."""
_MARGIN = 9000  # bytes around a match in its document: what tells a quotation
_CLOSE = 4 * WINDOW  # bytes around a region that settling reads


@dataclass(frozen=True)
class Match:
    """One copied span, in code points of both original texts.

    Attributes:
        work_id: the work.
        start: first code point in the document.
        end: one past the last.
        work_start: first code point in the work.
        work_end: one past the last.
        similarity: share of symbols (letters and digits) that agree, in [0, 1].
        edit_class: verbatim (equal text), normalised (equal symbols) or edited.
        is_quote: it stands in quotation marks or a block quotation.
    """

    work_id: str
    start: int
    end: int
    work_start: int
    work_end: int
    similarity: float
    edit_class: EditClass
    is_quote: bool


@dataclass(frozen=True)
class Least:
    """What a copy must at least be.

    Attributes:
        chars: length in code points of the document.
        words: length in words; either is enough.
        identity: share of agreeing symbols, in (0, 1].
    """

    chars: int
    words: int
    identity: float

    @property
    def score(self) -> int:
        """Return what a match that stands alone must score: half the least length, unedited."""
        return min(self.chars, 2 * self.words)

    @property
    def part(self) -> int:
        """Return the least length of a piece that counts together with others beside it."""
        return int(PART * min(self.chars, 2 * self.words))

    def allows(self, piece: str, work_piece: str, likeness: float, run: int) -> bool:
        """Say whether a piece is alike enough, and long enough to count with others beside it."""
        if not self.is_long(piece):
            return len(piece) >= self.part and likeness >= PART_IDENTITY
        sure = run >= LONG_RUN or len(piece) >= SHORT * self.chars
        if sure or likeness >= (1.0 + self.identity) / 2:
            return True
        return len(piece) >= LONGER * self.chars and words_agree(piece, work_piece) >= WORDS_AGREE

    def is_long(self, piece: str) -> bool:
        """Say whether a piece is long enough by itself."""
        return len(piece) >= self.chars or len(piece.split()) >= self.words


@dataclass(frozen=True)
class Piece:
    """A part of a text around a region, as a string.

    Attributes:
        text: the part.
        start: where the region begins in it.
        end: one past its last.
        first: code point of the whole text at which the part begins.
    """

    text: str
    start: int
    end: int
    first: int


def piece_of(data: memoryview, bounds: tuple[int, int], place: tuple[int, int, int]) -> Piece:
    """Decode a region and what stands close to it.

    Args:
        data: UTF-8.
        bounds: first byte of the text and one past its last.
        place: first byte of the region, one past its last, code point of the first.
    """
    start, end, point = place
    before = decoded_text(data, max(bounds[0], start - _CLOSE), start)
    inside = decoded_text(data, start, end)
    behind = decoded_text(data, end, min(bounds[1], end + _CLOSE))
    return Piece(
        before + inside + behind, len(before), len(before) + len(inside), point - len(before)
    )


def decoded_text(data: memoryview, begin: int, end: int) -> str:
    """Decode bytes; a character cut at either side is left out."""
    while begin < end and data[begin] & 0xC0 == 0x80:
        begin += 1
    raw = data[begin:end].tobytes()
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        return raw[: error.start].decode("utf-8", "surrogatepass")


def match_of(
    data: memoryview,
    bounds: tuple[int, int],
    names: Sequence[str],
    works: memoryview,
    work_bounds: tuple[int, int],
    place: Sequence[int],
    likeness: float,
    least: Least,
) -> tuple[Match, bool] | None:
    """Return a located region as a match, and whether it is long enough by itself.

    None when it is too short even beside others, or too little alike.
    """
    _, work, start, end, point, work_start, work_end, work_point, run, _ = place
    here = piece_of(data, bounds, (start, end, point))
    there = piece_of(works, work_bounds, (work_start, work_end, work_point))
    (first, last), (work_first, work_last) = _settled(here, there)
    text, work_text = here.text[first:last], there.text[work_first:work_last]
    same, edit_class = _compared(text, work_text)
    if likeness == 1.0 and not same:  # a whole word at the end of one text is a part in the other
        first, last, work_first, work_last = here.start, here.end, there.start, there.end
        text, work_text = here.text[first:last], there.text[work_first:work_last]
        same, edit_class = _compared(text, work_text)
    if not text or not work_text or not least.allows(text, work_text, likeness, run):
        return None
    match = Match(
        work_id=names[work],
        start=here.first + first,
        end=here.first + last,
        work_start=there.first + work_first,
        work_end=there.first + work_last,
        similarity=1.0 if same else min(0.9999, round(likeness, 4)),
        edit_class=edit_class,
        is_quote=_is_quote(data, bounds, (start, end), here, first, last),
    )
    return match, least.is_long(text)


def _is_quote(
    data: memoryview,
    bounds: tuple[int, int],
    place: tuple[int, int],
    here: Piece,
    first: int,
    last: int,
) -> bool:
    """Say whether the match that a region, bytes `place`, was settled to is a quotation."""
    start = place[0] + _bytes_between(here.text, here.start, first)
    end = place[1] + _bytes_between(here.text, here.end, last)
    before = decoded_text(data, max(bounds[0], start - _MARGIN), start)
    behind = decoded_text(data, end, min(bounds[1], end + _MARGIN))
    return is_quoted(before, here.text[first:last], behind)


def _bytes_between(text: str, one: int, other: int) -> int:
    """Return how many bytes of UTF-8 lie from one code point to the other, negative backwards."""
    between = len(text[min(one, other) : max(one, other)].encode("utf-8", "surrogatepass"))
    return between if other >= one else -between


def _settled(here: Piece, there: Piece) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return start and end of a match in both pieces, moved to whole words that agree."""
    first, work_first = settle_start(here.text, here.start, there.text, there.start)
    last, work_last = settle_end(here.text, here.end, there.text, there.end)
    return (first, last), (work_first, work_last)


def _compared(text: str, work_text: str) -> tuple[bool, EditClass]:
    """Say whether two texts have the same symbols, and how the copy is edited."""
    if text == work_text:
        return True, "verbatim"
    if _symbols(text) == _symbols(work_text):
        return True, "normalised"
    return False, "edited"


def _symbols(text: str) -> bytes:
    from forgetkit.match.kernels import folded_bytes

    return text.encode("ascii").translate(*_ascii()) if text.isascii() else folded_bytes(text)


@functools.cache
def _ascii() -> tuple[bytes, bytes]:
    """Return what each byte of ASCII folds to, and those that are dropped."""
    symbols = bytes(fold_table().ascii) + bytes(range(128, 256))
    return symbols, bytes(byte for byte in range(128) if not symbols[byte])
