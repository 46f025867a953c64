"""Alignment: two texts side by side as far as it pays, and the edits between them.

Greedy alignment over diagonals (Zhang, Schwartz, Wagner & Miller 2000): the cost grows with the
edits, not with the length, so a clean copy of a book costs no more than comparing it.
"""

from __future__ import annotations

import numpy as np

from forgetkit.compiled import compiled
from forgetkit.match.kernels import Bytes, Int, Places
from forgetkit.match.loads import load_word

# The score of an alignment is the symbols it covers in both texts less 5 an edit: +2 a symbol
# that agrees, -3 one that is changed, -4 one that is added or lost.
EDIT = 5
DROP = 80  # below the best score an end is given up: 16 changed symbols and more
BAND = 40  # diagonals to either side
LEAST_RUN = 3  # equal symbols that an extension ends on: fewer agree by chance
REACH = 240  # symbols beyond an end that are searched for a short seed
SHORT_SEED = 10
GAIN = 48  # score that what a short seed finds must add: 24 symbols
NEAR_GAIN = 18  # the same close by, where a word or two were changed: 9 symbols
MAX_GAP = 160  # symbols between two matches of one chain
DRIFT = 16  # plus a quarter of the gap: how far the diagonal may move
_FAR = -(1 << 40)
_SEAT_BITS = 10


@compiled
def slide(a: Bytes, at: Int, to: Int, b: Bytes, bt: Int, bo: Int, step: Int) -> Int:
    """Return how many symbols agree from `a[at]` and `b[bt]` on, in steps of 1 or -1."""
    most = min((to - at) * step, (bo - bt) * step)
    same = 0
    while same < most and a[np.uint64(at + step * same)] == b[np.uint64(bt + step * same)]:
        same += 1
    return same


@compiled
def extend(
    a: Bytes, at: Int, to: Int, b: Bytes, bt: Int, bo: Int, step: Int, drop: Int = DROP
) -> tuple[Int, Int, Int, Int]:
    """Align `a[at:to]` with `b[bt:bo]` from their beginnings, as far as it pays.

    With `step` -1 the texts are read backwards, and `to` and `bo` are one before their first.
    An end is given up where every score is `drop` below the best.

    Returns:
        Symbols of a, symbols of b, edits among them, and the score, at the best end.
    """
    width = 2 * BAND + 3
    now, then = np.full(width, _FAR), np.full(width, _FAR)
    i = slide(a, at, to, b, bt, bo, step)
    best, best_i, best_j, best_edits = 2 * i, i, i, 0
    highest = 2 * i
    then[BAND + 1] = i
    edits = 0
    long_a, long_b = (to - at) * step, (bo - bt) * step
    low, high = BAND + 1, BAND + 1
    while low <= high:
        edits += 1
        low, high = max(1, low - 1), min(width - 2, high + 1)
        new_low, new_high = width, 0
        for line in range(low, high + 1):
            i = max(then[line] + 1, then[line - 1] + 1, then[line + 1])
            j = i - line + BAND + 1
            now[line] = _FAR
            if i < 0 or j < 0 or i > long_a or j > long_b:
                continue
            run = slide(a, at + step * i, to, b, bt + step * j, bo, step)
            i, j = i + run, j + run
            score = i + j - EDIT * edits
            if score < highest - drop:
                continue
            now[line] = i
            new_low, new_high = min(new_low, line), max(new_high, line)
            highest = max(highest, score)
            if score > best and run >= LEAST_RUN:
                best, best_i, best_j, best_edits = score, i, j, edits
        for line in range(max(0, low - 1), min(width, high + 2)):
            then[line] = now[line] if low <= line <= high else _FAR
        low, high = new_low, new_high
    return best_i, best_j, best_edits, best


@compiled
def edit_distance(a: Bytes, at: Int, to: Int, b: Bytes, bt: Int, bo: Int) -> Int:
    """Return Levenshtein's distance of `a[at:to]` and `b[bt:bo]` (Ukkonen 1985)."""
    long_a, long_b = to - at, bo - bt
    if long_a <= 0 or long_b <= 0:
        return max(long_a, 0) + max(long_b, 0)
    most = max(long_a, long_b)
    middle = most + 1
    now, then = np.full(2 * most + 3, _FAR), np.full(2 * most + 3, _FAR)
    goal = middle + long_a - long_b
    then[middle] = slide(a, at, to, b, bt, bo, 1)
    edits = 0
    while then[goal] < long_a and edits < most:
        edits += 1
        for line in range(middle - edits, middle + edits + 1):
            i = max(then[line] + 1, then[line - 1] + 1, then[line + 1])
            i = min(i, long_a, long_b + line - middle)
            j = i - line + middle
            if i < 0 or j < 0:
                now[line] = _FAR
                continue
            now[line] = i + slide(a, at + i, to, b, bt + j, bo, 1)
        then[middle - edits : middle + edits + 1] = now[middle - edits : middle + edits + 1]
    return edits


