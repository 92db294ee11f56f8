"""One image of a file that libvips decodes: as a whole, or in bands from top to bottom."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mambair_cli.errors import ImageError, OutputError
from mambair_cli.imaging import vips
from mambair_cli.imaging.float_range import measured, told
from mambair_cli.imaging.image import (
    Band,
    ImageHeader,
    ImageSequence,
    Pixels,
    RestorableImage,
    ValueRange,
)
from mambair_cli.imaging.metadata.image_metadata import Metadata
from mambair_cli.imaging.orientation import streams, turn, turn_lazily, turned_size
from mambair_cli.imaging.reading.opening import Contents, damaged, unsupported

if TYPE_CHECKING:
    import pyvips

_SALVAGED_ROWS = 16
_PASS_VALUES = 2**22

# Warnings of libjpeg about files that are whole; it decodes the same pixels in spite of them.
_HARMLESS = (
    "extraneous bytes before marker 0xd9",
    "Invalid SOS parameters for sequential JPEG",
    "Unknown Adobe color transform code",
)


@dataclass(frozen=True)
class Raster:
    """An image as a file stores it, and what has to be done to its samples.

    Attributes:
        path: The file, for errors.
        decode: Opens the file for one pass. Its argument is where libvips gives up: `warning`,
            `truncated` to go on after what libjpeg takes for damage, or `none` to go on after any.
            `VipsError` means damage.
        colours: Samples of a pixel that are its colour; others but `alpha` are left out.
        alpha: Index of the sample that is opacity; None without.
        premultiplied: Whether the colours are multiplied by the opacity.
        convert: What makes gray or RGB of the colours; None where they are.
        first: Index of the first colour.
        orientation: EXIF's, 1 to 8.
        metadata: What to hand on.
        changes: What reading changes of the image.
    """

    path: Path
    decode: Callable[[str], pyvips.Image]
    colours: int
    alpha: int | None = None
    premultiplied: bool = False
    convert: Callable[[pyvips.Image], pyvips.Image] | None = None
    first: int = 0
    orientation: int = 1
    metadata: Metadata = field(default_factory=Metadata)
    changes: tuple[str, ...] = ()

    @cached_property
    def header(self) -> ImageHeader:
        """Sizes and type of the upright image.

        Raises:
            ImageError: The header is damaged, or the type is not restored.
        """
        try:
            image = self._unread[0]
        except vips.VipsError as error:
            raise self.damaged(error) from error
        dtype = vips.dtype_of(image)
        if dtype is None:
            raise unsupported(self.path, f"pixels of the type {image.format}")
        width, height = turned_size(image.width, image.height, self.orientation)
        has_alpha = self.alpha is not None
        channels = image.bands - has_alpha
        return ImageHeader(width, height, channels, dtype, has_alpha, in_bands=True)

    def read(self) -> RestorableImage:
        """Decode the whole image.

        Raises:
            ImageError: The file is damaged, or holds values that are no numbers.
        """
        _ = self.header
        try:
            samples = vips.to_array(self.straight())
        except vips.VipsError as error:
            if not _harmless(error):
                raise self.damaged(error) from error
            samples = self._despite_warnings()
        band = self.split(turn(samples, self.orientation))
        rows = max(1, _PASS_VALUES // band.pixels[0].size)
        parts = (band.pixels[top : top + rows] for top in range(0, len(band.pixels), rows))
        span = self._span(parts) if samples.dtype == np.float32 else None
        alpha = None if band.alpha is None else np.ascontiguousarray(band.alpha)
        pixels = np.ascontiguousarray(band.pixels)
        return RestorableImage(pixels, alpha, self.metadata, span, self.changes + told(span))

    def salvaged(self) -> Raster:
        """Return the image as far as it is there, with a word about where it is damaged.

        Raises:
            ImageError: Nothing of it is there.
        """
        height, rows = self.header.height, 0
        try:
            image = self.straight()
            height = image.height
            fetch = vips.rows(image)
            for start in range(0, height, _SALVAGED_ROWS):
                fetch(start, min(start + _SALVAGED_ROWS, height))
                rows = start + _SALVAGED_ROWS
        except vips.VipsError as error:
            if _harmless(error):
                return self
            phrase = f"damaged from about row {rows} of {height} on, restored as far as it is there"
            changes = (*self.changes, phrase)
            return replace(self, decode=lambda _: self.decode("none"), changes=changes)
        return self

    def straight(self, fail_on: str = "warning") -> pyvips.Image:
        """Open the image for one pass: gray or RGB, then opacity, not yet turned.

        Raises:
            VipsError: The header is damaged.
        """
        if fail_on == "warning" and self._unread:
            return self._unread.pop()
        return self._opened(fail_on)

    @cached_property
    def _unread(self) -> list[pyvips.Image]:
        """The image that gave the header, until a pass takes it."""
        return [self._opened("warning")]

    def _opened(self, fail_on: str) -> pyvips.Image:
        image = self.decode(fail_on)
        whole = image.bands == self.colours
        colours = image if whole else image.extract_band(self.first, n=self.colours)
        alpha = None if self.alpha is None else image.extract_band(self.alpha)
        if alpha is not None and self.premultiplied:
            colours = _unpremultiplied(colours, alpha)
        if self.convert:
            colours = self.convert(colours)
        return colours if alpha is None else colours.bandjoin(alpha)

    def split(self, samples: Pixels) -> Band:
        """Part `(h w s)` samples of a straight image into colour and opacity."""
        if self.alpha is None:
            return Band(samples)
        alpha = samples[..., -1]
        if samples.dtype == np.float32:
            alpha = np.clip(alpha, 0, 1)
        return Band(samples[..., :-1], alpha)

    def damaged(self, error: vips.VipsError) -> ImageError:
        """Return the error to be raised for one of libvips."""
        return damaged(self.path, vips.reason(error))

    def streamed_span(self) -> ValueRange | None:
        """As `RestorableImage.span`, by a pass over the file."""
        if self.header.dtype != np.float32:
            return None
        image = self.straight()
        fetch = vips.rows(image)
        step = max(1, _PASS_VALUES // (image.width * image.bands))
        starts = range(0, image.height, step)
        return self._span(
            self.split(fetch(start, min(start + step, image.height))).pixels for start in starts
        )

    def _despite_warnings(self) -> Pixels:
        try:
            return vips.to_array(self.straight("truncated"))
        except vips.VipsError as error:
            raise self.damaged(error) from error

    def _span(self, parts: Iterable[Pixels]) -> ValueRange | None:
        header = self.header
        values = header.height * header.width * header.channels
        return measured((self._finite(part) for part in parts), values)

    def _finite(self, part: Pixels) -> Pixels:
        if not (math.isfinite(part.min()) and math.isfinite(part.max())):
            raise unsupported(
                self.path,
                "values that are infinite or no numbers (NaN)",
                "replace them first; what they stand for only their maker knows",
            )
        return part


class RasterBands:
    """A `BandReader` of a raster.

    Args:
        raster: The image.

    Raises:
        ImageError: The file is damaged, or holds values that are no numbers.
        OutputError: There is no room to unpack an image that has to be turned.
    """

    def __init__(self, raster: Raster) -> None:
        self.header = raster.header
        self.metadata, self.changes = raster.metadata, raster.changes
        self._raster = raster
        self._top = self._bottom = 0
        try:
            self.span = raster.streamed_span()
            self.changes += told(self.span)
            self._open("warning")
        except vips.VipsError as error:
            raise raster.damaged(error) from error
        samples = self.header.channels + self.header.has_alpha
        self._kept: Pixels = np.empty((0, self.header.width, samples), self.header.dtype)

    def read(self, start: int, stop: int) -> Band:
        """As `BandReader.read`."""
        if start < self._top or not start < stop <= self.header.height:
            raise ValueError(f"rows {start} to {stop} cannot be read after row {self._top}")
        kept = self._kept[start - self._top :]
        first = max(start, self._bottom)
        if first < stop:
            kept = np.concatenate([kept, self._read_on(first, stop)])
        self._kept, self._top, self._bottom = kept, start, max(stop, self._bottom)
        band = self._raster.split(kept[: stop - start])
        # Copies: what is kept may be asked for again, when the caller has changed its own.
        return Band(band.pixels.copy(), None if band.alpha is None else band.alpha.copy())

    def _read_on(self, start: int, stop: int) -> Pixels:
        try:
            try:
                return self._fetch(start, stop)
            except vips.VipsError as error:
                if not _harmless(error):
                    raise
                self._open("truncated")
                return self._fetch(start, stop)
        except vips.VipsError as error:
            raise self._raster.damaged(error) from error

    def _open(self, fail_on: str) -> None:
        image, orientation = self._raster.straight(fail_on), self._raster.orientation
        if not streams(orientation):
            image = self._spooled(image)
        self._fetch = vips.rows(turn_lazily(image, orientation))

    def _spooled(self, image: pyvips.Image) -> pyvips.Image:
        try:
            return vips.spooled(image)
        except OSError as error:
            raise OutputError(
                f"{self._raster.path} cannot be unpacked in {tempfile.gettempdir()}: "
                f"{error.strerror}",
                "set TMPDIR to a folder with more room",
            ) from error


def unread_first(
    image: pyvips.Image, decode: Callable[[str], pyvips.Image]
) -> Callable[[str], pyvips.Image]:
    """Return what opens a file for a pass: first the image that is open already, then anew.

    Args:
        image: As `decode` gave it for `warning`, none of its rows read.
        decode: As in `Raster`.
    """
    unread = [image]
    return lambda fail_on: unread.pop() if unread and fail_on == "warning" else decode(fail_on)


def of_rasters(rasters: Sequence[Raster]) -> Contents:
    """Return the contents of a file that libvips decodes.

    Raises:
        ImageError: A header is damaged.
    """
    only = rasters[0] if len(rasters) == 1 else None
    header = replace(rasters[0].header, images=len(rasters), in_bands=only is not None)
    return Contents(
        header,
        lambda: ImageSequence(tuple(raster.read() for raster in rasters)),
        None if only is None else lambda: RasterBands(only),
        lambda: of_rasters([raster.salvaged() for raster in rasters]),
    )


def _harmless(error: vips.VipsError) -> bool:
    reasons = vips.reasons(error)
    return bool(reasons) and all(
        any(phrase in reason for phrase in _HARMLESS) for reason in reasons
    )


def _unpremultiplied(colours: pyvips.Image, alpha: pyvips.Image) -> pyvips.Image:
    dtype = vips.dtype_of(colours)
    if dtype is None:
        return colours  # refused for its type
    white = ValueRange.of(dtype).white
    straight = colours.bandjoin(alpha).unpremultiply(max_alpha=white)
    straight = straight.extract_band(0, n=colours.bands)
    return straight if dtype == np.float32 else straight.rint().cast(colours.format)
