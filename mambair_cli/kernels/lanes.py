"""Operations across the lanes of vectors: sums, the largest, the first that equals another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from mambair_cli.kernels.vector import (
    FLOAT,
    FLOATS,
    INT,
    LANES,
    address,
    call,
    loaded,
    vector,
)


def _folded(builder: Any, value: Any, join: Callable[[Any, Any, Any], Any]) -> Any:
    """Join the halves of a vector until one lane is left."""
    lanes = LANES
    while lanes > 1:
        lanes //= 2
        shuffle = ir.VectorType(INT, lanes)
        low, high = (
            builder.shuffle_vector(value, value, ir.Constant(shuffle, list(half)))
            for half in (range(lanes), range(lanes, 2 * lanes))
        )
        value = join(builder, low, high)
    return builder.extract_element(value, ir.Constant(INT, 0))


@intrinsic
def first_equal(typing: Any, a: Any, b: Any) -> Any:
    """Find the first lane in which two vectors are equal; `LANES` if there is none."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        bits = ir.IntType(LANES)
        equal = builder.bitcast(builder.fcmp_ordered("==", *values), bits)
        zero_is_no_error = ir.Constant(ir.IntType(1), 0)
        found = call(builder, f"llvm.cttz.i{LANES}", bits, [equal, zero_is_no_error])
        return builder.zext(found, ir.IntType(64))

    return types.int64(vector, vector), generate


@intrinsic
def largest_of(typing: Any, a: Any) -> Any:
    """Take the largest lane."""

    def larger(builder: Any, low: Any, high: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", low, high), low, high)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _folded(builder, values[0], larger)

    return types.float32(vector), generate


@intrinsic
def total(typing: Any, a: Any) -> Any:
    """Sum the lanes, pairwise."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _folded(builder, values[0], lambda builder, low, high: builder.fadd(low, high))

    return types.float32(vector), generate


@intrinsic
def totals(typing: Any, pointer: Any, index: Any) -> Any:
    """Sum each of the `LANES` vectors from `index` on: lane `j` is the total of vector `j`.

    Vectors are folded in pairs, so that one sum costs two shuffles and an addition.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = address(builder, *values, FLOAT.as_pointer())

        def folded(first: int, count: int) -> Any:
            if count == 1:
                at = builder.gep(place, [ir.Constant(INT, first * LANES)])
                return loaded(builder, builder.bitcast(at, FLOATS.as_pointer()))
            a, b = folded(first, count // 2), folded(first + count // 2, count // 2)
            # Of every vector, LANES / count * 2 partial sums lie together: add their halves.
            part = LANES // count
            lanes = [lane for lane in range(2 * LANES) if lane // part % 2 == 0]
            shuffle = ir.VectorType(INT, LANES)
            halves = (ir.Constant(shuffle, [lane + at for lane in lanes]) for at in (0, part))
            return builder.fadd(*(builder.shuffle_vector(a, b, half) for half in halves))

        return folded(0, LANES)

    return vector(pointer, types.intp), generate
