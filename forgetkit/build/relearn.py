"""Cut forget in two for a relearning test: train on A again, measure what comes back of B.

The cut goes between works, or where there is one work between passages that stand apart, or
between groups of pairs: never between neighbouring windows, which share their words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from forgetkit.forget_set import Example
from forgetkit.seeds import generator

_PLACE = re.compile(r"\[(\d+):\d+:(\d+)\]$")
APART = 400
"""Code points between two passages of one work from which on they are not neighbours."""


@dataclass(frozen=True)
class Halves:
    """Forget with its parts.

    Attributes:
        forget: the examples, each in part A or B, or all in none.
        cut_by: work, passage, group or prompt; empty when it cannot be cut.
    """

    forget: list[Example]
    cut_by: str

    def sizes(self) -> dict[str, int]:
        """Return the number of examples of A and B."""
        return {part: sum(e.part == part for e in self.forget) for part in ("A", "B")}


def halves(forget: Sequence[Example], seed: int) -> Halves:
    """Put each forget example into part A or B, about as many into each.

    Units are drawn in an order by seed, the larger ones first, each into the smaller part.
    """
    for cut_by, key in _ways(forget):
        units: dict[str, list[int]] = {}
        for number, example in enumerate(forget):
            units.setdefault(key(example), []).append(number)
        if len(units) > 1:
            parts = _assigned(units, seed)
            made = [replace(e, part=parts[n]) for n, e in enumerate(forget)]
            return Halves(made, cut_by)
    return Halves(list(forget), "")


def _ways(forget: Sequence[Example]) -> list[tuple[str, Callable[[Example], str]]]:
    works = {e.work_id for e in forget}
    if forget[0].kind != "text":
        return [("group", lambda e: e.group), ("prompt", lambda e: e.prompt)]
    if len(works) > 1 and "" not in works:
        return [("work", lambda e: e.work_id)]
    neighbours = _neighbourhoods(forget)
    return [("passage", lambda e: neighbours[e.group])]


def _neighbourhoods(forget: Sequence[Example]) -> dict[str, str]:
    """Name each passage by the first one of its work that it stands next to."""
    extents: dict[tuple[str, str], tuple[int, int]] = {}
    for example in forget:
        place = _PLACE.search(example.source)
        start, end = (int(place[1]), int(place[2])) if place else (0, 0)
        key = (example.work_id or example.group, example.group)
        known = extents.get(key, (start, end))
        extents[key] = (min(start, known[0]), max(end, known[1]))
    named: dict[str, str] = {}
    last = ("", 0, "")  # work, end, name
    for (work, group), (start, end) in sorted(extents.items(), key=lambda x: (x[0][0], x[1])):
        near = work == last[0] and start - last[1] < APART
        name = last[2] if near else group
        named[group] = named.get(group, name)
        last = (work, max(end, last[1]) if near else end, name)
    return named


def _assigned(units: dict[str, list[int]], seed: int) -> dict[int, str]:
    names = sorted(units)
    order = generator(seed, "relearn").permutation(len(names))
    drawn = sorted((names[int(i)] for i in order), key=lambda name: -len(units[name]))
    sizes = {"A": 0, "B": 0}
    parts: dict[int, str] = {}
    for name in drawn:
        part = "A" if sizes["A"] <= sizes["B"] else "B"
        sizes[part] += len(units[name])
        parts |= dict.fromkeys(units[name], part)
    return parts
