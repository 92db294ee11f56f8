"""Padding at the right and lower sides that mirrors what is there, and its exact inverse."""

from __future__ import annotations

import torch
from torch import Tensor


def pad_to(x: Tensor, height: int, width: int) -> Tensor:
    """Extend images to at least the given size: reflected up to side - 1, then replicated.

    Replication is what lets an image of one pixel be padded at all: it has nothing to reflect.

    Args:
        x: `(b c h w)`, any range.
        height: Least height of the result.
        width: Least width of the result.

    Returns:
        `(b c max(h,height) max(w,width))`; `x` itself where it is large enough already.
    """
    for axis, wanted in ((2, height), (3, width)):
        if (side := x.shape[axis]) < wanted:
            # There, not copied there: a copy from main memory has a CUDA graph fail to be recorded.
            positions = torch.arange(wanted, device=x.device)
            beyond = positions - (side - 1)
            mirrored = torch.where(beyond > 0, (side - 1 - beyond).clamp(min=0), positions)
            x = x.index_select(axis, mirrored)
    return x


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Extend images as `pad_to` does, so that both sides are multiples of a number."""
    height, width = (side + -side % multiple for side in x.shape[2:])
    return pad_to(x, height, width)


def mirror_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Extend images at the right and lower sides to multiples of a number, as mirrors would.

    The edge is repeated, unlike in `pad_to`; an extension longer than the image is mirrored again.

    Args:
        x: `(b c h w)`, any range.
        multiple: Of what both sides become multiples.

    Returns:
        `(b c h' w')`; `x` itself where nothing is missing.
    """
    for axis in (2, 3):
        side = x.shape[axis]
        if missing := -side % multiple:
            positions = torch.arange(side + missing, device=x.device) % (2 * side)
            mirrored = torch.where(positions < side, positions, 2 * side - 1 - positions)
            x = x.index_select(axis, mirrored)
    return x


def crop_to(x: Tensor, height: int, width: int) -> Tensor:
    """Undo `pad_to`.

    Args:
        x: `(b c h' w')`, at least as large as the result.
        height: Height before the padding, times the scale if `x` was enlarged since.
        width: Width likewise.

    Returns:
        `(b c height width)`, a view.
    """
    return x[:, :, :height, :width]
