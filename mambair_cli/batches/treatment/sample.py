"""The part of an image that is looked at to decide what is done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.files import InputFile
from mambair_cli.imaging.image import BandReader, ImageSequence, RestorableImage
from mambair_cli.imaging.metadata.image_metadata import Metadata
from mambair_cli.imaging.writing.depth import in_8_bits
from mambair_cli.pixels.coarse_noise import grain_of_noise
from mambair_cli.pixels.color import rgb_to_ycbcr
from mambair_cli.pixels.jpeg_cells import BLOCK
from mambair_cli.pixels.jpeg_history import find_history
from mambair_cli.pixels.noise import is_gray

# The middle of an image tells enough, and so do some frames of an animation.
_SAMPLE, _FRAMES = 512, 9
# Below it compression takes the finest part of texture, and what is left looks like coarse noise.
_TELLS_COARSE_NOISE = 70


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

    @cached_property
    def is_gray(self) -> bool:
        """Whether it has one colour only, or three that are equal everywhere."""
        return is_gray(self.pixels)

    @property
    def has_coarse_noise(self) -> bool:
        """Whether neighbours share its noise, and not because it was strongly compressed."""
        if not grain_of_noise(self.pixels).is_coarse:
            return False
        saved = self.metadata.jpeg, find_history(self.luma)
        return all(each is None or each.quality >= _TELLS_COARSE_NOISE for each in saved)

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


def samples_of_frames(frames: Sequence[RestorableImage], name: str | None = None) -> list[Sample]:
    """Take them from some frames of an animation, as far from each other as from both ends."""
    count = min(len(frames), _FRAMES)
    chosen = [(2 * index + 1) * len(frames) // (2 * count) for index in range(count)]
    return [Sample.of_image(frames[index], name) for index in chosen]


def _middle(side: int) -> slice:
    start = max(0, side - _SAMPLE) // 2 // BLOCK * BLOCK
    return slice(start, min(side, start + _SAMPLE))


def samples_of(file: InputFile) -> list[Sample]:
    """Read what decides about the treatment of a file: its first image, or frames.

    Raises:
        ImageError: It cannot be read.
    """
    name = str(file.path)
    if file.header.in_bands:
        return [Sample.of_bands(file.bands(), name)]
    return _of_sequence(file.read(), name)


def _of_sequence(sequence: ImageSequence, name: str) -> list[Sample]:
    if sequence.timing is None:
        return [Sample.of_image(sequence.images[0], name)]
    return samples_of_frames(sequence.images, name)
