"""Passages of works with words changed, moved or put in between, found by their rare words.

Alignment needs runs of equal letters; synonyms, inserted words and shuffled sentences leave few. So
the works are cut into overlapping windows of 40 words, and 24 words of a document at a time are
compared with all of them: the share of rare words' weight (log N / df, Spärck Jones 1972) that one
window holds. Around the windows that hold most, each word counts for or against the passage by its
weight, twice as much inside a pair that the work has too, and the heaviest run of words is the span
(Kadane). Order inside the passage plays no other part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetkit.classify.scan import code_point
from forgetkit.classify.symbols import DROPPED, MARK, SYMBOL, table
from forgetkit.compiled import compiled

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int32]

WINDOW, STEP = 40, 20  # words of a window of a work, and from one to the next
ASKED, ASKED_STEP = 24, 8  # words of a document compared at a time
COMMON, MANY = 0.01, 150  # words in more of the windows than this share, and this many, find none
FEWEST = 500  # windows: rare words of fewer weigh as those of so many
STRANGE = 0.4  # of a rare word's weight: a word that no work has, so that synonyms cost less
WORTH, TRIED = 9.0, 4  # weight of rare words that makes a window worth comparing; windows compared
ENOUGH, CERTAIN = 0.42, 0.55  # share of weight that joins a passage, and that makes one
REACH = 12  # words that a span may reach beyond the windows that were found
APART = 120  # words of the work between neighbouring windows of one passage
LEAST_WORDS, LEAST_SHARE = 15, 0.55  # of a span
HEAVIEST, LIGHTEST = 4.0, 0.3  # weight of one word in a span is kept between these
_PAIRED = 1.5
_UNKNOWN = -1
_DROPPED, _MARK, _SYMBOL = np.uint64(DROPPED), np.uint64(MARK), np.uint64(SYMBOL)
_NOTHING, _21, _29 = np.uint64(0), np.uint64(21), np.uint64(29)
_PRIME, _START = np.uint64(0x100000001B3), np.uint64(0xCBF29CE484222325)
_TABLED = 0x20000
_NO_PLACES = np.zeros(0, np.uint32)


@dataclass(frozen=True)
class Passage:
    """A run of words that tells a passage of a work again.

    Attributes:
        row: row of the column.
        start: first code point.
        end: one past the last code point.
        work_id: the work.
        work_start: first code point of the passage in the work.
        work_end: one past its last code point.
        share: share of the span's word weight that the passage holds, in [0, 1].
    """

    row: int
    start: int
    end: int
    work_id: str
    work_start: int
    work_end: int
    share: float


@dataclass(frozen=True)
class Words:
    """Folded words of rows: hash, row offsets, and places in code points."""

    hashes: Hashes
    rows: Places
    starts: npt.NDArray[Any]
    ends: npt.NDArray[Any]


@dataclass(frozen=True)
class Runs:
    """Compared runs of words, in order: row, places in code points, and best share, each (n,)."""

    row: Places
    start: Places
    end: Places
    share: npt.NDArray[np.float64]


def words_of(data: Bytes, first: Places, last: Places) -> Words:
    """Return the words of pieces of a UTF-8 buffer."""
    room = int(((last - first + 1) // 2 + 1).sum())
    hashes, starts, ends = (
        np.empty(room, np.uint64),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
    )
    rows = np.zeros(len(first) + 1, np.int64)
    count = _words(data, first, last, table(), hashes, rows, starts, ends)
    return Words(hashes[:count], rows, starts[:count], ends[:count])


def _words_of_text(text: str) -> Words:
    """Return the words of one text, places in as few bytes as hold them."""
    part = text.encode("utf-8", "replace")
    words = words_of(np.frombuffer(part + b"\0", np.uint8), np.array([0]), np.array([len(part)]))
    starts, ends = words.starts.astype(np.uint32), words.ends.astype(np.uint32)
    return Words(words.hashes.copy(), words.rows, starts, ends)


class Reworded:
    """An index of works by their rare words.

    Args:
        works: texts by id.
    """

    def __init__(self, works: Mapping[str, str]) -> None:
        self._ids = list(works)
        read = [_words_of_text(text) for text in works.values()]
        self._rows = np.cumsum([0, *(len(words.hashes) for words in read)], dtype=np.int64)
        self._starts = np.concatenate([words.starts for words in read] or [_NO_PLACES])
        self._ends = np.concatenate([words.ends for words in read] or [_NO_PLACES])
        hashes = [words.hashes for words in read]
        del read
        each = [np.unique(own) for own in hashes]
        self._vocabulary = np.unique(np.concatenate(each or [np.zeros(0, np.uint64)]))
        self._numbers = np.empty(self._rows[-1], np.int32)
        for work, own in enumerate(hashes):
            low, high = self._rows[work], self._rows[work + 1]
            self._numbers[low:high] = np.searchsorted(self._vocabulary, own)
        self._work, self._begin = self._windows()
        self._index()

    def _windows(self) -> tuple[Places, Places]:
        """Return work and first word of every window."""
        works, begins = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for work in range(len(self._ids)):
            low, high = self._rows[work], self._rows[work + 1]
            found = np.arange(low, max(low + 1, high - WINDOW // 2) if high > low else low, STEP)
            works.append(np.full(len(found), work))
            begins.append(found)
        return np.concatenate(works), np.concatenate(begins)

    def _index(self) -> None:
        """Fill by word its weight and, if it is rare, the windows that hold it."""
        self._stop = np.minimum(self._begin + WINDOW, self._rows[self._work + 1])
        total = max(len(self._begin), 2)
        count = np.zeros(len(self._vocabulary), np.int64)
        _count(self._numbers, self._begin, self._stop, count)
        rarest = float(np.log(max(total, FEWEST)))
        weight = np.log(total / np.maximum(count, 1)) / np.log(total) * rarest
        self._weight = weight.astype(np.float32)
        self._unknown = STRANGE * rarest
        self._is_rare = count <= min(max(COMMON * total, 2), MANY)
        listed = np.where(self._is_rare, count, 0)
        self._first = np.concatenate([[0], np.cumsum(listed)]).astype(np.int64)
        self._holding = np.empty(self._first[-1], np.int32)
        free = self._first[:-1].copy()
        _enter(self._numbers, self._begin, self._stop, self._is_rare, free, self._holding)

    def find(self, data: Bytes, first: Places, last: Places) -> tuple[list[Passage], Runs]:
        """Look through rows of a UTF-8 buffer.

        Args:
            data: UTF-8.
            first: first byte of each row, (n,).
            last: one past its last byte, (n,).

        Returns:
            The passages by row and place, and every compared run of words with what the best
            window of a work holds of it.
        """
        words = words_of(data, first, last)
        numbers = self._known(words.hashes)
        runs = self._asked(words, numbers)
        passages: list[Passage] = []
        for row in np.unique(runs[0][runs[3] >= CERTAIN]).astype(np.int64).tolist():
            passages += self._row(row, words, numbers, runs[:, runs[0] == row])
        ends = np.minimum(runs[1].astype(np.int64) + ASKED, words.rows[runs[0].astype(int) + 1]) - 1
        begins = words.starts[runs[1].astype(np.int64)]
        return passages, Runs(runs[0].astype(np.int64), begins, words.ends[ends], runs[3])

    def _known(self, hashes: Hashes) -> Places:
        """Return the number of each word in the works, or -1."""
        if not len(self._vocabulary):
            return np.full(len(hashes), _UNKNOWN)
        place = np.minimum(np.searchsorted(self._vocabulary, hashes), len(self._vocabulary) - 1)
        return np.where(self._vocabulary[place] == hashes, place, _UNKNOWN)

    def _asked(self, words: Words, numbers: Places) -> npt.NDArray[np.float64]:
        """Return row, first word, best window and share of every run of 24 words, (4, n)."""
        room = len(numbers) // ASKED_STEP + len(words.rows) + 1
        found = np.empty((4, room), np.float64)
        count = _asked(
            words.rows,
            numbers,
            self._weight,
            self._is_rare,
            np.float32(self._unknown),
            self._first,
            self._holding,
            self._numbers,
            self._begin,
            self._stop,
            found,
        )
        return found[:, :count]

    def _row(
        self, row: int, words: Words, numbers: Places, runs: npt.NDArray[np.float64]
    ) -> list[Passage]:
        found = []
        for chain in self._chains(runs):
            if chain.share >= CERTAIN:
                passage = self._located(row, words, numbers, chain)
                if passage is not None:
                    found.append(passage)
        return found

    def _chains(self, runs: npt.NDArray[np.float64]) -> list[_Chain]:
        """Join runs that follow each other in the document and lie near in one work."""
        chains: list[_Chain] = []
        for _, place, window, share in runs[:, runs[3] >= ENOUGH].T.tolist():
            begin, work = int(self._begin[int(window)]), int(self._work[int(window)])
            for chain in chains:
                if chain.takes(int(place), begin, work):
                    chain.add(int(place), begin, share)
                    break
            else:
                chains.append(_Chain(int(place), int(place), begin, begin, work, share))
        return chains

    def _located(self, row: int, words: Words, numbers: Places, chain: _Chain) -> Passage | None:
        """Return the heaviest run of words around a chain, if it is long and close enough."""
        low = max(chain.first - REACH, int(words.rows[row]))
        high = min(chain.last + ASKED + REACH, int(words.rows[row + 1]))
        left = max(chain.begin - STEP, int(self._rows[chain.work]))
        right = min(chain.end + WINDOW + STEP, int(self._rows[chain.work + 1]))
        region, said = self._numbers[left:right].astype(np.int64), numbers[low:high]
        weight = np.where(said >= 0, self._weight[np.maximum(said, 0)], HEAVIEST * 0.8)
        weight = np.minimum(weight, HEAVIEST) + LIGHTEST
        is_held = np.isin(said, region)
        is_paired = _paired(said, region, len(self._vocabulary))
        score = np.where(is_held, weight * np.where(is_paired, _PAIRED, 1.0), -weight)
        first, last = _heaviest(score)
        inside = slice(first, last + 1)
        share = float((weight * is_held)[inside].sum() / weight[inside].sum())
        if last - first + 1 < LEAST_WORDS or share < LEAST_SHARE:
            return None
        held = np.flatnonzero(np.isin(region, said[inside][is_paired[inside]]))
        held = held if len(held) else np.arange(len(region))
        return Passage(
            row,
            int(words.starts[low + first]),
            int(words.ends[low + last]),
            self._ids[chain.work],
            int(self._starts[left + held[0]]),
            int(self._ends[left + held[-1]]),
            share,
        )


@dataclass
class _Chain:
    """Runs of a document that lie near each other in a work: word places, and best share."""

    first: int
    last: int
    begin: int
    end: int
    work: int
    share: float

    def takes(self, place: int, begin: int, work: int) -> bool:
        is_near = self.begin - APART <= begin <= self.end + APART
        return work == self.work and place - self.last <= ASKED and is_near

    def add(self, place: int, begin: int, share: float) -> None:
        self.last, self.share = place, max(self.share, share)
        self.begin, self.end = min(self.begin, begin), max(self.end, begin)


def _paired(said: Places, region: Places, size: int) -> npt.NDArray[np.bool_]:
    """Say of each word whether it stands in a pair of neighbours that the region has too."""
    pairs, known = said[:-1] * size + said[1:], region[:-1] * size + region[1:]
    is_pair = np.isin(pairs, known) & (said[:-1] >= 0) & (said[1:] >= 0)
    found = np.zeros(len(said), np.bool_)
    found[:-1] |= is_pair
    found[1:] |= is_pair
    return found


@compiled
def _heaviest(score: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Return first and last place of the run with the largest sum."""
    best, current, begin = -1.0, 0.0, 0
    first = last = 0
    for place in range(len(score)):
        if current <= 0:
            current, begin = 0.0, place
        current += score[place]
        if current > best:
            best, first, last = current, begin, place
    return first, last


