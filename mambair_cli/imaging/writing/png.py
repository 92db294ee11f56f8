"""PNG files of any depth, written from top to bottom: Pillow has no 16-bit colour and no bands."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.image import ImageHeader, Pixels, Timing
from mambair_cli.imaging.metadata.preparation import Prepared
from mambair_cli.imaging.writing.deflate import deflated

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of samples of a pixel
_METRES_PER_INCH = 0.0254

_FILTERS = 5
_BLOCK_BYTES = 2**18  # filtered at once: the candidates of all filters then fit in a cache
_PARALLEL_BYTES = 2**20
_CHUNK_BYTES = 2**16


def write_png(
    file: IO[bytes],
    header: ImageHeader,
    bands: Iterable[Pixels],
    chunks: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Write a PNG of 1 to 4 samples with 8 or 16 bits; memory is that of a band and a few rows.

    Every row takes the filter whose residuals have the smallest sum of absolute values.

    Args:
        file: Open for writing.
        header: Size, type (uint8 or uint16), channels and whether there is alpha.
        bands: `(rows w s)` from top to bottom, alpha as the last sample; `h` rows together.
        chunks: Name and content of what stands before the pixels.
    """
    _write_start(file, header, chunks)
    for content in _data(header, bands):
        _write_chunk(file, b"IDAT", content)
    _write_chunk(file, b"IEND", b"")


