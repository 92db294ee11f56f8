"""Forward kernel of the scan on a CPU; shapes in README.md."""

from __future__ import annotations

import numpy as np
from numba import float32, int64, njit, prange, void

from mambair_cli.kernels.numba_cache import kernel
from mambair_cli.kernels.vector import (
    LANES,
    add,
    exp2,
    fma,
    load,
    load_part,
    mul,
    prefetch,
    softplus,
    splat_at,
    store,
    store_part,
)

CHUNK = 4  # tokens that are scanned together; the state before them is kept for gradients
CACHE_LINE = 16


@njit(inline="always")
def pixel_of(direction, t, h, w):
    """Find the pixel that a direction visits at step `t`: rows, columns, then both from the end."""
    last = h * w - 1
    t = min(t, last)
    if direction >= 2:
        t = last - t
    if direction % 2 == 0:
        return t
    return (t % h) * w + t // h


@njit(inline="always")
def four_pixels(direction, t, h, w):
    """Find the pixels of four steps from `t` on; the last one again for steps beyond the end."""
    return (
        pixel_of(direction, t, h, w),
        pixel_of(direction, t + 1, h, w),
        pixel_of(direction, t + 2, h, w),
        pixel_of(direction, t + 3, h, w),
    )


@njit(inline="always")
def starts_of(pixels, stride, start):
    """Find where the values of four pixels start in a flat array."""
    return (
        start + pixels[0] * stride,
        start + pixels[1] * stride,
        start + pixels[2] * stride,
        start + pixels[3] * stride,
    )


@njit(inline="always")
def prefetch_four(array, starts, v):
    """Ask for the `v`-th values after four starts ahead of their use."""
    prefetch(array, starts[0] + v)
    prefetch(array, starts[1] + v)
    prefetch(array, starts[2] + v)
    prefetch(array, starts[3] + v)


@njit(inline="always")
def load_four(array, starts, v, count):
    """Load the first `count` lanes of the `v`-th values after four starts."""
    return (
        load_part(array, starts[0] + v, count),
        load_part(array, starts[1] + v, count),
        load_part(array, starts[2] + v, count),
        load_part(array, starts[3] + v, count),
    )


@njit(inline="always")
def _steps(projected, rows, weight, bias, r, width, v):
    """Compute the steps of four tokens: the step projection and its softplus."""
    d0 = d1 = d2 = d3 = load(bias, v)
    for s in range(r):
        x = load(weight, s * width + v)
        d0 = fma(splat_at(projected, rows[0] + s), x, d0)
        d1 = fma(splat_at(projected, rows[1] + s), x, d1)
        d2 = fma(splat_at(projected, rows[2] + s), x, d2)
        d3 = fma(splat_at(projected, rows[3] + s), x, d3)
    return softplus(d0), softplus(d1), softplus(d2), softplus(d3)


@njit(inline="always")
def _outputs(projected, rows, u, steps, skip, A, state, r, n, width, v):
    """Run the recurrence of one vector of channels over four tokens, all states of it."""
    d0, d1, d2, d3 = steps
    y0, y1, y2, y3 = mul(skip, u[0]), mul(skip, u[1]), mul(skip, u[2]), mul(skip, u[3])
    w0, w1, w2, w3 = mul(d0, u[0]), mul(d1, u[1]), mul(d2, u[2]), mul(d3, u[3])
    for s in range(n):
        a, h = load(A, s * width + v), load(state, s * width + v)
        B, C = r + s, r + n + s
        h = fma(exp2(mul(d0, a)), h, mul(w0, splat_at(projected, rows[0] + B)))
        y0 = fma(splat_at(projected, rows[0] + C), h, y0)
        h = fma(exp2(mul(d1, a)), h, mul(w1, splat_at(projected, rows[1] + B)))
        y1 = fma(splat_at(projected, rows[1] + C), h, y1)
        h = fma(exp2(mul(d2, a)), h, mul(w2, splat_at(projected, rows[2] + B)))
        y2 = fma(splat_at(projected, rows[2] + C), h, y2)
        h = fma(exp2(mul(d3, a)), h, mul(w3, splat_at(projected, rows[3] + B)))
        y3 = fma(splat_at(projected, rows[3] + C), h, y3)
        store(state, s * width + v, h)
    return y0, y1, y2, y3


@njit(inline="always")
def _put_one(y, index, value, count, onto):
    if onto:
        value = add(value, load_part(y, index, count))
    store_part(y, index, value, count)


