"""The one door to image files: reading them to upright pixels, and writing them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from mambair_cli.errors import ImageError
from mambair_cli.imaging import formats
from mambair_cli.imaging.formats import BY_SUFFIX, Format
from mambair_cli.imaging.image import BandReader, ImageHeader, ImageSequence, RestorableImage
from mambair_cli.imaging.metadata.jpeg_quality import jpeg_coding_of
from mambair_cli.imaging.reading.gif import open_gif
from mambair_cli.imaging.reading.heif import open_avif, open_heic
from mambair_cli.imaging.reading.jpeg import open_jpeg
from mambair_cli.imaging.reading.jxl import open_jxl
from mambair_cli.imaging.reading.opening import Contents, identified, open_file
from mambair_cli.imaging.reading.pillow import open_frames
from mambair_cli.imaging.reading.png import open_png
from mambair_cli.imaging.reading.tiff import open_tiff
from mambair_cli.imaging.reading.webp import open_webp
from mambair_cli.imaging.writing.images import write_bands, write_image, write_images

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "SUPPORTED_SUFFIXES",
    "InputFile",
    "can_band",
    "open_bands",
    "read_header",
    "read_image",
    "read_images",
    "read_jpeg_quality",
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
    formats.WEBP: open_webp,
}


class InputFile:
    """An image file, opened once for all that is asked of it, and only when something is.

    For one thread at a time. Everything but `path` and `close` opens the file.

    Args:
        path: The file.
        max_pixels: The most pixels, of all frames together, that are read; 0 for any number.
        accept_damaged: Read a damaged file as far as it is there, which its images' `changes` say.

    Raises:
        ImageError: By every method: the file is missing, empty, or cannot be read.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        accept_damaged: bool = False,
    ) -> None:
        self.path = path
        self._max_pixels = max_pixels
        self._accept_damaged = accept_damaged

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @cached_property
    def sha256(self) -> str:
        """Of the file's bytes, in hexadecimal."""
        position = self._file.tell()
        self._file.seek(0)
        digest = hashlib.file_digest(self._file, "sha256").hexdigest()
        self._file.seek(position)
        return digest

    @cached_property
    def jpeg_quality(self) -> int | None:
        """The quality of a JPEG file, 1 to 100, without its pixels; None where it is no such file.

        Damage, and how large it says it is, are told by what reads the file.
        """
        position = self._file.tell()
        self._file.seek(0)
        with _without_warnings():
            coding = jpeg_coding_of(self._file)
        self._file.seek(position)
        return None if coding is None else coding.quality

    @property
    def header(self) -> ImageHeader:
        """What the file announces of its upright pixels, without decoding them.

        Of a file with several images it is the size and type of the first.

        Raises:
            ImageError: As `read` raises, for all that can be known without the pixels.
        """
        return self._contents.header

    def read(self) -> ImageSequence:
        """Decode all images, as `read_images` says.

        Raises:
            ImageError: As `read_images` raises.
        """
        with _without_warnings():
            return self._accepted.read()

    def bands(self) -> BandReader:
        """Open the only image for a pass from top to bottom, as `open_bands` says.

        Raises:
            ImageError: As `open_bands` raises.
        """
        self.require_one()
        if self._accepted.bands is None:
            raise ImageError(
                f"{self.path} cannot be read in bands", hint="convert it to PNG or TIFF first"
            )
        return self._accepted.bands()

    def require_one(self) -> None:
        """Refuse several images.

        Raises:
            ImageError: There are several.
        """
        if self.header.images > 1:
            raise ImageError(
                f"{self.path} has {self.header.images} frames or pages; only single images are "
                "supported here",
                hint="split it into one file per frame or page",
            )

    @property
    def is_open(self) -> bool:
        """Whether anything was asked of it since it was last closed."""
        return "_file" in self.__dict__

    def is_current(self) -> bool:
        """Whether the path still names the file that was opened, and nobody has changed it."""
        try:
            now = self.path.stat()
        except OSError:
            return False
        return os.path.samestat(now, self._status) and (
            (now.st_size, now.st_mtime_ns) == (self._status.st_size, self._status.st_mtime_ns)
        )

    def close(self) -> None:
        """Close the file; asked anything more, it is opened again."""
        file = self.__dict__.get("_file")
        for name in ("_file", "_status", "_contents", "_accepted", "sha256", "jpeg_quality"):
            self.__dict__.pop(name, None)
        if file is not None:
            file.close()

    @cached_property
    def _file(self) -> io.BufferedReader:
        file = open_file(self.path)
        self._status = os.fstat(file.fileno())
        return file

    @cached_property
    def _contents(self) -> Contents:
        file_format = identified(self.path, self._file)
        reader = _READERS.get(file_format, open_frames)
        with _without_warnings():
            return reader(self.path, self._file, self._max_pixels)

    @cached_property
    def _accepted(self) -> Contents:
        contents = self._contents
        if not self._accept_damaged or contents.salvaged is None:
            return contents
        return contents.salvaged()


def read_header(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> ImageHeader:
    """Read what a file's header announces, as `InputFile.header`.

    Args:
        path: The file.
        max_pixels: The most pixels, of all frames together, that are read; 0 for any number.

    Raises:
        ImageError: As `read_images` raises, for all that can be known without the pixels.
    """
    with InputFile(path, max_pixels=max_pixels) as file:
        return file.header


def read_jpeg_quality(path: Path) -> int | None:
    """Read the quality of a JPEG file, as `InputFile.jpeg_quality`; None if it cannot be read."""
    with contextlib.suppress(ImageError), InputFile(path) as file:
        return file.jpeg_quality
    return None


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
            package that is not installed, or holds samples that stand for no brightness.
    """
    with InputFile(path, max_pixels=max_pixels) as file:
        return file.read()


def read_image(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> RestorableImage:
    """Read the only image of a file, as `read_images` reads it.

    Args:
        path: The file.
        max_pixels: The most pixels that are read; 0 for any number.

    Raises:
        ImageError: As `read_images` raises, or there are several images.
    """
    with InputFile(path, max_pixels=max_pixels) as file:
        file.require_one()
        return file.read().images[0]


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
        OutputError: There is no room for a temporary file.
    """
    with InputFile(path, max_pixels=max_pixels) as file:
        yield file.bands()


def can_band(path: Path) -> bool:
    """Whether the format that the path's suffix names is written band by band."""
    file_format = formats.format_of(path)
    return file_format is not None and file_format.bands


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep quiet what Pillow warns of: odd metadata, which does not concern the user here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
