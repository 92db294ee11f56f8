"""Dense 3x3 convolution on a CPU, channels last, by Winograd's minimal filtering F(4x4, 3x3).

A square of 6x6 pixels gives 4x4 results by 36 multiplications instead of 144 (Lavin and Gray,
arXiv 1509.09308). Seen as polynomials, squares and filters are evaluated at 0, +-a, +-b and
infinity in both directions; the 36 planes of such values are multiplied as matrices, and the
results interpolated from the products. The points were chosen for the least rounding error.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mambair_cli.kernels.elementary import ZERO, normal_cumulative
from mambair_cli.kernels.numba_compiler import kernel
from mambair_cli.kernels.products import ROWS, multiply_by_one, multiply_by_two
from mambair_cli.kernels.scan.numba_forward import smaller
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

GELU = 2  # as `ops_cpu` numbers it
SIDE, STEP = 6, 4
PLANES = SIDE * SIDE
GROUP = ROWS * LANES
_A, _B = np.float32(0.625), np.float32(1.5)
_A2, _B2, _A3, _B3 = _A * _A, _B * _B, _A * _A * _A, _B * _B * _B
_SUM, _PRODUCT = _A2 + _B2, _A2 * _B2


@njit(forceinline=True)
def _evaluate(six, apart, count, values, step):
    """Evaluate the polynomials of six pixels at the points.

    Args:
        six: The first pixel.
        apart: Values from one pixel to the next.
        count: How many channels are there; the lanes of others get zeros.
        values: Receives them.
        step: Values from one of them to the next.
    """
    d0, d1 = load_part(six, 0, count), load_part(six, apart, count)
    d2, d3 = load_part(six, 2 * apart, count), load_part(six, 3 * apart, count)
    d4, d5 = load_part(six, 4 * apart, count), load_part(six, 5 * apart, count)
    even_a, odd_a = fma(d2, splat(-_B2), d4), fma(d1, splat(-_B2), d3)
    even_b, odd_b = fma(d2, splat(-_A2), d4), fma(d1, splat(-_A2), d3)
    store(values, 0, fma(d0, splat(_PRODUCT), fma(d2, splat(-_SUM), d4)))
    store(values, step, fma(odd_a, splat(_A), even_a))
    store(values, 2 * step, fma(odd_a, splat(-_A), even_a))
    store(values, 3 * step, fma(odd_b, splat(_B), even_b))
    store(values, 4 * step, fma(odd_b, splat(-_B), even_b))
    store(values, 5 * step, fma(d1, splat(_PRODUCT), fma(d3, splat(-_SUM), d5)))


@njit(forceinline=True)
def _interpolate(six, apart, four, step):
    """Find four results of the products at the six points; arguments as above."""
    m0, m1, m2 = load(six, 0), load(six, apart), load(six, 2 * apart)
    m3, m4, m5 = load(six, 3 * apart), load(six, 4 * apart), load(six, 5 * apart)
    even_a, odd_a, even_b, odd_b = add(m1, m2), sub(m1, m2), add(m3, m4), sub(m3, m4)
    store(four, 0, add(m0, add(even_a, even_b)))
    store(four, step, fma(odd_a, splat(_A), mul(odd_b, splat(_B))))
    store(four, 2 * step, fma(even_a, splat(_A2), mul(even_b, splat(_B2))))
    store(four, 3 * step, fma(odd_a, splat(_A3), fma(odd_b, splat(_B3), m5)))


@njit(forceinline=True)
def _copy_square(square, x, y, column, h, w, c, wide):
    """Copy the square at a place, `(6 6 wide)`, with zeros outside of the image."""
    for i in range(PLANES):
        row, place = y + i // SIDE, column + i % SIDE
        inside = 0 <= row < h and 0 <= place < w
        for v in range(0, c, LANES):
            value = load_part(x, (row * w + place) * c + v, c - v) if inside else splat(ZERO)
            store(square, i * wide + v, value)


@njit(forceinline=True)
def _spread(square, row, pixel, count, room, planes, stride):
    """Evaluate a vector of channels of a square, into 36 planes.

    Args:
        square: `(6 6)`, pixels that lie `row` and `pixel` apart.
        row: Values from one row to the next.
        pixel: Values from one pixel of a row to the next.
        count: How many channels are there.
        room: 36 vectors to work in.
        planes: Receive a vector each.
        stride: Values from one plane to the next.
    """
    for j in range(SIDE):
        _evaluate(offset(square, j * pixel), row, count, offset(room, j * LANES), SIDE * LANES)
    for i in range(SIDE):
        line = offset(room, i * SIDE * LANES)
        _evaluate(line, LANES, LANES, offset(planes, i * SIDE * stride), stride)


@njit(forceinline=True)
def _gather(products, stride, room):
    """Interpolate a vector of channels of 4x4 results, at `room`, from 36 planes."""
    columns = offset(room, STEP * STEP * LANES)
    for j in range(SIDE):
        plane = offset(products, j * stride)
        _interpolate(plane, SIDE * stride, offset(columns, j * LANES), SIDE * LANES)
    for i in range(STEP):
        line = offset(columns, i * SIDE * LANES)
        _interpolate(line, LANES, offset(room, i * STEP * LANES), LANES)


@njit(forceinline=True)
def _write(out, results, bias, y, column, h, w, o, v, activation):
    """Write a vector of channels of 4x4 results, those that lie in the image."""
    for i in range(STEP * STEP):
        row, place = y + i // STEP, column + i % STEP
        if row < h and place < w:
            value = add(load(results, i * LANES), load(bias, v))
            if activation == GELU:
                value = mul(value, normal_cumulative(value))
            store_part(out, (row * w + place) * o + v, value, o - v)


@njit(forceinline=True)
def _multiply(planes, filters, products, groups, vectors, depth, of_left, of_right, of_products):
    """Multiply the planes of squares by those of filters."""
    deep = -(-depth // LANES) * GROUP
    for plane in range(PLANES):
        left, right = offset(planes, plane * of_left), offset(filters, plane * of_right)
        out = offset(products, plane * of_products)
        for v in range(0, vectors, 2):
            columns = offset(right, v * depth * LANES)
            for group in range(groups):
                rows = offset(left, group * deep)
                block = offset(out, (group * vectors + v) * GROUP)
                if v + 1 < vectors:
                    multiply_by_two(rows, columns, block, depth)
                else:
                    multiply_by_one(rows, columns, block, depth)


@kernel(floats=5)
def convolve_3x3(
    x, filters, bias, out, buffers, h, w, c, o, activation, squares, groups, room, tasks,
    first, last,
):  # fmt: skip
    """`out = activation(conv(x))`, stride 1, the border padded with zeros to keep the size.

    Args:
        x: `(b h w c)`.
        filters: `(36 o' c)`, evaluated at the points; o' is o rounded up to whole vectors. Within a
            plane two vectors of o' lie together, `(c 2 LANES)`, at the end one if one is left.
        bias: `(o')`.
        out: `(b h w o)`.
        buffers: To work in, `room` values for each task.
        h: Height.
        w: Width.
        c: Channels of `x`.
        o: Channels of `out`.
        activation: As `ops_cpu` numbers them: none, or GELU.
        squares: 4x4 squares of all images.
        groups: How many times `ROWS` squares are in work together.
        room: See `winograd.room`.
        tasks: Into how many parts the squares are divided.
        first: First task.
        last: The one after the last.
    """
    deep, vectors, together = -(-c // LANES), -(-o // LANES), groups * ROWS
    down, across, wide = -(-h // STEP), -(-w // STEP), deep * LANES
    # A vector more: planes that lie a power of two apart would share lines of a cache.
    of_left, of_products = groups * deep * GROUP + LANES, groups * vectors * GROUP + LANES
    # Those of the first task serve all, which go one after the other.
    planes = offset(buffers, first * room)
    products = offset(planes, PLANES * of_left)
    copied = offset(products, PLANES * of_products)
    work = offset(copied, PLANES * wide)
    parts = -(-squares // together)
    for part in range(parts * first // tasks, parts * last // tasks):
        begin = part * together
        count = smaller(together, squares - begin)
        for i in range(count):
            y, column = (begin + i) // across % down * STEP - 1, (begin + i) % across * STEP - 1
            image = offset(x, (begin + i) // across // down * h * w * c)
            square, row, pixel = offset(image, (y * w + column) * c), w * c, c
            if y < 0 or column < 0 or y + SIDE > h or column + SIDE > w:
                _copy_square(copied, image, y, column, h, w, c, wide)
                square, row, pixel = copied, SIDE * wide, wide
            place = offset(planes, i // ROWS * deep * GROUP + i % ROWS * LANES)
            for v in range(deep):
                at, channels = offset(square, v * LANES), c - v * LANES
                _spread(at, row, pixel, channels, work, offset(place, v * GROUP), of_left)
        _multiply(
            planes, filters, products, -(-count // ROWS), vectors, c, of_left, vectors * c * LANES,
            of_products,
        )  # fmt: skip
        for i in range(count):
            y, column = (begin + i) // across % down * STEP, (begin + i) % across * STEP
            image = offset(out, (begin + i) // across // down * h * w * o)
            place = offset(products, i // ROWS * vectors * GROUP + i % ROWS * LANES)
            for v in range(vectors):
                _gather(offset(place, v * GROUP), of_products, work)
                _write(image, work, bias, y, column, h, w, o, v * LANES, activation)
