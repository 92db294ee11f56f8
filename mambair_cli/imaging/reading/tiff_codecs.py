"""TIFF pages that libvips does not decode, by tifffile, some with the codecs of imagecodecs."""

from __future__ import annotations

import importlib.util
import io
import logging
import lzma
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from mambair_cli.errors import ImageError
from mambair_cli.imaging.image import Pixels
from mambair_cli.imaging.reading.depth import widened
from mambair_cli.imaging.reading.jxl import read_jxl_header
from mambair_cli.imaging.reading.opening import DAMAGE, damaged, unsupported
from mambair_cli.imaging.reading.tiff_pages import (
    LAB,
    PALETTE,
    WHITE_IS_ZERO,
    YCBCR,
    TiffPage,
)

if TYPE_CHECKING:
    import tifffile

# TIFF's numbers.
_NONE, _LZW, _JPEG, _PACKBITS = 1, 5, 7, 32773
_DEFLATE = (8, 32946)  # by its number, and by its old one
_LZMA, _JPEG_XL = 34925, (50002, 52546)
_JPEG_2000 = (33003, 33004, 33005, 34712)
_ZSTD = (34926, 50000)
_PNG, _LERC = 34933, 34887
_BY_LIBVIPS = frozenset({_NONE, 2, 3, 4, _LZW, 6, _JPEG, *_DEFLATE, _PACKBITS, 32771, 32809, 50001})
_NAMES: Mapping[int, str] = {
    _LZMA: "LZMA",
    **dict.fromkeys(_ZSTD, "Zstandard"),
    **dict.fromkeys(_JPEG_2000, "JPEG 2000"),
    **dict.fromkeys((22610, 34934), "JPEG XR"),
    **dict.fromkeys(_JPEG_XL, "JPEG XL"),
    _PNG: "PNG",
    _LERC: "LERC",
    _LZW: "LZW",
    _JPEG: "JPEG",
    _PACKBITS: "PackBits",
}
# What tifffile decodes by itself.
_PLAIN = (_NONE, *_DEFLATE, _LZMA)
_BY_IMAGECODECS = (*_NAMES, *_PLAIN)
_WHOLE_BITS = (8, 16, 32, 64)
_FLOATING_PREDICTOR = 3
_HINT = "pip install 'mambair[codecs]', which reads it"
_PLAINER = "save it without compression first"
_PADDING = 2**16

# What matters of it arrives as an error; without a handler Python would print the rest.
logging.getLogger("tifffile").addHandler(logging.NullHandler())
logging.getLogger("tifffile").propagate = False


def is_left_to_tifffile(page: TiffPage) -> bool:
    """Whether libvips has no decoder for how the samples are compressed or packed."""
    packed = page.bits not in (1, 2, 4, *_WHOLE_BITS)
    return page.bits == 64 or packed or page.compression not in _BY_LIBVIPS


def read_by_tifffile(path: Path, file: IO[bytes], page: TiffPage) -> Pixels:
    """Decode a page as `(h w s)`, palettes as RGB, few and odd bits in the whole range.

    Raises:
        ImageError: It is damaged, or nothing here decodes it.
    """
    import tifffile

    if (refusal := _refusal(path, page)) is not None:
        raise refusal
    try:
        file.seek(0)
        with tifffile.TiffFile(file) as tiff:
            series = tiff.pages[page.index].aspage()
            _check_unpacked(file, series)
            pixels = np.asarray(series.asarray())
            palette = series.colormap
        if page.planar:
            pixels = np.moveaxis(pixels, 0, -1)
        pixels = pixels.reshape(page.height, page.width, page.samples)
    except RuntimeError as error:  # of imagecodecs, which calls much unsupported that is damaged
        raise damaged(path, f"its {_name(page)} data cannot be decoded") from error
    except DAMAGE as error:
        raise damaged(path, error) from error
    stored = np.dtype(f"f{page.bits // 8}" if page.floats else f"u{1 if page.bits <= 8 else 2}")
    if pixels.dtype == bool:
        pixels = pixels.view(np.uint8)
    if pixels.dtype.newbyteorder("=") != stored:
        raise damaged(path, "its tags contradict each other")
    if page.floats:
        return pixels.astype(np.float32)
    pixels = pixels.astype(stored, copy=False)
    if page.photometric == PALETTE:
        return _coloured(path, pixels, palette)
    if page.bits not in _WHOLE_BITS:
        pixels = widened(np.minimum(pixels, 2**page.bits - 1), page.bits)
    if page.photometric == WHITE_IS_ZERO:
        pixels[..., 0] = np.iinfo(stored).max - pixels[..., 0]
    return pixels


