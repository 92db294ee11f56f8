"""PSNR and SSIM in float64, as the super-resolution and denoising literature reports them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambair_cli.errors import ImageError
from mambair_cli.pixels.color import rgb_to_y

Array = NDArray[Any]

# The window of SSIM, and so the least side of an image that can be scored.
LEAST_SIDE = 11
_WINDOW_SIGMA = 1.5


def psnr(restored: Array, truth: Array, *, border: int = 0, peak: float = 255.0) -> float:
    """Compute the peak signal-to-noise ratio over all pixels and channels.

    Args:
        restored: `(h w)` or `(h w c)`, any dtype, on the scale that `peak` names.
        truth: Same shape and scale.
        border: Pixels left out along each edge.
        peak: Value of white.

    Returns:
        Decibels; infinity for identical images.

    Raises:
        ImageError: The images differ in size, or the border leaves nothing.
    """
    a, b = _comparable(restored, truth, border)
    error = float(np.mean((a - b) ** 2))
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def ssim(restored: Array, truth: Array, *, border: int = 0, peak: float = 255.0) -> float:
    """Compute the structural similarity: 11x11 Gaussian window of sigma 1.5, valid region only.

    Follows the authors' MATLAB code (Wang et al., IEEE TIP 2004) without its downsampling; the
    channels of a colour image are averaged.

    Args:
        restored: `(h w)` or `(h w c)`, any dtype, on the scale that `peak` names.
        truth: Same shape and scale.
        border: Pixels left out along each edge.
        peak: Value of white.

    Returns:
        Mean similarity, 1 for identical images.

    Raises:
        ImageError: The images differ in size, or are smaller than the window.
    """
    a, b = _comparable(restored, truth, border)
    if min(a.shape[:2]) < LEAST_SIDE:
        height, width = a.shape[:2]
        raise ImageError(
            f"SSIM needs at least {LEAST_SIDE}x{LEAST_SIDE} pixels, got {width}x{height}"
            f" inside a border of {border}",
            hint="Compare larger images.",
        )
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    variance_a = _window_mean(a * a) - mean_a**2
    variance_b = _window_mean(b * b) - mean_b**2
    covariance = _window_mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return float(np.mean(luminance * structure))


def y_psnr(restored: Array, truth: Array, border: int = 0) -> float:
    """Compute the PSNR of the luma channel, the number in super-resolution tables.

    Args:
        restored: `(h w 3)` RGB, or `(h w 1)` or `(h w)` gray taken as luma; 0-255.
        truth: Same shape.
        border: Pixels left out along each edge; the tables use the scale.

    Returns:
        Decibels; infinity for identical images.

    Raises:
        ImageError: The images differ in size, or the border leaves nothing.
    """
    return psnr(_luma(restored), _luma(truth), border=border)


def y_ssim(restored: Array, truth: Array, border: int = 0) -> float:
    """Compute the SSIM of the luma channel; arguments and errors as for `y_psnr` and `ssim`."""
    return ssim(_luma(restored), _luma(truth), border=border)


def _luma(image: Array) -> Array:
    return rgb_to_y(image) if image.ndim == 3 and image.shape[2] == 3 else image


def _comparable(
    restored: Array, truth: Array, border: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if restored.shape != truth.shape:
        raise ImageError(
            f"cannot compare {_describe(restored)} with {_describe(truth)}",
            hint="Both images need the same width, height and channels.",
        )
    height, width = truth.shape[:2]
    if min(height, width) <= 2 * border:
        raise ImageError(
            f"a border of {border} leaves nothing of {_describe(truth)}",
            hint="Compare larger images.",
        )
    inside = (slice(border, height - border), slice(border, width - border))
    return restored[inside].astype(np.float64), truth[inside].astype(np.float64)


def _describe(image: Array) -> str:
    channels = image.shape[2] if image.ndim == 3 else 1
    return f"{image.shape[1]}x{image.shape[0]} pixels with {channels} channel(s)"


def _window_mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the Gaussian-weighted mean around every position where the window fits."""
    offsets = np.arange(LEAST_SIDE) - LEAST_SIDE // 2
    weights = np.exp(-(offsets**2) / (2 * _WINDOW_SIGMA**2))
    weights /= weights.sum()
    height, width = (side - LEAST_SIDE + 1 for side in image.shape[:2])
    rows = sum(weight * image[i : i + height] for i, weight in enumerate(weights))
    columns = sum(weight * rows[:, i : i + width] for i, weight in enumerate(weights))
    return np.asarray(columns)
