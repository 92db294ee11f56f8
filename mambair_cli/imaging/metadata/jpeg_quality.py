"""The quality that a JPEG file was written with, from its quantisation tables."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cache
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# ITU-T T.81, table K.1: libjpeg's luminance table at quality 50, in natural order.
_LUMINANCE_TABLE = np.array(
    [
        *(16, 11, 10, 16, 24, 40, 51, 61),
        *(12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56),
        *(14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77),
        *(24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101),
        *(72, 92, 95, 98, 112, 100, 103, 99),
    ]
)


def jpeg_quality_of(file: IO[bytes]) -> int | None:
    """Return the quality of an open JPEG file, 1 to 100, by its header; None if it is none."""
    with (
        contextlib.suppress(OSError, SyntaxError, Image.DecompressionBombError),
        Image.open(file, formats=["JPEG"]) as image,
    ):
        return quality_of_image(image)
    return None


def quality_of_image(image: Image.Image) -> int | None:
    """Estimate the quality of a JPEG file that Pillow opened, by the table of its luminance."""
    tables = getattr(image, "quantization", None) or {}
    components = getattr(image, "layer", None) or ()
    luminance = components[0][3] if components else 0
    return estimate_jpeg_quality(tables[luminance]) if luminance in tables else None


def estimate_jpeg_quality(luminance_table: Sequence[int]) -> int:
    """Return the libjpeg quality whose luminance table is nearest to the given one.

    Exact for files of libjpeg and its descendants; for cameras and Photoshop, whose tables are
    their own, the quality of about the same loss.

    Args:
        luminance_table: 64 quantisation steps in natural order.

    Returns:
        1 (worst) to 100.
    """
    steps = np.log(np.maximum(np.array(luminance_table, dtype=np.float64), 1))
    return 1 + int(np.argmin(np.abs(_logarithms_of_tables() - steps).sum(axis=1)))


@cache
def _logarithms_of_tables() -> NDArray[np.float64]:
    """`(100 64)`: libjpeg's tables for qualities 1 to 100, made as for baseline files."""
    qualities = np.arange(1, 101)[:, None]
    percent = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    tables = np.clip((_LUMINANCE_TABLE * percent + 50) // 100, 1, 255)
    return np.asarray(np.log(tables))
