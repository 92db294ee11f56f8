"""The part of an image that is looked at to decide what is done about it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.files import InputFile
from mambair_cli.imaging.image import BandReader, RestorableImage
from mambair_cli.imaging.metadata.image_metadata import Metadata
from mambair_cli.imaging.writing.depth import in_8_bits
from mambair_cli.pixels.color import rgb_to_ycbcr
from mambair_cli.pixels.jpeg_cells import BLOCK

# The middle of an image tells enough.
_SAMPLE = 512


@dataclass(frozen=True)
class Sample:
    """The middle of an image, and what its file says.

    Attributes:
        pixels: `(h w c)` uint8, gray or RGB; blocks lie in them as they lie in the image.
        size: Height and width of the image.
        metadata: Of the file.
        name: What messages call the image.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    metadata: Metadata
    name: str

    @property
    def luma(self) -> NDArray[np.float32]:
        """Of the pixels, `(h w)`."""
        if self.pixels.shape[2] == 1:
            return self.pixels[..., 0].astype(np.float32)
        return rgb_to_ycbcr(self.pixels)[..., 0]

    @classmethod
    def of_image(cls, image: RestorableImage, name: str | None = None) -> Sample:
        """Take it from an image in memory."""
        height, width = image.pixels.shape[:2]
        middle = image.pixels[_middle(height), _middle(width)]
        part = replace(image, pixels=middle, alpha=None)
        named = name or f"a {image.metadata.source_format} image"
        return cls(in_8_bits(part), (height, width), image.metadata, named)

    @classmethod
    def of_bands(cls, reader: BandReader, name: str | None = None) -> Sample:
        """Take it from a file that is open at its top; nothing else can be read from it then."""
        header = reader.header
        rows = _middle(header.height)
        band = reader.read(rows.start, rows.stop).pixels[:, _middle(header.width)]
        pixels = in_8_bits(RestorableImage(band, span=reader.span))
        named = name or f"a {reader.metadata.source_format} image"
        return cls(pixels, (header.height, header.width), reader.metadata, named)


def _middle(side: int) -> slice:
    start = max(0, side - _SAMPLE) // 2 // BLOCK * BLOCK
    return slice(start, min(side, start + _SAMPLE))


def sample_of(file: InputFile) -> Sample:
    """Read what decides about the treatment of the first image of a file.

    Raises:
        ImageError: It cannot be read.
    """
    if file.header.in_bands:
        return Sample.of_bands(file.bands(), str(file.path))
    return Sample.of_image(file.read().images[0], str(file.path))
