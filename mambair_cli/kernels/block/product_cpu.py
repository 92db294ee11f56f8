"""Matrix products on a CPU with what follows them: a bias, an activation.

A block of rows and columns of the result stays in registers while everything is added to it. For
narrow matrices that is faster than a library, which lays both out anew before it multiplies.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from mambair_cli.kernels.elementary import normal_cumulative
from mambair_cli.kernels.numba_compiler import kernel
from mambair_cli.kernels.scan.numba_forward import smaller
from mambair_cli.kernels.vector import (
    FLOAT,
    LANES,
    address,
    copied,
    load,
    load_lanes,
    mul,
    multiply_add,
    offset,
    store_part,
    vector,
)

ROWS = LANES // 2  # of a block: AVX-512 has twice as many registers
VECTORS = 3  # of a row of a block
CHUNK = 64  # rows for which a block of columns stays in the first-level cache


def _block_of(vectors: int) -> Any:
    """Make what multiplies `ROWS` rows by so many vectors of columns."""

    @intrinsic
    def block(
        typing: Any, start: Any, x: Any, stride: Any, count: Any, weights: Any, width: Any
    ) -> Any:
        """Multiply; all sums of the block, row by row.

        Args:
            typing: Numba's.
            start: What each row begins with.
            x: The first row.
            stride: Values from one row to the next.
            count: Values of a row.
            weights: The first column, `(count width)`.
            width: Values from one row of the weights to the next.
        """

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            start, x, stride, count, weights, width = values
            begins = [builder.extract_value(start, i) for i in range(vectors)]
            rows = [builder.gep(x, [builder.mul(stride, stride.type(i))]) for i in range(ROWS)]
            before, loop = builder.block, builder.append_basic_block("multiply")
            end = builder.append_basic_block("multiplied")
            builder.branch(loop)
            builder.position_at_end(loop)
            index = builder.phi(count.type)
            sums = [builder.phi(begin.type) for _ in rows for begin in begins]
            at = builder.mul(index, width)
            columns = [
                load_lanes(
                    builder, signature.args[4], (weights, builder.add(at, at.type(i * LANES)))
                )
                for i in range(vectors)
            ]
            added = []
            for i, row in enumerate(rows):
                one = copied(
                    builder, builder.load(address(builder, row, index, FLOAT.as_pointer()))
                )
                added += [
                    multiply_add(builder, (one, column, sums[i * vectors + j]))
                    for j, column in enumerate(columns)
                ]
            following = builder.add(index, index.type(1))
            for i, each in enumerate(sums):
                each.add_incoming(begins[i % vectors], before)
                each.add_incoming(added[i], loop)
            index.add_incoming(ir.Constant(index.type, 0), before)
            index.add_incoming(following, loop)
            builder.cbranch(builder.icmp_signed("<", following, count), loop, end)
            builder.position_at_end(end)
            return context.make_tuple(builder, signature.return_type, added)

        result = types.UniTuple(vector, ROWS * vectors)
        return result(start, x, types.intp, types.intp, weights, types.intp), generate

    return block


_one, _two, _three = (_block_of(vectors) for vectors in (1, 2, 3))


@njit(forceinline=True)
def _activated(value, gelu):
    return mul(value, normal_cumulative(value)) if gelu else value


@njit(forceinline=True)
def _put(out, sums, vectors, n, column, gelu):
    """Write a block of the result."""
    for i, value in enumerate(sums):
        row, v = i // vectors * n, column + i % vectors * LANES
        store_part(out, row + v, _activated(value, gelu), n - v)


@kernel(floats=4)
def product(x, weights, bias, out, p, k, n, width, gelu, tasks, first, last):
    """`out = x @ weights + bias`, and the GELU of it if that is wanted.

    Args:
        x: `(p k)`, no fewer than `ROWS` rows.
        weights: `(k n')`; n' is n rounded up to whole vectors, padded with zeros.
        bias: `(n')`.
        out: `(p n)`.
        p: Rows.
        k: Values of a row.
        n: Columns.
        width: n'.
        gelu: Whether the result is activated.
        tasks: Into how many parts the rows are divided.
        first: First task.
        last: The one after the last.
    """
    chunks = -(-p // CHUNK)
    for chunk in range(chunks * first // tasks, chunks * last // tasks):
        begin = chunk * CHUNK
        end = smaller(begin + CHUNK, p)
        v = 0
        while v < width:
            left = (width - v) // LANES
            # Four are two and two: with a single one every value is loaded for one operation.
            vectors = 2 if left == 4 else smaller(left, VECTORS)
            columns, biases = offset(weights, v), offset(bias, v)
            for at in range(begin, end, ROWS):
                # The last block begins earlier, and makes some rows again.
                row = smaller(at, p - ROWS)
                source, place = offset(x, row * k), offset(out, row * n)
                if vectors == 3:
                    start = load(biases, 0), load(biases, LANES), load(biases, 2 * LANES)
                    _put(place, _three(start, source, k, k, columns, width), 3, n, v, gelu)
                elif vectors == 2:
                    pair = load(biases, 0), load(biases, LANES)
                    _put(place, _two(pair, source, k, k, columns, width), 2, n, v, gelu)
                else:
                    single = (load(biases, 0),)
                    _put(place, _one(single, source, k, k, columns, width), 1, n, v, gelu)
            v += vectors * LANES
