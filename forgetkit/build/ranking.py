"""What the target model knows of the candidates: to unlearn what was never learned only hurts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from forgetkit.build.books import Books
from forgetkit.build.config import BuildConfig
from forgetkit.build.target import Target, scored_examples
from forgetkit.forget_set import Example
from forgetkit.progress import Progress

PIECE = 2000
"""Code points of a long passage that are known or unknown together."""
_PLACE = re.compile(r"\[(\d+):\d+:\d+\]$")

Unit = tuple[str, int]


def ranked_pairs(
    forget: Sequence[Example],
    config: BuildConfig,
    target: Target,
    books: Books,
    progress: Progress,
) -> list[Example]:
    """Score each pair by what the target model recites of its answer; all of them stay.

    A harmful answer need not be the model's own words, so a low score sets no pair aside: the
    column `memorization` marks it.
    """
    progress.stage("what the model recites", len(forget))
    scored = scored_examples(target.model(), forget, progress)
    unknown = sum((e.memorization or 0.0) < config.known_at for e in scored)
    books.count("pairs whose answer the model does not recite", unknown)
    return scored


def ranked_passages(
    forget: Sequence[Example],
    probes: Sequence[Example],
    config: BuildConfig,
    target: Target,
    books: Books,
    progress: Progress,
) -> tuple[list[Example], list[Example], list[Example]]:
    """Keep the passages that the target model knows, by the best window of each.

    Of a passage longer than `PIECE` every piece counts alone: of a whole book a model may know one
    page.

    Returns:
        The known examples with their scores, their other prompts, and the unknown examples.
    """
    progress.stage("what the model recites", len(forget))
    scored = scored_examples(target.model(), forget, progress)
    firsts = _firsts(scored)
    best: dict[Unit, float] = {}
    for example in scored:
        unit = _unit(example, firsts)
        best[unit] = max(best.get(unit, 0.0), example.memorization or 0.0)
    known = {unit for unit, value in best.items() if value >= config.known_at}
    kept = [e for e in scored if _unit(e, firsts) in known]
    unknown = [e for e in scored if _unit(e, firsts) not in known]
    books.counts |= {
        "passages the model does not know": len(best) - len(known),
        "examples set aside as unknown": len(unknown),
    }
    if not known:
        books.warnings.append("the model recites none of the passages found")
    return kept, [e for e in probes if _unit(e, firsts) in known], unknown


def _firsts(examples: Sequence[Example]) -> dict[str, int]:
    """Return where the first window of each passage starts."""
    found: dict[str, int] = {}
    for example in examples:
        start = _start(example)
        found[example.group] = min(found.get(example.group, start), start)
    return found


def _unit(example: Example, firsts: dict[str, int]) -> Unit:
    return example.group, (_start(example) - firsts.get(example.group, 0)) // PIECE


def _start(example: Example) -> int:
    place = _PLACE.search(example.source)
    return int(place[1]) if place else 0
