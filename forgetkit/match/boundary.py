"""Boundaries: whole words, shared punctuation, and whether a span is a quotation."""

from __future__ import annotations

import re

from forgetkit.match.fold import folded_text

WINDOW = 64
_SENTENCE_ENDS = ".!?…。！？।"
_SAME_WORD = 0.75
_CHANCE = 20  # characters behind a paragraph break that chance may match
_MOST_WORDS = 3
_LONG_END = 8
_MOVES = (0, 1, -1, 2, -2, 3, -3, 4, -4)  # the nearest first
_LONG_WORD = 5  # letters from which a word may differ a little, or be cut
_OPENING, _CLOSING = "“„«‹", "”»›"
_WORD = re.compile(r"[^\W_]+")  # as str.isalnum
_PARAGRAPH = re.compile(r"\n[ \t>]*\n")


def settle_end(text: str, end: int, work: str, work_end: int) -> tuple[int, int]:
    """Move the end of a match to whole words that agree, then over the sentence's end mark."""
    moved, work_moved = _settle(
        text[max(0, end - WINDOW) : end],
        text[end : end + WINDOW],
        work[max(0, work_end - WINDOW) : work_end],
        work[work_end : work_end + WINDOW],
    )
    end, work_end = end + moved, work_end + work_moved
    marks = _shared_marks(text[end : end + 4], work[work_end : work_end + 4])
    return end + marks, work_end + marks


def settle_start(text: str, start: int, work: str, work_start: int) -> tuple[int, int]:
    """Move the start of a match to whole words that agree."""
    moved, work_moved = _settle(
        text[start : start + WINDOW][::-1],
        text[max(0, start - WINDOW) : start][::-1],
        work[work_start : work_start + WINDOW][::-1],
        work[max(0, work_start - WINDOW) : work_start][::-1],
    )
    return start - moved, work_start - work_moved


def _settle(inside: str, outside: str, work_inside: str, work_outside: str) -> tuple[int, int]:
    """Return how far to move outwards (negative: inwards) in both texts.

    The last word stays when both texts have it whole, or much alike. A chance agreement of a few
    letters behind the copy goes, and so does a word or two behind a paragraph break, unless the
    last eight letters agree, or three quarters of eight and more.
    """
    cut = _behind_break(inside)
    if cut and _is_no_chance(inside, cut, work_inside):
        cut = 0
    work_cut = _level(inside, cut, work_inside)
    backwards, work_backwards = inside[::-1], work_inside[::-1]
    for _ in range(_MOST_WORDS):
        tail = _letters(outside) if cut == 0 else ""
        work_tail = _letters(work_outside) if cut == 0 else ""
        head = _letters(backwards[cut:])[::-1]
        work_head = _letters(work_backwards[work_cut:])[::-1]
        if _agree(head + tail, work_head + work_tail):
            return len(tail) - cut, len(work_tail) - work_cut
        cut_word = not (tail and work_tail) and len(head) >= _LONG_WORD and _same(head, work_head)
        whole = not tail and not work_tail
        if cut_word or (whole and _same_end(inside, cut, work_inside, work_cut)):
            return -cut, -work_cut
        cut += _word_back(backwards[cut:], len(head))
        work_cut = _level(inside, cut, work_inside)
    return -cut, -work_cut


def _behind_break(inside: str) -> int:
    """Return the characters behind a paragraph break when they are too few to be a copy."""
    breaks = list(_PARAGRAPH.finditer(inside)) if inside.count("\n") > 1 else []
    if not breaks or len(inside) - breaks[-1].end() > _CHANCE:
        return 0
    kept = breaks[-1].start()
    while kept and not inside[kept - 1].isalnum():
        kept -= 1
    return len(inside) - kept


def _level(inside: str, cut: int, work_inside: str) -> int:
    """Return how many characters of the work stand against the last `cut`.

    They hold as many letters, or up to four more or less where what stands before agrees better.
    """
    symbols = _symbols(inside, cut)
    if not symbols:
        return _back(work_inside, 0)
    kept = folded_text(inside[: len(inside) - cut])[-2 * _LONG_END :]
    work = folded_text(work_inside)
    moves = [move for move in _MOVES if 0 <= symbols + move <= len(work)]
    agreed = {move: _shared_end(kept, work[: len(work) - symbols - move]) for move in moves}
    return _back(work_inside, symbols + max(moves, key=lambda move: agreed[move], default=0))