@njit(inline="always")
def put_four(y, starts, v, values, count, onto, left):
    """Write the values of the first `left` of four tokens, or add them to what is there."""
    _put_one(y, starts[0] + v, values[0], count, onto)
    if left > 1:
        _put_one(y, starts[1] + v, values[1], count, onto)
    if left > 2:
        _put_one(y, starts[2] + v, values[2], count, onto)
    if left > 3:
        _put_one(y, starts[3] + v, values[3], count, onto)


@njit(inline="always")
def _block_of(matrix, first, width):
    """Copy `width` columns from `first` to a flat array that lies together in the cache."""
    block = np.empty(matrix.shape[0] * width, np.float32)
    for s in range(matrix.shape[0]):
        block[s * width : (s + 1) * width] = matrix[s, first : first + width]
    return block


@njit(error_model="numpy")
def _scan_direction(u, projected, weight, bias, A, D, y, kept, keep, k, h, w, at, first, width, d):
    """Scan `width` channels from `first` in direction `k`; backward directions add to `y`.

    `at` holds the offsets of this image in `u`, `projected`, `y` and `kept`; four steps go together
    so that the state and A are read once for them.
    """
    length, n, r = h * w, A.shape[1], weight.shape[1]
    row, pixel_row = r + 2 * n, weight.shape[0] * (r + 2 * n)
    state = np.zeros(n * width, np.float32)
    A_k, W_k = _block_of(A[k], first, width), _block_of(weight[k], first, width)
    b_k, D_k = bias[k, first : first + width], D[k, first : first + width]
    in_u, in_rows, in_y, in_kept = at[0] + first, at[1] + k * row, at[2] + first, at[3]
    pixels = four_pixels(k, 0, h, w)
    for t in range(0, length, CHUNK):
        if keep:
            kept[in_kept : in_kept + n * width] = state
            in_kept += n * width
        ahead = four_pixels(k, t + CHUNK, h, w)
        rows = starts_of(pixels, pixel_row, in_rows)
        next_rows = starts_of(ahead, pixel_row, in_rows)
        u_at, next_u_at = starts_of(pixels, d, in_u), starts_of(ahead, d, in_u)
        y_at = starts_of(pixels, d, in_y)
        for s in range(0, row, CACHE_LINE):
            prefetch_four(projected, next_rows, s)
        for v in range(0, width, LANES):
            count = d - first - v
            steps = _steps(projected, rows, W_k, b_k, r, width, v)
            inputs = load_four(u, u_at, v, count)
            prefetch_four(u, next_u_at, v)
            skip = load(D_k, v)
            outputs = _outputs(projected, rows, inputs, steps, skip, A_k, state, r, n, width, v)
            put_four(y, y_at, v, outputs, count, k >= 2, length - t)
        pixels = ahead


_flat, _matrices, _cube = float32[::1], float32[:, ::1], float32[:, :, ::1]


@kernel(void(
        _flat, _flat, _cube, _matrices, _cube, _matrices, _flat, _flat,
        int64, int64, int64, int64, int64,
    ))  # fmt: skip
def scan_forward(u, projected, weight, bias, A, D, y, kept, b, h, w, d, blocks):
    """Scan a batch in one or four directions, rows first.

    Tasks are images x axes (rows, columns) x channel blocks: none shares an output.

    Args:
        u: `(b l d)`, flat.
        projected: `(b l k*(r+2n))`, flat.
        weight: `(k r d')`; d' is d rounded up to a multiple of `LANES`, here and below, with zeros.
        bias: `(k d')`.
        A: `(k n d')`, times log2(e).
        D: `(k d')`.
        y: `(axes b l d)`, flat; rows and columns apart.
        kept: `(b k l/CHUNK n d')`, flat, the state before each chunk (only with one block), or
            empty.
        b: Images.
        h: Height.
        w: Width.
        d: Channels.
        blocks: Into how many channel blocks an image is split.
    """
    k, r, padded = weight.shape
    n, length, axes = A.shape[1], h * w, min(k, 2)
    vectors = padded // LANES
    states = -(-length // CHUNK) * n * padded
    for task in prange(b * axes * blocks):
        image, axis, block = task // (axes * blocks), task // blocks % axes, task % blocks
        first = vectors * block // blocks * LANES
        width = vectors * (block + 1) // blocks * LANES - first
        for direction in range(axis, k, 2):
            at = (
                image * length * d,
                image * length * k * (r + 2 * n),
                (axis * b + image) * length * d,
                (image * k + direction) * states,
            )
            _scan_direction(
                u, projected, weight, bias, A, D, y, kept, kept.size > 0,
                direction, h, w, at, first, width, d,
            )  # fmt: skip
