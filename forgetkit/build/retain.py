"""Retain: ordinary data to keep working on, near the forget set and general, and its probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from forgetkit.build.checks import without_repeats
from forgetkit.build.config import BuildConfig
from forgetkit.build.pairs import pair_of_document
from forgetkit.build.text import window_of_document
from forgetkit.corpus import Document, read_all
from forgetkit.forget_set import Example
from forgetkit.progress import Progress
from forgetkit.seeds import generator


@dataclass(frozen=True)
class Ordinary:
    """Ordinary data, split by document: no document serves two purposes.

    Attributes:
        train: the retain split.
        probe: retain rows to evaluate on.
        general: general text to evaluate on.
        answers: answers for mismatch.
        repeats: rows left out because they repeat others.
    """

    train: list[Example]
    probe: list[Example]
    general: list[Example]
    answers: list[str]
    repeats: int = 0


def take_ordinary(
    retain: Sequence[Path],
    general: Sequence[Path],
    kind: str,
    forget_texts: Sequence[str],
    config: BuildConfig,
    progress: Progress,
) -> Ordinary:
    """Split ordinary data into retain, its probes, and answers for mismatch.

    Args:
        retain: data of the form of the forget set.
        general: text to measure utility on; never trained on.
        kind: text or pair.
        forget_texts: what neighbours are near to.
        config: sizes and the share of neighbours.
        progress: told of the embedding.
    """
    given = _rows(read_all(retain), kind, config)
    rows = without_repeats(given, config.shared_words)
    order = generator(config.seed, "retain").permutation(len(rows))
    shuffled = [rows[int(i)] for i in order]
    spare = min(len(shuffled) // 8, 64)
    answers, rest = shuffled[:spare], shuffled[spare:]
    probe_size = min(config.probe_size, len(rest) // 2)
    near = _nearest_first(rest, forget_texts, progress) if config.neighbour_share else []
    probe_near = near[: round(2 * config.neighbour_share * probe_size) : 2]
    probe = _fill(probe_near, rest, probe_size, set())
    taken = {e.example_id for e in probe}
    wanted = min(config.retain_size, len(rest) - len(probe))
    close = [e for e in near if e.example_id not in taken]
    train = [_named(e, "neighbour") for e in close[: round(config.neighbour_share * wanted)]]
    taken |= {e.example_id for e in close[: len(train)]}
    train += [_named(e, "general") for e in _fill([], rest, wanted - len(train), taken)]
    general_rows = _rows(read_all(general), "text", config)[: config.general_size]
    said = sorted({e.answer for e in answers})
    return Ordinary(train, probe, general_rows, said, len(given) - len(rows))


def _rows(documents: Sequence[Document], kind: str, config: BuildConfig) -> list[Example]:
    made = (
        window_of_document(d, config, "") if kind == "text" else pair_of_document(d, "")
        for d in documents
    )
    return [example for example in made if example is not None]


def _fill(
    first: Sequence[Example], rest: Sequence[Example], size: int, taken: set[str]
) -> list[Example]:
    chosen = list(first)[:size]
    used = taken | {e.example_id for e in chosen}
    chosen += [e for e in rest if e.example_id not in used][: size - len(chosen)]
    return chosen


def _named(example: Example, variant: str) -> Example:
    return replace(example, variant=variant)


def _nearest_first(
    rows: Sequence[Example], forget_texts: Sequence[str], progress: Progress
) -> list[Example]:
    """Sort rows by their closeness to the forget set in embedding space."""
    import numpy as np

    from forgetkit.embed import open_embedder

    embedder = open_embedder()
    texts = [(e.prompt + e.answer)[:600] for e in rows]
    progress.stage("find neighbours", len(texts))
    seeds = embedder.encode(list(forget_texts)[:200])
    vectors = embedder.encode(texts)
    progress.advance(len(texts))
    closeness = (vectors @ seeds.T).max(axis=1)
    return [rows[int(i)] for i in np.argsort(-closeness, kind="stable")]
