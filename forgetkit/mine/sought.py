"""What is looked for: works out of texts, tables and indexes, and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forgetkit.corpus import Work, corpus_files, read_works
from forgetkit.errors import InputError
from forgetkit.files import sha256_file
from forgetkit.mine.detector import Sought
from forgetkit.mine.seeds import read_seeds


def read_sought(works: Sequence[Path], seeds: Path | None) -> Sought:
    """Read works and seeds; an index gives its works.

    Raises:
        InputError: a file is missing or bad, or two files hold the same work.
        TamperedError: an index was changed.
    """
    from forgetkit.match import WorkIndex

    texts, indexes = split(works)
    found = {work.work_id: work for work in (read_works(texts) if texts else ())}
    for path in indexes:
        for name, text in WorkIndex.open(path).works().items():
            if name in found:
                raise InputError(f"two files hold the work '{name}'", where=str(path))
            found[name] = Work(name, name, text)
    ordered = tuple(found[name] for name in sorted(found))
    named = read_seeds(seeds) if seeds else {}
    return Sought(ordered, tuple(named.values()), tuple(indexes), tuple(named))


def digests(works: Sequence[Path], seeds: Path | None, ignore: Sequence[str]) -> dict[str, Any]:
    """Return the digest of every file that says what is looked for."""
    texts, indexes = split(works)
    return {
        "works": {label: sha256_file(path) for label, path in corpus_files(texts)}
        | {path.name: sha256_file(path) for path in indexes},
        "seeds": sha256_file(seeds) if seeds else None,
        "ignore": [sha256_file(Path(name)) for name in ignore],
    }


def split(works: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the paths that hold texts of works, and those that are indexes of works."""
    from forgetkit.match.index_file import is_index

    indexes = [path for path in works if path.is_file() and is_index(path)]
    return [path for path in works if path not in indexes], indexes
