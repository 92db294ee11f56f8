"""Reading image files to upright pixels, and writing them whole or not at all."""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from mambair_cli.errors import ImageError
from mambair_cli.imaging import formats
from mambair_cli.imaging.image import (
    Band,
    BandReader,
    ImageHeader,
    ImageSequence,
    Pixels,
    RestorableImage,
)
from mambair_cli.imaging.metadata import read_metadata
from mambair_cli.imaging.writing import write_bands, write_image, write_images

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "SUPPORTED_SUFFIXES",
    "can_band",
    "count_pixels",
    "open_bands",
    "read_header",
    "read_image",
    "read_images",
    "write_bands",
    "write_image",
    "write_images",
]


@dataclass(frozen=True)
class _Format:
    """What a file format can hold; `name` is Pillow's."""

    name: str
    label: str
    alpha: bool
    max_side: int


_PNG = _Format("PNG", "PNG", alpha=True, max_side=2**31 - 1)
_JPEG = _Format("JPEG", "JPEG", alpha=False, max_side=65500)  # libjpeg's JPEG_MAX_DIMENSION
_WEBP = _Format("WEBP", "WebP", alpha=True, max_side=16383)
_TIFF = _Format("TIFF", "TIFF", alpha=True, max_side=2**31 - 1)
_BMP = _Format("BMP", "BMP", alpha=False, max_side=2**31 - 1)

_FORMATS = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".jfif": _JPEG,
    ".webp": _WEBP,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".bmp": _BMP,
}
SUPPORTED_SUFFIXES = frozenset(_FORMATS)

_READABLE = tuple(dict.fromkeys(file_format.name for file_format in _FORMATS.values()))
_GRAY_MODES = ("1", "L", "LA", "La")
_MODES = (*_GRAY_MODES, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX")
_MODE_NAMES = {
    "I;16": "16-bit gray",
    "I;16B": "16-bit gray",
    "I;16L": "16-bit gray",
    "I": "32-bit integer",
    "F": "floating-point",
}

_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"II*\x00", b"MM\x00*", b"BM")

# What Pillow's decoders raise on damaged data.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
)


DEFAULT_MAX_PIXELS = 178_956_970  # where Pillow, too, takes a file for an attack


