"""Exponentials and what is made of them, on vectors inside kernels."""

from __future__ import annotations

import numpy as np
from numba import njit

from mambair_cli.kernels.instruction_set import target
from mambair_cli.kernels.powers import (
    add_exponent,
    fraction,
    roughly_inverse,
    times_power_of_two,
)
from mambair_cli.kernels.vector import (
    add,
    div,
    fma,
    maximum,
    minimum,
    mul,
    splat,
    sub,
    where_negative,
)

LOG2_E = np.float32(1.4426950408889634)
LN_2 = np.float32(0.6931471805599453)
ZERO, ONE = np.float32(0), np.float32(1)
_HALF = np.float32(0.5)
_ROUND = np.float32(1.5 * 2**23)  # adding it leaves the nearest integer in the low bits
_SMALLEST_EXPONENT = np.float32(-126)
# 2^x = 1 + x q(x) on [-1/2, 1/2], error 1.3e-7 of the value and vanishing at 0
_E1, _E2, _E3, _E4, _E5 = np.float32([0.69314721, 0.24022228, 0.05550327, 0.00967218, 0.00134004])
# log(1 + v) = v (1 + v q(v)) on [0, 1], error 3e-8 of the value
_L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = np.float32(
    [
        -0.499996483, 0.33321324, -0.248571634, 0.191536516, -0.137537956, 0.079204455,
        -0.0300657433, 0.00536481244,
    ]
)  # fmt: skip


# 2^(r - 1/2) on [0, 1], the same polynomial, and exactly 1 at 1/2
_R0, _R1, _R2, _R3, _R4, _R5 = np.float32(
    [0.707106709, 0.490133822, 0.169810623, 0.0394804962, 0.006355335, 0.00132647005]
)
# the same to 1e-4
_C0, _C1, _C2, _C3 = np.float32([0.707035184, 0.492328644, 0.159697518, 0.0550089292])


@njit(forceinline=True)
def exp2(x):
    """`2**x` for `x` up to 127; below -126 it stays at the smallest normal number."""
    x = maximum(x, splat(_SMALLEST_EXPONENT))
    shifted = add(x, splat(_ROUND))
    rest = sub(x, sub(shifted, splat(_ROUND)))
    value = fma(splat(_E5), rest, splat(_E4))
    value = fma(value, rest, splat(_E3))
    value = fma(value, rest, splat(_E2))
    value = fma(value, rest, splat(_E1))
    value = fma(value, rest, splat(ONE))
    return add_exponent(value, shifted)


# The scan takes most of its time for these.
if target().instruction_set.powers:

    @njit(forceinline=True)
    def _times_root_half(rest):
        """`2**(rest - 1/2)`, on [0, 1]."""
        value = fma(splat(_R5), rest, splat(_R4))
        value = fma(value, rest, splat(_R3))
        value = fma(value, rest, splat(_R2))
        value = fma(value, rest, splat(_R1))
        return fma(value, rest, splat(_R0))

    @njit(forceinline=True)
    def exp2_of_product(a, b):
        """`2**(a b)` for products up to 127; 8 operations instead of 12."""
        above = fma(a, b, splat(_HALF))
        return times_power_of_two(_times_root_half(fraction(above)), above)

    @njit(forceinline=True)
    def exp2_of_difference(a, b):
        """`2**(a - b)` for `a` up to `b`; below -126 it stays at the smallest normal number."""
        above = add(maximum(sub(a, b), splat(_SMALLEST_EXPONENT)), splat(_HALF))
        return times_power_of_two(_times_root_half(fraction(above)), above)

    @njit(forceinline=True)
    def coarse_exp2_of_product(a, b):
        """`2**(a b)` to 1e-4, exact for products of zero."""
        above = fma(a, b, splat(_HALF))
        rest = fraction(above)
        value = fma(splat(_C3), rest, splat(_C2))
        value = fma(value, rest, splat(_C1))
        value = fma(value, rest, splat(_C0))
        return times_power_of_two(value, above)
else:

    @njit(forceinline=True)
    def exp2_of_product(a, b):
        """`2**(a b)` for products up to 127; it is never less than the smallest normal number."""
        return exp2(mul(a, b))

    @njit(forceinline=True)
    def exp2_of_difference(a, b):
        """`2**(a - b)` for `a` up to `b`; it is never less than the smallest normal number."""
        return exp2(sub(a, b))

    coarse_exp2_of_product = exp2_of_product


if target().instruction_set.powers:

    @njit(forceinline=True)
    def inverse(x):
        """`1 / x` for x from 1 to 2**120, exact to a bit; a division takes as long as 16 others."""
        rough = roughly_inverse(x)
        return fma(rough, fma(sub(splat(ZERO), x), rough, splat(ONE)), rough)
else:

    @njit(forceinline=True)
    def inverse(x):
        """`1 / x`."""
        return div(splat(ONE), x)


@njit(forceinline=True)
def softplus(x):
    """`log(1 + exp(x))` as `max(x, 0) + log(1 + v)` with `v = exp(-|x|)`; without a division."""
    v = exp2_of_product(maximum(x, sub(splat(ZERO), x)), splat(-LOG2_E))
    value = fma(splat(_L8), v, splat(_L7))
    value = fma(value, v, splat(_L6))
    value = fma(value, v, splat(_L5))
    value = fma(value, v, splat(_L4))
    value = fma(value, v, splat(_L3))
    value = fma(value, v, splat(_L2))
    value = fma(value, v, splat(_L1))
    value = fma(value, v, splat(ONE))
    return fma(value, v, maximum(x, splat(ZERO)))


@njit(forceinline=True)
def sigmoid(x):
    """`1 / (1 + exp(-x))`."""
    v = exp2(minimum(mul(x, splat(-LOG2_E)), splat(-_SMALLEST_EXPONENT)))
    return inverse(add(splat(ONE), v))


# Abramowitz and Stegun 7.1.26: erfc(z) = t p(t) exp(-z^2), t = 1 / (1 + z p0), error 1.5e-7
_P0 = np.float32(0.3275911 / np.sqrt(2))
_P1, _P2, _P3, _P4, _P5 = np.float32(
    [0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429]
)
_NORMAL_PEAK = np.float32(1 / np.sqrt(2 * np.pi))


@njit(forceinline=True)
def normal_density(x):
    """Compute the density of the standard normal distribution."""
    return mul(splat(_NORMAL_PEAK), exp2(mul(mul(x, x), splat(-_HALF * LOG2_E))))


@njit(forceinline=True)
def normal_cumulative(x):
    """Compute the cumulative standard normal distribution, the gate of GELU."""
    z = maximum(x, sub(splat(ZERO), x))
    t = inverse(fma(z, splat(_P0), splat(ONE)))
    value = fma(splat(_P5), t, splat(_P4))
    value = fma(value, t, splat(_P3))
    value = fma(value, t, splat(_P2))
    value = fma(value, t, splat(_P1))
    tail = mul(mul(value, t), mul(splat(_HALF), exp2(mul(mul(x, x), splat(-_HALF * LOG2_E)))))
    return where_negative(x, tail, sub(splat(ONE), tail))
