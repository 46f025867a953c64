"""Is holdout like forget? Lengths, surprise, and a two-sample test of each.

Membership numbers compare forget with holdout: they mean something only where the two would look
alike to a model that was trained on neither. The target model cannot say so, for it may know
forget by heart; so surprise is that of a reference model, or of the words in the ordinary data.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from forgetkit.errors import InputError
from forgetkit.forget_set import Example
from forgetkit.results import Alike, Five

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_WORD = re.compile(r"[^\W_]+")
FAR, SURE = 0.3, 0.001
"""Refuse holdout from this Kolmogorov-Smirnov distance on, if chance gives it less often."""
DOUBT = 0.05
_MOST_PAIRS = 4_000_000

Surprise = Callable[[Sequence[Example]], list[float]]


class Comparison(Alike):
    """One number of forget against the same number of holdout, and what `build` makes of it."""

    @property
    def unlike(self) -> bool:
        """Say whether the two are surely, and much, unlike."""
        return self.distance >= FAR and self.p_value < SURE

    def row(self) -> dict[str, Any]:
        """Return it for the manifest."""
        return asdict(self) | {"unlike": self.unlike}


def compare(what: str, forget: Sequence[float], holdout: Sequence[float]) -> Comparison:
    """Compare two samples by the two-sample Kolmogorov-Smirnov test.

    >>> compare("words", [1, 2, 3], [1, 2, 3]).distance
    0.0
    """
    import numpy as np
    from scipy.stats import ks_2samp

    test = ks_2samp(forget, holdout)

    def five(values: Sequence[float]) -> Five:
        quantiles = np.quantile(values, (0, 0.25, 0.5, 0.75, 1)).tolist()
        least, low, middle, high, greatest = (round(v, 4) for v in quantiles)
        return least, low, middle, high, greatest

    distance, p_value = round(float(test.statistic), 4), float(f"{test.pvalue:.4g}")
    return Comparison(what, five(forget), five(holdout), distance, p_value)


def words_of(example: Example) -> float:
    """Return the length of prompt and answer in words."""
    return float(len(example.prompt.split()) + len(example.answer.split()))


def word_surprise(ordinary: Iterable[str]) -> Surprise:
    """Return surprise as the mean -log of the words' frequency in ordinary text, in nats a word.

    One is added to every count, and one unseen word stands for all (Laplace).
    """
    counts = Counter(word for text in ordinary for word in _WORD.findall(text.casefold()))
    total = counts.total() + len(counts) + 1

    def surprise(examples: Sequence[Example]) -> list[float]:
        found = []
        for example in examples:
            words = _WORD.findall(f"{example.prompt} {example.answer}".casefold())
            bits = [math.log(total / (counts[word] + 1)) for word in words]
            found.append(sum(bits) / len(bits) if bits else 0.0)
        return found

    return surprise


def matched(
    pool: Sequence[Example], forget: Sequence[Example], size: int, surprise: Surprise
) -> list[Example]:
    """Choose `size` of a pool whose surprise is nearest to that of forget, one for one.

    The choice has the least sum of differences (Kuhn 1955); forget is repeated where holdout
    shall be larger, and its quantiles stand for it where holdout shall be smaller. A pool beyond
    4 million pairs is thinned evenly first.
    """
    if len(pool) <= size:
        return list(pool)
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    most = max(size, _MOST_PAIRS // size)
    pool = spread(pool, most)
    own = np.array(surprise(forget))
    middles = (np.arange(size) + 0.5) / size
    wanted = np.quantile(own, middles) if size < len(own) else np.resize(np.sort(own), size)
    cost = np.abs(wanted[:, None] - np.array(surprise(pool))[None, :])
    chosen: npt.NDArray[np.int64] = linear_sum_assignment(cost)[1]
    return [pool[int(i)] for i in np.sort(chosen)]


def spread(examples: Sequence[Example], size: int) -> list[Example]:
    """Take `size` examples, evenly spread over the list."""
    if len(examples) <= size:
        return list(examples)
    return [examples[i * len(examples) // size] for i in range(size)]


def check_control(
    forget: Sequence[Example], holdout: Sequence[Example], surprise: Surprise, *, allowed: bool
) -> list[Comparison]:
    """Compare holdout with forget and refuse one that is unlike, unless that is allowed.

    Raises:
        InputError: length or surprise differs surely and much.
    """
    found = [
        compare("words", [words_of(e) for e in forget], [words_of(e) for e in holdout]),
        compare("surprise", surprise(forget), surprise(holdout)),
    ]
    for one in found:
        if one.unlike and not allowed:
            raise InputError(
                f"holdout is unlike forget in {one.what}",
                found=f"medians {one.forget[2]:g} and {one.holdout[2]:g}, distance "
                f"{one.distance:.2f}, p {one.p_value:.2g}",
                mend="Give --holdout of the same kind, or set allow_unlike_holdout=true.",
            )
    return found


def doubts(found: Sequence[Comparison]) -> list[str]:
    """Say where chance would hardly make holdout so different."""
    return [
        f"holdout differs from forget in {c.what}: distance {c.distance:.2f}, p {c.p_value:.2g}"
        for c in found
        if c.p_value < DOUBT
    ]
