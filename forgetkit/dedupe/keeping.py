"""Which member of a cluster stays: an order of preference over all documents."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from forgetkit.corpus.pieces import Piece
from forgetkit.dedupe.catalogue import Catalogue, Numbers
from forgetkit.dedupe.config import DedupeConfig
from forgetkit.dedupe.reading import documents_of
from forgetkit.errors import InputError


def ranks(
    catalogue: Catalogue, sources: Sequence[Piece | None], config: DedupeConfig, members: Numbers
) -> Numbers:
    """Return the place of each document in the order of preference, `(n,)`; 0 is the best.

    The other corpus comes before ours, then preferred files, then the policy, then the order of
    the corpus.

    Args:
        catalogue: all documents.
        sources: all pieces; None for signatures of earlier runs.
        config: settings.
        members: `(m,)` sorted documents that have copies; only their columns are read.

    Raises:
        InputError: a file lacks the column, or it holds values that have no order.
    """
    count = len(catalogue)
    piece = catalogue.where.piece_of(np.arange(count))
    liking = np.array([_liking(label, config.prefer) for label in catalogue.where.labels], np.int64)
    ours = np.arange(count) >= catalogue.settled
    order = np.lexsort(
        (
            np.arange(count),
            _policy(catalogue, sources, config, members),
            liking[piece] if count else piece,
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
    catalogue: Catalogue, sources: Sequence[Piece | None], config: DedupeConfig, members: Numbers
) -> Numbers:
    value = np.zeros(len(catalogue), np.int64)
    if config.keep == "longest":
        return -catalogue.characters
    if config.keep_column is None:
        return value
    found: dict[int, Any] = {}
    held: dict[Piece, dict[int, int]] = {}  # the first piece of a file: number by row
    for number, source in enumerate(sources):
        inside = catalogue.where.within(number, members)
        if (
            source is not None
            and len(inside)
            and catalogue.where.bounds[number] >= catalogue.settled
        ):
            first = next((one for one in held if one.label == source.label), source)
            rows = catalogue.rows[inside].tolist()
            held.setdefault(first, {}).update(zip(rows, inside.tolist(), strict=True))
    for source, numbers in held.items():
        for row, document in documents_of(source.label, source.path, config.columns):
            cell = document.extra.get(config.keep_column) if row in numbers else None
            if cell is not None and cell == cell:
                found[numbers[row]] = cell
    if not found and len(members):
        raise InputError("no document has the column", found=config.keep_column)
    for number, place in _places(found, config.keep_column).items():
        value[number] = -1 - place
    return value


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
