"""Attention inside windows on a CPU, read and written where the pixels of the image lie.

Queries lie across the lanes: a vector holds up to `LANES` of one row of a window, and two of them
go together, so that each value of a key serves both. Keys come in blocks whose scores stay in the
first-level cache; the largest score so far, the sum and the result move along (FlashAttention).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mambair_cli.kernels.elementary import LOG2_E, ONE, ZERO, exp2_of_difference
from mambair_cli.kernels.numba_compiler import kernel
from mambair_cli.kernels.scan.numba_forward import smaller
from mambair_cli.kernels.vector import (
    LANES,
    add,
    div,
    fma,
    load,
    load_part,
    maximum,
    mul,
    offset,
    root,
    splat,
    splat_at,
    store,
    store_part,
)

BLOCK = 64  # keys whose scores are kept together, unless two rows are more
TOGETHER = 4  # keys, or channels, of one pass over registers
PAIR = 2 * LANES
LEAST = np.float32(-1e30)


@njit(forceinline=True)
def _rows_together(side):
    """Choose how many rows of keys come in one block: an even number, as the side is."""
    rows = BLOCK // side // 2 * 2
    return rows if rows else 2


@njit(forceinline=True)
def _pixel(y, x, top, left, h, w):
    """Find the pixel at a place of a window, which goes on at the other side of the image."""
    row, column = top + y, left + x
    row = row - h if row >= h else row
    column = column - w if column >= w else column
    return row * w + column


@njit(forceinline=True)
def _pack(keys, values, qkv, top, left, side, h, w, c, each, padded, head):
    """Copy the keys and values of a window, the values padded with zeros."""
    for y in range(side):
        for x in range(side):
            at = _pixel(y, x, top, left, h, w) * 3 * c + head * each
            place = y * side + x
            for v in range(0, each, LANES):
                store_part(keys, place * each + v, load_part(qkv, at + c + v, each - v), each - v)
            for v in range(0, padded, LANES):
                value = load_part(qkv, at + 2 * c + v, each - v)
                store_part(values, place * padded + v, value, padded - v)


@njit(forceinline=True)
def _pack_queries(queries, qkv, scale, lane, y, x, top, left, side, h, w, c, each, head):
    """Copy a vector of queries, channel by channel."""
    for q in range(LANES):
        inside = x + q < side
        at = _pixel(y, x + q if inside else x, top, left, h, w) * 3 * c + head * each
        for channel in range(each):
            queries[channel * PAIR + lane + q] = qkv[at + channel] * scale


@njit(forceinline=True)
def _four_scores(scores, keys, queries, each):
    """Add the products of four keys and two vectors of queries to their biases; return maxima."""
    a0, b0 = load(scores, 0), load(scores, LANES)
    a1, b1 = load(scores, PAIR), load(scores, PAIR + LANES)
    a2, b2 = load(scores, 2 * PAIR), load(scores, 2 * PAIR + LANES)
    a3, b3 = load(scores, 3 * PAIR), load(scores, 3 * PAIR + LANES)
    for channel in range(each):
        a, b = load(queries, channel * PAIR), load(queries, channel * PAIR + LANES)
        k = splat_at(keys, channel)
        a0, b0 = fma(k, a, a0), fma(k, b, b0)
        k = splat_at(keys, each + channel)
        a1, b1 = fma(k, a, a1), fma(k, b, b1)
        k = splat_at(keys, 2 * each + channel)
        a2, b2 = fma(k, a, a2), fma(k, b, b2)
        k = splat_at(keys, 3 * each + channel)
        a3, b3 = fma(k, a, a3), fma(k, b, b3)
    store(scores, 0, a0)
    store(scores, LANES, b0)
    store(scores, PAIR, a1)
    store(scores, PAIR + LANES, b1)
    store(scores, 2 * PAIR, a2)
    store(scores, 2 * PAIR + LANES, b2)
    store(scores, 3 * PAIR, a3)
    store(scores, 3 * PAIR + LANES, b3)
    return (
        maximum(maximum(a0, a1), maximum(a2, a3)),
        maximum(maximum(b0, b1), maximum(b2, b3)),
    )


@njit(forceinline=True)
def _four_channels(results, channel, scores, values, count, padded, shrink_a, shrink_b):
    """Add what a block of keys gives to four channels of two vectors of queries."""
    results = offset(results, channel * PAIR)
    a0, b0 = mul(load(results, 0), shrink_a), mul(load(results, LANES), shrink_b)
    a1, b1 = mul(load(results, PAIR), shrink_a), mul(load(results, PAIR + LANES), shrink_b)
    a2, b2 = mul(load(results, 2 * PAIR), shrink_a), mul(load(results, 2 * PAIR + LANES), shrink_b)
    a3, b3 = mul(load(results, 3 * PAIR), shrink_a), mul(load(results, 3 * PAIR + LANES), shrink_b)
    for key in range(count):
        a, b = load(scores, key * PAIR), load(scores, key * PAIR + LANES)
        at = key * padded + channel
        v = splat_at(values, at)
        a0, b0 = fma(v, a, a0), fma(v, b, b0)
        v = splat_at(values, at + 1)
        a1, b1 = fma(v, a, a1), fma(v, b, b1)
        v = splat_at(values, at + 2)
        a2, b2 = fma(v, a, a2), fma(v, b, b2)
        v = splat_at(values, at + 3)
        a3, b3 = fma(v, a, a3), fma(v, b, b3)
    store(results, 0, a0)
    store(results, LANES, b0)
    store(results, PAIR, a1)
    store(results, PAIR + LANES, b1)
    store(results, 2 * PAIR, a2)
    store(results, 2 * PAIR + LANES, b2)
    store(results, 3 * PAIR, a3)
    store(results, 3 * PAIR + LANES, b3)


@njit(forceinline=True)
def _biases(scores, lane, table, apart, first, rows, y, x, side, behind, last_row, last_column):
    """Begin the scores of a vector of queries: position biases, and what keeps regions apart.

    Args:
        scores: Receives them.
        lane: 0 or `LANES`: which of the two vectors.
        table: Of the head, `((2 side - 1)**2)`.
        apart: Four lines of what is added: see `window_attention`.
        first: First row of keys.
        rows: How many.
        y: Row of the queries.
        x: Column of the first query.
        side: Side of the window.
        behind: First row and column behind the seam.
        last_row: Whether the seam of the rows runs through the window.
        last_column: Whether that of the columns does.
    """
    line = side + LANES
    at = lane
    for ky in range(first, first + rows):
        across = last_row and (ky >= behind) != (y >= behind)
        biases = offset(table, (y - ky + side - 1) * (2 * side - 1) + x + side - 1)
        for kx in range(side):
            bias = load(biases, -kx)
            if across:
                bias = add(bias, load(apart, 3 * line + x))
            elif last_column:
                bias = add(bias, load(apart, (2 if kx >= behind else 1) * line + x))
            store(scores, at, bias)
            at += PAIR


@njit(forceinline=True)
def _exponentials(scores, count, largest_a, largest_b, sum_a, sum_b):
    """Turn scores into weights; return their sums."""
    for key in range(count):
        a = exp2_of_difference(load(scores, key * PAIR), largest_a)
        b = exp2_of_difference(load(scores, key * PAIR + LANES), largest_b)
        store(scores, key * PAIR, a)
        store(scores, key * PAIR + LANES, b)
        sum_a, sum_b = add(sum_a, a), add(sum_b, b)
    return sum_a, sum_b


@njit(forceinline=True)
def _unpack(out, results, lane, total, y, x, top, left, side, h, w, c, each, head):
    """Write a vector of queries' results, divided by the sum of their weights."""
    share = div(splat(ONE), total)
    for channel in range(each):
        at = channel * PAIR + lane
        store(results, at, mul(load(results, at), share))
    for q in range(LANES):
        if x + q < side:
            at = _pixel(y, x + q, top, left, h, w) * c + head * each
            for channel in range(each):
                out[at + channel] = results[channel * PAIR + lane + q]


