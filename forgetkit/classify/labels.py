"""Labelled rows of files: which categories a text belongs to.

A row is a text, a prompt, or a prompt with its answer, and one of

- `label`: 1, 0, true, false, `harmful` or `harmless`; beside it `category` may name the category
  (else the one of the settings). A row with label 0 is a negative of every category.
- `labels`: a mapping of categories to 0 or 1; a category left out is not known for this row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forgetkit.classify.fit import Labelled, fraction
from forgetkit.classify.protocol import pair_text
from forgetkit.corpus import Document, Quarantine, read_all, read_corpus
from forgetkit.errors import InputError

POSITIVE = frozenset({"1", "true", "yes", "harmful", "toxic", "unsafe"})
NEGATIVE = frozenset({"0", "false", "no", "harmless", "ordinary", "safe"})


def read_labels(
    paths: Sequence[Path],
    category: str = "harmful",
    held_out: float = 0.2,
    *,
    columns: Mapping[str, str] | None = None,
) -> dict[str, list[Labelled]]:
    """Read labelled rows by category.

    Args:
        paths: JSONL, Parquet or CSV.
        category: name of the category of rows that name none.
        held_out: share of rows kept out of training, by a hash of their id.
        columns: names of the columns by role; None looks for the usual ones.

    Raises:
        InputError: a row has no label, or one that cannot be read; one text has two labels.
        TooManyBadRowsError: a row cannot be read at all.
    """
    rows = [(document, labels_of(document, category)) for document in read_all(paths, columns)]
    names = sorted({name for _, labels in rows for name in labels if name})
    found: dict[str, dict[str, Labelled]] = {name: {} for name in names}
    for document, labels in rows:
        text = text_of(document)
        for name in names:
            label = labels.get(name, labels.get(""))
            if label is not None:
                _add(found[name], text, label, document, held_out)
    if not names:
        raise InputError("no row belongs to a category", where=str(paths[0]))
    return {name: list(rows.values()) for name, rows in found.items()}


def _add(
    rows: dict[str, Labelled], text: str, label: bool, document: Document, held_out: float
) -> None:
    """Keep each text once, so that no copy of a training row measures."""
    key = " ".join(text.lower().split())
    if key in rows:
        if rows[key].label != label:
            raise InputError(
                "the same text has another label elsewhere",
                where=document.source,
                mend="Keep one of the rows.",
            )
        return
    source = str(document.extra.get("source") or "labels")
    held = fraction("held", document.doc_id) < held_out
    rows[key] = Labelled(document.doc_id, text, label, source, 1.0, held)


def labels_of(document: Document, category: str) -> dict[str, bool]:
    """Return labels by category; the empty name stands for every category.

    Raises:
        InputError: there is no label, or one that cannot be read.
    """
    labels = document.extra.get("labels")
    if isinstance(labels, Mapping):
        return {
            str(name): _flag(value, document) for name, value in labels.items() if value is not None
        }
    if document.extra.get("label") is None:
        raise InputError(
            "has no label", where=document.source, mend="Give a column `label` or `labels`."
        )
    if not _flag(document.extra["label"], document):
        return {"": False}
    name = str(document.extra.get("category") or category)
    return {name: True, "": False}


def _flag(value: Any, document: Document) -> bool:
    word = str(int(value) if isinstance(value, float) and value.is_integer() else value).lower()
    if word in POSITIVE:
        return True
    if word in NEGATIVE:
        return False
    raise InputError("is no label", where=document.source, found=repr(word[:40]))


def text_of(document: Document) -> str:
    """Return what a classifier reads of a document: its text, its prompt, or the pair."""
    if document.prompt is None:
        return document.text
    return pair_text(document.prompt, document.answer) if document.answer else document.prompt


def reads_of(paths: Sequence[Path], columns: Mapping[str, str] | None = None) -> str:
    """Return what the rows of files are: text, prompt or pair; the first row decides."""
    first = next(read_corpus(paths, columns=columns, quarantine=Quarantine()))
    if first.prompt is None:
        return "text"
    return "pair" if first.answer else "prompt"
