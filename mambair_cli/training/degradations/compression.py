"""JPEG, whose blocks begin anywhere: what was cropped after saving has no block at its corner."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mambair_cli.training.parsing import Span

Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]

# Two blocks of luma, one of subsampled chroma.
_CELL = 16


@dataclass(frozen=True)
class Jpeg:
    """JPEG compression; listed twice it is a file that was saved twice, on grids that differ.

    Attributes:
        kind: `jpeg`.
        quality: Of libjpeg, 1 to 100.
        subsampling: One of these is drawn; in a list a value may stand more than once.
        chance: Share of the samples that it happens to.
    """

    kind: Literal["jpeg"]
    quality: Span
    subsampling: tuple[Subsampling, ...] = ("4:2:0", "4:4:4")
    chance: float = 1.0

    def __call__(
        self, pixels: NDArray[np.uint8], generator: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Code and decode `(h w c)` uint8."""
        quality = int(
            generator.integers(round(self.quality.low), round(self.quality.high), endpoint=True)
        )
        subsampling = self.subsampling[int(generator.integers(len(self.subsampling)))]
        y, x = (int(start) for start in generator.integers(_CELL, size=2))
        return recoded(pixels, quality, subsampling, (y, x))


def recoded(
    pixels: NDArray[np.uint8],
    quality: int,
    subsampling: Subsampling,
    origin: tuple[int, int] = (0, 0),
) -> NDArray[np.uint8]:
    """Code as JPEG and decode.

    Args:
        pixels: `(h w c)` uint8, RGB or gray.
        quality: Of libjpeg, 1 to 100.
        subsampling: Of the chroma.
        origin: Row and column of a block at which the picture begins.

    Returns:
        `(h w c)` uint8.
    """
    y, x = origin
    padded = np.pad(pixels, ((y, 0), (x, 0), (0, 0)), "edge")
    image = Image.fromarray(padded if pixels.shape[2] == 3 else padded[..., 0])
    coded = io.BytesIO()
    options = {} if pixels.shape[2] == 1 else {"subsampling": subsampling}
    image.save(coded, "JPEG", quality=quality, **options)
    with Image.open(coded) as decoded:
        return np.asarray(decoded).reshape(padded.shape)[y:, x:]
