"""Backward kernel of the scan on a CPU; shapes in README.md.

States are recomputed four tokens at a time, in registers, from those that the forward pass kept.
With `g` the gradient of the state:

    g_t = C_t dy_t + a_{t+1} g_{t+1}    dC_t = sum_d dy_t h_t    dB_t = sum_d g_t delta_t u_t
    d(delta_t A) = g_t a_t h_{t-1}      d(delta_t u_t) = <B_t, g_t>
"""

from __future__ import annotations

from numba import njit

from mambair_cli.kernels.elementary import LN_2, LOG2_E, ZERO, exp2, exp2_of_product, softplus
from mambair_cli.kernels.lanes import totals
from mambair_cli.kernels.numba_compiler import kernel
from mambair_cli.kernels.scan.numba_forward import (
    CACHE_LINE,
    CHUNK,
    four_pixels,
    load_four,
    prefetch_four,
    put_four,
    smaller,
    starts_of,
)
from mambair_cli.kernels.vector import (
    LANES,
    add,
    fma,
    load,
    load_part,
    mul,
    offset,
    prefetch,
    splat,
    splat_at,
    store,
    store_part,
    sub,
)


@njit(forceinline=True)
def _accumulate(array, index, value):
    store(array, index, add(load(array, index), value))


@njit(forceinline=True)
def _add_product(cells, cell, lanes, a, b):
    """Add `a * b` to the sum in a cell; `lanes` 0, not `LANES`, starts the sum."""
    store(cells, cell, fma(a, b, load_part(cells, cell, lanes)))


@njit(forceinline=True)
def _next_state(projected, column, delta, wu, a, state):
    """Find the decay of a step, and the state after it; `column` is where its B of a state lies."""
    decay = exp2_of_product(delta, a)
    return decay, fma(decay, state, mul(wu, splat_at(projected, column)))


@njit(forceinline=True)
def _step_back(projected, column, n, cells, cell, lanes, token, decay, before, after, a, g, dA):
    """Take the gradient of one state back over one step.

    Args:
        projected: Holds B and C.
        column: Where the step's B of this state lies; its C lies `n` further.
        n: State size.
        cells: Receives the summands of dB and dC over channels.
        cell: Where those of dB lie; those of dC `n` vectors further.
        lanes: `LANES` to add to what lies there, 0 to start the sums.
        token: Step, step times input, output gradient, and the gradients so far of `delta` (through
            A) and of `delta u`.
        decay: Decay of the step.
        before: State before the step.
        after: State after it.
        a: A.
        g: Gradient that reaches the state after the step from later ones.
        dA: Gradient of A so far.

    Returns:
        The gradient that reaches the state before the step, that of A, and those of the token.
    """
    delta, wu, dy, through_a, through_u = token
    g = fma(splat_at(projected, column + n), dy, g)
    _add_product(cells, cell, lanes, g, wu)
    _add_product(cells, cell + n * LANES, lanes, dy, after)
    through_u = fma(g, splat_at(projected, column), through_u)
    g = mul(decay, g)
    q = mul(g, before)
    return g, fma(q, delta, dA), fma(q, a, through_a), through_u


@njit(forceinline=True)
def _state_gradients(
    projected, rows, cells, width, lanes, inputs, A, kept, at, g, dA, r, n, padded, v
):  # fmt: skip
    """Run all states of one vector of channels over four tokens, then their gradients back.

    Returns:
        For each token the gradients of `delta` (through A) and of `delta u`.
    """
    (d0, w0, y0), (d1, w1, y1), (d2, w2, y2), (d3, w3, y3) = inputs
    p0 = p1 = p2 = p3 = q0 = q1 = q2 = q3 = splat(ZERO)
    for s in range(n):
        i, B = s * padded + v, r + s
        a, h0 = load(A, i), load(kept, at + i)
        prefetch(kept, at - n * padded + i)  # of the chunk before, which comes next
        e0, h1 = _next_state(projected, rows[0] + B, d0, w0, a, h0)
        e1, h2 = _next_state(projected, rows[1] + B, d1, w1, a, h1)
        e2, h3 = _next_state(projected, rows[2] + B, d2, w2, a, h2)
        e3, h4 = _next_state(projected, rows[3] + B, d3, w3, a, h3)
        x, da, cell = load(g, i), load(dA, i), B * LANES
        x, da, p3, q3 = _step_back(
            projected, rows[3] + B, n, cells, 3 * width + cell, lanes, (d3, w3, y3, p3, q3),
            e3, h3, h4, a, x, da,
        )  # fmt: skip
        x, da, p2, q2 = _step_back(
            projected, rows[2] + B, n, cells, 2 * width + cell, lanes, (d2, w2, y2, p2, q2),
            e2, h2, h3, a, x, da,
        )  # fmt: skip
        x, da, p1, q1 = _step_back(
            projected, rows[1] + B, n, cells, width + cell, lanes, (d1, w1, y1, p1, q1),
            e1, h1, h2, a, x, da,
        )  # fmt: skip
        x, da, p0, q0 = _step_back(
            projected, rows[0] + B, n, cells, cell, lanes, (d0, w0, y0, p0, q0),
            e0, h0, h1, a, x, da,
        )  # fmt: skip
        store(g, i, x)
        store(dA, i, da)
    return (p0, q0), (p1, q1), (p2, q2), (p3, q3)


