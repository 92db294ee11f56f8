"""PNG files of any depth, written from top to bottom: Pillow has no 16-bit colour and no bands."""

from __future__ import annotations

import contextlib
import itertools
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO

from mambair_cli.imaging.image import ImageHeader, Pixels, Timing
from mambair_cli.imaging.metadata.preparation import Prepared
from mambair_cli.imaging.writing.png_pixels import beginning, chunk, compressed

_METRES_PER_INCH = 0.0254


def write_png(
    file: IO[bytes],
    header: ImageHeader,
    bands: Iterable[Pixels],
    chunks: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Write a PNG of 1 to 4 samples with 8 or 16 bits; memory is that of a band and a few rows.

    Args:
        file: Open for writing.
        header: Size, type (uint8 or uint16), channels and whether there is alpha.
        bands: `(rows w s)` from top to bottom, alpha as the last sample; `h` rows together.
        chunks: Name and content of what stands before the pixels.
    """
    file.write(beginning(header))
    file.writelines(itertools.starmap(chunk, chunks))
    with contextlib.closing(compressed(header, bands)) as contents:
        file.writelines(chunk(b"IDAT", content) for content in contents)
    file.write(chunk(b"IEND", b""))


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
    file.write(beginning(header) + chunk(b"acTL", control))
    file.writelines(itertools.starmap(chunk, chunks))
    numbers = itertools.count()
    for index, (frame, duration) in enumerate(zip(frames, timing.durations, strict=True)):
        place = struct.pack(">IIIII", next(numbers), header.width, header.height, 0, 0)
        # Every frame is complete: none is disposed of or blended with the one before.
        file.write(chunk(b"fcTL", place + struct.pack(">HHBB", *_fraction(duration), 0, 0)))
        with contextlib.closing(compressed(header, [frame])) as contents:
            for content in contents:
                if index == 0:
                    file.write(chunk(b"IDAT", content))
                else:
                    file.write(chunk(b"fdAT", struct.pack(">I", next(numbers)) + content))
    file.write(chunk(b"IEND", b""))


def metadata_chunks(metadata: Prepared) -> Iterator[tuple[bytes, bytes]]:
    """Chunks that say how the values are encoded, then what else is known of the image."""
    yield from metadata.color.chunks.items()
    if metadata.color.profile:
        yield b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.color.profile)
    if metadata.dpi:
        x, y = (round(value / _METRES_PER_INCH) for value in metadata.dpi)
        yield b"pHYs", struct.pack(">IIB", x, y, 1)
    if metadata.exif:
        yield b"eXIf", metadata.exif.removeprefix(b"Exif\0\0")
    if metadata.xmp:
        yield b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp
    yield from _text_chunks(metadata.text)


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
