"""The decorator of every numba kernel: no GIL, compiled on first use, kept in numba's cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers that Python calls."""
    try:
        return cast(F, njit(nogil=True, cache=True)(function))
    except RuntimeError:  # no folder for the cache can be written
        return cast(F, njit(nogil=True)(function))


def inlined(function: F) -> F:
    """Compile a function that kernels alone call, into the place of the call."""
    return cast(F, njit(nogil=True, inline="always")(function))
