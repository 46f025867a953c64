"""Whom and what rows are about, by their columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any

from forgetkit.corpus import Document

ABOUT = ("author", "topic", "subject", "category")
"""Columns that say so; their text, or each text of a list, is one author or topic."""
COMMON = 0.2
"""A topic that more of the ordinary rows have makes none of them a neighbour, unless named."""


def columns_about(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those columns of a row that say whom or what it is about."""
    return {name: values[name] for name in ABOUT if name in values}


def spelled(name: str) -> str:
    """Return a name in the one spelling that is compared.

    >>> spelled(" Jo  DOE ")
    'jo doe'
    """
    return " ".join(name.split()).casefold()


def subjects(document: Document) -> set[str]:
    """Return the authors and topics that a row names.

    >>> sorted(subjects(Document("a", "a:1", extra={"author": ["Jo Doe", "X"], "topic": None})))
    ['jo doe', 'x']
    """
    said: list[Any] = []
    for value in columns_about(document.extra).values():
        said += value if isinstance(value, list | tuple) else [value]
    return {spelled(one) for one in said if isinstance(one, str)} - {""}


def related(
    documents: Sequence[Document], forget: Sequence[Document], named: Sequence[str]
) -> Set[tuple[str, str]]:
    """Return the source and id of each ordinary row on an author or topic of forget.

    Args:
        documents: ordinary rows.
        forget: the rows to forget.
        named: authors and topics that a person names.
    """
    own = [subjects(document) for document in documents]
    spread = Counter(name for names in own for name in names)
    common = {name for name, count in spread.items() if count > COMMON * len(documents)}
    sought = {name for document in forget for name in subjects(document)} - common
    sought |= {spelled(name) for name in named} - {""}
    pairs = zip(documents, own, strict=True)
    return {(d.source, d.doc_id) for d, names in pairs if names & sought}
