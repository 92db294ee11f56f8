"""A block of a matrix product whose sums stay in registers, for kernels that multiply."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from mambair_cli.kernels.instruction_set import target
from mambair_cli.kernels.vector import FLOATS, LANES, copied, loaded, multiply_add

# Rows of a block: with two vectors of columns their sums fill three quarters of the registers.
ROWS = target().instruction_set.rows


def _multiply_by(vectors: int) -> Any:
    @intrinsic
    def multiply(typing: Any, left: Any, right: Any, out: Any, depth: Any) -> Any:
        """Multiply `ROWS` rows by some vectors of columns.

        Args:
            typing: Numba's.
            left: `(depth/LANES ROWS LANES)`: `LANES` values of each row lie together.
            right: `(depth vectors LANES)`.
            out: `(vectors ROWS LANES)`.
            depth: Values of a row.
        """

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            left, right, out, depth = values
            sums = [cgutils.alloca_once(builder, FLOATS) for _ in range(ROWS * vectors)]
            for each in sums:
                builder.store(ir.Constant(FLOATS, [0.0] * LANES), each)

            def vector_at(pointer: Any, at: int) -> Any:
                place = builder.gep(pointer, [ir.Constant(depth.type, at * LANES)])
                return builder.bitcast(place, FLOATS.as_pointer())

            with cgutils.for_range(builder, depth) as loop:
                width, apart, lanes = (
                    ir.Constant(depth.type, value)
                    for value in (vectors * LANES, (ROWS - 1) * LANES, LANES)
                )
                factors = builder.gep(right, [builder.mul(loop.index, width)])
                columns = [loaded(builder, vector_at(factors, v)) for v in range(vectors)]
                skipped = builder.mul(builder.udiv(loop.index, lanes), apart)
                row_values = builder.gep(left, [builder.add(skipped, loop.index)])
                for row in range(ROWS):
                    at = builder.gep(row_values, [ir.Constant(depth.type, row * LANES)])
                    copies = copied(builder, builder.load(at))
                    for v, column in enumerate(columns):
                        place = sums[v * ROWS + row]
                        value = multiply_add(builder, (copies, column, builder.load(place)))
                        builder.store(value, place)
            for i, each in enumerate(sums):
                builder.store(builder.load(each), vector_at(out, i)).align = 4
            return context.get_dummy_value()

        return types.void(left, right, out, types.intp), generate

    return multiply


multiply_by_one, multiply_by_two = _multiply_by(1), _multiply_by(2)
