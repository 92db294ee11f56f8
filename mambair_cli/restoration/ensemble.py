"""The x8 self-ensemble, MambaIR+ in the paper: the mean over the eight flips and turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from mambair_cli.imaging.orientation import STEPS

MEMBERS = 8
# Orientations; the first four keep height and width, the others swap them.
_ORIENTATIONS = (1, 2, 4, 3, 5, 8, 6, 7)

RestoreAll = Callable[[Iterator[Tensor]], Iterable[Tensor]]


def transform(x: Tensor, member: int) -> Tensor:
    """Apply one of the eight flips and quarter turns.

    Args:
        x: `(b c h w)`.
        member: 0 (identity) to 7; from 4 on the image is transposed.

    Returns:
        `(b c h w)`, or `(b c w h)` when transposed; the same values in another order.
    """
    swapped, reversed_dimensions = _steps(member)
    return (x.transpose(2, 3) if swapped else x).flip(reversed_dimensions)


def inverse(x: Tensor, member: int) -> Tensor:
    """Undo `transform` exactly.

    Args:
        x: `(b c h w)` as `transform` returned it, of any resolution.
        member: The same number.

    Returns:
        The image before the transformation.
    """
    swapped, reversed_dimensions = _steps(member)
    upright = x.flip(reversed_dimensions)
    return upright.transpose(2, 3) if swapped else upright


def _steps(member: int) -> tuple[bool, tuple[int, ...]]:
    """Whether height and width are swapped, and the dimensions that are reversed then."""
    swapped, rows, columns = STEPS[_ORIENTATIONS[member]]
    return swapped, (2,) * rows + (3,) * columns


def self_ensemble(restore: RestoreAll, x: Tensor, members: int) -> Tensor:
    """Restore images in all eight orientations and average.

    Args:
        restore: Maps each `(n c h w)` to `(n c h*s w*s)`, in their order.
        x: `(g c h w)`.
        members: How many orientations of one shape are restored together, 1 to 4; more is faster on
            a GPU and takes as many times the memory.

    Returns:
        `(g c h*s w*s)` float32.
    """
    groups = [
        range(start, min(start + members, first + 4))
        for first in range(0, MEMBERS, 4)
        for start in range(first, first + 4, members)
    ]
    batches = (torch.cat([transform(x, member) for member in together]) for together in groups)
    total: Tensor | None = None
    for together, restored in zip(groups, restore(batches), strict=True):
        parts = torch.split(restored.float(), x.shape[0])
        for images, member in zip(parts, together, strict=True):
            upright = inverse(images, member)
            total = upright.clone() if total is None else total.add_(upright)
    assert total is not None
    return total / MEMBERS
