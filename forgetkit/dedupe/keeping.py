"""Which member of a cluster stays: an order of preference over all documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from forgetkit.corpus import Quarantine
from forgetkit.corpus.accept import wanted_columns
from forgetkit.corpus.read import _read_file
from forgetkit.dedupe.catalogue import Catalogue, Numbers
from forgetkit.dedupe.config import DedupeConfig
from forgetkit.dedupe.parts import Source
from forgetkit.dedupe.reading import row_of
from forgetkit.errors import InputError


def ranks(
    catalogue: Catalogue, sources: Sequence[Source | None], config: DedupeConfig, members: Numbers
) -> Numbers:
    """Return the place of each document in the order of preference, `(n,)`; 0 is the best.

    The other corpus comes before ours, then preferred files, then the policy, then the order of
    the corpus.

    Args:
        catalogue: all documents.
        sources: the file of each part; None for signatures of earlier runs.
        config: settings.
        members: `(m,)` sorted documents that have copies; only their columns are read.

    Raises:
        InputError: a file lacks the column, or it holds values that have no order.
    """
    count = len(catalogue)
    part = catalogue.part_of(np.arange(count))
    liking = np.array([_liking(label, config.prefer) for label in catalogue.labels], np.int64)
    ours = np.arange(count) >= catalogue.settled
    order = np.lexsort(
        (
            np.arange(count),
            _policy(catalogue, sources, config, members),
            liking[part] if count else part,
            ours,
        )
    )
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    return rank


def _liking(label: str, prefer: Sequence[str]) -> int:
    """Return the place of the first pattern that fits; one past the last where none does."""
    fits = (place for place, pattern in enumerate(prefer) if fnmatchcase(label, pattern))
    return next(fits, len(prefer))


def _policy(
    catalogue: Catalogue, sources: Sequence[Source | None], config: DedupeConfig, members: Numbers
) -> Numbers:
    value = np.zeros(len(catalogue), np.int64)
    if config.keep == "longest":
        return -catalogue.characters
    if config.keep_column is None:
        return value
    found: dict[int, Any] = {}
    for number, source in enumerate(sources):
        inside = catalogue.within(number, members)
        if source is not None and len(inside) and catalogue.bounds[number] >= catalogue.settled:
            held = dict(zip(catalogue.rows[inside].tolist(), inside.tolist(), strict=True))
            for row, cell in _cells(source, config):
                if row in held and cell is not None and cell == cell:
                    found[held[row]] = cell
    if not found and len(members):
        raise InputError("no document has the column", found=config.keep_column)
    for number, place in _places(found, config.keep_column).items():
        value[number] = -1 - place
    return value


def _cells(source: Source, config: DedupeConfig) -> Iterator[tuple[int, Any]]:
    books = Quarantine()
    for document in _read_file(source.label, source.path, wanted_columns(config.columns), books):
        yield row_of(document), document.extra.get(config.keep_column or "")


def _places(found: dict[int, Any], column: str) -> dict[int, int]:
    """Return the place of each value, the least 0."""
    try:
        ordered = sorted(set(found.values()))
    except TypeError as error:
        kinds = sorted({type(value).__name__ for value in found.values()})
        raise InputError(
            f"the values of '{column}' have no order", found=", ".join(kinds)
        ) from error
    place = {value: number for number, value in enumerate(ordered)}
    return {number: place[value] for number, value in found.items()}