@compiled
def _words(
    data: Bytes,
    firsts: Places,
    lasts: Places,
    fold: Hashes,
    hashes: Hashes,
    rows: Places,
    starts: Places,
    ends: Places,
) -> int:
    """Fill hash and places of every word; return how many there are."""
    count = 0
    for row in range(len(firsts)):
        at, place, word, inside = firsts[row], 0, _START, False
        while at <= lasts[row]:
            entry, following = _NOTHING, at + 1
            if at < lasts[row]:
                point, following = code_point(data, at, lasts[row])
                entry = fold[point] if point < _TABLED else np.uint64(point)
            at = following
            is_letter = entry != _NOTHING and entry < _MARK
            if inside and not is_letter and entry != _DROPPED:
                hashes[count] = word ^ (word >> _29)
                count += 1
                word, inside = _START, False
            if is_letter:
                if not inside:
                    starts[count], inside = place, True
                ends[count] = place + 1
            while is_letter and entry != _NOTHING:
                word = (word ^ (entry & _SYMBOL)) * _PRIME
                entry >>= _21
            place += 1
        rows[row + 1] = count
    return count


@compiled
def _is_first(numbers: npt.NDArray[Any], place: int, at: int) -> bool:
    earlier = place
    while earlier < at and numbers[earlier] != numbers[at]:
        earlier += 1
    return bool(earlier == at)


