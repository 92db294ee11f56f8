"""Samples in the depth that a file format holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.formats import Format
from mambair_cli.imaging.image import Pixels, RestorableImage

# v * 255 / 65535, rounded; one look-up for each sample needs no wider copy of the image.
_TO_8_BITS = ((np.arange(2**16) * 255 + 32767) // 65535).astype(np.uint8)


def stored_type(dtype: np.dtype[Any], file_format: Format) -> np.dtype[Any]:
    """Return the type in which a format holds samples of a type: the same, or its deepest."""
    if dtype == np.float32 and file_format.floats:
        return np.dtype(np.float32)
    deep = dtype != np.uint8 and file_format.bits > 8
    return np.dtype(np.uint16 if deep else np.uint8)


def to_depth(values: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """Convert samples to a type of the same depth or less, rounded to the nearest value.

    Args:
        values: uint8, uint16, or float32 of which what exceeds [0, 1] is clipped.
        dtype: What `stored_type` gives.
    """
    if values.dtype == dtype:
        return values
    if values.dtype == np.uint16:
        return np.asarray(_TO_8_BITS[values])
    if dtype == np.uint16 and values.dtype == np.uint8:  # a frame among deeper ones
        return values.astype(np.uint16) * np.uint16(257)
    scaled: NDArray[np.float32] = np.clip(values, 0, 1).astype(np.float32)
    scaled *= np.iinfo(dtype).max
    return np.rint(scaled, out=scaled).astype(dtype)


def to_8_bits(values: Pixels) -> NDArray[np.uint8]:
    """As `to_depth`, to uint8."""
    return to_depth(values, np.dtype(np.uint8))


def in_8_bits(image: RestorableImage) -> NDArray[np.uint8]:
    """Return the pixels of an image of any depth, for what looks at 8 bits only."""
    pixels = image.pixels
    if image.span is not None:
        limits = image.value_range
        pixels = (pixels - limits.black) / (limits.white - limits.black)
    return to_8_bits(pixels)


def describe_depth(dtype: np.dtype[Any]) -> str:
    """Return the depth as people call it."""
    return "floating point" if dtype == np.float32 else f"{dtype.itemsize * 8} bits"