@njit(error_model="numpy", forceinline=True)
def _attend_pair(
    out, qkv, biases, apart, keys, values, queries, results, scores, pair, last_row, last_column,
    top, left, side, shift, h, w, c, each, padded, head,
):  # fmt: skip
    """Attend for two vectors of queries of a window and a head."""
    vectors, step = -(-side // LANES), _rows_together(side)
    y0, x0 = pair // vectors, pair % vectors * LANES
    y1, x1 = (pair + 1) // vectors, (pair + 1) % vectors * LANES
    scale = np.float32(LOG2_E) / root(np.float32(each))
    _pack_queries(queries, qkv, scale, 0, y0, x0, top, left, side, h, w, c, each, head)
    _pack_queries(queries, qkv, scale, LANES, y1, x1, top, left, side, h, w, c, each, head)
    for at in range(0, padded * PAIR, LANES):
        store(results, at, splat(ZERO))
    largest_a = largest_b = splat(LEAST)
    sum_a = sum_b = splat(ZERO)
    for ky in range(0, side, step):
        rows = smaller(step, side - ky)
        begin, count = ky * side, rows * side
        behind = side - shift
        _biases(scores, 0, biases, apart, ky, rows, y0, x0, side, behind, last_row, last_column)
        _biases(scores, LANES, biases, apart, ky, rows, y1, x1, side, behind, last_row, last_column)
        new_a, new_b = largest_a, largest_b
        for key in range(0, count, TOGETHER):
            at = offset(scores, key * PAIR)
            a, b = _four_scores(at, offset(keys, (begin + key) * each), queries, each)
            new_a, new_b = maximum(new_a, a), maximum(new_b, b)
        shrink_a = exp2_of_difference(largest_a, new_a)
        shrink_b = exp2_of_difference(largest_b, new_b)
        largest_a, largest_b = new_a, new_b
        sum_a, sum_b = mul(sum_a, shrink_a), mul(sum_b, shrink_b)
        sum_a, sum_b = _exponentials(scores, count, new_a, new_b, sum_a, sum_b)
        of_keys = offset(values, begin * padded)
        for channel in range(0, padded, TOGETHER):
            _four_channels(results, channel, scores, of_keys, count, padded, shrink_a, shrink_b)
    _unpack(out, results, 0, sum_a, y0, x0, top, left, side, h, w, c, each, head)
    _unpack(out, results, LANES, sum_b, y1, x1, top, left, side, h, w, c, each, head)


@kernel(floats=5)
def window_attention(
    qkv, table, apart, out, buffers, h, w, c, heads, side, shift, stride, room, tasks, windows,
    first, last,
):  # fmt: skip
    """Attend in the windows of images; `attention.py` has the definition.

    Args:
        qkv: Queries, keys and values, `(b h w 3c)`.
        table: Biases by relative position, times log2(e), `(heads stride)`.
        apart: Four lines of what is added to the scores of the pixels of a row, times log2(e),
            `(4 side+LANES)`: nothing; for keys before a seam of columns; for those behind it; for
            keys on the other side of a seam of rows.
        out: `(b h w c)`.
        buffers: To work in, `room` values for each task: keys, values, queries, results, scores.
        h: Height, a multiple of the side.
        w: Width, likewise.
        c: Channels.
        heads: Heads.
        side: Side of a window, even.
        shift: By how many pixels the windows are shifted.
        stride: Values of the table for a head, with some beyond its end.
        room: Values to work in.
        tasks: Into how many parts the windows are divided.
        windows: Windows of all images.
        first: First task.
        last: The one after the last.
    """
    each = c // heads
    padded = -(-each // TOGETHER) * TOGETHER
    down, across = h // side, w // side
    for task in range(first, last):
        keys = offset(buffers, task * room)
        values = offset(keys, side * side * each)
        queries = offset(values, side * side * padded)
        results = offset(queries, each * PAIR)
        scores = offset(results, padded * PAIR)
        for window in range(windows * task // tasks, windows * (task + 1) // tasks):
            image, row, column = window // across // down, window // across % down, window % across
            top, left = row * side + shift, column * side + shift
            source, target = offset(qkv, image * h * w * 3 * c), offset(out, image * h * w * c)
            for head in range(heads):
                _pack(keys, values, source, top, left, side, h, w, c, each, padded, head)
                # A side is even: two vectors of queries are always there.
                for pair in range(0, side * -(-side // LANES), 2):
                    _attend_pair(
                        target, source, offset(table, head * stride), apart, keys, values, queries,
                        results, scores, pair, shift > 0 and row == down - 1,
                        shift > 0 and column == across - 1,
                        top, left, side, shift, h, w, c, each, padded, head,
                    )  # fmt: skip