@compiled
def reseed(a: Bytes, at: Int, to: Int, b: Bytes, bt: Int, bo: Int, step: Int) -> tuple[Int, Int]:
    """Return the gap to the nearest stretch that goes on near this diagonal; -1, -1 for none."""
    long_a = min((to - at) * step, REACH) - SHORT_SEED + 1
    long_b = min((bo - bt) * step, REACH) - SHORT_SEED + 1
    if long_a <= 0 or long_b <= 0:
        return -1, -1
    last = np.full(1 << _SEAT_BITS, -1, np.int64)
    before = np.full(REACH, -1, np.int64)
    for j in range(long_b):
        seat = seat_of(b, bt + step * j, step)
        before[j] = last[seat]
        last[seat] = j
    for i in range(min(long_a, MAX_GAP + 1)):
        j = last[seat_of(a, at + step * i, step)]
        while j >= 0:
            gap = max(i, j)
            if gap <= MAX_GAP and abs(i - j) <= DRIFT + gap // 4:
                new = i == 0 or j == 0 or a[at + step * (i - 1)] != b[bt + step * (j - 1)]
                if new and slide(a, at + step * i, to, b, bt + step * j, bo, step) >= SHORT_SEED:
                    score = extend(a, at + step * i, to, b, bt + step * j, bo, step)[3]
                    if score >= min(GAIN + gap // 4, NEAR_GAIN + gap // 2):
                        return i, j
            j = before[j]
    return -1, -1


@compiled
def seat_of(a: Bytes, at: Int, step: Int) -> Int:
    """Return a small hash of the first eight symbols of a short seed."""
    eight = load_word(a, at if step > 0 else at - 7)
    return np.int64((eight * np.uint64(0xD6E8FEB86659FD93)) >> np.uint64(64 - _SEAT_BITS))


@compiled
def grow(
    a: Bytes, at: Int, to: Int, b: Bytes, bt: Int, bo: Int, step: Int, jump: bool
) -> tuple[Int, Int, Int]:
    """Extend from an end; jump over heavily edited stretches when it pays.

    Returns:
        Symbols of a, symbols of b, and the edits among them.
    """
    i, j, edits, _ = extend(a, at, to, b, bt, bo, step)
    while jump:
        here, there = at + step * i, bt + step * j
        gap, work_gap = reseed(a, here, to, b, there, bo, step)
        if gap < 0:
            break
        edits += gap_edits(a, here, gap, b, there, work_gap, step)
        here, there = here + step * gap, there + step * work_gap
        more, work_more, more_edits, _ = extend(a, here, to, b, there, bo, step)
        i, j, edits = i + gap + more, j + work_gap + work_more, edits + more_edits
    return i, j, edits


@compiled
def gap_edits(a: Bytes, at: Int, gap: Int, b: Bytes, bt: Int, work_gap: Int, step: Int) -> Int:
    """Return the edits between two stretches that begin at `at` and `bt`, read in `step`s."""
    if step > 0:
        return edit_distance(a, at, at + gap, b, bt, bt + work_gap)
    return edit_distance(a, at - gap + 1, at + 1, b, bt - work_gap + 1, bt + 1)


@compiled
def link(m: Places, n: Places) -> float:
    """Return what match n adds behind match m in a chain; 0 when it cannot follow.

    Both texts move on by at most 160 symbols and the diagonal by at most 16 plus a quarter of the
    gap; or by more where one text hardly moves on at all: something was left out, or put in.

    Args:
        m: `(4,)` row, first symbol in the text, first symbol in the works, length.
        n: the same of the later match.
    """
    gap_here, gap_there = n[1] - m[1] - m[3], n[2] - m[2] - m[3]
    overlap = max(0, -gap_here, -gap_there)
    gap = max(gap_here, gap_there)
    drift = abs(gap_here - gap_there)
    if gap > MAX_GAP or overlap >= n[3] or n[1] <= m[1] or n[2] <= m[2]:
        return 0.0
    one_sided = min(gap_here, gap_there) <= DRIFT
    if drift > DRIFT + max(gap, 0) / 4 and not one_sided:
        return 0.0
    return float(max(0.0, n[3] - overlap - 0.1 * drift))
