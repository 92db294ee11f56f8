"""Triton kernels of the scan's gradients: each chunk's own adjoint, then all of them.

The adjoint `g` of the state runs against the direction:

    g_t = C_t dy_t + exp(delta_{t+1} A) g_{t+1}

Arguments are those of `triton_forward.py`, and

    dplanes_ptr       (K b h w d), gradients of the outputs
    plane_stride      elements between its planes, 0 where all are the same
    adjoints_ptr      (b K chunks N d) float32, adjoint that leaves each chunk that began with zero
    first_row         first of the rows that a launch works on
    history_ptr       (rows chunks chunk_length N d) float32, room for states
    du_ptr            (K b h w d) float32, each direction's gradient of u
    dz_ptr            (K b h w d) float32, gradient of what the softplus takes
    dBC_ptr           (blocks b h w K 2N) float32, of B and C from each block of channels
    dA_ptr            (b K chunks N d) float32, of A from each chunk
"""

from __future__ import annotations

import triton
import triton.language as tl

from mambair_cli.kernels.scan.triton_forward import (
    SIZES,
    advanced,
    chunk_at,
    decay_over,
    load_parameters,
    load_token,
    softplus,
    state_before,
    walk_from,
)

LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit(do_not_specialize=["plane_stride", *SIZES[1:]])
def adjoint_chunks(
    dplanes_ptr, projected_ptr, weight_ptr, bias_ptr, A_ptr, adjoints_ptr, steps_ptr,
    plane_stride, h, w, d, chunk_length, chunks,
    K: tl.constexpr, N: tl.constexpr, R: tl.constexpr, NP: tl.constexpr, RP: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Walk all chunks but the first backward, from an adjoint of zero."""
    channel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < d
    chunk, row = tl.program_id(1) + 1, tl.program_id(2)
    image, k = row // K, row % K
    tokens = h * w
    A, weight, bias = load_parameters(A_ptr, weight_ptr, bias_ptr, k, d, channel, N, R, NP, RP)
    first = chunk * chunk_length
    last = tl.minimum(first + chunk_length, tokens) - 1
    pixel, place, length, step, wrap = walk_from(tokens - 1 - last, (k + 2) % 4, h, w)
    dy_ptr = dplanes_ptr + k.to(tl.int64) * plane_stride + image.to(tl.int64) * tokens * d + channel
    token_ptr = projected_ptr + (image.to(tl.int64) * tokens * K + k) * (R + 2 * N)
    adjoint = tl.zeros([NP, BLOCK], tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    for _ in range(first, last + 1):
        dy, raw, _B, C = load_token(dy_ptr, token_ptr, pixel, d, inside, K, N, R, NP, RP)
        delta = softplus(tl.sum(weight * raw[:, None], 0) + bias)
        adjoint = decay_over(A, delta, N, NP) * (adjoint + C[:, None] * dy[None, :])
        total += delta
        pixel, place = advanced(pixel, place, length, step, wrap)
    adjoint_at, step_at, mask = chunk_at(
        adjoints_ptr, steps_ptr, row, chunks, chunk, d, channel, N, NP
    )
    tl.store(adjoint_at, adjoint, mask)
    tl.store(step_at, total, inside)


@triton.jit
def adjoint_after(
    adjoints_ptr, steps_ptr, A, row, chunks, chunk, d, channel, N: tl.constexpr, NP: tl.constexpr
):
    """Find the adjoint `(NP block)` that enters a chunk from the chunks after it."""
    adjoint = tl.zeros([NP, channel.shape[0]], tl.float32)
    for i in range(chunks - 1 - chunk):
        own_at, step_at, mask = chunk_at(
            adjoints_ptr, steps_ptr, row, chunks, chunks - 1 - i, d, channel, N, NP
        )
        step = tl.load(step_at, channel < d, 0.0)
        adjoint = decay_over(A, step, N, NP) * adjoint + tl.load(own_at, mask, 0.0)
    return adjoint


@triton.jit
def record_states(
    u_ptr, token_ptr, history_at, A, weight, bias, state, count, k, first, h, w, d, inside, mask,
    K: tl.constexpr, N: tl.constexpr, R: tl.constexpr, NP: tl.constexpr, RP: tl.constexpr,
):  # fmt: skip
    """Walk a chunk forward and store the state before each of its tokens."""
    pixel, place, length, step, wrap = walk_from(first, k, h, w)
    for _ in range(count):
        tl.store(history_at, state, mask)
        history_at += N * d
        u, raw, B, _C = load_token(u_ptr, token_ptr, pixel, d, inside, K, N, R, NP, RP)
        delta = softplus(tl.sum(weight * raw[:, None], 0) + bias)
        state = decay_over(A, delta, N, NP) * state + B[:, None] * (delta * u)[None, :]
        pixel, place = advanced(pixel, place, length, step, wrap)


@triton.jit(do_not_specialize=["plane_stride", "first_row", *SIZES])
def scan_gradients(
    u_ptr, projected_ptr, weight_ptr, bias_ptr, A_ptr, D_ptr, dplanes_ptr,
    states_ptr, adjoints_ptr, steps_ptr, history_ptr, du_ptr, dz_ptr, dBC_ptr, dA_ptr,
    plane_stride, first_row, b, h, w, d, chunk_length, chunks,
    K: tl.constexpr, N: tl.constexpr, R: tl.constexpr, NP: tl.constexpr, RP: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Walk chunks forward to have their states, then backward for the gradients."""
    block, chunk, row = tl.program_id(0), tl.program_id(1), first_row + tl.program_id(2)
    channel = block * BLOCK + tl.arange(0, BLOCK)
    inside = channel < d
    n = tl.arange(0, NP)
    image, k = row // K, row % K
    tokens = h * w
    A, weight, bias = load_parameters(A_ptr, weight_ptr, bias_ptr, k, d, channel, N, R, NP, RP)
    D = tl.load(D_ptr + k * d + channel, inside, 0.0)
    first = chunk * chunk_length
    count = tl.minimum(chunk_length, tokens - first)
    mask = (n < N)[:, None] & inside[None, :]
    history_row = (tl.program_id(2) * chunks + chunk).to(tl.int64) * chunk_length
    history_at = history_ptr + history_row * N * d + n[:, None] * d + channel[None, :]
    u_ptr += image.to(tl.int64) * tokens * d + channel
    token_ptr = projected_ptr + (image.to(tl.int64) * tokens * K + k) * (R + 2 * N)
    record_states(
        u_ptr, token_ptr, history_at, A, weight, bias,
        state_before(states_ptr, steps_ptr, A, row, chunks, chunk, d, channel, N, NP),
        count, k, first, h, w, d, inside, mask, K, N, R, NP, RP,
    )  # fmt: skip
    # What one thread stored another one may load.
    tl.debug_barrier()
    adjoint = adjoint_after(adjoints_ptr, steps_ptr, A, row, chunks, chunk, d, channel, N, NP)
    dA = tl.zeros([NP, BLOCK], tl.float32)
    plane = (k * b + image).to(tl.int64) * tokens * d + channel
    dy_ptr = dplanes_ptr + k.to(tl.int64) * plane_stride + image.to(tl.int64) * tokens * d + channel
    dBC_at = dBC_ptr + ((block * b + image).to(tl.int64) * tokens * K + k) * (2 * N) + n
    pixel, place, length, step, wrap = walk_from(tokens - first - count, (k + 2) % 4, h, w)
    history_at += (count - 1).to(tl.int64) * N * d
    for _ in range(count):
        at = pixel.to(tl.int64)
        u, raw, B, C = load_token(u_ptr, token_ptr, pixel, d, inside, K, N, R, NP, RP)
        dy = tl.load(dy_ptr + at * d, inside, 0.0).to(tl.float32)
        before = tl.load(history_at, mask, 0.0)
        history_at -= N * d
        z = tl.sum(weight * raw[:, None], 0) + bias
        delta = softplus(z)
        decay = decay_over(A, delta, N, NP)
        state = decay * before + B[:, None] * (delta * u)[None, :]
        adjoint += C[:, None] * dy[None, :]
        through_decay = adjoint * decay * before
        into_input = tl.sum(adjoint * B[:, None], 0)
        ddelta = u * into_input + tl.sum(through_decay * A, 0) * LN_2
        dA += delta[None, :] * through_decay
        tl.store(du_ptr + plane + at * d, delta * into_input + D * dy, inside)
        tl.store(dz_ptr + plane + at * d, ddelta * tl.sigmoid(z), inside)
        dB = tl.sum(adjoint * (delta * u)[None, :], 1)
        tl.store(dBC_at + at * (2 * K * N), dB, n < N)
        tl.store(dBC_at + at * (2 * K * N) + N, tl.sum(state * dy[None, :], 1), n < N)
        adjoint *= decay
        pixel, place = advanced(pixel, place, length, step, wrap)
    dA_at, _steps, _mask = chunk_at(dA_ptr, steps_ptr, row, chunks, chunk, d, channel, N, NP)
    tl.store(dA_at, dA, mask)
