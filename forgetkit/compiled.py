"""The decorators of every numba kernel: no GIL, compiled on first use, kept in the user's cache.

numba keeps a compiled kernel until the file of that kernel changes; what it calls, or a constant
that it takes from elsewhere, may have changed all the same. So every state of the sources has a
cache folder of its own.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from numba import config, njit

from forgetkit.files import cache_folder

F = TypeVar("F", bound=Callable[..., object])

FOLDERS = ("classify", "corpus", "dedupe", "embed", "match", "mine")
"""Folders of the package that hold kernels; any file of theirs may decide what is compiled."""


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers; where no cache can be written, in each process."""
    usual, config.CACHE_DIR = config.CACHE_DIR, kernel_folder()
    try:
        return cast(F, njit(nogil=True, cache=bool(config.CACHE_DIR))(function))
    finally:
        config.CACHE_DIR = usual


def inlined(function: F) -> F:
    """Compile a function that kernels alone call, into the place of the call."""
    return cast(F, njit(nogil=True, inline="always")(function))


@functools.cache
def kernel_folder() -> str:
    """Return the folder of the kernels of these sources; empty where none can be written."""
    given = str(config.CACHE_DIR)  # NUMBA_CACHE_DIR
    folder = (Path(given) if given else cache_folder() / "kernels") / sources_digest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return ""
    return str(folder)


def sources_digest(package: Path = Path(__file__).parent) -> str:
    """Return the SHA-256 of all sources that may decide what is compiled."""
    digest = hashlib.sha256()
    for name in FOLDERS:
        for path in sorted((package / name).rglob("*.py")):
            digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
