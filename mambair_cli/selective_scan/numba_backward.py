"""Backward kernel of the four-direction scan on a CPU; shapes in README.md.

States are recomputed a chunk at a time from those that the forward pass kept. With `g` the gradient
of the state:

    g_t = C_t dy_t + a_{t+1} g_{t+1}    dC_t = sum_d dy_t h_t    dB_t = sum_d g_t delta_t u_t
    d(delta_t A) = g_t a_t h_{t-1}      d(delta_t u_t) = <B_t, g_t>
"""

from __future__ import annotations

import numpy as np
from numba import float32, int64, njit, prange, void

from mambair_cli.selective_scan.numba_forward import CHUNK, pixel_of
from mambair_cli.selective_scan.vector import (
    LANES,
    LN_2,
    LOG2_E,
    ZERO,
    add,
    exp2,
    fma,
    load,
    load_part,
    mul,
    softplus,
    splat,
    splat_at,
    store,
    store_part,
    sub,
    total,
)


@njit(inline="always")
def _accumulate(array, index, value):
    store(array, index, add(load(array, index), value))


@njit(cache=True, error_model="numpy")
def _state_gradients(projected, inputs, a, state, g, steps, dB, dC, cell, scratch, rows, n, B, m):
    """Runs one vector of channels and one state forward over a chunk, then its gradient back.

    Args:
        projected: Flat array that holds B and C; `rows[i] + B` is B of step `i`, `n` further C.
        inputs: Step, step times input, and output gradient of each token; `(3 CHUNK LANES)`, flat.
        a: A of these channels.
        state: State before the chunk.
        g: Gradient that reaches the last state of the chunk from later ones.
        steps: Receives the gradients of `delta` (through A) and of `delta u`, added up over states;
            `(2 CHUNK LANES)`, flat.
        dB: Receives the summands of dB of each token, from `cell` on; `(n CHUNK LANES)`, flat.
        dC: The same for dC.
        cell: Where this state's part of them starts.
        scratch: Room for states and decays; `(2 CHUNK LANES)`, flat.
        rows: Where each token's row of `projected` starts.
        n: State size.
        B: Column of B.
        m: Tokens in the chunk.

    Returns:
        The gradient that reaches the state before the chunk, and that of A.
    """
    size = CHUNK * LANES
    for i in range(m):
        v = i * LANES
        store(scratch, v, state)
        decay = exp2(mul(load(inputs, v), a))
        store(scratch, size + v, decay)
        state = fma(decay, state, mul(load(inputs, size + v), splat_at(projected, rows[i] + B)))
    dA = splat(ZERO)
    for i in range(m - 1, -1, -1):
        v = i * LANES
        dy, wu = load(inputs, 2 * size + v), load(inputs, size + v)
        g = fma(splat_at(projected, rows[i] + B + n), dy, g)
        store(dC, cell + v, fma(dy, state, load(dC, cell + v)))
        store(dB, cell + v, fma(g, wu, load(dB, cell + v)))
        store(steps, size + v, fma(g, splat_at(projected, rows[i] + B), load(steps, size + v)))
        g = mul(load(scratch, size + v), g)
        state = load(scratch, v)
        q = mul(g, state)
        store(steps, v, fma(q, a, load(steps, v)))
        dA = fma(q, load(inputs, v), dA)
    return g, dA


@njit(cache=True, error_model="numpy")
def _scan_inputs(u, dy, projected, weight, b_v, inputs, raw, rows, pixels, k, v, d, m):
    """Recomputes raw step, step and step times input of one vector of channels over a chunk."""
    size, padded = CHUNK * LANES, weight.shape[2]
    weights = weight[k].reshape(-1)
    for i in range(m):
        step = b_v
        for s in range(weight.shape[1]):
            step = fma(splat_at(projected, rows[i] + s), load(weights, s * padded + v), step)
        store(raw, i * LANES, step)
        step = softplus(step)
        store(inputs, i * LANES, step)
        store(inputs, size + i * LANES, mul(step, load_part(u, pixels[i] + v, d - v)))
        store(inputs, 2 * size + i * LANES, load_part(dy, pixels[i] + v, d - v))


@njit(cache=True, error_model="numpy")
def _step_gradients(
    u, projected, inputs, raw, steps, weight, skip, du, dD, db, dW, dx, rows, pixels, plane,
    k, v, d, m
):  # fmt: skip
    """Turns gradients of the steps of one vector into those of `u`, D and the step projection."""
    size, r, padded = CHUNK * LANES, weight.shape[1], weight.shape[2]
    weights = weight[k].reshape(-1)
    for i in range(m):
        j, count = i * LANES, d - v
        step, dy, dw = load(inputs, j), load(inputs, 2 * size + j), load(steps, size + j)
        u_i = load_part(u, pixels[i] + v, count)
        du_i = fma(dw, step, mul(skip, dy))
        at = plane + pixels[i] + v
        if k >= 2:
            du_i = add(du_i, load_part(du, at, count))
        store_part(du, at, du_i, count)
        _accumulate(dD, v, mul(dy, u_i))
        slope = exp2(mul(sub(load(raw, j), step), splat(LOG2_E)))
        draw = mul(fma(dw, u_i, mul(load(steps, j), splat(LN_2))), slope)
        _accumulate(db, v, draw)
        for s in range(r):
            _accumulate(dW, s * padded + v, mul(draw, splat_at(projected, rows[i] + s)))
            _accumulate(dx, s * size + j, mul(draw, load(weights, s * padded + v)))


