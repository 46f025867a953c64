"""The rows of a recipe as files: whole local ones as they are, the others written down once."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from forgetkit.build.ready import rows_of
from forgetkit.corpus.hub import hub_rows
from forgetkit.errors import InputError
from forgetkit.files import atomic_stream, digest_of, sha256_file
from forgetkit.progress import Progress
from forgetkit.recipes.recipe import Source


def files_of(sources: Sequence[Source], folder: Path, progress: Progress) -> list[Path]:
    """Return the files of some sources.

    Args:
        sources: local paths and data sets of the hub.
        folder: where chosen rows are kept; what is there already is not asked for again.
        progress: told of each data set.

    Raises:
        InputError: a data set cannot be had, or lacks a column.
    """
    return [
        s.path if s.path is not None and s.rows is None else _written(s, folder, progress)
        for s in sources
    ]


def _written(source: Source, folder: Path, progress: Progress) -> Path:
    named = source.model_dump(mode="json")
    if source.path is not None:
        named["path"] = sha256_file(source.path)
    title = source.part or Path(source.hub or source.path or "").name.split(".")[0]
    safe = re.sub(r"[^\w-]", "_", title)  # build reads what a probe is from the file's name
    path = folder / digest_of(named)[:16] / f"{safe}.jsonl"
    if path.is_file():
        return path
    progress.stage(f"read {title}", None)
    with atomic_stream(path, private=True) as stream:
        for row in _rows(source):
            stream.write(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")
            progress.advance()
    return path


def _rows(source: Source) -> Iterator[dict[str, Any]]:
    if source.path is not None:
        rows = (dict(row.values) for row in rows_of(source.path) if row.values is not None)
        yield from itertools.islice(rows, source.rows)
        return
    for row in hub_rows(source.hub, source.part, source.split):
        missing = [name for name in source.columns.values() if name not in row]
        if missing:
            raise InputError(
                "has no such column",
                where=source.hub,
                found=missing[0],
                mend=f"It has {', '.join(row)}.",
            )
        kept = {new: row[old] for new, old in source.columns.items()} or row
        yield kept | source.add
