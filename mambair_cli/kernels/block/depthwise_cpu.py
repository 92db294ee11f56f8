"""Depth-wise convolution with its activation on a CPU, channels last, forward and backward.

A kernel is compiled for each side of the filter, whose loops are then unrolled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int64, njit, prange, void

from mambair_cli.kernels.numba_cache import Kernel, kernel
from mambair_cli.kernels.vector import (
    LANES,
    ONE,
    add,
    fma,
    load,
    load_part,
    mul,
    normal_cumulative,
    normal_density,
    sigmoid,
    splat,
    store,
    store_part,
    sub,
)

NONE, SILU, GELU = 0, 1, 2


@njit(inline="always")
def _neighbours(at, side, y, x, h, w, reach):
    """Fill `at` with pixel offsets of the neighbours, the image's size for those outside."""
    for tap in range(side * side):
        ny, nx = y + (tap // side - side // 2) * reach, x + (tap % side - side // 2) * reach
        inside = 0 <= ny < h and 0 <= nx < w
        at[tap] = (ny - y) * w + nx - x if inside else h * w


@njit(inline="always")
def _filter(image, weights, start, taps, count, size, width, pixel, c, v):
    """Add the weighted neighbours of one vector of channels to `start`."""
    value = start
    for tap in range(count):
        if taps[tap] != size:
            neighbour = load_part(image, (pixel + taps[tap]) * c + v, c - v)
            value = fma(neighbour, load(weights, tap * width + v), value)
    return value


_flat = float32[::1]


def _forward_of(side: int, signature: Any = None) -> Kernel:
    count = side * side

    def depthwise_forward(x, weights, bias, out, b, h, w, c, reach, activation):
        """`out = activation(conv(x))`.

        Args:
            x: `(b h w c)`, flat.
            weights: `(side**2 c')`, flat; c' is c rounded up to whole vectors, padded with zeros.
            bias: `(c')`.
            out: `(b h w c)`, flat.
            b: Images.
            h: Height.
            w: Width.
            c: Channels.
            reach: Dilation; the border is padded with zeros to keep the size.
            activation: `NONE`, `SILU` or `GELU`.
        """
        width = bias.size
        for row in prange(b * h):
            taps = np.empty(count, np.int64)
            for column in range(w):
                pixel = row * w + column
                _neighbours(taps, side, row % h, column, h, w, reach)
                for v in range(0, c, LANES):
                    value = _filter(
                        x, weights, load(bias, v), taps, count, h * w, width, pixel, c, v
                    )
                    if activation == SILU:
                        value = mul(value, sigmoid(value))
                    elif activation == GELU:
                        value = mul(value, normal_cumulative(value))
                    store_part(out, pixel * c + v, value, c - v)

    depthwise_forward.__qualname__ = f"depthwise_forward_{side}x{side}"
    return kernel(signature)(depthwise_forward)


@njit(inline="always")
def _slope(value, activation):
    """Differentiate an activation."""
    if activation == SILU:
        s = sigmoid(value)
        return mul(s, fma(value, sub(splat(ONE), s), splat(ONE)))
    return fma(value, normal_density(value), normal_cumulative(value))


def _backward_of(side: int) -> Kernel:
    count = side * side

    def depthwise_backward(
        x, weights, bias, dout, dinner, dx, dweights, dbias, b, h, w, c, reach, activation
    ):
        """Differentiate the forward kernel; `dweights` and `dbias` have a row for each task.

        `dinner` receives the gradient before the activation; without one, pass `dout` for it.
        """
        width, tasks, rows = bias.size, dbias.shape[0], b * h
        if activation != NONE:
            for row in prange(rows):
                taps = np.empty(count, np.int64)
                for column in range(w):
                    pixel = row * w + column
                    _neighbours(taps, side, row % h, column, h, w, reach)
                    for v in range(0, c, LANES):
                        inner = _filter(
                            x, weights, load(bias, v), taps, count, h * w, width, pixel, c, v
                        )
                        do = load_part(dout, pixel * c + v, c - v)
                        store_part(dinner, pixel * c + v, mul(do, _slope(inner, activation)), c - v)
        for task in prange(tasks):
            taps = np.empty(count, np.int64)
            dw, db = dweights[task], dbias[task]
            for row in range(rows * task // tasks, rows * (task + 1) // tasks):
                for column in range(w):
                    pixel = row * w + column
                    _neighbours(taps, side, row % h, column, h, w, reach)
                    for v in range(0, c, LANES):
                        own = load_part(x, pixel * c + v, c - v)
                        value = splat(np.float32(0))
                        for tap in range(count):
                            if taps[tap] != h * w:
                                # what this pixel gave to the neighbour on the other side
                                do = load_part(dinner, (pixel + taps[tap]) * c + v, c - v)
                                opposite = (count - 1 - tap) * width + v
                                value = fma(do, load(weights, opposite), value)
                                store(dw, opposite, fma(do, own, load(dw, opposite)))
                        store_part(dx, pixel * c + v, value, c - v)
                        store(db, v, add(load(db, v), load_part(dinner, pixel * c + v, c - v)))

    depthwise_backward.__qualname__ = f"depthwise_backward_{side}x{side}"
    return kernel()(depthwise_backward)


# By side of the filter. What only some networks need is compiled when it is first called.
FORWARD = {
    3: _forward_of(3, void(_flat, _flat, _flat, _flat, int64, int64, int64, int64, int64, int64)),
    5: _forward_of(5),
}
BACKWARD = {side: _backward_of(side) for side in FORWARD}