@njit(forceinline=True)
def _raw_step(projected, row, weights, bias, r, padded, v):
    """Project the step of one token and vector of channels, before its softplus."""
    step = bias
    for s in range(r):
        step = fma(splat_at(projected, row + s), load(weights, s * padded + v), step)
    return step


@njit(forceinline=True)
def _token_inputs(raw, u, dy):
    """Gather step, step times input, output gradient."""
    step = softplus(raw)
    return step, mul(step, u), dy


@njit(forceinline=True)
def _input_gradient(token, gradients, skip, raw, u):
    """Find the gradients of `u` and of the raw step of one token."""
    step, _, dy = token
    through_a, through_u = gradients
    slope = exp2(mul(sub(raw, step), splat(LOG2_E)))
    draw = mul(fma(through_u, u, mul(through_a, splat(LN_2))), slope)
    return fma(through_u, step, mul(skip, dy)), draw


@njit(forceinline=True)
def _four_tokens(
    u, dy, projected, weights, bias, A, skip, kept, at, du, g, dA, dD, db, dW, cells,
    rows, pixels, onto, left, width, r, n, padded, v, d,
):  # fmt: skip
    """Find the gradients of one vector of channels over four tokens, of which `left` are there."""
    count = d - v
    lanes = LANES if v > 0 else 0  # the first vector starts the sums over channels
    x0, x1, x2, x3 = load_four(u, pixels, v, count)
    y0 = load_part(dy, pixels[0] + v, count)
    # No output gradient for steps beyond the end: they then add nothing anywhere.
    y1 = load_part(dy, pixels[1] + v, count if left > 1 else 0)
    y2 = load_part(dy, pixels[2] + v, count if left > 2 else 0)
    y3 = load_part(dy, pixels[3] + v, count if left > 3 else 0)
    b = load(bias, v)
    raw0 = _raw_step(projected, rows[0], weights, b, r, padded, v)
    raw1 = _raw_step(projected, rows[1], weights, b, r, padded, v)
    raw2 = _raw_step(projected, rows[2], weights, b, r, padded, v)
    raw3 = _raw_step(projected, rows[3], weights, b, r, padded, v)
    t0, t1 = _token_inputs(raw0, x0, y0), _token_inputs(raw1, x1, y1)
    t2, t3 = _token_inputs(raw2, x2, y2), _token_inputs(raw3, x3, y3)
    s0, s1, s2, s3 = _state_gradients(
        projected, rows, cells, width, lanes, (t0, t1, t2, t3), A, kept, at, g, dA, r, n, padded, v
    )
    D = load(skip, v)
    du0, draw0 = _input_gradient(t0, s0, D, raw0, x0)
    du1, draw1 = _input_gradient(t1, s1, D, raw1, x1)
    du2, draw2 = _input_gradient(t2, s2, D, raw2, x2)
    du3, draw3 = _input_gradient(t3, s3, D, raw3, x3)
    put_four(du, pixels, v, (du0, du1, du2, du3), count, onto, left)
    _accumulate(dD, v, fma(y0, x0, fma(y1, x1, fma(y2, x2, mul(y3, x3)))))
    _accumulate(db, v, add(add(draw0, draw1), add(draw2, draw3)))
    for s in range(r):
        i, cell = s * padded + v, s * LANES
        c0, c1 = splat_at(projected, rows[0] + s), splat_at(projected, rows[1] + s)
        c2, c3 = splat_at(projected, rows[2] + s), splat_at(projected, rows[3] + s)
        _accumulate(dW, i, fma(draw0, c0, fma(draw1, c1, fma(draw2, c2, mul(draw3, c3)))))
        weight = load(weights, i)
        _add_product(cells, cell, lanes, draw0, weight)
        _add_product(cells, width + cell, lanes, draw1, weight)
        _add_product(cells, 2 * width + cell, lanes, draw2, weight)
        _add_product(cells, 3 * width + cell, lanes, draw3, weight)


