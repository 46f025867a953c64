"""Is the text to forget ordinary language? Then the request may be over-broad, or malicious.

Someone who asks a model to forget common phrases asks it to unlearn the language itself. Such
passages are flagged in manifest and card; a person decides.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from forgetkit.forget_set import Example

_WORD = re.compile(r"[^\W_]+")
SIZE = 4
MANY = 0.2
"""Share of flagged passages from which on the whole request is flagged."""


@dataclass(frozen=True)
class Breadth:
    """How much of forget stands in ordinary text.

    Attributes:
        share: share of all word 4-grams of forget that ordinary text holds, in [0, 1].
        groups: passages, documents or clusters looked at.
        flagged: those whose own share reaches the limit, with it.
    """

    share: float
    groups: int
    flagged: dict[str, float]

    @property
    def over_broad(self) -> bool:
        """Say whether so many passages are ordinary language that the request itself is."""
        return len(self.flagged) >= MANY * self.groups and bool(self.flagged)


def breadth(forget: Sequence[Example], ordinary: Iterable[str], limit: float) -> Breadth:
    """Look every word 4-gram of forget up in ordinary text.

    Args:
        forget: the examples; those of one group count together.
        ordinary: retain and general text.
        limit: share from which a group is flagged, in (0, 1].
    """
    grams: dict[str, set[str]] = defaultdict(set)
    for example in forget:
        grams[example.group] |= _grams(f"{example.prompt} {example.answer}")
    wanted = set().union(*grams.values()) if grams else set()
    seen: set[str] = set()
    for text in ordinary:
        seen |= _grams(text) & wanted
    shares = {group: len(own & seen) / len(own) for group, own in grams.items() if own}
    flagged = {g: round(v, 4) for g, v in sorted(shares.items()) if v >= limit}
    return Breadth(round(len(seen) / len(wanted), 4) if wanted else 0.0, len(grams), flagged)


def _grams(text: str) -> set[str]:
    words = _WORD.findall(text.casefold())
    return {" ".join(words[i : i + SIZE]) for i in range(len(words) - SIZE + 1)}
