"""Pairs of examples in two splits that are the same text, share a run of words, or nearly repeat.

Four ways, from the strictest on; a pair is named once, by the first that finds it:

exact     the same words, whatever their case and punctuation
run       a common run of 13 words; the value is the share of the shorter text's runs (GPT-3's
          test of contamination, Brown et al. 2020, appendix C)
near      Jaccard similarity of word 5-grams, found by MinHash and then computed (Broder 1997)
meaning   cosine of sentence embeddings
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from forgetkit.forget_set import Example

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_WORD = re.compile(r"[^\W_]+")
_SAME_RUN = 4  # examples of one split that a common run names at most
FORGET_TEXT = frozenset({"forget", "prompts", "unknown"})
"""Tables that hold the text to forget; they are meant to overlap each other."""
RECUR = frozenset({"refusal", "neutral", "right"})
"""Kinds of mismatch whose answers are meant to recur."""

Encode = Callable[[Sequence[str]], "npt.NDArray[np.float32]"]


class Overlap(NamedTuple):
    """Two examples of two splits that are too much alike.

    Attributes:
        split: of the first.
        example: its id.
        other: split of the second.
        twin: its id.
        kind: exact, run, near or meaning.
        value: how much they share, in (0, 1].
    """

    split: str
    example: str
    other: str
    twin: str
    kind: str
    value: float


@dataclass(frozen=True)
class Limits:
    """From where on two examples overlap.

    Attributes:
        shared_words: length of a common run of words.
        near_copy: Jaccard similarity of word 5-grams, in (0, 1].
        same_meaning: cosine of embeddings, in (0, 1].
    """

    shared_words: int = 13
    near_copy: float = 0.7
    same_meaning: float = 0.9


def compared(split: str, example: Example) -> str:
    """Return the text of an example that must stand in no other split; empty: none.

    Mismatch shares its prompts with forget and recurs where it refuses; a model's stock phrases
    recur in all its own answers, so those count by their prompt.
    """
    if split == "mismatch":
        return "" if example.variant in RECUR else example.answer
    if example.variant == "own answer":
        return example.prompt
    return f"{example.prompt} {example.answer}"


def meant(split: str, other: str) -> bool:
    """Say whether two tables may overlap."""
    return split in FORGET_TEXT and other in FORGET_TEXT


def runs_of(text: str, size: int) -> list[str]:
    """Return every run of `size` words, or the whole text when it is shorter.

    >>> runs_of("One, two. Three", 2)
    ['one two', 'two three']
    """
    words = _WORD.findall(text.casefold())
    if len(words) < size:
        return [" ".join(words)] if words else []
    return [" ".join(words[i : i + size]) for i in range(len(words) - size + 1)]


class _Row(NamedTuple):
    split: str
    example: str
    text: str


def overlaps(
    splits: Mapping[str, Sequence[Example]],
    limits: Limits,
    *,
    encode: Encode | None = None,
    workers: int = 1,
) -> list[Overlap]:
    """Find the pairs of examples of two splits that overlap.

    Args:
        splits: examples by split; tables of `FORGET_TEXT` are not compared with each other.
        limits: from where on.
        encode: turns texts into vectors of length 1; None leaves meaning out. By meaning only
            forget is compared, with every other split.
        workers: threads that cut texts into runs.

    Returns:
        Sorted by split, then id; of a run that many examples hold, the first few of a split.
    """
    rows = [
        _Row(name, e.example_id, text)
        for name, examples in splits.items()
        for e in examples
        if (text := compared(name, e)).strip()
    ]
    found: dict[tuple[int, int], tuple[str, float]] = {}
    for pair, kind, value in _all_kinds(rows, limits, encode, workers):
        found.setdefault(pair, (kind, value))
    order = {name: place for place, name in enumerate(splits)}
    named = [
        Overlap(rows[a].split, rows[a].example, rows[b].split, rows[b].example, kind, value)
        for (a, b), (kind, value) in found.items()
    ]
    return sorted(named, key=lambda o: (order[o.split], order[o.other], o.example, o.twin))


def _all_kinds(
    rows: Sequence[_Row], limits: Limits, encode: Encode | None, workers: int
) -> Iterator[tuple[tuple[int, int], str, float]]:
    yield from _by_runs(rows, limits.shared_words, workers)
    yield from _by_near(rows, limits.near_copy)
    if encode is not None:
        yield from _by_meaning(rows, limits.same_meaning, encode)


def _by_runs(
    rows: Sequence[_Row], size: int, workers: int
) -> Iterator[tuple[tuple[int, int], str, float]]:
    with ThreadPoolExecutor(workers) as pool:
        runs = list(pool.map(lambda row: runs_of(row.text, size), rows))
    holders: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, row in enumerate(rows):
        for run in dict.fromkeys(runs[number]):
            holders[run][row.split].append(number)
    shared: dict[tuple[int, int], int] = defaultdict(int)
    for by_split in holders.values():
        for pair in _pairs(rows, [number for some in by_split.values() for number in some]):
            shared[pair] += 1
    for (a, b), count in sorted(shared.items()):
        whole = runs[a] == runs[b]
        least = min(len(set(runs[a])), len(set(runs[b])))
        yield (a, b), "exact" if whole else "run", round(count / least, 4)


def _pairs(rows: Sequence[_Row], numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows of two splits that must not overlap, the first few of each split."""
    by_split: dict[str, list[int]] = defaultdict(list)
    for number in numbers:
        if len(by_split[rows[number].split]) < _SAME_RUN:
            by_split[rows[number].split].append(number)
    for split, other in combinations(by_split, 2):
        if not meant(split, other):
            yield from ((min(a, b), max(a, b)) for a in by_split[split] for b in by_split[other])


