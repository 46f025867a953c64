"""What a row needs to be a document, and the books of those that are and are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forgetkit.corpus.columns import Wanted, derived_id
from forgetkit.corpus.document import Document
from forgetkit.corpus.quarantine import Quarantine
from forgetkit.corpus.rows import Row, unusable
from forgetkit.errors import InputError
from forgetkit.files import sha256_bytes

COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id", "doc_id"),
    "text": ("text", "content"),
    "prompt": ("prompt", "question"),
    "answer": ("answer", "response", "completion"),
}
"""Columns looked for, in this order, where the user names none."""


def wanted_columns(columns: Mapping[str, str] | None) -> Wanted:
    """Return the columns to look for by role; who names one that holds text names all of them.

    >>> wanted_columns({"id": "key"})["text"]
    ('text', 'content')

    Raises:
        InputError: a role that there is not.
    """
    if not columns:
        return COLUMNS
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown:
        raise InputError("unknown column role", found=unknown[0], mend=f"Known: {list(COLUMNS)}.")
    usual = COLUMNS if set(columns) <= {"id"} else {"id": COLUMNS["id"]}
    return {**usual, **{role: (name,) for role, name in columns.items()}}


def accept(row: Row, label: str, wanted: Wanted, quarantine: Quarantine) -> Document | None:
    """Return the document of a row; a bad one is counted and recorded, and gives None."""
    quarantine.saw(label)
    if row.filtered:
        quarantine.filter(label)
        return None
    made = row.reason if row.values is None else _document(row.values, label, row, wanted)
    if isinstance(made, str):
        digest = row.digest or _digest(row, wanted)
        quarantine.reject_digest(label, row.number, row.offset, made, digest)
        return None
    quarantine.keep(label)
    return made


def _digest(row: Row, wanted: Wanted) -> str:
    """Return the digest of a row that has no bytes of its own: of its columns that count."""
    values = row.values or {}
    names = sorted({name for options in wanted.values() for name in options} & set(values))
    return sha256_bytes(repr([(name, values[name]) for name in names]).encode("utf-8", "replace"))


def _document(values: Mapping[str, Any], label: str, row: Row, wanted: Wanted) -> Document | str:
    """Return the document of a row, or what is wrong with it."""
    source = f"{label}:{row.number}"
    names = {
        role: next((name for name in options if values.get(name) is not None), None)
        for role, options in wanted.items()
    }
    taken = {role: values[name] for role, name in names.items() if name is not None}
    if "text" not in taken and "prompt" not in taken:
        looked = [name for role in ("text", "prompt") for name in wanted.get(role, ())]
        return f"none of the columns {', '.join(looked)}"
    reason = _wrong(taken)
    if reason:
        return reason
    used = set(names.values())
    doc_id = str(taken["id"]) if "id" in taken else derived_id(source)
    return Document(
        doc_id=doc_id,
        source=source,
        text=taken.get("text", ""),
        prompt=taken.get("prompt"),
        answer=taken.get("answer"),
        extra={key: value for key, value in values.items() if key not in used},
    )


def _wrong(taken: Mapping[str, Any]) -> str:
    for role, value in taken.items():
        if role == "id" and isinstance(value, int) and not isinstance(value, bool):
            continue
        if not isinstance(value, str):
            return f"column of the {role} holds {type(value).__name__}, not text"
        reason = unusable(value)
        if reason:
            return f"{reason} in the {role}"
    if not any(value for role, value in taken.items() if role != "id"):
        return "no text"
    return ""
