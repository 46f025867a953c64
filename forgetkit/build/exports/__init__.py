"""A forget set in the form that other tools read.

from forgetkit.build.exports import export
export(Path("forget_set"), "trl", Path("forget_set/exports/trl"))
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from forgetkit.build.exports.forms import FORMS, Rows
from forgetkit.errors import UsageError, nearest
from forgetkit.files import write_bytes
from forgetkit.forget_set import read_forget_set

__all__ = ["FOLDER", "FORMS", "export"]

FOLDER = "exports"
"""Folder inside a forget set for its exports."""


def check_form(name: str) -> None:
    """Refuse an unknown form.

    Raises:
        UsageError: it is unknown; the message names the closest.
    """
    if name not in FORMS:
        raise UsageError(f"unknown export '{name}'", mend=nearest(name, FORMS))


def export(forget_set: Path, form: str, out: Path) -> dict[str, Path]:
    """Write a forget set as JSON lines in the form of another tool.

    Args:
        forget_set: a folder that `build` wrote.
        form: trl, open-unlearning or jsonl.
        out: folder; files of these names in it are replaced. They hold protected text (mode 0600).

    Returns:
        The files, by name.

    Raises:
        UsageError: an unknown form.
        InputError: the folder holds no forget set, or one that this form has no place for.
    """
    check_form(form)
    tables: Mapping[str, Rows] = FORMS[form](read_forget_set(forget_set))
    written: dict[str, Path] = {}
    for name, rows in tables.items():
        if not rows:
            continue
        lines = (
            row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows
        )
        content = "".join(f"{line}\n" for line in lines)
        write_bytes(out / name, content.encode("utf-8"), private=True)
        written[name] = out / name
    return written
