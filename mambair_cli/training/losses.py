"""Pixel losses of the paper: L1 for super-resolution, Charbonnier for restoration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch.nn import functional

LossName = Literal["l1", "charbonnier"]

CHARBONNIER_EPSILON = 1e-3


def l1(restored: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference (paper, equation 8).

    Args:
        restored: Network output `(b c h w)`, [0, 1].
        truth: Reference `(b c h w)`, [0, 1].

    Returns:
        Scalar.
    """
    return functional.l1_loss(restored, truth)


def charbonnier(restored: Tensor, truth: Tensor) -> Tensor:
    """Smooth L1, `mean(sqrt(difference**2 + epsilon**2))` with epsilon 1e-3 (paper, equation 9).

    Args:
        restored: Network output `(b c h w)`, [0, 1].
        truth: Reference `(b c h w)`, [0, 1].

    Returns:
        Scalar.
    """
    return (restored - truth).square().add(CHARBONNIER_EPSILON**2).sqrt().mean()


LOSSES: dict[LossName, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "charbonnier": charbonnier}
