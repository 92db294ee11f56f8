"""Conversions between RGB and luma-chroma, and colour under transparency."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.image import Pixels, ValueRange
from mambair_cli.pixels.resize import imresize

# ITU-R BT.601 with studio swing, the matrix of MATLAB's rgb2ycbcr, for RGB in [0, 1].
_STUDIO_Y = np.array([65.481, 128.553, 24.966])

# JFIF 1.02: full-range BT.601, the colour space inside a JPEG file.
_JFIF = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.168735892, -0.331264108, 0.5],
        [0.5, -0.418687589, -0.081312411],
    ]
)
_JFIF_INVERSE = np.linalg.inv(_JFIF)
_JFIF_OFFSET = np.array([0.0, 128.0, 128.0]) / 255  # of full brightness


def rgb_to_y(rgb: NDArray[Any]) -> NDArray[np.float64]:
    """Luma as MATLAB's `rgb2ycbcr` gives it (BT.601, studio range), not rounded.

    Args:
        rgb: `(h w 3)` on the 0-255 scale, uint8 or floating point.

    Returns:
        `(h w)` float64, 16 for black to 235 for white.
    """
    return np.asarray(rgb.astype(np.float64) @ (_STUDIO_Y / 255.0) + 16.0)


def rgb_to_ycbcr(rgb: NDArray[Any], white: float = 255.0) -> NDArray[np.float32]:
    """Convert to the full-range YCbCr of JPEG files (JFIF), not rounded.

    Args:
        rgb: `(h w 3)` on the scale from 0 to `white`, integer or floating point.
        white: Full brightness: 255, 65535 or 1.

    Returns:
        `(h w 3)` float32 on the same scale, neutral chroma at `white * 128 / 255`.
    """
    return np.asarray(rgb @ _JFIF.T + _JFIF_OFFSET * white, dtype=np.float32)


def ycbcr_to_rgb(ycbcr: NDArray[Any], white: float = 255.0) -> NDArray[np.float32]:
    """Convert the full-range YCbCr of JPEG files (JFIF) to RGB, neither rounded nor clipped.

    Args:
        ycbcr: `(h w 3)` as `rgb_to_ycbcr` gives it.
        white: Full brightness: 255, 65535 or 1.

    Returns:
        `(h w 3)` float32; colours outside the RGB cube exceed [0, `white`].
    """
    return np.asarray((ycbcr - _JFIF_OFFSET * white) @ _JFIF_INVERSE.T, dtype=np.float32)


def change_to_ycbcr(change: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert the difference of two RGB images, `(h w 3)`, to that of luma and chroma (JFIF)."""
    return np.asarray(change @ _JFIF.T, dtype=np.float32)


def change_to_rgb(change: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert the difference of two images in luma and chroma back to that in RGB."""
    return np.asarray(change @ _JFIF_INVERSE.T, dtype=np.float32)


def spread_under_alpha(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Continue the visible colours under fully transparent areas.

    What lies there is arbitrary, often black, and a network would draw that edge into the visible
    side. Pixels with any opacity keep their exact values.

    Args:
        pixels: `(h w c)` uint8, uint16 or float32.
        alpha: `(h w)` of the same type, 0 transparent to the type's white opaque.

    Returns:
        `(h w c)` of the same type; `pixels` itself if nothing or everything is transparent.
    """
    visible = alpha > 0
    if visible.all() or not visible.any():
        return pixels
    weights = alpha.astype(np.float32)[..., None] / np.float32(ValueRange.of(alpha.dtype).white)
    filled = _fill(pixels.astype(np.float32), weights)
    if np.issubdtype(pixels.dtype, np.integer):
        filled = np.clip(np.rint(filled), 0, ValueRange.of(pixels.dtype).white)
    return np.where(visible[..., None], pixels, filled.astype(pixels.dtype))


def _fill(colors: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill positions of weight 0 from weighted means over 2x2, 4x4, ... pixels around them."""
    known = weights > 0
    if known.all():
        return colors
    height, width = weights.shape[:2]
    total = _sum_pairs(weights)
    means = _sum_pairs(colors * weights)
    np.divide(means, total, out=means, where=total > 0)
    coarse = imresize(_fill(means, total), 2.0)[:height, :width]
    return np.where(known, colors, coarse)


def _sum_pairs(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum over 2x2 blocks; pad an odd side with zeros."""
    height, width, channels = values.shape
    padded = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    blocks = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2, channels)
    return np.asarray(blocks.sum(axis=(1, 3)))