@compiled
def _count(numbers: Numbers, begins: Places, stops: Places, count: Places) -> None:
    """Add up by word the windows that hold it."""
    for window in range(len(begins)):
        for at in range(begins[window], stops[window]):
            if _is_first(numbers, begins[window], at):
                count[numbers[at]] += 1


@compiled
def _enter(
    numbers: Numbers,
    begins: Places,
    stops: Places,
    is_rare: npt.NDArray[np.bool_],
    free: Places,
    holding: Numbers,
) -> None:
    """Write the windows that hold each rare word from its free slot on, in order."""
    for window in range(len(begins)):
        for at in range(begins[window], stops[window]):
            number = numbers[at]
            if is_rare[number] and _is_first(numbers, begins[window], at):
                holding[free[number]] = window
                free[number] += 1


@compiled
def _hold(
    numbers: Places,
    place: int,
    end: int,
    weight: Floats,
    is_rare: npt.NDArray[np.bool_],
    first: Places,
    holding: Numbers,
    held: Floats,
    met: Places,
) -> int:
    """Add up by window the weight of the rare words it holds; return how many hold any."""
    size = 0
    for at in range(place, end):
        number = numbers[at]
        if number < 0 or not is_rare[number] or not _is_first(numbers, place, at):
            continue
        for slot in range(first[number], first[number + 1]):
            window = holding[slot]
            if held[window] == 0:
                met[size] = window
                size += 1
            held[window] += weight[number]
    return size


