"""What people would run on a noisy photograph instead: measured by `fix.py`, never imported else.

Each is told the noise that scikit-image's wavelets estimate (`estimate_sigma`, PyWavelets), as
nothing else is known of a photograph. Packages: scikit-image, opencv-python-headless, bm3d (its
terms are non-commercial).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from photograph_ways import Pixels

from mambair_cli.imaging.writing.depth import to_8_bits

# Of scikit-image's own example for its fast way.
PATCH, DISTANCE, CUT_OFF = 5, 6, 0.8
# OpenCV's own: sides of patches and of what is searched.
TEMPLATE, SEARCHED = 7, 21


def sigma_of(pixels: Pixels) -> float:
    """Estimate the noise, in levels of 255."""
    from skimage.restoration import estimate_sigma

    return float(estimate_sigma(pixels.astype(np.float32), average_sigmas=True, channel_axis=-1))


def means_of_scikit_image(pixels: Pixels) -> Pixels:
    """Take non-local means, the fast way."""
    from skimage.restoration import denoise_nl_means

    values, sigma = pixels.astype(np.float32) / np.float32(255), sigma_of(pixels) / 255
    made = denoise_nl_means(
        values,
        PATCH,
        DISTANCE,
        CUT_OFF * sigma,
        fast_mode=True,
        sigma=sigma,
        channel_axis=-1,
    )
    return to_8_bits(made)


def means_of_opencv(pixels: Pixels) -> Pixels:
    """Take non-local means of Lab colours, as strong as the noise."""
    import cv2

    sigma = sigma_of(pixels)
    made: Pixels = cv2.fastNlMeansDenoisingColored(
        np.ascontiguousarray(pixels), None, sigma, sigma, TEMPLATE, SEARCHED
    )
    return made


def bm3d(pixels: Pixels) -> Pixels:
    """Filter blocks that are alike together."""
    from bm3d import bm3d_rgb

    values = pixels.astype(np.float64) / 255
    return to_8_bits(bm3d_rgb(values, sigma_of(pixels) / 255).astype(np.float32))


QUICK: dict[str, Callable[[Pixels], Pixels]] = {
    "scikit-image, non-local means": means_of_scikit_image,
    "OpenCV, non-local means": means_of_opencv,
}
SLOW: dict[str, Callable[[Pixels], Pixels]] = {"BM3D": bm3d}
