"""A step in parts: several forward and backward passes, one update, the same losses, less memory.

What a backward pass needs is kept for all rows of a forward pass at once. Half of the rows at a
time need half of it. Losses are means over the examples of a step, by split, and the parts of a
step may hold unlike numbers of them: each example weighs what it does in the whole step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forgetkit.lm.step import Item


def parts_of(items: Sequence[Item], batch_size: int, most_tokens: int) -> int:
    """Return into how many parts of as many items a batch is cut; 1: it stays whole.

    Args:
        items: of the training.
        batch_size: items of a batch.
        most_tokens: tokens that a part may hold on average over the training; 0: any number.
    """
    tokens = sum(len(e) for item in items for examples in item.values() for e in examples)
    mean = tokens / max(len(items), 1)
    divisors = [number for number in range(1, batch_size + 1) if batch_size % number == 0]
    fits = (n for n in divisors if not most_tokens or mean * batch_size / n <= most_tokens)
    return next(fits, batch_size)


def weighed(items: Sequence[Item], whole: int, part: int) -> list[Item]:
    """Return the items with weights that make the mean over parts the mean over the whole.

    An example of a part counts 1/n of it, n the part's examples of that split; it shall count
    parts/N of it, N the step's.

    Args:
        items: of whole steps.
        whole: items of a step.
        part: items of one of its parts.
    """
    made: list[Item] = []
    for first in range(0, len(items), whole):
        step = items[first : first + whole]
        total = _counts(step)
        for begin in range(0, len(step), part):
            chosen = step[begin : begin + part]
            own, parts = _counts(chosen), whole / part
            made += [
                {
                    split: [
                        replace(e, weight=e.weight * own[split] * parts / total[split])
                        for e in examples
                    ]
                    for split, examples in item.items()
                }
                for item in chosen
            ]
    return made


def _counts(items: Sequence[Item]) -> dict[str, int]:
    names = {name for item in items for name in item}
    return {name: sum(len(item.get(name, ())) for item in items) for name in names}