@compiled
def _take_best(held: Floats, met: Places, size: int) -> int:
    """Return the window that holds most, at least `WORTH`, and set it aside; -1 for none."""
    best, most = -1, np.float32(WORTH)
    for slot in range(size):
        window = met[slot]
        if held[window] > most or (held[window] == most and window < best):
            best, most = window, held[window]
    if best >= 0:
        held[best] = -held[best]
    return best


@compiled
def _share(
    numbers: Places,
    place: int,
    end: int,
    weight: Floats,
    unknown: Any,
    own: Numbers,
    begins: Places,
    stops: Places,
    window: int,
) -> Any:
    """Return the share of the weight of a run of words that one window holds, in [0, 1]."""
    total = most = np.float32(0)
    for at in range(place, end):
        number = numbers[at]
        if number < 0:
            total += unknown
            continue
        if not _is_first(numbers, place, at):
            continue
        total += weight[number]
        for word in range(begins[window], stops[window]):
            if own[word] == number:
                most += weight[number]
                break
    return most / total


@compiled
def _asked(
    rows: Places,
    numbers: Places,
    weight: Floats,
    is_rare: npt.NDArray[np.bool_],
    unknown: Any,
    first: Places,
    holding: Numbers,
    own: Numbers,
    begins: Places,
    stops: Places,
    found: npt.NDArray[np.float64],
) -> int:
    """Fill row, first word, best window and its share of every run; return how many there are."""
    held, met = np.zeros(len(begins), np.float32), np.empty(len(begins), np.int64)
    count = 0
    for row in range(len(rows) - 1):
        place = rows[row]
        while place < rows[row + 1]:
            end = min(place + ASKED, rows[row + 1])
            size = _hold(numbers, place, end, weight, is_rare, first, holding, held, met)
            best, share = -1, np.float32(0)
            for _ in range(TRIED):
                window = _take_best(held, met, size)
                if window < 0:
                    break
                said = _share(numbers, place, end, weight, unknown, own, begins, stops, window)
                if said > share:
                    best, share = window, said
            for slot in range(size):
                held[met[slot]] = 0
            if best >= 0 and end - place > ASKED // 2:
                found[0, count], found[1, count] = row, place
                found[2, count], found[3, count] = best, share
                count += 1
            place += ASKED_STEP
    return count
