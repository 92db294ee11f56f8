"""Depth-wise 3x3 and 5x5 convolution with its activation in Triton, channels last, forward.

A program takes a tile of one row: as many pixels by `SLICE` channels as fit into one vector of
`BLOCK` elements, so that no channel count leaves lanes idle. It walks the tile down `ROWS` rows.
Each input row is loaded once for each column of the filter (but the first time from the first-level
cache), and serves as many output rows from registers.
"""

from __future__ import annotations

import triton
from triton import language as tl

NONE, SILU, GELU = 0, 1, 2
_SILU, _GELU = tl.constexpr(SILU), tl.constexpr(GELU)


@triton.jit
def _activated(value, ACTIVATION: tl.constexpr):
    if ACTIVATION == _SILU:
        return value / (1.0 + tl.exp(-value))
    if ACTIVATION == _GELU:
        return value * 0.5 * (1.0 + tl.erf(value * 0.7071067811865476))
    return value


@triton.jit
def _load(at, mask):
    return tl.load(at, mask=mask, other=0).to(tl.float32)


@triton.jit
def _filter_row(weights, row: tl.constexpr, c, mask, SIZE: tl.constexpr):
    """Load the columns of one row of the filter."""
    at = weights + row * SIZE * c
    first, second, third = _load(at, mask), _load(at + c, mask), _load(at + 2 * c, mask)
    if SIZE == 3:
        return first, second, third
    else:  # noqa: RET505 - older compilers take what follows a return as well
        return first, second, third, _load(at + 3 * c, mask), _load(at + 4 * c, mask)


@triton.jit
def _neighbour(at, column, w, stride, mask, COLUMNS: tl.constexpr):
    """Load the pixel so many columns away, zero where there is none."""
    there = (column + COLUMNS >= 0) & (column + COLUMNS < w)
    return _load(at + COLUMNS * stride, mask & there)


@triton.jit
def _input_row(at, column, w, stride, mask, REACH: tl.constexpr, SIZE: tl.constexpr):
    """Load what a filter takes of one row of the input."""
    left = _neighbour(at, column, w, stride, mask, -REACH)
    middle = _load(at, mask & (column < w))
    right = _neighbour(at, column, w, stride, mask, REACH)
    if SIZE == 3:
        return left, middle, right
    else:  # noqa: RET505 - as above
        outer_left = _neighbour(at, column, w, stride, mask, -2 * REACH)
        return outer_left, left, middle, right, _neighbour(at, column, w, stride, mask, 2 * REACH)


@triton.jit
def _filtered(start, values, taps, SIZE: tl.constexpr):
    """Add an input row, weighted by a row of the filter, to `start`."""
    for i in tl.static_range(SIZE):
        start += values[i] * taps[i]
    return start


@triton.jit(do_not_specialize=["h", "w", "c", "stride"])
def depthwise(
    x,
    weights,
    bias,
    out,
    h,
    w,
    c,
    stride,
    SIZE: tl.constexpr,
    REACH: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ROWS: tl.constexpr,
    SLICE: tl.constexpr,
    BLOCK: tl.constexpr,
    ALIGN: tl.constexpr,
):
    """`out = activation(conv(x))`; the grid counts groups of rows, slices of channels and columns.

    With a dilation of 2 a program takes every second row, so that its rows share their inputs.

    Args:
        x: `(b h w c)`, pixels `stride` apart.
        weights: `(SIZE*SIZE c)`.
        bias: `(c)`.
        out: `(b h w c)`.
        h: Height.
        w: Width.
        c: Channels.
        stride: Elements from one pixel of x to the next.
        SIZE: Side of the filter, 3 or 5.
        REACH: Dilation; the border is padded with as many zeros as a filter reaches over it.
        ACTIVATION: `NONE`, `SILU` or `GELU`.
        ROWS: Output rows of a program.
        SLICE: Channels of a program.
        BLOCK: A power of two; a program takes `BLOCK // SLICE` columns.
        ALIGN: A power of two that divides `SLICE`, c and the stride.
    """
    c, stride = c // ALIGN * ALIGN, stride // ALIGN * ALIGN
    groups = tl.cdiv(tl.cdiv(h, REACH), ROWS) * REACH
    image, group = tl.program_id(0) // groups, tl.program_id(0) % groups
    first = group // REACH * (ROWS * REACH) + group % REACH
    element = tl.arange(0, BLOCK)
    channel = tl.program_id(1) * SLICE + element % SLICE
    column = tl.program_id(2) * (BLOCK // SLICE) + element // SLICE
    owned = (element < BLOCK // SLICE * SLICE) & (channel < c)
    start = _load(bias + channel, owned)
    taps0 = _filter_row(weights + channel, 0, c, owned, SIZE)
    taps1 = _filter_row(weights + channel, 1, c, owned, SIZE)
    taps2 = _filter_row(weights + channel, 2, c, owned, SIZE)
    # Output rows that still lack some of their input, the one that lacks most first.
    sum0, sum1 = start, start
    if SIZE == 5:
        taps3 = _filter_row(weights + channel, 3, c, owned, SIZE)
        taps4 = _filter_row(weights + channel, 4, c, owned, SIZE)
        sum2, sum3 = start, start
    for i in tl.static_range(ROWS + SIZE - 1):
        row = first + (i - SIZE // 2) * REACH
        there = owned & (row >= 0) & (row < h)
        at = x + (image * h + row).to(tl.int64) * w * stride + column * stride + channel
        values = _input_row(at, column, w, stride, there, REACH, SIZE)
        if SIZE == 5:
            value = _filtered(sum3, values, taps4, SIZE)
            sum3 = _filtered(sum2, values, taps3, SIZE)
            sum2 = _filtered(sum1, values, taps2, SIZE)
        else:
            value = _filtered(sum1, values, taps2, SIZE)
        if i >= SIZE - 1:
            done = row - SIZE // 2 * REACH
            to = out + (image * h + done).to(tl.int64) * w * c + column * c + channel
            inside = owned & (column < w) & (done < h)
            tl.store(to, _activated(value, ACTIVATION), mask=inside)
        sum1 = _filtered(sum0, values, taps1, SIZE)
        sum0 = _filtered(start, values, taps0, SIZE)
