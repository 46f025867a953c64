"""From exact matches to regions with bytes and code points on both sides, document by document."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled
from forgetkit.match.boundary import WINDOW
from forgetkit.match.build import Arrays, located
from forgetkit.match.chain import regions, similarity
from forgetkit.match.kernels import (
    GROWTH,
    Bytes,
    Int,
    Places,
    Rules,
    decoded,
    fold_with_places,
    points_between,
)
from forgetkit.match.policy import CLOSE, TOGETHER

ROW, WORK, START, END, POINT, WORK_START, WORK_END, WORK_POINT, RUN, MOST = range(10)
"""Columns of a located region: row; work; first byte in `data`, one past the last, code point of
the first in the text; the same in the works; symbols of the longest exact match; code points that
it has at most once it is settled on whole words."""
COLUMNS = 10
_SETTLED = 4 * (WINDOW + 4)  # bytes by which settling moves an end at most
_APART = 4 * CLOSE + 2 * _SETTLED  # bytes between regions that count together, at most


class Regions(NamedTuple):
    """Regions of many texts.

    Attributes:
        places: `(n, 10)`, see `ROW` and the names beside it.
        likeness: `(n,)` share of symbols that agree.
    """

    places: Places
    likeness: npt.NDArray[np.float64]


def in_order(found: Places, symbol_starts: Places) -> tuple[Places, Places]:
    """Sort matches by row, work and place; return them and where each group begins.

    Returns:
        `(n, 4)` matches and `(groups + 1, 2)`: first match, work.
    """
    work = np.searchsorted(symbol_starts, found[:, 2], side="right") - 1
    order = np.lexsort((found[:, 2], found[:, 1], work, found[:, 0]))
    found, work = found[order], work[order]
    fresh = np.ones(len(found), np.bool_)
    fresh[1:] = (work[1:] != work[:-1]) | (found[1:, 0] != found[:-1, 0])
    first = np.flatnonzero(fresh)
    groups = np.empty((len(first) + 1, 2), np.int64)
    groups[:-1, 0], groups[:-1, 1] = first, work[first]
    groups[-1] = len(found), -1
    return found, groups


@compiled
def located_regions(
    data: Bytes,
    offsets: Places,
    rules: Rules,
    arrays: Arrays,
    found: Places,
    groups: Places,
    least: float,
) -> Regions:
    """Align the matches of each text with each work, and say where the regions are.

    Args:
        data: UTF-8 of all texts.
        offsets: where each text begins in `data`.
        rules: folding rules.
        arrays: the works.
        found: matches, group by group.
        groups: first match and work of each group.
        least: share of symbols that must agree.
    """
    longest: Int = 0
    for number in range(len(groups) - 1):
        row = found[groups[number, 0], 0]
        longest = max(longest, offsets[row + 1] - offsets[row])
    symbols = np.empty(GROWTH * longest + 1, np.uint8)
    places = np.empty(GROWTH * longest + 1, np.int64)
    out = np.empty((len(found), COLUMNS), np.int64)
    likeness = np.empty(len(found), np.float64)
    made, last_row = 0, -1
    count: Int = 0
    for number in range(len(groups) - 1):
        begin, work = groups[number]
        row = found[begin, 0]
        if row != last_row:
            count = fold_with_places(data, offsets[row], offsets[row + 1], rules, symbols, places)
            last_row = row
        limits = (count, arrays.symbol_starts[work], arrays.symbol_starts[work + 1] - 1)
        own = found[begin : groups[number + 1, 0]]
        for region in regions(own, symbols, arrays.symbols, limits, least):
            likeness[made] = similarity(region)
            place = out[made]
            place[ROW], place[WORK], place[RUN] = row, work, region[6]
            place_here(data, offsets[row], offsets[row + 1], rules, places, region, place)
            place_there(arrays, rules, work, region, place)
            made += 1
    return Regions(out[:made], likeness[:made])


@compiled
def place_here(
    data: Bytes, begin: Int, end: Int, rules: Rules, places: Places, region: Places, place: Places
) -> None:
    """Write a region's bytes in its text, the code point of the first, and how many at most."""
    place[START] = places[region[0]]
    last = places[region[1] - 1]
    place[END] = last + decoded(data, last, end)[0]
    place[POINT] = points_between(data, begin, place[START])
    first, last = place[START], place[END]
    while first > max(begin, place[START] - _SETTLED) and in_word(data[first - 1], rules):
        first -= 1
    while last < min(end, place[END] + _SETTLED) and in_word(data[last], rules):
        last += 1
    place[MOST] = last - first + 4  # and marks of a sentence's end


@compiled
def in_word(byte: np.uint8, rules: Rules) -> bool:
    """Say whether a byte may be of a letter or digit."""
    return bool(byte >= 128 or rules.ascii[byte] != 0)


@compiled
def place_there(arrays: Arrays, rules: Rules, work: Int, region: Places, place: Places) -> None:
    """Write the bytes of a region in the works, and the code point of the first in its work."""
    bounds = (
        arrays.text_starts[work],
        arrays.text_starts[work + 1],
        arrays.symbol_starts[work],
    )
    at, point, _ = located(arrays.text, bounds, rules, arrays.marks, region[2])
    place[WORK_START], place[WORK_POINT] = at, point
    last, _, width = located(arrays.text, bounds, rules, arrays.marks, region[3] - 1)
    place[WORK_END] = last + width


@compiled
def hopeful(places: Places, chars: Int, words: Int) -> npt.NDArray[np.bool_]:
    """Say which regions may be long enough once settled, alone or with others close by.

    Most are chance, and settling them costs more than all that was done for them before.

    Args:
        places: regions, those of one text and work together.
        chars: least length of a copy in code points; short pieces must have `TOGETHER` as much.
        words: least length in words; either is enough.
    """
    kept = np.zeros(len(places), np.bool_)
    begin = 0
    while begin < len(places):
        end = begin
        while end < len(places) and same_pair(places[begin], places[end]):
            end += 1
        order = begin + np.argsort(places[begin:end, START])
        first, total, stop, enough = 0, 0, places[order[0], END], False
        for number in range(len(order) + 1):
            last = number == len(order)
            if last or places[order[number], START] - stop > _APART:
                if enough or total >= TOGETHER * chars:
                    kept[order[first:number]] = True
                first, total, enough = number, 0, False
            if not last:
                most = places[order[number], MOST]
                enough = enough or most >= chars or most + 1 >= 2 * words
                total, stop = total + most, max(stop, places[order[number], END])
        begin = end
    return kept


@compiled
def same_pair(one: Places, other: Places) -> bool:
    """Say whether two regions are of one text and one work."""
    return bool(one[ROW] == other[ROW] and one[WORK] == other[WORK])