@njit(error_model="numpy", forceinline=True)
def _direction_gradients(
    u, projected, weight, bias, A, D, kept, dy, du, dprojected, dA, dD, db, dW, g, cells,
    onto, direction, h, w, d, row, pixel_row, r, n, padded,
):  # fmt: skip
    """Differentiate the scan of one image in one direction; add to `du` if `onto`."""
    length = h * w
    for v in range(0, n * padded, LANES):
        store(g, v, splat(ZERO))
    width = -(-row // LANES) * LANES * LANES
    chunks = -(-length // CHUNK)
    for chunk in range(chunks - 1, -1, -1):
        t = chunk * CHUNK
        tokens = four_pixels(direction, t, h, w)
        ahead = four_pixels(direction, t - CHUNK if t > 0 else 0, h, w)
        pixels, next_pixels = starts_of(tokens, d), starts_of(ahead, d)
        rows, next_rows = starts_of(tokens, pixel_row), starts_of(ahead, pixel_row)
        for s in range(0, row, CACHE_LINE):
            prefetch_four(projected, next_rows, s)
        for v in range(0, padded, LANES):
            prefetch_four(u, next_pixels, v)
            prefetch_four(dy, next_pixels, v)
            _four_tokens(
                u, dy, projected, weight, bias, A, D, kept, chunk * n * padded, du, g, dA, dD, db,
                dW, cells, rows, pixels, onto, length - t, width, r, n, padded, v, d,
            )  # fmt: skip
        for i in range(smaller(CHUNK, length - t)):
            start = rows[i]
            for s in range(0, row, LANES):
                store_part(dprojected, start + s, totals(cells, i * width + s * LANES), row - s)


@kernel(floats=15)
def scan_backward(
    u, projected, weight, bias, A, D, kept, dy, du, dprojected, dA, dD, db, dW, blocks_of_tasks,
    b, h, w, d, k, n, r, padded, first, last,
):  # fmt: skip
    """Differentiate the scan; tasks are images x axes (rows, columns).

    Args:
        u: As given to the forward kernel, like `projected`, `weight`, `bias`, `A` and `D`.
        projected: As above.
        weight: As above.
        bias: As above.
        A: As above.
        D: As above.
        kept: States that the forward kernel kept.
        dy: Gradient of the output, `(b l d)`.
        du: Receives the gradient of `u`, `(axes b l d)`; rows and columns apart.
        dprojected: Receives the gradient of `projected`, `(b l k*(r+2n))`.
        dA: Zeros that receive the gradient of A, `(b k n*d')`.
        dD: Zeros that receive the gradient of D, `(b k d')`.
        db: Zeros that receive the gradient of the bias, `(b k d')`.
        dW: Zeros that receive the gradient of the step projection, `(b k r*d')`.
        blocks_of_tasks: To work in, for each task: `n d'` gradients of the state, then for each of
            four rows of `projected`, rounded up to vectors, a vector a value; zeros.
        b: Images.
        h: Height.
        w: Width.
        d: Channels.
        k: Directions.
        n: State size.
        r: Rank of the step projection.
        padded: d'.
        first: First task.
        last: The one after the last.
    """
    length, axes, row = h * w, smaller(k, 2), r + 2 * n
    states = -(-length // CHUNK) * n * padded
    room = n * padded + 4 * (-(-row // LANES) * LANES * LANES)
    for task in range(first, last):
        image, axis = task // axes, task % axes
        g = offset(blocks_of_tasks, task * room)
        in_u, in_rows = image * length * d, image * length * k * row
        for direction in range(axis, k, 2):
            of = image * k + direction
            _direction_gradients(
                offset(u, in_u), offset(projected, in_rows + direction * row),
                offset(weight, direction * r * padded), offset(bias, direction * padded),
                offset(A, direction * n * padded), offset(D, direction * padded),
                offset(kept, of * states), offset(dy, in_u),
                offset(du, axis * b * length * d + in_u),
                offset(dprojected, in_rows + direction * row),
                offset(dA, of * n * padded), offset(dD, of * padded), offset(db, of * padded),
                offset(dW, of * r * padded), g, offset(g, n * padded),
                direction >= 2, direction, h, w, d, row, k * row, r, n, padded,
            )  # fmt: skip
