"""Forward kernel of the scan on a CPU; shapes in README.md."""

from __future__ import annotations

from numba import njit

from mambair_cli.kernels.elementary import (
    ZERO,
    coarse_exp2_of_product,
    exp2_of_product,
    softplus,
)
from mambair_cli.kernels.numba_compiler import kernel
from mambair_cli.kernels.vector import (
    LANES,
    add,
    exists,
    fma,
    is_short,
    load,
    load_part,
    mul,
    offset,
    prefetch,
    splat,
    splat_at,
    store,
    store_part,
)

CHUNK = 4  # tokens that are scanned together; the state before them is kept for gradients
CACHE_LINE = 16


@njit(forceinline=True)
def smaller(a, b):
    """Take the smaller of two integers; `min` could raise, for all that LLVM knows."""
    return a if a < b else b


@njit(forceinline=True)
def pixel_of(direction, t, h, w):
    """Find the pixel that a direction visits at step `t`: rows, columns, then both from the end."""
    last = h * w - 1
    t = smaller(t, last)
    if direction >= 2:
        t = last - t
    if direction % 2 == 0:
        return t
    return (t % h) * w + t // h


@njit(forceinline=True)
def four_pixels(direction, t, h, w):
    """Find the pixels of four steps from `t` on; the last one again for steps beyond the end."""
    return (
        pixel_of(direction, t, h, w),
        pixel_of(direction, t + 1, h, w),
        pixel_of(direction, t + 2, h, w),
        pixel_of(direction, t + 3, h, w),
    )


@njit(forceinline=True)
def starts_of(pixels, stride):
    """Find where the values of four pixels start."""
    return pixels[0] * stride, pixels[1] * stride, pixels[2] * stride, pixels[3] * stride


@njit(forceinline=True)
def prefetch_four(array, starts, v):
    """Ask for the `v`-th values after four starts ahead of their use."""
    prefetch(array, starts[0] + v)
    prefetch(array, starts[1] + v)
    prefetch(array, starts[2] + v)
    prefetch(array, starts[3] + v)


@njit(forceinline=True)
def load_four(array, starts, v, count):
    """Load the first `count` lanes of the `v`-th values after four starts."""
    return (
        load_part(array, starts[0] + v, count),
        load_part(array, starts[1] + v, count),
        load_part(array, starts[2] + v, count),
        load_part(array, starts[3] + v, count),
    )


@njit(forceinline=True)
def _find_steps(steps, projected, rows, weight, bias, r, width):
    """Compute the steps of four tokens, `(4 width)`: the step projection and its softplus."""
    for v in range(0, width, LANES):
        d0 = d1 = d2 = d3 = load(bias, v)
        for s in range(r):
            x = load(weight, s * width + v)
            d0 = fma(splat_at(projected, rows[0] + s), x, d0)
            d1 = fma(splat_at(projected, rows[1] + s), x, d1)
            d2 = fma(splat_at(projected, rows[2] + s), x, d2)
            d3 = fma(splat_at(projected, rows[3] + s), x, d3)
        store(steps, v, softplus(d0))
        store(steps, width + v, softplus(d1))
        store(steps, 2 * width + v, softplus(d2))
        store(steps, 3 * width + v, softplus(d3))


@njit(forceinline=True)
def _decay(step, a, coarse):
    return coarse_exp2_of_product(step, a) if coarse else exp2_of_product(step, a)


@njit(forceinline=True)
def _outputs(projected, rows, u, steps, skip, A, state, r, n, width, v, coarse):
    """Run the recurrence of one vector of channels over four tokens, all states of it."""
    d0, d1 = load(steps, v), load(steps, width + v)
    d2, d3 = load(steps, 2 * width + v), load(steps, 3 * width + v)
    y0, y1, y2, y3 = mul(skip, u[0]), mul(skip, u[1]), mul(skip, u[2]), mul(skip, u[3])
    w0, w1, w2, w3 = mul(d0, u[0]), mul(d1, u[1]), mul(d2, u[2]), mul(d3, u[3])
    for s in range(n):
        a, h = load(A, s * width + v), load(state, s * width + v)
        B, C = r + s, r + n + s
        h = fma(_decay(d0, a, coarse), h, mul(w0, splat_at(projected, rows[0] + B)))
        y0 = fma(splat_at(projected, rows[0] + C), h, y0)
        h = fma(_decay(d1, a, coarse), h, mul(w1, splat_at(projected, rows[1] + B)))
        y1 = fma(splat_at(projected, rows[1] + C), h, y1)
        h = fma(_decay(d2, a, coarse), h, mul(w2, splat_at(projected, rows[2] + B)))
        y2 = fma(splat_at(projected, rows[2] + C), h, y2)
        h = fma(_decay(d3, a, coarse), h, mul(w3, splat_at(projected, rows[3] + B)))
        y3 = fma(splat_at(projected, rows[3] + C), h, y3)
        store(state, s * width + v, h)
    return y0, y1, y2, y3


@njit(forceinline=True)
def _put_one(y, index, value, count, onto):
    if onto:
        value = add(value, load_part(y, index, count))
    store_part(y, index, value, count)


