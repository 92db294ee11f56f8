"""The one door to image files: reading them to upright pixels, and writing them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from mambair_cli.errors import ImageError
from mambair_cli.imaging import formats
from mambair_cli.imaging.formats import BY_SUFFIX, Format
from mambair_cli.imaging.image import BandReader, ImageHeader, ImageSequence, RestorableImage
from mambair_cli.imaging.reading.contents import Contents
from mambair_cli.imaging.reading.gif import open_gif
from mambair_cli.imaging.reading.heif import open_avif, open_heic
from mambair_cli.imaging.reading.jpeg import open_jpeg
from mambair_cli.imaging.reading.jxl import open_jxl
from mambair_cli.imaging.reading.opening import identified, open_file
from mambair_cli.imaging.reading.pillow import open_frames
from mambair_cli.imaging.reading.png import open_png
from mambair_cli.imaging.reading.raster import RasterBands
from mambair_cli.imaging.reading.tiff import open_tiff
from mambair_cli.imaging.writing.images import write_bands, write_image, write_images

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "SUPPORTED_SUFFIXES",
    "can_band",
    "open_bands",
    "read_header",
    "read_image",
    "read_images",
    "write_bands",
    "write_image",
    "write_images",
]

SUPPORTED_SUFFIXES = frozenset(BY_SUFFIX)
DEFAULT_MAX_PIXELS = 178_956_970  # where Pillow, too, takes a file for an attack

_READERS: dict[Format, Callable[[Path, IO[bytes], int], Contents]] = {
    formats.PNG: open_png,
    formats.JPEG: open_jpeg,
    formats.TIFF: open_tiff,
    formats.AVIF: open_avif,
    formats.HEIF: open_heic,
    formats.GIF: open_gif,
    formats.JXL: open_jxl,
}


def read_header(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> ImageHeader:
    """Read what a file's header announces of its upright pixels, without decoding them.

    Args:
        path: The file.
        max_pixels: The most pixels, of all frames together, that are read; 0 for any number.

    Returns:
        Of files with several images, the size and type of the first.

    Raises:
        ImageError: As `read_images` raises, for all that can be known without the pixels.
    """
    with _opened(path, max_pixels) as contents:
        return contents.header


def read_images(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> ImageSequence:
    """Read all images of a file, whatever its name: one, the pages, or the composed frames.

    The EXIF orientation is applied. Images keep the depth of their type: 8 or 16 bits, or 32-bit
    floating point; fewer bits become 8, 9 to 15 bits become 16. Gray stays gray, palettes become
    RGB, CMYK and Lab become sRGB, transparency of any kind becomes a straight alpha channel.

    Args:
        path: The file.
        max_pixels: The most pixels, of all frames together, that are read; 0 for any number.

    Raises:
        ImageError: The file is missing, unreadable, damaged, not an image, too large, needs a
            plugin that is not installed, or holds samples that stand for no brightness.
    """
    with _opened(path, max_pixels) as contents:
        return contents.read()


def read_image(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> RestorableImage:
    """Read the only image of a file, as `read_images` reads it.

    Args:
        path: The file.
        max_pixels: The most pixels that are read; 0 for any number.

    Raises:
        ImageError: As `read_images` raises, or there are several images.
    """
    with _opened(path, max_pixels) as contents:
        _require_one(path, contents)
        return contents.read().images[0]


@contextlib.contextmanager
def open_bands(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Iterator[BandReader]:
    """Open a file to read its only image from top to bottom, never the whole of it in memory.

    The pixels are those that `read_image` gives. An image that has to be turned other than from
    left to right is first written to a temporary file, undone from its compression.

    Args:
        path: A PNG, TIFF or JPEG file.
        max_pixels: The most pixels that are read; 0 for any number.

    Raises:
        ImageError: As `read_image` raises, or the format is not read in bands.
    """
    with _opened(path, max_pixels) as contents:
        _require_one(path, contents)
        if contents.raster is None:
            raise ImageError(
                f"{path} cannot be read in bands", hint="convert it to PNG or TIFF first"
            )
        yield RasterBands(contents.raster)


def can_band(path: Path) -> bool:
    """Whether the format that the path's suffix names is written band by band."""
    file_format = formats.format_of(path)
    return file_format is not None and file_format.bands


@contextlib.contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Contents]:
    with open_file(path) as file, warnings.catch_warnings():
        # Pillow warns of odd metadata, which does not concern the user here.
        warnings.simplefilter("ignore")
        file_format = identified(path, file)
        reader = _READERS.get(file_format, open_frames)
        yield reader(path, file, max_pixels)


def _require_one(path: Path, contents: Contents) -> None:
    if contents.header.images > 1:
        raise ImageError(
            f"{path} has {contents.header.images} frames or pages; only single images are supported"
            " here",
            hint="split it into one file per frame or page",
        )