def read_header(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> ImageHeader:
    """Read what a file's header announces of its upright pixels, decoding as little as it takes.

    Args:
        path: The file.
        max_pixels: The most pixels, of all frames together, that are read; 0 for any number.

    Raises:
        ImageError: As `read_images` raises, for all that can be known without the pixels.
    """
    image = read_image(path, max_pixels=max_pixels)
    height, width, channels = image.pixels.shape
    return ImageHeader(width, height, channels, image.pixels.dtype, image.alpha is not None)


def read_images(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> ImageSequence:
    """Read all images of a file, whatever its name: one, the pages, or the composed frames.

    The EXIF orientation is applied. Gray stays gray; palettes become RGB, 1-bit becomes gray;
    transparency of any kind becomes an alpha channel. Images keep the depth of their file.

    Args:
        path: The file.
        max_pixels: The most pixels, of all frames together, that are read; 0 for any number.

    Raises:
        ImageError: The file is missing, unreadable, damaged, not an image, too large, needs a
            plugin that is not installed, or holds pixels that stand for no brightness.
    """
    return ImageSequence((read_image(path, max_pixels=max_pixels),))


def open_bands(
    path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> AbstractContextManager[BandReader]:
    """Open a file to read its only image from top to bottom, never the whole of it in memory.

    The pixels are those that `read_image` gives.

    Args:
        path: A file of a format that `can_band`.
        max_pixels: The most pixels that are read; 0 for any number.

    Raises:
        ImageError: As `read_image` raises.
    """
    return contextlib.nullcontext(_WholeImage(read_image(path, max_pixels=max_pixels)))


def can_band(path: Path) -> bool:
    """Whether the format that the path's suffix names is read and written band by band."""
    file_format = formats.format_of(path)
    return file_format is not None and file_format.bands


class _WholeImage:
    """Bands of an image in memory."""

    def __init__(self, image: RestorableImage) -> None:
        self._image = image
        self.metadata, self.span, self.changes = image.metadata, image.span, image.changes

    @property
    def header(self) -> ImageHeader:
        height, width, channels = self._image.pixels.shape
        has_alpha = self._image.alpha is not None
        return ImageHeader(width, height, channels, self._image.pixels.dtype, has_alpha)

    def read(self, start: int, stop: int) -> Band:
        alpha = self._image.alpha
        return Band(self._image.pixels[start:stop], None if alpha is None else alpha[start:stop])


def read_image(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> RestorableImage:
    """Read a PNG, JPEG, WebP, TIFF or BMP file, whatever its name, to upright 8-bit pixels.

    The EXIF orientation is applied. Gray stays gray; palettes become RGB, 1-bit becomes gray;
    transparency of any kind becomes an alpha channel.

    Args:
        path: The file.

    Raises:
        ImageError: The file is missing, unreadable, damaged, not an image, animated, larger than
            Pillow's limit, or holds pixels other than 8-bit gray, RGB or palette.
    """
    with _open(path) as file, warnings.catch_warnings():
        # Pillow warns of odd metadata and of 90 million pixels; neither concerns the user here.
        warnings.simplefilter("ignore")
        with _decode(path, file) as image:
            metadata = read_metadata(image, file)
            pixels, alpha = _split(_upright(image))
    return RestorableImage(pixels, alpha, metadata)


def count_pixels(path: Path) -> int:
    """Pixels that a file's header announces; 0 where `read_image` would refuse the header."""
    try:
        with _open(path) as file, Image.open(file, formats=_READABLE) as image:
            return image.width * image.height
    except (*_DAMAGE, ImageError, Image.DecompressionBombError):
        return 0


def _open(path: Path) -> IO[bytes]:
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a directory, not an image")
        # Opening a pipe or a device could wait for ever.
        if path.exists() and not path.is_file():
            raise ImageError(f"{path} is not a regular file")
        if path.stat().st_size == 0:
            raise ImageError(f"{path} is empty (0 bytes)", hint="copy or download it again")
        return path.open("rb")
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist", hint="check the spelling") from error
    except OSError as error:
        raise ImageError(
            f"cannot read {path}: {error.strerror}", hint="check the file's permissions"
        ) from error


def _decode(path: Path, file: IO[bytes]) -> Image.Image:
    try:
        image = Image.open(file, formats=_READABLE)
        _refuse_unsupported(path, image)
        _scale_transparent_level(image)
        image.load()
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path} has more than {_pixel_limit()} pixels, or is made to look so",
            hint="cut it into parts first; a small file of this size is probably an attack",
        ) from error
    except UnidentifiedImageError as error:
        file.seek(0)
        if file.read(8).startswith(_SIGNATURES):
            raise _damaged(path, "its header cannot be read") from error
        raise ImageError(
            f"{path} is not a PNG, JPEG, WebP, TIFF or BMP image",
            hint="convert it to PNG first, or download it again if it should be one of these",
        ) from error
    except _DAMAGE as error:
        raise _damaged(path, str(error)) from error
    return image


def _damaged(path: Path, reason: str) -> ImageError:
    return ImageError(
        f"{path} is damaged or cut short: {reason}",
        hint="copy or download it again; a viewer shows what is left of it",
    )


def _refuse_unsupported(path: Path, image: ImageFile.ImageFile) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and not _only_previews(image):
        raise ImageError(
            f"{path} has {frames} frames or pages; only single images are supported",
            hint="split it into one file per frame or page",
        )
    kind = _MODE_NAMES.get(image.mode, image.mode)
    if _is_deep(image):
        kind = f"16-bit {image.mode}"
    elif image.mode in _MODES:
        return
    raise ImageError(
        f"{path} has {kind} pixels; only 8-bit gray, RGB and palette images are supported",
        hint="convert it to 8-bit RGB first",
    )


def _is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow would silently cut 16 bits to 8, as it does for all but gray images."""
    if image.format not in ("PNG", "TIFF") or not image.mode.startswith(("LA", "RGB")):
        return False
    # A decoder's argument is the raw mode, such as "RGB;16B", or a tuple that starts with it.
    return any(";16" in str(tile[3]) for tile in image.tile)


def _only_previews(image: ImageFile.ImageFile) -> bool:
    """Whether a JPEG's further pictures are smaller previews or gain maps, as phones add them."""
    pictures = getattr(image, "mpinfo", {}).get(0xB002, [])
    if any(picture["Attribute"]["MPType"].startswith("Multi-Frame") for picture in pictures):
        return False
    full_size = image.size
    sizes = []
    for index in range(1, len(pictures)):
        image.seek(index)
        sizes.append(image.size)
    image.seek(0)
    return bool(sizes) and full_size not in sizes


def _scale_transparent_level(image: ImageFile.ImageFile) -> None:
    """Scale to 8 bits what Pillow leaves in 2 or 4 bits when it scales the gray pixels."""
    level = image.info.get("transparency")
    if image.format == "PNG" and image.mode == "L" and isinstance(level, int):
        image.info["transparency"] = level * {"L;2": 85, "L;4": 17}.get(str(image.tile[0][3]), 1)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except (SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return image  # EXIF that cannot be parsed says nothing about the orientation


def _split(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    gray = image.mode in _GRAY_MODES
    if image.has_transparency_data:
        values = np.asarray(image.convert("LA" if gray else "RGBA"))
        return values[..., :-1].copy(), values[..., -1].copy()
    values = np.array(image.convert("L" if gray else "RGB"))
    return values.reshape(*values.shape[:2], -1), None


def _pixel_limit() -> int:
    # Pillow warns at its limit and refuses at twice that.
    return 2 * (Image.MAX_IMAGE_PIXELS or 0)
