"""Norm, gate and residual kernels on a CPU: one pass over channels-last memory, not several.

Every kernel takes `p` pixels by `c` channels; channel parameters are padded with zeros to `width`,
whole vectors. Of its `tasks`, which share the pixels, it runs those from `first` to before `last`;
each has a row of the buffers. `ops.py` holds the definitions that these are tested against.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mambair_cli.kernels.elementary import ONE, ZERO, sigmoid
from mambair_cli.kernels.lanes import total
from mambair_cli.kernels.numba_compiler import kernel
from mambair_cli.kernels.vector import (
    LANES,
    add,
    exists,
    fma,
    load,
    load_part,
    mul,
    offset,
    root,
    splat,
    splat_part,
    store,
    store_part,
    sub,
)

EPSILON = np.float32(1e-5)


@njit(forceinline=True)
def _center(buffer, c):
    """Take the mean off the first `c` values of a zero-padded buffer; return 1 / deviation."""
    sums = splat(ZERO)
    for v in range(0, c, LANES):
        sums = add(sums, load(buffer, v))
    mean = total(sums) / np.float32(c)
    squares = splat(ZERO)
    for v in range(0, c, LANES):
        value = sub(load(buffer, v), splat_part(mean, c - v))
        store(buffer, v, value)
        squares = fma(value, value, squares)
    return ONE / root(total(squares) / np.float32(c) + EPSILON)


@njit(forceinline=True)
def _take_gradient(slope, dn, value, weight, dw, db, v):
    """Take the gradient `dn` of one vector of a norm's output: for its weight, bias and input."""
    store(dw, v, fma(dn, value, load(dw, v)))
    store(db, v, add(load(db, v), dn))
    store(slope, v, mul(dn, load(weight, v)))


@njit(forceinline=True)
def _mean_and_projection(slope, normed, c):
    """Find what a norm's input gradient loses: its mean, its part along the normed values."""
    mean, projection = splat(ZERO), splat(ZERO)
    for v in range(0, c, LANES):
        mean = add(mean, load(slope, v))
        projection = fma(load(slope, v), load(normed, v), projection)
    return splat(total(mean) / np.float32(c)), splat(total(projection) / np.float32(c))


@njit(forceinline=True)
def _skipped(value, skip, v, other):
    return fma(value, load(skip, v), other) if exists(skip) else add(value, other)


