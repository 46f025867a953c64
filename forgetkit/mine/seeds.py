"""Seeds: single texts that stand for what is looked for."""

from __future__ import annotations

from pathlib import Path

from forgetkit.corpus import Quarantine, read_corpus
from forgetkit.errors import InputError


def read_seeds(path: Path) -> dict[str, str]:
    """Read seeds: one a line of a text file, or the columns `text` or `prompt` of a table.

    Returns:
        The seeds by `seed:` and their line or row; of equal ones the first.

    Raises:
        InputError: the file is missing, has a bad row, or holds no seed.
    """
    if not path.is_file():
        raise InputError("no such seeds file", where=str(path))
    if path.suffix in (".txt", ".md"):
        seeds = [(str(number), line) for number, line in enumerate(_lines(path), 1)]
    else:
        quarantine = Quarantine()
        documents = list(read_corpus([path], quarantine=quarantine))
        if quarantine.rows:
            bad = quarantine.rows[0]
            raise InputError(bad.reason, where=f"{path}:{bad.line}")
        seeds = [
            (document.source.rpartition(":")[2], document.text or document.prompt or "")
            for document in documents
        ]
    names: dict[str, str] = {}
    for name, seed in seeds:
        if seed.strip():
            names.setdefault(seed.strip(), f"seed:{name}")
    if not names:
        raise InputError("there is no seed", where=str(path))
    return {name: seed for seed, name in names.items()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=str(path)) from error
