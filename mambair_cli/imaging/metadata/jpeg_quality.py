"""How a JPEG file was written: its quantisation tables, its sampling, and the quality they mean."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
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

# By the sampling factors of luma, where those of chroma are 1.
_SUBSAMPLING = {
    (1, 1): "4:4:4",
    (1, 2): "4:4:0",
    (2, 1): "4:2:2",
    (2, 2): "4:2:0",
    (4, 1): "4:1:1",
}


@dataclass(frozen=True)
class JpegCoding:
    """How the components of a JPEG file were coded, the luminance first.

    Attributes:
        tables: 64 quantisation steps of each component in natural order.
        sampling: Horizontal and vertical sampling factor of each component.
    """

    tables: tuple[tuple[int, ...], ...]
    sampling: tuple[tuple[int, int], ...]

    @classmethod
    def of_quality(cls, quality: int) -> JpegCoding:
        """Return the coding by libjpeg at a quality, all components like the luminance."""
        table = tuple(map(int, tables_by_quality()[quality - 1]))
        return cls((table,) * 3, ((1, 1),) * 3)

    @property
    def quality(self) -> int:
        """The libjpeg quality that is nearest, 1 to 100, by the luminance."""
        return estimate_jpeg_quality(self.tables[0])

    @property
    def subsampling(self) -> str | None:
        """How chroma is sampled, such as `4:2:0`; None of a gray file."""
        if len(self.sampling) < 3:
            return None
        luma, *chroma = self.sampling[:3]
        known = _SUBSAMPLING.get(luma) if chroma == [(1, 1), (1, 1)] else None
        return known or "unusual sampling"


def jpeg_coding_of(file: IO[bytes]) -> JpegCoding | None:
    """Return how an open JPEG file is coded, by its header; None if it is none."""
    with (
        contextlib.suppress(OSError, SyntaxError, Image.DecompressionBombError),
        Image.open(file, formats=["JPEG"]) as image,
    ):
        return coding_of_image(image)
    return None


def coding_of_image(image: Image.Image) -> JpegCoding | None:
    """Return how a JPEG file that Pillow opened is coded; None where a table is missing."""
    tables = getattr(image, "quantization", None) or {}
    components = getattr(image, "layer", None) or ((1, 1, 1, 0),)
    if any(table not in tables for _, _, _, table in components):
        return None
    return JpegCoding(
        tuple(tuple(tables[table]) for _, _, _, table in components),
        tuple((across, down) for _, across, down, _ in components),
    )


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
    return np.asarray(np.log(tables_by_quality()))


@cache
def tables_by_quality() -> NDArray[np.int64]:
    """`(100 64)`: libjpeg's tables for qualities 1 to 100, made as for baseline files."""
    qualities = np.arange(1, 101)[:, None]
    percent = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    return np.asarray(np.clip((_LUMINANCE_TABLE * percent + 50) // 100, 1, 255))
