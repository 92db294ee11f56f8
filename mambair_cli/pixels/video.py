"""Frames of video as images: luma and chroma of any coding to RGB or gray, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mambair_cli.imaging.float_range import measured
from mambair_cli.imaging.image import NEAR, Pixels, RestorableImage, ValueRange
from mambair_cli.imaging.metadata.image_metadata import Metadata
from mambair_cli.imaging.y4m import Frame, StreamHeader
from mambair_cli.pixels.chroma import interpolated, projected

# Of more than standard definition, as players take a stream that does not say it.
_HD_WIDTH, _SD_HEIGHT = 1280, 576


@dataclass(frozen=True)
class Matrix:
    """How luma and chroma are made of red, green and blue.

    Attributes:
        name: As people call it.
        option: What ffmpeg calls it.
        red: Share of red in luma.
        blue: Share of blue in luma.
    """

    name: str
    option: str
    red: float
    blue: float

    @classmethod
    def usual(cls, header: StreamHeader) -> Matrix:
        """Return the one that players take for frames of a size: Y4M has no word for it."""
        return BT709 if header.width >= _HD_WIDTH or header.height > _SD_HEIGHT else BT601


BT601 = Matrix("BT.601", "smpte170m", 0.299, 0.114)
BT709 = Matrix("BT.709", "bt709", 0.2126, 0.0722)


def image_of(frame: Frame, header: StreamHeader, matrix: Matrix) -> RestorableImage:
    """Make an image of a frame: RGB, or gray where there is no chroma.

    Returns:
        float32 pixels, 0 the black and 1 the white of the coding. What is blacker, whiter or more
        colourful than they is kept beyond.
    """
    black, luma_span, neutral, chroma_span = _levels(header)
    luma = (frame.planes[0] - np.float32(black)) / np.float32(luma_span)
    pixels = luma[..., None]
    if header.sampling is not None:
        blue_change, red_change = (
            interpolated(
                (plane - np.float32(neutral)) / np.float32(chroma_span),
                header.sampling,
                luma.shape,
            )
            for plane in frame.planes[1:]
        )
        pixels = np.empty((*luma.shape, 3), np.float32)
        pixels[..., 0] = luma + 2 * (1 - matrix.red) * red_change
        pixels[..., 2] = luma + 2 * (1 - matrix.blue) * blue_change
        others = matrix.red * pixels[..., 0] + matrix.blue * pixels[..., 2]
        pixels[..., 1] = (luma - others) / (1 - matrix.red - matrix.blue)
    return RestorableImage(pixels, metadata=Metadata(source_format="Y4M"), span=_span(pixels))


def frame_of(pixels: Pixels, header: StreamHeader, matrix: Matrix, fields: bytes) -> Frame:
    """Make a frame of an image, rounded once.

    Args:
        pixels: `(h w c)` as `image_of` gives them, of any size.
        header: Of the frame: the same size.
        matrix: How luma and chroma are made.
        fields: As `Frame.fields`.
    """
    black, luma_span, neutral, chroma_span = _levels(header)
    if header.sampling is None:
        return Frame((_stored(pixels[..., 0] * luma_span + black, header),), fields)
    red, green, blue = (pixels[..., channel] for channel in range(3))
    luma = matrix.red * red + (1 - matrix.red - matrix.blue) * green + matrix.blue * blue
    planes = [_stored(luma * luma_span + black, header)]
    changes = (blue - luma) / (2 * (1 - matrix.blue)), (red - luma) / (2 * (1 - matrix.red))
    for change, shape in zip(changes, header.shapes[1:], strict=True):
        reduced = projected(change.astype(np.float32, copy=False), header.sampling, shape)
        planes.append(_stored(reduced * chroma_span + neutral, header))
    return Frame(tuple(planes), fields)


def _span(pixels: Pixels) -> ValueRange | None:
    """Measure what lies beyond black and white; what codes no colour does not darken the rest."""
    span = measured([pixels], pixels.size)
    if span is None:
        return None
    return ValueRange(max(span.black, NEAR.black), min(span.white, NEAR.white))


def _levels(header: StreamHeader) -> tuple[int, int, int, int]:
    """Black, and from there to white; neutral chroma, and from its least to its largest value."""
    neutral = 2 ** (header.bits - 1)
    if header.full_range:
        return 0, 2**header.bits - 1, neutral, 2**header.bits - 1
    unit = 2 ** (header.bits - 8)
    return 16 * unit, 219 * unit, neutral, 224 * unit


def _stored(values: Pixels, header: StreamHeader) -> Pixels:
    return np.rint(values).clip(0, 2**header.bits - 1).astype(header.dtype)