@njit(forceinline=True)
def put_four(y, starts, v, values, count, onto, left):
    """Write the values of the first `left` of four tokens, or add them to what is there."""
    _put_one(y, starts[0] + v, values[0], count, onto)
    if left > 1:
        _put_one(y, starts[1] + v, values[1], count, onto)
    if left > 2:
        _put_one(y, starts[2] + v, values[2], count, onto)
    if left > 3:
        _put_one(y, starts[3] + v, values[3], count, onto)


@njit(forceinline=True)
def _copy_block(block, matrix, rows, padded, width):
    """Copy the first `width` columns of a matrix to where they lie together in the cache."""
    for s in range(rows):
        for v in range(0, width, LANES):
            store(block, s * width + v, load(matrix, s * padded + v))


@njit(error_model="numpy", forceinline=True)
def _scan_direction(
    u, projected, weight, bias, A, D, y, kept, state, steps, onto, direction, h, w, d, row,
    pixel_row, r, n, width, channels,
):  # fmt: skip
    """Scan `width` channels in one direction, of which `channels` are there; add to `y` if `onto`.

    Four steps go together, so that the state and A are read once for them. They are found for all
    channels before any is scanned: what takes long one after the other then overlaps.
    """
    length = h * w
    for v in range(0, n * width, LANES):
        store(state, v, splat(ZERO))
    pixels = four_pixels(direction, 0, h, w)
    for t in range(0, length, CHUNK):
        if exists(kept):
            at = t // CHUNK * n * width
            for v in range(0, n * width, LANES):
                store(kept, at + v, load(state, v))
        ahead = four_pixels(direction, t + CHUNK, h, w)
        rows, next_rows = starts_of(pixels, pixel_row), starts_of(ahead, pixel_row)
        u_at, next_u_at = starts_of(pixels, d), starts_of(ahead, d)
        for s in range(0, row, CACHE_LINE):
            prefetch_four(projected, next_rows, s)
        _find_steps(steps, projected, rows, weight, bias, r, width)
        for v in range(0, width, LANES):
            count = channels - v
            inputs = load_four(u, u_at, v, count)
            prefetch_four(u, next_u_at, v)
            prefetch_four(y, next_u_at, v)
            skip = load(D, v)
            # Of inputs in bfloat16 coarse exponentials are exact enough.
            outputs = _outputs(
                projected, rows, inputs, steps, skip, A, state, r, n, width, v, is_short(u)
            )
            put_four(y, u_at, v, outputs, count, onto, length - t)
        pixels = ahead


@kernel(floats=9)
def scan_forward(
    u, projected, weight, bias, A, D, y, kept, blocks_of_tasks,
    b, h, w, d, k, n, r, padded, blocks, first, last,
):  # fmt: skip
    """Scan a batch in one or four directions, rows first.

    Tasks are images x axes (rows, columns) x channel blocks: none shares an output.

    Args:
        u: `(b l d)`.
        projected: `(b l k*(r+2n))`.
        weight: `(k r d')`; d' is d rounded up to a multiple of `LANES`, here and below, with zeros.
        bias: `(k d')`.
        A: `(k n d')`, times log2(e).
        D: `(k d')`.
        y: `(axes b l d)`; rows and columns apart.
        kept: Receives the state before each chunk, `(b k l/CHUNK n d')`; only with one block.
        blocks_of_tasks: To work in: for each task `2n + r + 4` rows as wide as its block may be.
        b: Images.
        h: Height.
        w: Width.
        d: Channels.
        k: Directions.
        n: State size.
        r: Rank of the step projection.
        padded: d'.
        blocks: Into how many channel blocks an image is split.
        first: First task.
        last: The one after the last.
    """
    length, axes, row = h * w, smaller(k, 2), r + 2 * n
    vectors = padded // LANES
    widest = -(-vectors // blocks) * LANES
    for task in range(first, last):
        image, axis, block = task // (axes * blocks), task // blocks % axes, task % blocks
        begin = vectors * block // blocks * LANES
        width = vectors * (block + 1) // blocks * LANES - begin
        state = offset(blocks_of_tasks, task * (row + CHUNK) * widest)
        A_block = offset(state, n * widest)
        W_block = offset(A_block, n * widest)
        steps = offset(W_block, r * widest)
        for direction in range(axis, k, 2):
            of_k = direction * padded + begin
            _copy_block(A_block, offset(A, direction * n * padded + begin), n, padded, width)
            _copy_block(W_block, offset(weight, direction * r * padded + begin), r, padded, width)
            saved = kept
            if exists(kept):
                chunks = -(-length // CHUNK)
                saved = offset(kept, (image * k + direction) * chunks * n * padded)
            _scan_direction(
                offset(u, image * length * d + begin),
                offset(projected, image * length * k * row + direction * row),
                W_block, offset(bias, of_k), A_block, offset(D, of_k),
                offset(y, (axis * b + image) * length * d + begin), saved, state, steps,
                direction >= 2, direction, h, w, d, row, k * row, r, n, width, d - begin,
            )  # fmt: skip