def _shared_end(a: str, b: str) -> int:
    """Return how many characters two texts have in common at their ends."""
    shared = 0
    for x, y in zip(reversed(a), reversed(b), strict=False):
        if x != y:
            break
        shared += 1
    return shared


def _symbols(inside: str, cut: int) -> int:
    return sum(character.isalnum() for character in inside[len(inside) - cut :])


def _back(inside: str, symbols: int) -> int:
    """Return how many characters hold the last so many symbols, up to the letter before them."""
    at = len(inside)
    while at and (symbols or not inside[at - 1].isalnum()):
        at -= 1
        symbols -= inside[at].isalnum()
    return len(inside) - at


def _same_end(inside: str, cut: int, work_inside: str, work_cut: int) -> bool:
    """Say whether the last symbols agree, even where a space was lost or added."""
    last = folded_text(inside[: len(inside) - cut])[-_LONG_END:]
    return (
        len(last) == _LONG_END
        and last == folded_text(work_inside[: len(work_inside) - work_cut])[-_LONG_END:]
    )


def _is_no_chance(inside: str, cut: int, work_inside: str) -> bool:
    """Say whether what stands behind a paragraph break is of the copy.

    The work has it behind a break too, or the last letters agree.
    """
    work_cut = _behind_break(work_inside)
    same = work_cut and _same(inside[-cut:], work_inside[-work_cut:])
    alike = _same_end(inside, 0, work_inside, 0) or _alike_behind(inside, cut, work_inside)
    return bool(same or alike)


def _alike_behind(inside: str, cut: int, work_inside: str) -> bool:
    """Say whether what stands behind a paragraph break is no chance, though a letter differs."""
    last = folded_text(inside[len(inside) - cut :])
    return (
        len(last) >= _LONG_END
        and _likeness(last, folded_text(work_inside)[-len(last) :]) >= _SAME_WORD
    )


def _same(word: str, work_word: str) -> bool:
    return word == work_word or folded_text(word) == folded_text(work_word)


def _agree(word: str, work_word: str) -> bool:
    if _same(word, work_word):
        return True
    shortest, longest = sorted((word.casefold(), work_word.casefold()), key=len)
    if len(shortest) < _LONG_WORD or longest.startswith(shortest) or longest.endswith(shortest):
        return False
    return _likeness(word, work_word) >= _SAME_WORD


def _word_back(backwards: str, word: int) -> int:
    """Return the length of a word and of what separates it from the word before."""
    step = word
    while step < len(backwards) and not backwards[step].isalnum():
        step += 1
    return step


def _letters(text: str) -> str:
    """Return the word characters that a text begins with."""
    found = _WORD.match(text)
    return found[0] if found else ""


def _likeness(a: str, b: str) -> float:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, a.casefold(), b.casefold(), autojunk=False).ratio()


def words_agree(text: str, work: str) -> float:
    """Return the share of words that two texts have in common, in this order, in [0, 1]."""
    from difflib import SequenceMatcher

    a, b = ([folded_text(word) for word in _WORD.findall(t)] for t in (text, work))
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / max(1, len(a), len(b))


def _shared_marks(a: str, b: str) -> int:
    """Return how many sentence marks both texts begin with."""
    shared = 0
    for x, y in zip(a, b, strict=False):
        if x != y or x not in _SENTENCE_ENDS:
            break
        shared += 1
    return shared


def is_quoted(before: str, span: str, behind: str) -> bool:
    """Say whether a span stands inside quotation marks or a block quotation.

    The marks are looked for outside the span, in its own paragraph; a span of several
    paragraphs counts only as a block quotation (each line behind `>`).

    >>> is_quoted('She wrote “', 'call me soon', '” to him.')
    True
    """
    line = before[before.rfind("\n") + 1 :] + span[:1]
    if line.lstrip().startswith(">"):
        return True
    if span.count("\n") > 1 and _PARAGRAPH.search(span):
        return False
    before = _PARAGRAPH.split(before[-2000:])[-1]
    behind = _PARAGRAPH.split(behind[:2000])[0]
    opened = max(before.rfind(mark) for mark in _OPENING)
    closed = max(before.rfind(mark) for mark in _CLOSING)
    if opened > closed and any(mark in behind for mark in _CLOSING):
        return True
    if before.count('"') % 2 == 1 and '"' in behind:
        return True
    return span[:1] in (*_OPENING, '"') and span[-1:] in (*_CLOSING, '"')
