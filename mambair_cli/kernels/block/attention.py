"""Attention inside windows of an image as PyTorch computes it, with a bias by relative position.

`attention_cpu.py` holds a kernel for the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from mambair_cli.kernels.parameters import made_once

# What is added to the score of two pixels that only a shift has brought together.
APART = -100.0
# Channels of a head that a GPU's fused attention takes are multiples of this many; for any others
# PyTorch falls back on a product that stores the scores of all pairs: kilobytes for each pixel.
HEAD_MULTIPLE = 8


def head_channels(channels: int, heads: int) -> int:
    """Count the channels of a head on a GPU, with the zeros that it is filled up with."""
    each = channels // heads
    return each + -each % HEAD_MULTIPLE


def relative_positions(window: int, device: torch.device | None = None) -> Tensor:
    """Index the relative positions of the pixels of a window.

    Args:
        window: Side of the window.
        device: Where; None for main memory.

    Returns:
        For each pair of pixels the row of the bias table, `(window**2 window**2)`, int64.
    """
    side = torch.arange(window, device=device or "cpu")
    rows, columns = torch.meshgrid(side, side, indexing="ij")
    down, right = (axis.flatten()[:, None] - axis.flatten()[None] for axis in (rows, columns))
    return (down + window - 1) * (2 * window - 1) + right + window - 1


@dataclass(frozen=True)
class Windows:
    """How an image is divided.

    Attributes:
        side: Side of a window.
        heads: Heads, a divisor of the channels.
        shift: By how many pixels the windows are shifted, 0 or less than a side.
    """

    side: int
    heads: int
    shift: int


def attend(qkv: Tensor, table: Tensor, windows: Windows) -> Tensor:
    """See `ops.Ops`."""
    b, h, w, _ = qkv.shape
    side, shift = windows.side, windows.shift
    if shift:
        qkv = qkv.roll((-shift, -shift), (1, 2))
    parts = qkv.view(b, h // side, side, w // side, side, 3, windows.heads, -1)
    parts = parts.permute(5, 0, 1, 3, 6, 2, 4, 7)
    each, scale = parts.shape[-1], None
    if (missing := -each % HEAD_MULTIPLE) and _fills_up(qkv.device):
        # Instead of the copy that follows, not besides it. Zeros change no product.
        parts, scale = functional.pad(parts, (0, missing)), each**-0.5
    # (3 b rows columns heads pixels e)
    q, k, v = parts.flatten(5, 6).unbind(0)
    # Contiguous: a GPU's fused attention takes no other.
    bias = made_once(table, partial(_of_pairs, side))
    attended = _in_windows(q, k, v, bias, windows, scale)[..., :each]
    # (b rows side columns side heads e)
    pixels = attended.reshape(*attended.shape[:4], side, side, -1).permute(0, 1, 4, 2, 5, 3, 6)
    out = pixels.reshape(b, h, w, -1)
    return out.roll((shift, shift), (1, 2)) if shift else out


def _of_pairs(side: int, table: Tensor) -> Tensor:
    """Find the bias of every pair of pixels, `(heads n n)`."""
    pairs = table[relative_positions(side, table.device)]
    return pairs.permute(2, 0, 1).contiguous()


def _in_windows(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, windows: Windows, scale: float | None
) -> Tensor:
    """Attend in windows `(b rows columns heads n e)`.

    After a shift only windows of the last row and column hold pixels that are no neighbours,
    all of them in the same places: four masks do for an image of any size.
    """
    if not windows.shift:
        return _attend(q, k, v, bias, scale)
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    inner, last = slice(None, -1), slice(-1, None)
    for rows, columns in product((inner, last), repeat=2):
        at = (slice(None), rows, columns)
        if out[at].numel():
            apart = _apart(windows, bias, rows=rows is last, columns=columns is last)
            out[at] = _attend(q[at], k[at], v[at], bias + apart, scale)
    return out


def _apart(windows: Windows, like: Tensor, *, rows: bool, columns: bool) -> Tensor:
    """Mask pairs `(n n)` on two sides of the seam of a window in the last row or column."""
    behind = torch.arange(windows.side, device=like.device) >= windows.side - windows.shift
    nowhere = torch.zeros_like(behind)
    region = 2 * (behind if rows else nowhere)[:, None] + (behind if columns else nowhere)
    pixels = region.flatten()
    return (pixels[:, None] != pixels).to(like) * APART


def _fills_up(device: torch.device) -> bool:
    return device.type not in ("cpu", "mps")


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float | None) -> Tensor:
    """Attend in windows `(... heads n e)` with a bias `(heads n n)` that all of them share."""
    windows = q.flatten(0, -4), k.flatten(0, -4), v.flatten(0, -4)
    mask = bias[None].to(q.dtype)
    return functional.scaled_dot_product_attention(*windows, mask, scale=scale).view(q.shape)