def write_animated_png(
    file: IO[bytes],
    header: ImageHeader,
    frames: Sequence[Pixels],
    timing: Timing,
    chunks: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Write an animation as PNG; viewers that know no animations show its first frame.

    Args:
        file: Open for writing.
        header: Of every frame.
        frames: `(h w s)` each, alpha as the last sample.
        timing: Durations, one for each frame, and how often it runs.
        chunks: Name and content of what stands before the pixels.
    """
    control = struct.pack(">II", len(frames), timing.loops)
    _write_start(file, header, [(b"acTL", control), *chunks])
    numbers = itertools.count()
    for index, (frame, duration) in enumerate(zip(frames, timing.durations, strict=True)):
        place = struct.pack(">IIIII", next(numbers), header.width, header.height, 0, 0)
        # Every frame is complete: none is disposed of or blended with the one before.
        _write_chunk(file, b"fcTL", place + struct.pack(">HHBB", *_fraction(duration), 0, 0))
        for content in _data(header, [frame]):
            if index == 0:
                _write_chunk(file, b"IDAT", content)
            else:
                _write_chunk(file, b"fdAT", struct.pack(">I", next(numbers)) + content)
    _write_chunk(file, b"IEND", b"")


def metadata_chunks(metadata: Prepared) -> Iterator[tuple[bytes, bytes]]:
    """Chunks that say how the values are encoded, then what else is known of the image."""
    yield from metadata.color_chunks.items()
    if metadata.icc_profile:
        yield b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc_profile)
    if metadata.dpi:
        x, y = (round(value / _METRES_PER_INCH) for value in metadata.dpi)
        yield b"pHYs", struct.pack(">IIB", x, y, 1)
    if metadata.exif:
        yield b"eXIf", metadata.exif.removeprefix(b"Exif\0\0")
    if metadata.xmp:
        yield b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp
    yield from _text_chunks(metadata.text)


def _write_start(
    file: IO[bytes], header: ImageHeader, chunks: Iterable[tuple[bytes, bytes]]
) -> None:
    depth, color_type = header.dtype.itemsize * 8, _COLOR_TYPES[_samples(header)]
    file.write(_SIGNATURE)
    sizes = struct.pack(">II", header.width, header.height)
    _write_chunk(file, b"IHDR", sizes + bytes([depth, color_type, 0, 0, 0]))
    for name, content in chunks:
        _write_chunk(file, name, content)


def _data(header: ImageHeader, bands: Iterable[Pixels]) -> Iterator[bytes]:
    """Filtered and compressed pixels, in pieces for a chunk each."""
    distance = _samples(header) * header.dtype.itemsize
    rows = _byte_rows(bands, header.width * distance)
    return _pieces(deflated(_pieces(_filtered(rows, distance), _PARALLEL_BYTES)), _CHUNK_BYTES)


def _samples(header: ImageHeader) -> int:
    return header.channels + header.has_alpha


def _fraction(milliseconds: int) -> tuple[int, int]:
    """Numerator and denominator, in 16 bits each, of a duration in seconds."""
    return (milliseconds, 1000) if milliseconds < 2**16 else (round(milliseconds / 1000), 1)


def _text_chunks(text: Mapping[str, str]) -> Iterator[tuple[bytes, bytes]]:
    for keyword, value in text.items():
        start = keyword.encode("latin-1", "replace") + b"\0"
        try:
            yield b"tEXt", start + value.encode("latin-1")
        except UnicodeEncodeError:
            yield b"iTXt", start + b"\0\0\0\0" + value.encode("utf-8", "replace")


def _write_chunk(file: IO[bytes], name: bytes, content: bytes) -> None:
    if len(content) >= 2**31:
        raise ValueError(f"a chunk of PNG holds at most 2 GiB, {name.decode()} has {len(content)}")
    checksum = zlib.crc32(content, zlib.crc32(name))
    file.write(struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum))


def _byte_rows(bands: Iterable[Pixels], stride: int) -> Iterator[NDArray[np.uint8]]:
    """Cut bands to blocks `(rows bytes)` of big-endian samples."""
    count = max(1, _BLOCK_BYTES // stride)
    for band in bands:
        for start in range(0, len(band), count):
            block = band[start : start + count]
            big_endian = block.astype(block.dtype.newbyteorder(">"), copy=False)
            yield np.frombuffer(big_endian.tobytes(), np.uint8).reshape(-1, stride)


def _filtered(blocks: Iterable[NDArray[np.uint8]], distance: int) -> Iterator[bytes]:
    """Yield rows that begin with the number of their filter; `distance` bytes lie between pixels.

    PNG specification, section 9. Everything stays in bytes, where differences wrap as they should.
    """
    padded = np.zeros((1, 0), np.uint8)
    for block in blocks:
        count, stride = block.shape
        above = padded[-1, distance:] if padded.size else 0
        # A row above and a pixel to the left, so that neighbours are views.
        padded = np.zeros((count + 1, distance + stride), np.uint8)
        padded[0, distance:] = above
        padded[1:, distance:] = block
        residuals = _residuals(padded, distance)
        sizes = np.minimum(residuals, -residuals).sum(axis=2, dtype=np.uint64)
        best = sizes.argmin(axis=0)
        lines = np.empty((count, 1 + stride), np.uint8)
        lines[:, 0] = best
        lines[:, 1:] = residuals[best, np.arange(count)]
        yield lines.tobytes()


def _residuals(padded: NDArray[np.uint8], distance: int) -> NDArray[np.uint8]:
    """Return what each filter leaves of each row: `(filter rows bytes)`."""
    raw, left = padded[1:, distance:], padded[1:, :-distance]
    up, corner = padded[:-1, distance:], padded[:-1, :-distance]
    residuals = np.empty((_FILTERS, *raw.shape), np.uint8)
    none, sub, above, average, paeth = residuals
    none[:] = raw
    np.subtract(raw, left, out=sub)
    np.subtract(raw, up, out=above)
    np.subtract(raw, (left & up) + ((left ^ up) >> 1), out=average)
    np.subtract(raw, _paeth(left, up, corner), out=paeth)
    return residuals


def _paeth(
    left: NDArray[np.uint8], up: NDArray[np.uint8], corner: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Of the three neighbours, take the one nearest to left + up - corner."""
    # The distances of left and up to the estimate. That of the corner is their difference where it
    # lies between them; elsewhere it is their sum, so that the corner is never the nearest.
    to_left = np.maximum(up, corner) - np.minimum(up, corner)
    to_up = np.maximum(left, corner) - np.minimum(left, corner)
    smaller = np.minimum(to_left, to_up)
    between = (up >= corner) != (left >= corner)
    to_corner = np.maximum(to_left, to_up) - smaller * between
    nearest = np.where(to_left <= to_up, left, up)
    np.copyto(nearest, corner, where=to_corner < smaller)
    return nearest


def _pieces(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Cut a stream anew, into equal pieces: the file then does not depend on the bands."""
    waiting = bytearray()
    for part in parts:
        waiting += part
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
    if waiting:
        yield bytes(waiting)
