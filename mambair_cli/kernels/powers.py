"""Powers of two by the bits of floating point, and estimates, for vectors inside kernels."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from mambair_cli.kernels.vector import FLOATS, INT, INTS, LANES, call, vector


@intrinsic
def add_exponent(typing: Any, a: Any, shifted: Any) -> Any:
    """Multiply `a` by two to the power of the integer in the low bits of `shifted`."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        bits, exponent = (builder.bitcast(value, INTS) for value in values)
        exponent = builder.shl(exponent, ir.Constant(INTS, [23] * LANES))
        return builder.bitcast(builder.add(bits, exponent), FLOATS)

    return vector(vector, vector), generate


def _avx512(name: str, builder: Any, before: list[Any], after: list[Any]) -> Any:
    """Call one of LLVM's masked AVX-512 functions for all lanes, rounding as the processor does."""
    zeros, all_lanes = ir.Constant(FLOATS, [0.0] * LANES), ir.Constant(ir.IntType(16), -1)
    current_rounding = ir.Constant(INT, 4)
    arguments = [*before, *after, zeros, all_lanes, current_rounding]
    return call(builder, f"llvm.x86.avx512.mask.{name}.ps.512", FLOATS, arguments)


@intrinsic
def roughly_inverse(typing: Any, x: Any) -> Any:
    """Estimate `1 / x` to 14 bits; needs an instruction for it."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        zeros, all_lanes = ir.Constant(FLOATS, [0.0] * LANES), ir.Constant(ir.IntType(16), -1)
        arguments = [*values, zeros, all_lanes]
        return call(builder, "llvm.x86.avx512.rcp14.ps.512", FLOATS, arguments)

    return vector(vector), generate


@intrinsic
def fraction(typing: Any, x: Any) -> Any:
    """Take off the largest whole number that is not above `x`; needs an instruction for it."""
    down, quietly = 1, 8

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _avx512("reduce", builder, values, [ir.Constant(INT, down | quietly)])

    return vector(vector), generate


@intrinsic
def times_power_of_two(typing: Any, a: Any, exponent: Any) -> Any:
    """Compute `a * 2**floor(exponent)`; needs an instruction for it."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _avx512("scalef", builder, list(values), [])

    return vector(vector, vector), generate