def _by_near(
    rows: Sequence[_Row], threshold: float
) -> Iterator[tuple[tuple[int, int], str, float]]:
    from forgetkit.match import clusters_of, jaccard, near_copies, shingles

    texts = [row.text for row in rows]
    roots = clusters_of(len(rows), near_copies(texts, threshold))
    members: dict[int, list[int]] = defaultdict(list)
    for number, root in enumerate(roots):
        members[root].append(number)
    for numbers in members.values():
        if len({rows[n].split for n in numbers}) < 2:
            continue
        sets = {n: shingles(texts[n]) for n in numbers}
        for a, b in combinations(numbers, 2):
            if rows[a].split == rows[b].split or meant(rows[a].split, rows[b].split):
                continue
            value = jaccard(sets[a], sets[b])
            if value >= threshold:
                yield (a, b), "near", round(value, 4)


def _by_meaning(
    rows: Sequence[_Row], threshold: float, encode: Encode
) -> Iterator[tuple[tuple[int, int], str, float]]:
    from forgetkit.embed import range_hits

    forget = [n for n, row in enumerate(rows) if row.split == "forget"]
    others = [n for n, row in enumerate(rows) if row.split not in FORGET_TEXT]
    vectors = [encode([rows[n].text for n in some]) for some in (forget, others)]
    for at, seed, cosine in range_hits(vectors[0], vectors[1], threshold):
        a, b = sorted((forget[seed], others[at]))
        yield (a, b), "meaning", round(min(cosine, 1.0), 3)


def without_repeats(
    examples: Sequence[Example], limits: Limits, taken: Sequence[Example] = ()
) -> list[Example]:
    """Leave out examples that repeat an earlier one, so that they may go to any split.

    Args:
        examples: ordinary rows, in their order.
        limits: runs and near copies count; meaning does not.
        taken: rows that have their place already; nothing may repeat them.
    """
    from forgetkit.match import near_copies

    texts = [compared("retain", e) for e in taken]
    seen = {run for text in texts for run in runs_of(text, limits.shared_words)}
    kept = []
    for example in examples:
        own = set(runs_of(compared("retain", example), limits.shared_words))
        if own.isdisjoint(seen):
            kept.append(example)
            seen |= own
    texts += [compared("retain", e) for e in kept]
    later = {pair.second for pair in near_copies(texts, limits.near_copy)}
    return [e for number, e in enumerate(kept, len(taken)) if number not in later]


def summary(found: Iterable[Overlap]) -> dict[str, int]:
    """Count overlaps by their kind."""
    counts: dict[str, int] = defaultdict(int)
    for overlap in found:
        counts[overlap.kind] += 1
    return dict(sorted(counts.items()))
