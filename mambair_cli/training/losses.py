"""Losses: L1 for super-resolution and Charbonnier for restoration (the paper), and two others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

LossName = Literal["l1", "charbonnier", "l2", "l1_fft"]

CHARBONNIER_EPSILON = 1e-3
FREQUENCY_WEIGHT = 0.1


def l1(restored: Tensor, truth: Tensor) -> Tensor:
    """Compute the mean absolute difference (paper, equation 8).

    Args:
        restored: Network output `(b c h w)`, [0, 1].
        truth: Reference `(b c h w)`, [0, 1].

    Returns:
        Scalar.
    """
    return functional.l1_loss(restored, truth)


def charbonnier(restored: Tensor, truth: Tensor) -> Tensor:
    """Compute a smooth L1, `mean(sqrt(difference**2 + 0.001**2))` (paper, equation 9).

    Args:
        restored: Network output `(b c h w)`, [0, 1].
        truth: Reference `(b c h w)`, [0, 1].

    Returns:
        Scalar.
    """
    return (restored - truth).square().add(CHARBONNIER_EPSILON**2).sqrt().mean()


def l2(restored: Tensor, truth: Tensor) -> Tensor:
    """Compute the mean squared difference, what PSNR is the logarithm of.

    Args:
        restored: Network output `(b c h w)`, [0, 1].
        truth: Reference `(b c h w)`, [0, 1].

    Returns:
        Scalar.
    """
    return functional.mse_loss(restored, truth)


def l1_fft(restored: Tensor, truth: Tensor) -> Tensor:
    """Compute L1 plus 0.1 times the mean modulus of the difference's orthonormal Fourier transform.

    Args:
        restored: Network output `(b c h w)`, [0, 1].
        truth: Reference `(b c h w)`, [0, 1].

    Returns:
        Scalar.
    """
    spectrum: Tensor = torch.fft.rfft2(restored - truth, norm="ortho")
    return l1(restored, truth) + FREQUENCY_WEIGHT * spectrum.abs().mean()


LOSSES: dict[LossName, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "charbonnier": charbonnier,
    "l2": l2,
    "l1_fft": l1_fft,
}
