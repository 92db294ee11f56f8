"""Conversions between RGB and luma-chroma, and colour under transparency."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
_JFIF_OFFSET = np.array([0.0, 128.0, 128.0])


def rgb_to_y(rgb: NDArray[Any]) -> NDArray[np.float64]:
    """Luma as MATLAB's `rgb2ycbcr` gives it (BT.601, studio range), not rounded.

    Args:
        rgb: `(h w 3)` on the 0-255 scale, uint8 or floating point.

    Returns:
        `(h w)` float64, 16 for black to 235 for white.
    """
    return np.asarray(rgb.astype(np.float64) @ (_STUDIO_Y / 255.0) + 16.0)
