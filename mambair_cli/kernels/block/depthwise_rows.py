"""Several pixels of a depth-wise convolution at once, made as LLVM's instructions.

Each value is loaded once for all pixels that it is a neighbour of, each weight once for all pixels.
"""

from __future__ import annotations

from typing import Any

from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

from mambair_cli.kernels.vector import load_first_lanes, load_lanes, multiply_add, vector

PIXELS = 8  # with the weights of a line of five they fit the registers of AVX2 as well


@njit(forceinline=True)
def copies(value):
    """Repeat a vector, once for each pixel."""
    return value, value, value, value, value, value, value, value


def row_adder(side: int) -> Any:
    """Make what adds one line of a filter of a side to the sums of `PIXELS` pixels."""

    @intrinsic
    def add_row(
        typing: Any, sums: Any, image: Any, at: Any, step: Any, left: Any, weights: Any, width: Any
    ) -> Any:
        """Add the weighted neighbours of a line.

        Args:
            typing: Numba's.
            sums: A vector of channels of each pixel; pixels are `step` apart.
            image: What is filtered.
            at: Where the first neighbour of the first pixel lies.
            step: Values from one neighbour to the next.
            left: How many channels from there on.
            weights: Of the line.
            width: Values from one weight to the next.
        """

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            _, image, at, step, left, weights, width = values
            pixels = cgutils.unpack_tuple(builder, values[0], PIXELS)
            kinds = signature.args[1], signature.args[5]
            taps = [
                load_lanes(builder, kinds[1], (weights, builder.mul(width, width.type(tap))))
                for tap in range(side)
            ]
            for neighbour in range(PIXELS + side - 1):
                value = load_first_lanes(builder, kinds[0], (image, at, left))
                at = builder.add(at, step)
                for pixel in range(PIXELS):
                    if 0 <= (tap := neighbour - pixel) < side:
                        operands = value, taps[tap], pixels[pixel]
                        pixels[pixel] = multiply_add(builder, operands)
            return context.make_tuple(builder, signature.return_type, pixels)

        result = types.UniTuple(vector, PIXELS)
        return result(
            sums, image, types.intp, types.intp, types.intp, weights, types.intp
        ), generate

    return add_row
