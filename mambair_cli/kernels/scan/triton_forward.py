"""Triton kernels of the scan: each chunk's own state, then the outputs.

A program walks one chunk of one direction of one image for one block of channels: a lane has one or
two channels, and their states are registers, so the sum over states crosses no lanes. Parameters
come with channels last, or the compiler would spread the states over lanes. The next token is
loaded while the current one is computed.

What the kernels take, here and in `triton_backward.py`; a row is an image and one of its `K`
directions, and a grid is (blocks of channels, chunks, rows):

    u_ptr             (b h w d)
    projected_ptr     (b h w K R+2N)
    weight_ptr        (K R d) float32, step projection
    bias_ptr          (K d) float32, its bias
    A_ptr             (K N d) float32
    D_ptr             (K d) float32
    states_ptr        (b K chunks N d) float32, state at the end of each chunk that began with zero
    steps_ptr         (b K chunks d) float32, sum of each chunk's steps
    b, h, w, d        images, rows, columns, channels
    chunk_length      tokens of each chunk but the last
    chunks            chunks of a row
    K                 directions of an image, 4, or 1 for a sequence
    N, R              states of a channel, rank of the step projection
    NP, RP            those rounded up to powers of two
    BLOCK             channels of a program, a power of two
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
# A size known to be a multiple of 16 would have the compiler load pairs of channels, lay the states
# out for that, and move them between lanes for every token.
SIZES = ["b", "h", "w", "d", "chunk_length", "chunks"]


@triton.jit
def softplus(x):
    """`log(1 + exp(x))` as `max(x, 0) + v P(v)` with `v = exp(-|x|)`; `P` is `log(1 + v) / v`.

    The polynomial was fitted on [0, 1] for the least relative error, 2e-7.
    """
    v = tl.exp2(tl.abs(x) * -LOG2_E)
    p = 0.005232422146946192 * v - 0.02950414828956127
    p = p * v + 0.07822417467832565
    p = p * v - 0.13663095235824585
    p = p * v + 0.19105936586856842
    p = p * v - 0.24842964112758636
    p = p * v + 0.3331909477710724
    p = p * v - 0.4999949336051941
    p = p * v + 1.0
    return tl.maximum(x, 0.0) + v * p


@triton.jit
def walk_from(s, k, h, w):
    """Find where position `s` of direction `k` is, and how to go on from there.

    Returns:
        The pixel; its place in its row or column, counted in walking direction; how long those are;
        the distance to the next pixel inside one, and from the end of one to the next.
    """
    reverse = k >= 2
    columns = k % 2 == 1
    t = tl.where(reverse, h * w - 1 - s, s)
    sign = tl.where(reverse, -1, 1)
    length = tl.where(columns, h, w)
    pixel = tl.where(columns, t % h * w + t // h, t)
    step = tl.where(columns, w, 1) * sign
    wrap = tl.where(columns, 1 - (h - 1) * w, 1) * sign
    return pixel, s % length, length, step, wrap


@triton.jit
def advanced(pixel, place, length, step, wrap):
    """Find the next pixel of a walk, and its place in its row or column."""
    at_end = place == length - 1
    return pixel + tl.where(at_end, wrap, step), tl.where(at_end, 0, place + 1)


@triton.jit
def load_parameters(
    A_ptr, weight_ptr, bias_ptr, k, d, channel,
    N: tl.constexpr, R: tl.constexpr, NP: tl.constexpr, RP: tl.constexpr,
):  # fmt: skip
    """Load a direction's A times log2 e `(NP block)`, step projection `(RP block)` and its bias."""
    n, r = tl.arange(0, NP)[:, None], tl.arange(0, RP)[:, None]
    inside = channel < d
    A = tl.load(A_ptr + (k * N + n) * d + channel[None, :], (n < N) & inside[None, :], 0.0)
    weight = tl.load(
        weight_ptr + (k * R + r) * d + channel[None, :], (r < R) & inside[None, :], 0.0
    )
    bias = tl.load(bias_ptr + k * d + channel, inside, 0.0)
    return A * LOG2_E, weight, bias


@triton.jit
def load_token(
    u_ptr, token_ptr, pixel, d, inside,
    K: tl.constexpr, N: tl.constexpr, R: tl.constexpr, NP: tl.constexpr, RP: tl.constexpr,
):  # fmt: skip
    """Load a pixel's input `(block)`, and one direction's raw step `(RP)`, B and C `(NP)` there.

    The pointers are those of the image's first pixel, for the block and the direction.
    """
    n, r = tl.arange(0, NP), tl.arange(0, RP)
    at = pixel.to(tl.int64)
    token = token_ptr + at * (K * (R + 2 * N))
    u = tl.load(u_ptr + at * d, inside, 0.0)
    raw = tl.load(token + r, r < R, 0.0)
    B = tl.load(token + R + n, n < N, 0.0)
    C = tl.load(token + R + N + n, n < N, 0.0)
    return u.to(tl.float32), raw.to(tl.float32), B.to(tl.float32), C.to(tl.float32)