@kernel(floats=9)
def residual_norm_forward(
    x, branch, more, skip, weight, bias, kept, normed, buffers, p, c, width, tasks, first, last
):
    """`kept = x * skip + branch + more; normed = layer_norm(kept)`.

    Without a branch `kept` is `x`, which is not stored again. There may be no skip, and no more.
    """
    for task in range(first, last):
        buffer = offset(buffers, task * width)
        for i in range(p * task // tasks, p * (task + 1) // tasks):
            for v in range(0, c, LANES):
                at, count = i * c + v, c - v
                value = load_part(x, at, count)
                if exists(branch):
                    other = load_part(branch, at, count)
                    value = _skipped(value, skip, v, other)
                    if exists(more):
                        value = add(value, load_part(more, at, count))
                    store_part(kept, at, value, count)
                store(buffer, v, value)
            scale = splat(_center(buffer, c))
            for v in range(0, c, LANES):
                value = fma(mul(load(buffer, v), scale), load(weight, v), load(bias, v))
                store_part(normed, i * c + v, value, c - v)


@kernel(floats=12)
def residual_norm_backward(
    x, kept, skip, weight, dkept, dnormed, dx, dbranch, dskip, dweight, dbias, buffers,
    p, c, width, tasks, first, last,
):  # fmt: skip
    """Differentiate `residual_norm_forward`; the last three results have a row for each task.

    `dkept` may be missing (nothing else used `kept`), and so may `dbranch` (there was no branch).
    A task has two rows of the buffers.
    """
    for task in range(first, last):
        buffer, slope = offset(buffers, 2 * task * width), offset(buffers, (2 * task + 1) * width)
        row = task * width
        ds, dw, db = offset(dskip, row), offset(dweight, row), offset(dbias, row)
        for i in range(p * task // tasks, p * (task + 1) // tasks):
            for v in range(0, c, LANES):
                store(buffer, v, load_part(kept, i * c + v, c - v))
            scale = splat(_center(buffer, c))
            for v in range(0, c, LANES):
                dn = load_part(dnormed, i * c + v, c - v)
                value = mul(load(buffer, v), scale)
                store(buffer, v, value)
                _take_gradient(slope, dn, value, weight, dw, db, v)
            mean, projection = _mean_and_projection(slope, buffer, c)
            for v in range(0, c, LANES):
                at, count = i * c + v, c - v
                value = sub(sub(load(slope, v), mean), mul(load(buffer, v), projection))
                value = mul(value, scale)
                if exists(dkept):
                    value = add(value, load_part(dkept, at, count))
                if exists(dbranch):
                    store_part(dbranch, at, value, count)
                    store(ds, v, fma(value, load_part(x, at, count), load(ds, v)))
                    value = mul(value, load(skip, v))
                store_part(dx, at, value, count)


@kernel(floats=7)
def norm_gate_forward(y, more, z, weight, bias, out, buffers, p, c, width, tasks, first, last):
    """`out = layer_norm(y + more) * silu(z)`; there may be no more."""
    for task in range(first, last):
        buffer = offset(buffers, task * width)
        for i in range(p * task // tasks, p * (task + 1) // tasks):
            for v in range(0, c, LANES):
                value = load_part(y, i * c + v, c - v)
                if exists(more):
                    value = add(value, load_part(more, i * c + v, c - v))
                store(buffer, v, value)
            scale = splat(_center(buffer, c))
            for v in range(0, c, LANES):
                at, count = i * c + v, c - v
                value = fma(mul(load(buffer, v), scale), load(weight, v), load(bias, v))
                gate = load_part(z, at, count)
                store_part(out, at, mul(value, mul(gate, sigmoid(gate))), count)


@kernel(floats=10)
def norm_gate_backward(
    y, z, weight, bias, dout, dy, dz, dweight, dbias, buffers, p, c, width, tasks, first, last
):
    """Differentiate `norm_gate_forward`; `dweight` and `dbias` have a row to sum for each task.

    A task has two rows of the buffers.
    """
    for task in range(first, last):
        buffer, slope = offset(buffers, 2 * task * width), offset(buffers, (2 * task + 1) * width)
        dw, db = offset(dweight, task * width), offset(dbias, task * width)
        for i in range(p * task // tasks, p * (task + 1) // tasks):
            for v in range(0, c, LANES):
                store(buffer, v, load_part(y, i * c + v, c - v))
            scale = splat(_center(buffer, c))
            for v in range(0, c, LANES):
                at, count = i * c + v, c - v
                value = mul(load(buffer, v), scale)
                store(buffer, v, value)
                normed = fma(value, load(weight, v), load(bias, v))
                gate, do = load_part(z, at, count), load_part(dout, at, count)
                s = sigmoid(gate)
                silu = mul(gate, s)
                # silu' = s + silu (1 - s)
                dsilu = fma(silu, sub(splat(ONE), s), s)
                store_part(dz, at, mul(do, mul(normed, dsilu)), count)
                dn = mul(do, silu)
                _take_gradient(slope, dn, value, weight, dw, db, v)
            mean, projection = _mean_and_projection(slope, buffer, c)
            for v in range(0, c, LANES):
                value = sub(sub(load(slope, v), mean), mul(load(buffer, v), projection))
                store_part(dy, i * c + v, mul(value, scale), c - v)


@kernel(floats=5)
def gated_residual_forward(x, branch, skip, gate, out, p, c, width, images, tasks, first, last):
    """`out = x * skip + branch * gate`, with one row of `gate` for each image."""
    per_image = p // images
    for i in range(p * first // tasks, p * last // tasks):
        row = i // per_image * width
        for v in range(0, c, LANES):
            at, count = i * c + v, c - v
            value = mul(load_part(x, at, count), load(skip, v))
            value = fma(load_part(branch, at, count), load(gate, row + v), value)
            store_part(out, at, value, count)


@kernel(floats=9)
def gated_residual_backward(
    x, branch, skip, gate, dout, dx, dbranch, dskip, dgate, p, c, width, images, parts, first, last
):
    """Differentiate `gated_residual_forward`; `dskip`, `dgate` have `parts` rows an image."""
    per_image = p // images
    for task in range(first, last):
        image, part = task // parts, task % parts
        row, ds, dg = image * width, offset(dskip, task * width), offset(dgate, task * width)
        begin, end = per_image * part // parts, per_image * (part + 1) // parts
        for i in range(image * per_image + begin, image * per_image + end):
            for v in range(0, c, LANES):
                at, count = i * c + v, c - v
                do = load_part(dout, at, count)
                store(ds, v, fma(do, load_part(x, at, count), load(ds, v)))
                store(dg, v, fma(do, load_part(branch, at, count), load(dg, v)))
                store_part(dx, at, mul(do, load(skip, v)), count)
                store_part(dbranch, at, mul(do, load(gate, row + v)), count)
