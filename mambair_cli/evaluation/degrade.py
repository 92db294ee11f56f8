"""The degradations that networks are trained on and benchmarks are measured with."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mambair_cli.pixels.resize import Border, imresize

Pixels = NDArray[np.uint8]


def crop_to_multiple(pixels: NDArray[Any], multiple: int) -> NDArray[Any]:
    """Crop `(h w ...)` from the top left to sides that `multiple` divides (a view)."""
    height, width = (side - side % multiple for side in pixels.shape[:2])
    return pixels[:height, :width]


def downscale(pixels: Pixels, scale: int, *, border: Border = "symmetric") -> Pixels:
    """Make the low-resolution partner of an image as the benchmarks do.

    Args:
        pixels: `(h w c)` or `(h w)` uint8; cropped from the top left to multiples of `scale`.
        scale: High-resolution side over low-resolution side.
        border: Edge rule of `imresize`; Set14's published files need "replicate".

    Returns:
        `(h//scale w//scale c)` uint8.
    """
    return imresize(crop_to_multiple(pixels, scale), 1 / scale, border=border)


def add_gaussian_noise(
    pixels: Pixels, sigma: float, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Add white Gaussian noise, neither clipped nor quantised.

    Args:
        pixels: `(h w c)` uint8.
        sigma: Standard deviation on the 0-255 scale.
        generator: Source of randomness.

    Returns:
        `(h w c)` float32, where [0, 1] is black to white and noise may exceed it.
    """
    noise = generator.standard_normal(pixels.shape, dtype=np.float32)
    return pixels.astype(np.float32) / 255 + noise * np.float32(sigma / 255)


def add_benchmark_noise(pixels: Pixels, sigma: float) -> NDArray[np.float32]:
    """Add the very noise that the published colour-denoising scores were measured with.

    The authors seed NumPy's legacy generator with 0 for each image and draw float64 values for an
    image in blue-green-red order, channels last.

    Args:
        pixels: `(h w c)` uint8, RGB or gray.
        sigma: Standard deviation on the 0-255 scale.

    Returns:
        `(h w c)` float32 in the channel order of `pixels`, not clipped.
    """
    noise = np.random.RandomState(0).normal(0, sigma / 255, pixels.shape)
    noisy = pixels.astype(np.float32) / 255 + noise[..., ::-1]
    return noisy.astype(np.float32)


def jpeg_compress(pixels: Pixels, quality: int) -> Pixels:
    """Encode as JPEG and decode again (libjpeg through Pillow, its default chroma subsampling).

    Args:
        pixels: `(h w c)` uint8, RGB or gray.
        quality: libjpeg quality, 1 to 100.

    Returns:
        `(h w c)` uint8 with the artefacts of that quality.
    """
    gray = pixels.shape[2] == 1
    encoded = io.BytesIO()
    Image.fromarray(pixels[..., 0] if gray else pixels).save(encoded, "JPEG", quality=quality)
    with Image.open(encoded) as decoded:
        return np.asarray(decoded).reshape(pixels.shape)
