"""Norm, gate and residual kernels in Triton: one pass over channels-last memory, not several.

A program takes a tile of `PIXELS` pixels by all `c` channels, rounded up to `CHANNELS`, a power of
two, and computes in float32 whatever the tensors hold. Pixels may lie `stride` elements apart, so
that a half of a wider tensor is read where it is. `ALIGN` is a power of two that divides c and the
strides: the compiler then knows how wide a load may be, which it cannot see from c = 180.
"""

from __future__ import annotations

import triton
from triton import language as tl


@triton.jit
def _tile(p, c, PIXELS: tl.constexpr, CHANNELS: tl.constexpr, ALIGN: tl.constexpr):
    """Find this program's pixels `(PIXELS 1)`, channels `(1 CHANNELS)`, and which of them exist."""
    pixels = tl.program_id(0).to(tl.int64) * PIXELS + tl.arange(0, PIXELS)[:, None]
    channels = tl.arange(0, CHANNELS)[None, :]
    return pixels, channels, (pixels < p) & (channels < c // ALIGN * ALIGN)


@triton.jit
def _load(x, pixels, channels, inside, stride, ALIGN: tl.constexpr):
    """Load the tile of a tensor, with zeros outside."""
    at = pixels * (stride // ALIGN * ALIGN) + channels
    return tl.load(x + at, mask=inside, other=0).to(tl.float32)


@triton.jit
def _store(out, value, pixels, channels, inside, stride, ALIGN: tl.constexpr):
    """Write the tile of a tensor, in the tensor's type."""
    tl.store(out + pixels * (stride // ALIGN * ALIGN) + channels, value, mask=inside)


@triton.jit
def _parameter(values, channels, c, ALIGN: tl.constexpr):
    """Load the values `(1 CHANNELS)` of a parameter, with zeros past the last channel."""
    return tl.load(values + channels, mask=channels < c // ALIGN * ALIGN, other=0).to(tl.float32)


@triton.jit
def _layer_norm(x, weight, bias, channels, c, eps, ALIGN: tl.constexpr):
    """Norm a tile over its channels; the variance is that of the centred values."""
    centred = tl.where(channels < c, x - tl.sum(x, axis=1, keep_dims=True) / c, 0.0)
    variance = tl.sum(centred * centred, axis=1, keep_dims=True) / c
    scale = _parameter(weight, channels, c, ALIGN)
    return centred * tl.rsqrt(variance + eps) * scale + _parameter(bias, channels, c, ALIGN)


@triton.jit(do_not_specialize=["p", "c", "x_stride", "branch_stride", "normed_stride"])
def residual_norm(
    x,
    branch,
    skip,
    weight,
    bias,
    kept,
    normed,
    p,
    c,
    x_stride,
    branch_stride,
    normed_stride,
    eps,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ALIGN: tl.constexpr,
):
    """`kept = x * skip + branch; normed = layer_norm(kept)`.

    Args:
        x: `(p c)`, pixels `x_stride` apart.
        branch: As x, `branch_stride` apart; None norms x itself and leaves `skip` and `kept` out.
        skip: `(c)`.
        weight: Of the norm, `(c)`.
        bias: Of the norm, `(c)`.
        kept: `(p c)`.
        normed: `(p c)`, pixels `normed_stride` apart.
        p: Pixels.
        c: Channels.
        x_stride: Elements from one pixel of x to the next.
        branch_stride: Those of the branch.
        normed_stride: Those of what is normed.
        eps: Of the norm.
        PIXELS: Pixels of a program.
        CHANNELS: c rounded up to a power of two.
        ALIGN: A power of two that divides c and the strides.
    """
    pixels, channels, inside = _tile(p, c, PIXELS, CHANNELS, ALIGN)
    value = _load(x, pixels, channels, inside, x_stride, ALIGN)
    if branch is not None:
        value = value * _parameter(skip, channels, c, ALIGN)
        value += _load(branch, pixels, channels, inside, branch_stride, ALIGN)
        _store(kept, value, pixels, channels, inside, c, ALIGN)
    value = _layer_norm(value, weight, bias, channels, c, eps, ALIGN)
    _store(normed, value, pixels, channels, inside, normed_stride, ALIGN)


@triton.jit(do_not_specialize=["p", "c", "y_plane", "y_stride", "z_stride"])
def norm_gate(
    y,
    z,
    weight,
    bias,
    out,
    p,
    c,
    y_plane,
    y_stride,
    z_stride,
    eps,
    PLANES: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ALIGN: tl.constexpr,
):
    """`out = layer_norm(y summed over its planes) * silu(z)`.

    Args:
        y: `(PLANES p c)`, planes `y_plane` and pixels `y_stride` elements apart.
        z: `(p c)`, pixels `z_stride` apart.
        weight: Of the norm, `(c)`.
        bias: Of the norm, `(c)`.
        out: `(p c)`.
        p: Pixels.
        c: Channels.
        y_plane: Elements from one plane to the next.
        y_stride: Elements from one pixel to the next.
        z_stride: Those of z.
        eps: Of the norm.
        PLANES: Planes that are added up.
        PIXELS: Pixels of a program.
        CHANNELS: c rounded up to a power of two.
        ALIGN: A power of two that divides c and the strides.
    """
    pixels, channels, inside = _tile(p, c, PIXELS, CHANNELS, ALIGN)
    gate = _load(z, pixels, channels, inside, z_stride, ALIGN)
    value = _load(y, pixels, channels, inside, y_stride, ALIGN)
    step = tl.cast(y_plane, tl.int64) // ALIGN * ALIGN
    for plane in tl.static_range(1, PLANES):
        value += _load(y + plane * step, pixels, channels, inside, y_stride, ALIGN)
    value = _layer_norm(value, weight, bias, channels, c, eps, ALIGN)
    _store(out, value * gate / (1.0 + tl.exp(-gate)), pixels, channels, inside, c, ALIGN)


@triton.jit(do_not_specialize=["p", "c", "x_stride", "branch_stride"])
def gated_residual(
    x,
    branch,
    skip,
    gate,
    out,
    p,
    c,
    x_stride,
    branch_stride,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ALIGN: tl.constexpr,
):
    """`out = x * skip + branch * gate`; the second axis of the grid counts images.

    Args:
        x: `(b p c)`, pixels `x_stride` apart.
        branch: As x, `branch_stride` apart.
        skip: `(c)`.
        gate: `(b c)`.
        out: `(b p c)`.
        p: Pixels of one image.
        c: Channels.
        x_stride: Elements from one pixel of x to the next.
        branch_stride: Those of the branch.
        PIXELS: Pixels of a program.
        CHANNELS: c rounded up to a power of two.
        ALIGN: A power of two that divides c and the strides.
    """
    image = tl.program_id(1).to(tl.int64)
    pixels, channels, inside = _tile(p, c, PIXELS, CHANNELS, ALIGN)
    pixels += image * p
    value = _load(x, pixels, channels, inside, x_stride, ALIGN)
    value *= _parameter(skip, channels, c, ALIGN)
    factor = _parameter(gate + image * (c // ALIGN * ALIGN), channels, c, ALIGN)
    value += _load(branch, pixels, channels, inside, branch_stride, ALIGN) * factor
    _store(out, value, pixels, channels, inside, c, ALIGN)


@triton.jit(do_not_specialize=["p", "c", "stride", "share"])
def channel_sums(
    x,
    sums,
    p,
    c,
    stride,
    share,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ALIGN: tl.constexpr,
):
    """Sum over the pixels of each part of each image; the grid counts parts, then images.

    Args:
        x: `(b p c)`, pixels `stride` apart.
        sums: `(b parts c)`.
        p: Pixels of one image.
        c: Channels.
        stride: Elements from one pixel to the next.
        share: Pixels of a part.
        PIXELS: Pixels that are loaded at once.
        CHANNELS: c rounded up to a power of two.
        ALIGN: A power of two that divides c and the stride.
    """
    part, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    channels = tl.arange(0, CHANNELS)[None, :]
    total = tl.zeros([PIXELS, CHANNELS], tl.float32)
    first, end = part * share, tl.minimum((part + 1) * share, p)
    while first < end:
        pixels = first + tl.arange(0, PIXELS)[:, None]
        inside = (pixels < end) & (channels < c // ALIGN * ALIGN)
        total += _load(x, image * p + pixels, channels, inside, stride, ALIGN)
        first += PIXELS
    row = image * tl.num_programs(0) + part
    total = tl.sum(total, axis=0, keep_dims=True)
    _store(sums, total, row, channels, channels < c // ALIGN * ALIGN, c, ALIGN)


@triton.jit(do_not_specialize=["p", "c", "parts", "hidden"])
def channel_gate(
    sums,
    squeeze,
    squeeze_bias,
    expand,
    expand_bias,
    gate,
    p,
    c,
    parts,
    hidden,
    PARTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    HIDDEN: tl.constexpr,
):
    """`gate = sigmoid(expand relu(squeeze mean))`; a program takes one image.

    Args:
        sums: Of `channel_sums`, `(b parts c)`.
        squeeze: `(hidden c)`.
        squeeze_bias: `(hidden)`.
        expand: `(c hidden)`.
        expand_bias: `(c)`.
        gate: `(b c)`.
        p: Pixels of one image.
        c: Channels.
        parts: Rows of sums for one image.
        hidden: Hidden channels.
        PARTS: Rows that are loaded at once.
        CHANNELS: c rounded up to a power of two.
        HIDDEN: Hidden channels rounded up to a power of two.
    """
    image = tl.program_id(0).to(tl.int64)
    channels, units = tl.arange(0, CHANNELS)[None, :], tl.arange(0, HIDDEN)[:, None]
    total = tl.zeros([PARTS, CHANNELS], tl.float32)
    first = 0
    while first < parts:
        rows = first + tl.arange(0, PARTS)[:, None]
        inside = (rows < parts) & (channels < c)
        total += tl.load(sums + (image * parts + rows) * c + channels, mask=inside, other=0)
        first += PARTS
    mean = tl.sum(total, axis=0, keep_dims=True) / p
    inside = (units < hidden) & (channels < c)
    weights = tl.load(squeeze + units * c + channels, mask=inside, other=0).to(tl.float32)
    inner = tl.sum(weights * mean, axis=1, keep_dims=True)
    inner += tl.load(squeeze_bias + units, mask=units < hidden, other=0).to(tl.float32)
    weights = tl.load(expand + channels * hidden + units, mask=inside, other=0).to(tl.float32)
    value = tl.sum(weights * tl.maximum(inner, 0.0), axis=0, keep_dims=True)
    value += tl.load(expand_bias + channels, mask=channels < c, other=0).to(tl.float32)
    tl.store(gate + image * c + channels, tl.sigmoid(value), mask=channels < c)
