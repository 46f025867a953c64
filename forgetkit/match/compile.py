"""How kernels are compiled: without the interpreter's lock, and kept in numba's cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile a kernel on its first call; where no cache can be written, in each process anew."""
    try:
        return cast(F, numba.njit(function, nogil=True, cache=True))
    except RuntimeError:
        return cast(F, numba.njit(function, nogil=True))


@intrinsic  # type: ignore[untyped-decorator]
def load_word(typing: Any, data: Any, index: Any) -> Any:
    """Return the 8 bytes at an index as one little-endian number; the caller minds the end."""
    signature = types.uint64(data, index)

    def generate(context: Any, builder: Any, signed: Any, arguments: Any) -> Any:
        array = context.make_array(signed.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        word = builder.bitcast(place, ir.IntType(64).as_pointer())
        return builder.load(word, align=1)

    return signature, generate
