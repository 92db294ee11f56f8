"""Traces of a camera or of compression in an image: the grid of JPEG blocks, and noise.

Networks trained on clean, bicubically downscaled images take such traces for detail and keep them.
Thresholds are set on images: what they find and what they overlook is in docs/models.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.float32]

BLOCKING_THRESHOLD = 1.13
NOISE_THRESHOLD = 3.0

# Enough to tell, and measured in a few hundredths of a second.
LARGEST_SIDE = 1024
JPEG_BLOCK = 8
SMALLEST_SIDE = 4 * JPEG_BLOCK
# Edges of the image itself count no more than this many levels of 255.
CLIP = np.float32(8)
PATCH = 16
SMOOTHEST = 0.01
# Where light is clipped, noise is too.
DARKEST, BRIGHTEST = 8, 247
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Traces:
    """What was measured.

    Attributes:
        blocking: How much steeper steps are every eighth pixel than elsewhere, as a ratio in both
            directions; 1 where there is no grid.
        noise: Standard deviation of the finest detail in the smoothest parts, in levels of 255.
    """

    blocking: float
    noise: float

    @property
    def found(self) -> str | None:
        """Names what is above its threshold; None where nothing is."""
        names = {
            "JPEG blocks": self.blocking > BLOCKING_THRESHOLD,
            "noise": self.noise > NOISE_THRESHOLD,
        }
        return " and ".join(name for name, is_there in names.items() if is_there) or None


def measure_traces(pixels: NDArray[np.uint8]) -> Traces:
    """Measures the middle of an image.

    Args:
        pixels: `(h w c)`, gray or RGB.

    Returns:
        What was found; nothing in an image with a side below 32 pixels.
    """
    height, width, channels = pixels.shape
    if min(height, width) < SMALLEST_SIDE:
        return Traces(1.0, 0.0)
    top, left = (max(0, side - LARGEST_SIDE) // 2 for side in (height, width))
    middle = pixels[top : top + LARGEST_SIDE, left : left + LARGEST_SIDE].astype(np.float32)
    luma = middle[..., 0] if channels == 1 else middle @ LUMA
    return Traces(min(_blocking(luma), _blocking(luma.T)), _noise(luma))


def _blocking(luma: Luma) -> float:
    phases = kinks(luma)
    grid = phases.argmax()
    # The constant keeps images without any detail at 1.
    return float((phases[grid] + 0.02) / (np.median(np.delete(phases, grid)) + 0.02))


def kinks(luma: Luma) -> Luma:
    """Measure steps between rows that stand out from their neighbours, by place modulo 8.

    Returns:
        Eight means; that at `n` is of the steps from rows `n + 1` to `n + 2`, modulo 8.
    """
    step = np.diff(luma, axis=0)
    kink = np.minimum(np.abs(step[1:-1] - (step[:-2] + step[2:]) / 2), CLIP).mean(axis=1)
    whole: Luma = kink[: len(kink) // JPEG_BLOCK * JPEG_BLOCK].reshape(-1, JPEG_BLOCK)
    return np.asarray(whole.mean(axis=0))


def _noise(luma: Luma) -> float:
    """Measure the diagonal detail of a Haar transform, by its median in each patch."""
    detail = detail_in_patches(luma)
    if not len(detail):
        return 0.0
    # 0.6745 is the median of the absolute value of a normal variable.
    sigma = np.median(np.abs(detail), axis=1) / 0.6745
    return float(np.quantile(sigma, SMOOTHEST))


def detail_in_patches(luma: Luma) -> Luma:
    """Return the diagonal detail of a Haar transform, `(patches n)`, where light is not clipped."""
    height, width = (side // PATCH * PATCH for side in luma.shape)
    whole = luma[:height, :width]
    a, b, c, d = (_patches(whole[y::2, x::2]) for y in (0, 1) for x in (0, 1))
    light = (a + b + c + d).mean(axis=1) / 4
    unclipped = (light > DARKEST) & (light < BRIGHTEST)
    return np.asarray((a - b - c + d)[unclipped] / 2)


def _patches(quarter: Luma) -> Luma:
    side = PATCH // 2
    rows, columns = (size // side for size in quarter.shape)
    cut = quarter.reshape(rows, side, columns, side)
    return cut.transpose(0, 2, 1, 3).reshape(rows * columns, side * side)
