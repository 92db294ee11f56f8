"""Forward kernel of the four-direction scan on a CPU; shapes in README.md."""

from __future__ import annotations

import numpy as np
from numba import float32, int64, njit, prange, void

from mambair_cli.selective_scan.vector import (
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

CHUNK = 16  # tokens between two kept states, a multiple of the four that are scanned together
CACHE_LINE = 16


@njit(inline="always")
def pixel_of(direction, t, h, w):
    """The pixel that a direction visits at step `t`: rows, columns, then both from the end."""
    last = h * w - 1
    t = min(t, last)
    if direction >= 2:
        t = last - t
    if direction % 2 == 0:
        return t
    return (t % h) * w + t // h


@njit(cache=True, error_model="numpy")
def _scan_direction(u, projected, weight, bias, A, D, y, kept, keep, k, h, w, at, first, width, d):
    """Scans `width` channels from `first` in direction `k`, writing `y` or, from the end, adding to it.

    `at` holds the offsets of this image in `u`, `projected`, `y` and `kept`; four steps go together
    so that the state and A are read once for them.
    """
    length, n, r = h * w, A.shape[1], weight.shape[1]
    row = r + 2 * n
    state = np.zeros(n * width, np.float32)
    A_k, W_k = np.empty(n * width, np.float32), np.empty(r * width, np.float32)
    for s in range(n):
        A_k[s * width : (s + 1) * width] = A[k, s, first : first + width]
    for s in range(r):
        W_k[s * width : (s + 1) * width] = weight[k, s, first : first + width]
    b_k, D_k = bias[k, first : first + width], D[k, first : first + width]
    in_u, in_p, in_y, in_kept = at[0] + first, at[1] + k * row, at[2] + first, at[3]
    q0, q1, q2, q3 = (
        pixel_of(k, 0, h, w),
        pixel_of(k, 1, h, w),
        pixel_of(k, 2, h, w),
        pixel_of(k, 3, h, w),
    )
    for t in range(0, length, 4):
        if keep and t % CHUNK == 0:
            kept[in_kept : in_kept + n * width] = state
            in_kept += n * width
        p0, p1, p2, p3 = (
            in_p + q0 * 4 * row,
            in_p + q1 * 4 * row,
            in_p + q2 * 4 * row,
            in_p + q3 * 4 * row,
        )
        n0, n1, n2, n3 = (
            pixel_of(k, t + 4, h, w),
            pixel_of(k, t + 5, h, w),
            pixel_of(k, t + 6, h, w),
            pixel_of(k, t + 7, h, w),
        )
        for s in range(0, row, CACHE_LINE):
            prefetch(projected, in_p + n0 * 4 * row + s)
            prefetch(projected, in_p + n1 * 4 * row + s)
            prefetch(projected, in_p + n2 * 4 * row + s)
            prefetch(projected, in_p + n3 * 4 * row + s)
        for v in range(0, width, LANES):
            count = d - first - v
            d0 = d1 = d2 = d3 = load(b_k, v)
            for s in range(r):
                x = load(W_k, s * width + v)
                d0 = fma(splat_at(projected, p0 + s), x, d0)
                d1 = fma(splat_at(projected, p1 + s), x, d1)
                d2 = fma(splat_at(projected, p2 + s), x, d2)
                d3 = fma(splat_at(projected, p3 + s), x, d3)
            d0, d1, d2, d3 = softplus(d0), softplus(d1), softplus(d2), softplus(d3)
            u0 = load_part(u, in_u + q0 * d + v, count)
            u1 = load_part(u, in_u + q1 * d + v, count)
            u2 = load_part(u, in_u + q2 * d + v, count)
            u3 = load_part(u, in_u + q3 * d + v, count)
            prefetch(u, in_u + n0 * d + v)
            prefetch(u, in_u + n1 * d + v)
            prefetch(u, in_u + n2 * d + v)
            prefetch(u, in_u + n3 * d + v)
            skip = load(D_k, v)
            y0, y1, y2, y3 = mul(skip, u0), mul(skip, u1), mul(skip, u2), mul(skip, u3)
            w0, w1, w2, w3 = mul(d0, u0), mul(d1, u1), mul(d2, u2), mul(d3, u3)
            for s in range(n):
                a, hidden, B, C = (
                    load(A_k, s * width + v),
                    load(state, s * width + v),
                    r + s,
                    r + n + s,
                )
                hidden = fma(exp2(mul(d0, a)), hidden, mul(w0, splat_at(projected, p0 + B)))
                y0 = fma(splat_at(projected, p0 + C), hidden, y0)
                hidden = fma(exp2(mul(d1, a)), hidden, mul(w1, splat_at(projected, p1 + B)))
                y1 = fma(splat_at(projected, p1 + C), hidden, y1)
                hidden = fma(exp2(mul(d2, a)), hidden, mul(w2, splat_at(projected, p2 + B)))
                y2 = fma(splat_at(projected, p2 + C), hidden, y2)
                hidden = fma(exp2(mul(d3, a)), hidden, mul(w3, splat_at(projected, p3 + B)))
                y3 = fma(splat_at(projected, p3 + C), hidden, y3)
                store(state, s * width + v, hidden)
            _put(y, in_y + q0 * d + v, y0, count, k >= 2, True)
            _put(y, in_y + q1 * d + v, y1, count, k >= 2, t + 1 < length)
            _put(y, in_y + q2 * d + v, y2, count, k >= 2, t + 2 < length)
            _put(y, in_y + q3 * d + v, y3, count, k >= 2, t + 3 < length)
        q0, q1, q2, q3 = n0, n1, n2, n3


@njit(inline="always")
def _put(y, index, value, count, onto, inside):
    if inside:
        if onto:
            value = add(value, load_part(y, index, count))
        store_part(y, index, value, count)


_flat, _matrices, _cube = float32[::1], float32[:, ::1], float32[:, :, ::1]


@njit(
    void(
        _flat, _flat, _cube, _matrices, _cube, _matrices, _flat, _flat,
        int64, int64, int64, int64, int64,
    ),
    parallel=True,
    cache=True,
    error_model="numpy",
)  # fmt: skip
def scan_forward(u, projected, weight, bias, A, D, y, kept, b, h, w, d, blocks):
    """Scans a batch; tasks are images x (rows, columns) x channel blocks: none shares an output.

    Args:
        u: `(b l d)`, flat.
        projected: `(b l k*(r+2n))`, flat.
        weight: `(k r d')`; d' is d rounded up to a multiple of `LANES`, here and below, with zeros.
        bias: `(k d')`.
        A: `(k n d')`, times log2(e).
        D: `(k d')`.
        y: `(2 b l d)`, flat; rows and columns apart.
        kept: `(b k l/CHUNK n d')`, flat, the state before each chunk (only with one block), or
            empty.
        b: Images.
        h: Height.
        w: Width.
        d: Channels.
        blocks: Into how many channel blocks an image is split.
    """
    k, r, padded = weight.shape
    n, length = A.shape[1], h * w
    vectors = padded // LANES
    states = -(-length // CHUNK) * n * padded
    for task in prange(b * 2 * blocks):
        image, axis, block = task // (2 * blocks), task // blocks % 2, task % blocks
        first = vectors * block // blocks * LANES
        width = vectors * (block + 1) // blocks * LANES - first
        for turn in range(2):
            direction = axis + 2 * turn
            at = (
                image * length * d,
                image * length * 4 * (r + 2 * n),
                (axis * b + image) * length * d,
                (image * k + direction) * states,
            )
            _scan_direction(
                u, projected, weight, bias, A, D, y, kept, kept.size > 0,
                direction, h, w, at, first, width, d,
            )  # fmt: skip
