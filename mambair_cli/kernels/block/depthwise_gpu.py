"""Depth-wise 3x3 convolution with its activation in Triton, channels last, forward.

A program takes a tile of one row: as many pixels by `SLICE` channels as fit into one vector of
`BLOCK` elements, so that no channel count leaves lanes idle. It walks the tile down `ROWS` rows.
Each input row is loaded three times, once for each column of the filter (two of them from the
first-level cache), and serves three output rows from registers.
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
def _filter_row(weights, row: tl.constexpr, c, mask):
    """Load the three columns of one row of the filter."""
    at = weights + row * 3 * c
    return _load(at, mask), _load(at + c, mask), _load(at + 2 * c, mask)


@triton.jit
def _filtered(start, left, middle, right, row):
    """Add an input row, weighted by a row of the filter, to `start`."""
    return start + left * row[0] + middle * row[1] + right * row[2]


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
        weights: `(9 c)`.
        bias: `(c)`.
        out: `(b h w c)`.
        h: Height.
        w: Width.
        c: Channels.
        stride: Elements from one pixel of x to the next.
        REACH: Dilation; the border is padded with as many zeros.
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
    inside = owned & (column < w)
    left_inside = inside & (column >= REACH)
    right_inside = inside & (column + REACH < w)
    start = _load(bias + channel, owned)
    top = _filter_row(weights + channel, 0, c, owned)
    centre = _filter_row(weights + channel, 1, c, owned)
    bottom = _filter_row(weights + channel, 2, c, owned)
    upper, lower = start, start
    for i in tl.static_range(ROWS + 2):
        row = first + (i - 1) * REACH
        there = (row >= 0) & (row < h)
        at = x + (image * h + row).to(tl.int64) * w * stride + column * stride + channel
        left = _load(at - REACH * stride, left_inside & there)
        middle = _load(at, inside & there)
        right = _load(at + REACH * stride, right_inside & there)
        if i >= 2:
            value = _filtered(lower, left, middle, right, bottom)
            above = row - REACH
            to = out + (image * h + above).to(tl.int64) * w * c + column * c + channel
            tl.store(to, _activated(value, ACTIVATION), mask=inside & (above < h))
        lower = _filtered(upper, left, middle, right, centre)
        upper = _filtered(start, left, middle, right, top)
