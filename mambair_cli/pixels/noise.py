"""How strong the noise of an image is, measured on the image alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambair_cli.pixels.traces import LUMA, Luma, detail_in_patches

_SMALLEST_SIDE = 32
_PATCH = 5
_STEP = 2
# Of the levels in the smoothest patches: their share, what texture adds to them, and by how much
# less than the noise of a whole image they vary. Fitted to BSD68, Kodak24 and McMaster.
_SMOOTHEST = 0.05
_TEXTURE, _SELECTED = 1.2, 0.77
_LUMA_OF_RGB = float(np.sqrt(np.sum(LUMA**2)))


def estimate_sigma(pixels: NDArray[np.uint8], *, compressed: bool) -> float:
    """Estimate the standard deviation of the noise in each channel, in levels of 255.

    What three colours and their neighbours share is picture; the directions in which patches vary
    least show the noise alone (Chen, Zhu and Heng, ICCV 2015, here with the colours taken
    together). Compression removes exactly these. Where it was at work, and in gray images, the
    finest detail of the smoothest patches is taken instead, which is less certain.

    Args:
        pixels: `(h w c)`, gray or RGB.
        compressed: Whether the image was once compressed with losses.

    Returns:
        The estimate; 0 of an image with a side below 32 pixels.
    """
    if min(pixels.shape[:2]) < _SMALLEST_SIDE:
        return 0.0
    values = pixels.astype(np.float32)
    gray = pixels.shape[2] == 1 or bool((pixels == pixels[..., :1]).all())
    if gray:
        return _in_smooth_patches(values[..., 0])
    if compressed:
        return _in_smooth_patches(values @ LUMA) / _LUMA_OF_RGB
    return _in_least_directions(values)


def _in_smooth_patches(luma: Luma) -> float:
    detail = detail_in_patches(luma)
    if not len(detail):
        return 0.0
    measured = float(np.quantile(np.sqrt((detail**2).mean(axis=1)), _SMOOTHEST))
    return max(0.0, (measured - _TEXTURE) / _SELECTED)


def _in_least_directions(values: NDArray[np.float32]) -> float:
    windows = np.lib.stride_tricks.sliding_window_view(values, (_PATCH, _PATCH), axis=(0, 1))
    patches = windows[::_STEP, ::_STEP].reshape(-1, _PATCH * _PATCH * values.shape[2])
    variances: NDArray[Any] = np.linalg.eigvalsh(np.cov(patches, rowvar=False))
    # The largest ones are picture; without it, mean and median of what is left are equal.
    for count in range(len(variances), 1, -1):
        mean = variances[:count].mean()
        if np.median(variances[:count]) >= mean:
            return float(np.sqrt(max(mean, 0)))
    return float(np.sqrt(max(variances[0], 0)))
