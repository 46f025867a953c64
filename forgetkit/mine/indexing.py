"""Index works once, for many runs of `mine`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetkit.corpus import read_works
from forgetkit.errors import UsageError
from forgetkit.mine.config import MineConfig


@dataclass(frozen=True)
class Indexed:
    """An index that was written.

    Attributes:
        path: the file.
        works: works in it.
        bytes: its size.
        sha256: digest of its content.
    """

    path: Path
    works: int
    bytes: int
    sha256: str


def index_works(works: Sequence[Path], out: Path, *, config: MineConfig | None = None) -> Indexed:
    """Write an index of works that `mine --works` takes instead of them.

    Args:
        works: text files, folders or tables.
        out: the file to write.
        config: `seed_symbols` and `seed_density` are read.

    Raises:
        UsageError: `out` is there and is no index.
        InputError: a work cannot be read.
    """
    from forgetkit.match import IndexParams, WorkIndex
    from forgetkit.match.index_file import is_index

    config = config or MineConfig()
    if out.is_dir() or (out.exists() and not is_index(out)):
        raise UsageError(
            "holds something else than an index", where=str(out), mend="Choose another --out."
        )
    texts = {work.work_id: work.text for work in read_works(works)}
    params = IndexParams(config.seed_symbols, config.seed_density)
    digest = WorkIndex.build(texts, params).save(out)
    return Indexed(out, len(texts), out.stat().st_size, digest)
