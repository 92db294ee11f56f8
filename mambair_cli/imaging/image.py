"""What an image is between its file and a network: pixels, opacity, frames, bands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.metadata.image_metadata import Metadata

# uint8, uint16 or float32: the type says how deep a file is, never the largest value in it.
Pixels = NDArray[Any]


@dataclass(frozen=True)
class ValueRange:
    """The values that stand for black and for full brightness.

    Attributes:
        black: 0 for integers.
        white: The type's largest value for integers.
    """

    black: float
    white: float

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> ValueRange:
        """Return the range of a type: 0 to 255, 0 to 65535, or 0 to 1 for floating point."""
        return cls(0, np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1)

    @classmethod
    def shown(cls, dtype: np.dtype[Any], span: ValueRange | None) -> ValueRange:
        """Choose what a network is shown as 0 and 1: the type's range, or a far wider span."""
        near = span is None or (NEAR.black <= span.black and span.white <= NEAR.white)
        return cls.of(dtype) if span is None or near else span


# A little outside [0, 1], as Gaussian noise of 50/255 that nobody clipped, or a highlight: black
# and white stay 0 and 1, and a network is shown such values as they are.
NEAR = ValueRange(-0.75, 1.75)


@dataclass(frozen=True, eq=False)
class RestorableImage:
    """An upright image, its opacity, and what the file said beside.

    Attributes:
        pixels: `(h w c)` uint8, uint16 or float32 in the file's own encoding; 1 channel for gray, 3
            for RGB.
        alpha: `(h w)` of the same type, straight (not premultiplied), 0 transparent to the type's
            white (1 for float32) opaque; None where the file has none.
        metadata: What to hand on to the output file.
        span: Between what floating-point pixels lie that exceed [0, 1], but for a few far outside
            (`float_range.measured`); None for the type's own black and white.
        changes: What reading changed of the image, a phrase each, for people: `CMYK converted to
            sRGB`.
        left_alone: Whether there was nothing to restore.
        least_quality: Quality below which formats that lose something lose what was gained.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    metadata: Metadata = field(default_factory=Metadata)
    span: ValueRange | None = None
    changes: tuple[str, ...] = ()
    left_alone: bool = False
    least_quality: int = 0

    @property
    def value_range(self) -> ValueRange:
        """Black and white of the pixels."""
        return ValueRange.shown(self.pixels.dtype, self.span)


@dataclass(frozen=True)
class Timing:
    """How an animation runs.

    Attributes:
        durations: Milliseconds of each frame.
        loops: How often it runs; 0 for ever.
    """

    durations: tuple[int, ...]
    loops: int = 0


@dataclass(frozen=True, eq=False)
class ImageSequence:
    """All images of a file: one, the pages of a document, or the frames of an animation.

    Attributes:
        images: At least one, in order.
        timing: Of an animation; None for pages and for a single image.
    """

    images: tuple[RestorableImage, ...]
    timing: Timing | None = None


@dataclass(frozen=True)
class ImageHeader:
    """What a file's header announces of its upright pixels, or what is to be written.

    Attributes:
        width: Pixels.
        height: Pixels.
        channels: 1 for gray, 3 for RGB.
        dtype: Type of the pixels.
        has_alpha: Whether there is an opacity channel.
        images: How many images, pages or frames.
        in_bands: Whether the file can be read band by band.
    """

    width: int
    height: int
    channels: int
    dtype: np.dtype[Any]
    has_alpha: bool = False
    images: int = 1
    in_bands: bool = False

    @property
    def pixels(self) -> int:
        """Pixels of all images together."""
        return self.width * self.height * self.images


@dataclass(frozen=True, eq=False)
class Band:
    """Consecutive rows of an image.

    Attributes:
        pixels: `(rows w c)`.
        alpha: `(rows w)` or None.
    """

    pixels: Pixels
    alpha: Pixels | None = None


class BandReader(Protocol):
    """An open image file that is read from top to bottom, never held in memory as a whole."""

    @property
    def header(self) -> ImageHeader:
        """Sizes and type."""
        ...

    @property
    def metadata(self) -> Metadata:
        """What to hand on to the output file."""
        ...

    @property
    def span(self) -> ValueRange | None:
        """As `RestorableImage.span`."""
        ...

    @property
    def changes(self) -> tuple[str, ...]:
        """As `RestorableImage.changes`."""
        ...

    def read(self, start: int, stop: int) -> Band:
        """Read rows `start` to `stop - 1`.

        `start` is never less than in the call before; rows that were read already may be asked for
        again.

        Raises:
            ImageError: The file is damaged.
        """
        ...


@dataclass(frozen=True)
class ReaderOfReader:
    """An open file as another makes it known; what is made of it says the class.

    Attributes:
        reader: The other.
    """

    reader: BandReader

    @property
    def header(self) -> ImageHeader:
        """See `BandReader`."""
        return self.reader.header

    @property
    def metadata(self) -> Metadata:
        """See `BandReader`."""
        return self.reader.metadata

    @property
    def span(self) -> ValueRange | None:
        """See `BandReader`."""
        return self.reader.span

    @property
    def changes(self) -> tuple[str, ...]:
        """See `BandReader`."""
        return self.reader.changes
