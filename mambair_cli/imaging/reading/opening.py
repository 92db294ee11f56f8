"""Opening files for reading: what a reader of a format gives, and why a file cannot be read."""

from __future__ import annotations

import io
import logging
import re
import stat
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image

from mambair_cli.errors import ImageError
from mambair_cli.imaging import formats
from mambair_cli.imaging.formats import Format
from mambair_cli.imaging.image import BandReader, ImageHeader, ImageSequence
from mambair_cli.imaging.reading.camera_raw import check_signature

# Sizes are checked here, frames included and with the user's own limit, which a limit of Pillow's
# that all threads share cannot be.
Image.MAX_IMAGE_PIXELS = None

# Pillow, too, tells of odd tags, which concern nobody here.
logging.getLogger("PIL").addHandler(logging.NullHandler())
logging.getLogger("PIL").propagate = False

_LACKING = re.compile(
    r"unsupported|not supported|not implemented|not configured|built without|not been built in",
    re.IGNORECASE,
)
_CONVERT = "convert it to PNG first"

# A frame of a single pixel takes work and memory, too.
_LEAST_PIXELS, _FEW_IMAGES = 2**14, 1000

# What Pillow's decoders raise on damaged data.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    ArithmeticError,
    RuntimeError,
    AssertionError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Contents:
    """A file's images, known from its header; the file stays open while they are used.

    Attributes:
        header: Of the first image, with the number of all.
        read: Decodes all images; raises `ImageError` if the file is damaged.
        bands: Opens the only image for a pass from top to bottom, as `read` raises; None where it
            is not decoded band by band.
        salvaged: Gives the contents as far as they are there, where the file is damaged; None where
            no part of such a file is decoded.
    """

    header: ImageHeader
    read: Callable[[], ImageSequence]
    bands: Callable[[], BandReader] | None = None
    salvaged: Callable[[], Contents] | None = None


def open_file(path: Path) -> io.BufferedReader:
    """Open a regular file that is not empty.

    Raises:
        ImageError: It is missing, empty, not regular, or cannot be opened.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"{path} is a directory, not an image", "name the images in it")
        # Opening a pipe or a device could wait for ever.
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(
                f"{path} is not a regular file",
                f"pipes are read from standard input: < {path.name} mambair ... -",
            )
        if status.st_size == 0:
            raise ImageError(f"{path} is empty (0 bytes)", hint="copy or download it again")
        return path.open("rb")
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist", hint="check the spelling") from error
    except OSError as error:
        raise ImageError(
            f"cannot read {path}: {error.strerror}", hint="check the file's permissions"
        ) from error


def identified(path: Path, file: IO[bytes]) -> Format:
    """Return the format of a file's content, whatever its name; what reads it is installed.

    Raises:
        ImageError: It is none of `formats.FORMATS`, or what reads it is not installed, or it is
            camera raw.
    """
    file.seek(0)
    start = file.read(formats.SIGNATURE_BYTES)
    file.seek(0)
    check_signature(path, start)
    file_format = formats.identify(start)
    if file_format is None:
        labels = [entry.label for entry in formats.FORMATS]
        raise ImageError(
            f"{path} is not a {', '.join(labels[:-1])} or {labels[-1]} image",
            hint="convert it to PNG first, or download it again if it should be one of these",
        )
    if not formats.is_readable(file_format):
        raise ImageError(
            f"{path} is a {file_format.label} image, which needs a package that is not installed",
            hint=formats.install_hint(file_format),
        )
    return file_format


def check_pixels(path: Path, pixels: int, max_pixels: int, images: int = 1) -> None:
    """Refuse a file that announces too many pixels, or images of few pixels each.

    Args:
        path: The file.
        pixels: Of all its images together.
        max_pixels: The most that are read; 0 for any number.
        images: How many there are.

    Raises:
        ImageError: There are more.
    """
    if images > _FEW_IMAGES and pixels <= max_pixels < images * _LEAST_PIXELS:
        raise ImageError(
            f"{path} has {images} frames or pages, each of which counts as {_LEAST_PIXELS} pixels "
            f"at least: more than the limit of {max_pixels}",
            hint=f"raise it with --max-pixels {images * _LEAST_PIXELS} if the file can be trusted",
        )
    if 0 < max_pixels < pixels:
        raise ImageError(
            f"{path} has {pixels} pixels, more than the limit of {max_pixels}",
            hint=f"raise it with --max-pixels {pixels} if the file can be trusted",
        )


def damaged(path: Path, reason: object) -> ImageError:
    """Return the error for a file that cannot be decoded, to be raised.

    What a decoder says that it lacks is no damage.
    """
    # Of a decoder, whose further lines are for those who build it.
    first_line = str(reason).strip().partition("\n")[0].strip(" :")
    if _LACKING.search(first_line):
        return ImageError(f"{path} cannot be decoded here: {first_line}", _CONVERT)
    return ImageError(
        f"{path} is damaged or cut short" + (first_line and f": {first_line}"),
        hint="copy or download it again; --accept-damaged restores what is left of JPEG, PNG, TIFF",
    )


def unsupported(path: Path, kind: str, hint: str = "convert it to 16-bit PNG first") -> ImageError:
    """Return the error for a file whose pixels cannot be restored, to be raised."""
    return ImageError(f"{path} has {kind}, which cannot be restored", hint=hint)