@njit(cache=True, error_model="numpy")
def _direction_gradients(
    u, projected, weight, bias, A, D, kept, dy, du, dprojected, dA, dD, db, dW,
    k, h, w, image, plane, d
):  # fmt: skip
    length, n, r, padded = h * w, A.shape[1], weight.shape[1], weight.shape[2]
    size, row = CHUNK * LANES, weight.shape[1] + 2 * A.shape[1]
    A_k, b_k, D_k = A[k].reshape(-1), bias[k], D[k]
    g = np.zeros(n * padded, np.float32)
    inputs, raw = np.empty(3 * size, np.float32), np.empty(size, np.float32)
    scratch, steps = np.empty(2 * size, np.float32), np.empty(2 * size, np.float32)
    dB, dC = np.empty(n * size, np.float32), np.empty(n * size, np.float32)
    dx = np.empty(r * size, np.float32)
    rows, pixels = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64)
    chunks = -(-length // CHUNK)
    for chunk in range(chunks - 1, -1, -1):
        m = min(CHUNK, length - chunk * CHUNK)
        state_at = ((image * 4 + k) * chunks + chunk) * n * padded
        for i in range(m):
            pixel = image * length + pixel_of(k, chunk * CHUNK + i, h, w)
            rows[i], pixels[i] = (pixel * 4 + k) * row, pixel * d
        dx[:] = 0
        dB[:] = 0
        dC[:] = 0
        for v in range(0, padded, LANES):
            _scan_inputs(
                u, dy, projected, weight, load(b_k, v), inputs, raw, rows, pixels, k, v, d, m
            )
            steps[:] = 0
            for s in range(n):
                at = s * padded + v
                g_s, dA_s = _state_gradients(
                    projected, inputs, load(A_k, at), load(kept, state_at + at), load(g, at),
                    steps, dB, dC, s * size, scratch, rows, n, r + s, m,
                )  # fmt: skip
                store(g, at, g_s)
                _accumulate(dA, at, dA_s)
            _step_gradients(
                u, projected, inputs, raw, steps, weight, load(D_k, v), du, dD, db, dW, dx,
                rows, pixels, plane, k, v, d, m,
            )  # fmt: skip
        for i in range(m):
            for s in range(r):
                dprojected[rows[i] + s] = total(load(dx, s * size + i * LANES))
            for s in range(n):
                dprojected[rows[i] + r + s] = total(load(dB, s * size + i * LANES))
                dprojected[rows[i] + r + n + s] = total(load(dC, s * size + i * LANES))


_flat, _matrices, _cube = float32[::1], float32[:, ::1], float32[:, :, ::1]


@njit(
    void(
        _flat, _flat, _cube, _matrices, _cube, _matrices, _flat, _flat,
        _flat, _flat, _cube, _cube, _cube, _cube, int64, int64, int64, int64,
    ),
    parallel=True,
    cache=True,
    error_model="numpy",
)  # fmt: skip
def scan_backward(
    u, projected, weight, bias, A, D, kept, dy, du, dprojected, dA, dD, db, dW, b, h, w, d
):  # fmt: skip
    """Gradients of the scan; tasks are images x (rows, columns).

    Args:
        u: As given to the forward kernel, like `projected`, `weight`, `bias`, `A` and `D`.
        projected: As above.
        weight: As above.
        bias: As above.
        A: As above.
        D: As above.
        kept: States that the forward kernel kept.
        dy: Gradient of the output, `(b l d)`, flat.
        du: Receives the gradient of `u`, `(2 b l d)`, flat; rows and columns apart.
        dprojected: Receives the gradient of `projected`, `(b l k*(r+2n))`, flat.
        dA: Zeros that receive the gradient of A, `(b k n*d')`.
        dD: Zeros that receive the gradient of D, `(b k d')`.
        db: Zeros that receive the gradient of the bias, `(b k d')`.
        dW: Zeros that receive the gradient of the step projection, `(b k r*d')`.
        b: Images.
        h: Height.
        w: Width.
        d: Channels.
    """
    plane = b * h * w * d
    for task in prange(b * 2):
        image, axis = task // 2, task % 2
        for turn in range(2):
            k = axis + 2 * turn
            _direction_gradients(
                u, projected, weight, bias, A, D, kept, dy, du, dprojected,
                dA[image, k], dD[image, k], db[image, k], dW[image, k],
                k, h, w, image, axis * plane, d,
            )  # fmt: skip
