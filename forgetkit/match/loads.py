"""What kernels read that numba has no words for."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


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


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing: Any, data: Any, index: Any) -> Any:
    """Fetch the cache line of an element that is read soon."""
    signature = types.void(data, index)

    def generate(context: Any, builder: Any, signed: Any, arguments: Any) -> Any:
        array = context.make_array(signed.args[0])(context, builder, arguments[0])
        bytes_at, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), bytes_at)
        kind = ir.FunctionType(ir.VoidType(), [bytes_at, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [bytes_at], kind)
        builder.call(fetch, [place, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return signature, generate