def _refusal(path: Path, page: TiffPage) -> ImageError | None:
    """Say why nothing here decodes a page; None if something does."""
    code = page.compression
    name = f"{_name(page)} in TIFF"
    if code not in _BY_IMAGECODECS:
        kind = name if code not in _BY_LIBVIPS else f"{page.bits} bits a sample and {name}"
        return unsupported(path, kind, _PLAINER)
    if page.photometric in (YCBCR, LAB):
        colours = "Lab" if page.photometric == LAB else "luma and chroma"
        return unsupported(path, f"{colours} with {name}", _PLAINER)
    if page.photometric == PALETTE and page.samples > 1:
        return unsupported(path, f"a palette and further samples with {name}", _PLAINER)
    needed = {
        f"{page.bits} bits a sample": page.bits not in (1, *_WHOLE_BITS),
        "a predictor of floating point": page.predictor == _FLOATING_PREDICTOR,
        name: code not in _PLAIN,
    }
    kinds = [kind for kind, is_needed in needed.items() if is_needed]
    if not kinds or _has_imagecodecs():
        return None
    return unsupported(path, kinds[0], _HINT)


def _name(page: TiffPage) -> str:
    return _NAMES.get(page.compression, f"compression {page.compression}")


def _has_imagecodecs() -> bool:
    return importlib.util.find_spec("imagecodecs") is not None


def _coloured(path: Path, indices: Pixels, palette: Pixels | None) -> Pixels:
    if palette is None or len(palette) != 3 or palette.shape[1] <= indices[..., 0].max():
        raise damaged(path, "its palette has not all of its colours")
    # Some programs write 8 bits where the format has 16.
    colours = palette if palette.max() < 256 else palette >> 8
    return np.asarray(colours.T.astype(np.uint8)[indices[..., 0]])


def _check_unpacked(file: IO[bytes], page: tifffile.TiffPage) -> None:
    """Refuse strips or tiles that unpack to far more than their pixels, before all of it is held.

    Raises:
        ValueError: One does.
    """
    check = _CHECKS.get(int(page.compression))
    if check is None:
        return
    pixels = math.prod(page.chunks)
    most = 2 * pixels * max(1, page.bitspersample // 8) + _PADDING
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=False):
        file.seek(start)
        if check(file.read(length), most):
            raise ValueError("its data unpacks to far more than its pixels")


def _deflate_exceeds(data: bytes, most: int) -> bool:
    stream = zlib.decompressobj()
    return len(stream.decompress(data, most)) == most and not stream.eof


def _lzma_exceeds(data: bytes, most: int) -> bool:
    stream = lzma.LZMADecompressor()
    try:
        return len(stream.decompress(data, most)) == most and not stream.eof
    except lzma.LZMAError as error:
        raise ValueError("its LZMA data is no such data, or cut short") from error


def _zstd_exceeds(data: bytes, most: int) -> bool:
    import imagecodecs

    try:
        imagecodecs.zstd_decode(data, out=most)
    except RuntimeError as error:
        return "too small" in str(error)
    return False


def _jpeg_2000_exceeds(data: bytes, most: int) -> bool:
    found = data.find(b"\xff\x4f\xff\x51")  # where its codestream begins, with its sizes
    x1, y1, x0, y0 = struct.unpack_from(">4I", data, found + 8) if found >= 0 else (0,) * 4
    return bool((x1 - x0) * (y1 - y0) > most)


def _jpeg_xl_exceeds(data: bytes, most: int) -> bool:
    header = read_jxl_header(io.BytesIO(data))
    return header.width * header.height > most


def _png_exceeds(data: bytes, most: int) -> bool:
    width, height = struct.unpack_from(">II", data, 16)
    return bool(width * height > most)


def _lerc_exceeds(data: bytes, most: int) -> bool:
    rows, columns = struct.unpack_from("<II", data, 14)  # behind "Lerc2 ", version and checksum
    return bool(rows * columns > most)


_CHECKS: Mapping[int, Callable[[bytes, int], bool]] = {
    **dict.fromkeys(_DEFLATE, _deflate_exceeds),
    _LZMA: _lzma_exceeds,
    **dict.fromkeys(_ZSTD, _zstd_exceeds),
    **dict.fromkeys(_JPEG_2000, _jpeg_2000_exceeds),
    **dict.fromkeys(_JPEG_XL, _jpeg_xl_exceeds),
    _PNG: _png_exceeds,
    _LERC: _lerc_exceeds,
}
