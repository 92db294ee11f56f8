"""Depth-wise convolution with its activation on a CPU, channels last, forward and backward.

A kernel is compiled for each side of the filter, whose loops are then unrolled.
"""

from __future__ import annotations

from types import FunctionType

from numba import njit

from mambair_cli.kernels.block.depthwise_rows import PIXELS, copies, row_adder
from mambair_cli.kernels.elementary import ONE, ZERO, normal_cumulative, normal_density, sigmoid
from mambair_cli.kernels.numba_compiler import kernel
from mambair_cli.kernels.vector import (
    LANES,
    add,
    fma,
    load,
    load_part,
    mul,
    offset,
    splat,
    store,
    store_part,
    sub,
)

NONE, SILU, GELU, GATE, ADDED = range(5)


@njit(forceinline=True)
def _neighbours(at, side, y, x, h, w, reach):
    """Fill `at` with pixel offsets of the neighbours, the image's size for those outside."""
    for tap in range(side * side):
        ny, nx = y + (tap // side - side // 2) * reach, x + (tap % side - side // 2) * reach
        inside = 0 <= ny < h and 0 <= nx < w
        at[tap] = (ny - y) * w + nx - x if inside else h * w


@njit(forceinline=True)
def _filter(image, weights, start, taps, count, size, width, pixel, c, v):
    """Add the weighted neighbours of one vector of channels to `start`."""
    value = start
    for tap in range(count):
        if taps[tap] != size:
            neighbour = load_part(image, (pixel + taps[tap]) * c + v, c - v)
            value = fma(neighbour, load(weights, tap * width + v), value)
    return value


@njit(forceinline=True)
def _whole_filter(image, weights, start, side, row, step, width, at, v, left):
    """Add all weighted neighbours of one vector of channels to `start`.

    Args:
        image: What is filtered.
        weights: As of the forward kernel.
        start: What they are added to.
        side: Side of the filter.
        row: Values from one row of it to the next.
        step: Values from one of its columns to the next.
        width: c'.
        at: Where the pixel lies.
        v: Which channels.
        left: How many channels from there on.
    """
    value = start
    first = at - side // 2 * (row + step) + v
    for tap in range(side * side):
        neighbour = load_part(image, first + tap // side * row + tap % side * step, left)
        value = fma(neighbour, load(weights, tap * width + v), value)
    return value


@njit(forceinline=True)
def _activated(value, x, at, count, activation):
    """Activate a value; by it, `GATE` weakens and `ADDED` raises what is at a place of `x`."""
    if activation == SILU:
        return mul(value, sigmoid(value))
    if activation == GELU:
        return mul(value, normal_cumulative(value))
    if activation == GATE:
        return mul(load_part(x, at, count), sigmoid(value))
    if activation == ADDED:
        return fma(value, normal_cumulative(value), load_part(x, at, count))
    return value


def _at_once_of(side: int) -> FunctionType:
    add_row = row_adder(side)

    @njit(forceinline=True)
    def at_once(x, weights, bias, out, pixel, row, step, width, c, activation):
        """Filter `PIXELS` pixels `step` apart, from one at `pixel` on, well inside the image."""
        for v in range(0, c, LANES):
            at, count = pixel + v, c - v
            first = at - side // 2 * (row + step)
            sums = copies(load(bias, v))
            for y in range(side):
                line = offset(weights, y * side * width + v)
                sums = add_row(sums, x, first + y * row, step, count, line, width)
            for value in sums:
                store_part(out, at, _activated(value, x, at, count, activation), count)
                at += step

    return at_once


def _forward_of(side: int) -> FunctionType:
    count = side * side
    at_once = _at_once_of(side)
    widest = side > 3  # of nine neighbours nothing is gained: memory is the limit

    @kernel(floats=4, integers=1)
    def depthwise_forward(
        x, weights, bias, out, neighbours, h, w, c, width, reach, activation, first, last
    ):
        """`out = activation(conv(x))`.

        Args:
            x: `(b h w c)`.
            weights: `(side**2 c')`; c' is c rounded up to whole vectors, padded with zeros.
            bias: `(c')`.
            out: `(b h w c)`.
            neighbours: `(b*h side**2)`, to work in.
            h: Height.
            w: Width.
            c: Channels.
            width: c'.
            reach: Dilation; the border is padded with zeros to keep the size.
            activation: `NONE`, `SILU`, `GELU`; `GATE` for `x * sigmoid(conv(x))`, `ADDED` for
                `x + gelu(conv(x))`, which have no gradients here.
            first: First row of the images, which are numbered through.
            last: The one after the last.
        """
        margin, step = side // 2 * reach, reach * c
        for row in range(first, last):
            taps = offset(neighbours, row * count)
            inside = margin <= row % h < h - margin
            column = 0
            while column < w:
                pixel = row * w + column
                if widest and inside and margin <= column <= w - margin - PIXELS * reach:
                    for ahead in range(reach):
                        at_once(
                            x, weights, bias, out, (pixel + ahead) * c, w * step, step, width, c,
                            activation,
                        )  # fmt: skip
                    column += PIXELS * reach
                    continue
                column += 1
                if inside and margin < column <= w - margin:
                    for v in range(0, c, LANES):
                        value = _whole_filter(
                            x, weights, load(bias, v), side, w * step, step, width, pixel * c, v,
                            c - v,
                        )  # fmt: skip
                        value = _activated(value, x, pixel * c + v, c - v, activation)
                        store_part(out, pixel * c + v, value, c - v)
                    continue
                _neighbours(taps, side, row % h, column - 1, h, w, reach)
                for v in range(0, c, LANES):
                    value = _filter(
                        x, weights, load(bias, v), taps, count, h * w, width, pixel, c, v
                    )
                    value = _activated(value, x, pixel * c + v, c - v, activation)
                    store_part(out, pixel * c + v, value, c - v)

    return depthwise_forward


@njit(forceinline=True)
def _slope(value, activation):
    """Differentiate an activation."""
    if activation == SILU:
        s = sigmoid(value)
        return mul(s, fma(value, sub(splat(ONE), s), splat(ONE)))
    return fma(value, normal_density(value), normal_cumulative(value))


def _inner_of(side: int) -> FunctionType:
    count = side * side

    @kernel(floats=5, integers=1)
    def depthwise_inner(
        x, weights, bias, dout, dinner, neighbours, h, w, c, width, reach, activation, first, last
    ):
        """Find the gradient before the activation; arguments as of the forward kernel."""
        for row in range(first, last):
            taps = offset(neighbours, row * count)
            for column in range(w):
                pixel = row * w + column
                _neighbours(taps, side, row % h, column, h, w, reach)
                for v in range(0, c, LANES):
                    inner = _filter(
                        x, weights, load(bias, v), taps, count, h * w, width, pixel, c, v
                    )
                    do = load_part(dout, pixel * c + v, c - v)
                    store_part(dinner, pixel * c + v, mul(do, _slope(inner, activation)), c - v)

    return depthwise_inner


def _backward_of(side: int) -> FunctionType:
    count = side * side

    @kernel(floats=6, integers=1)
    def depthwise_backward(
        x, weights, dinner, dx, dweights, dbias, neighbours,
        rows, h, w, c, width, reach, tasks, first, last,
    ):  # fmt: skip
        """Differentiate the convolution; `dweights` and `dbias` have a row for each task."""
        for task in range(first, last):
            taps = offset(neighbours, task * count)
            dw, db = offset(dweights, task * count * width), offset(dbias, task * width)
            for row in range(rows * task // tasks, rows * (task + 1) // tasks):
                for column in range(w):
                    pixel = row * w + column
                    _neighbours(taps, side, row % h, column, h, w, reach)
                    for v in range(0, c, LANES):
                        own = load_part(x, pixel * c + v, c - v)
                        value = splat(ZERO)
                        for tap in range(count):
                            if taps[tap] != h * w:
                                # what this pixel gave to the neighbour on the other side
                                do = load_part(dinner, (pixel + taps[tap]) * c + v, c - v)
                                opposite = (count - 1 - tap) * width + v
                                value = fma(do, load(weights, opposite), value)
                                store(dw, opposite, fma(do, own, load(dw, opposite)))
                        store_part(dx, pixel * c + v, value, c - v)
                        store(db, v, add(load(db, v), load_part(dinner, pixel * c + v, c - v)))

    return depthwise_backward


forward_3x3, inner_3x3, backward_3x3 = _forward_of(3), _inner_of(3), _backward_of(3)
forward_5x5, inner_5x5, backward_5x5 = _forward_of(5), _inner_of(5), _backward_of(5)