@triton.jit
def decay_over(A, step, N: tl.constexpr, NP: tl.constexpr):
    """`exp(step A)`; zero for states that only fill up the block, so that they cost nothing."""
    return tl.where(tl.arange(0, NP)[:, None] < N, tl.exp2(A * step[None, :]), 0.0)


@triton.jit
def chunk_at(
    states_ptr, steps_ptr, row, chunks, chunk, d, channel, N: tl.constexpr, NP: tl.constexpr
):
    """Point to a chunk's state `(NP block)` and sum of steps `(block)`; mask the state."""
    n = tl.arange(0, NP)[:, None]
    at = row.to(tl.int64) * chunks + chunk
    mask = (n < N) & (channel < d)[None, :]
    return states_ptr + (at * N + n) * d + channel[None, :], steps_ptr + at * d + channel, mask


@triton.jit
def state_before(
    states_ptr, steps_ptr, A, row, chunks, chunk, d, channel, N: tl.constexpr, NP: tl.constexpr
):
    """Find the state `(NP block)` that enters a chunk, from the chunks before it."""
    state = tl.zeros([NP, channel.shape[0]], tl.float32)
    for before in tl.range(chunk, loop_unroll_factor=4):
        own_at, step_at, mask = chunk_at(
            states_ptr, steps_ptr, row, chunks, before, d, channel, N, NP
        )
        own = tl.load(own_at, mask, 0.0)
        step = tl.load(step_at, channel < d, 0.0)
        state = decay_over(A, step, N, NP) * state + own
    return state


@triton.jit(do_not_specialize=SIZES)
def scan_chunks(
    u_ptr, projected_ptr, weight_ptr, bias_ptr, A_ptr, D_ptr, states_ptr, steps_ptr, planes_ptr,
    b, h, w, d, chunk_length, chunks,
    K: tl.constexpr, N: tl.constexpr, R: tl.constexpr, NP: tl.constexpr, RP: tl.constexpr,
    BLOCK: tl.constexpr, WRITE_PLANES: tl.constexpr,
):  # fmt: skip
    """Scan chunks, in two passes over the same code.

    The first starts each chunk from zero and stores `states` and `steps`; the second makes the
    state before each chunk of those and stores each direction's outputs, `planes (K b h w d)`.
    """
    channel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < d
    chunk, row = tl.program_id(1), tl.program_id(2)
    image, k = row // K, row % K
    tokens = h * w
    A, weight, bias = load_parameters(A_ptr, weight_ptr, bias_ptr, k, d, channel, N, R, NP, RP)
    D = tl.load(D_ptr + k * d + channel, inside, 0.0)
    state = tl.zeros([NP, BLOCK], tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    if WRITE_PLANES:
        state = state_before(states_ptr, steps_ptr, A, row, chunks, chunk, d, channel, N, NP)
    first = chunk * chunk_length
    last = tl.minimum(first + chunk_length, tokens) - 1
    pixel, place, length, step, wrap = walk_from(first, k, h, w)
    u_ptr += image.to(tl.int64) * tokens * d + channel
    token_ptr = projected_ptr + (image.to(tl.int64) * tokens * K + k) * (R + 2 * N)
    plane_ptr = planes_ptr + (k * b + image).to(tl.int64) * tokens * d + channel
    u, raw, B, C = load_token(u_ptr, token_ptr, pixel, d, inside, K, N, R, NP, RP)
    for s in tl.range(first, last + 1, loop_unroll_factor=2):
        out = plane_ptr + pixel.to(tl.int64) * d
        following, place = advanced(pixel, place, length, step, wrap)
        pixel = tl.where(s < last, following, pixel)
        next_u, next_raw, next_B, next_C = load_token(
            u_ptr, token_ptr, pixel, d, inside, K, N, R, NP, RP
        )
        delta = softplus(tl.sum(weight * raw[:, None], 0) + bias)
        state = decay_over(A, delta, N, NP) * state + B[:, None] * (delta * u)[None, :]
        if WRITE_PLANES:
            y = tl.sum(C[:, None] * state, 0) + D * u
            tl.store(out, y.to(planes_ptr.dtype.element_ty), inside)
        else:
            total += delta
        u, raw, B, C = next_u, next_raw, next_B, next_C
    if not WRITE_PLANES:
        state_at, step_at, mask = chunk_at(
            states_ptr, steps_ptr, row, chunks, chunk, d, channel, N, NP
        )
        tl.store(state_at, state, mask)
        tl.store(step_at, total, inside)
