"""Reading JPEG XL files.

The plugin decodes a file as soon as it opens it, to 8 bits in colour, and only the first frame. So
the header of the codestream (ISO/IEC 18181-1, annexes A and D) is read first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from mambair_cli.imaging.image import ImageSequence
from mambair_cli.imaging.metadata.jxl_boxes import boxes
from mambair_cli.imaging.reading.opening import Contents, check_pixels, damaged, unsupported
from mambair_cli.imaging.reading.pillow import open_frames

_CODESTREAM = b"\xff\x0a"
_HEADER_BYTES = 64  # more than its fields can take
_PART_NUMBER = 4  # bytes before each part of a codestream in parts
# A value is one of four: so many bits more, added to a base.
_SIDE = ((9, 1), (13, 1), (18, 1), (30, 1))
_PREVIEW_EIGHTHS = ((0, 16), (0, 32), (5, 1), (9, 33))
_PREVIEW_SIDE = ((6, 1), (8, 65), (10, 321), (12, 1345))
_INTEGER_BITS = ((0, 8), (0, 10), (0, 12), (6, 1))
_FLOAT_BITS = ((0, 32), (0, 16), (0, 24), (6, 1))
_EXTRA_CHANNELS = ((0, 0), (0, 1), (4, 2), (12, 1))
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


@dataclass(frozen=True)
class JxlHeader:
    """What the codestream begins with.

    Attributes:
        width: Pixels as stored.
        height: Pixels as stored.
        bits: Of a sample.
        floats: Whether samples are floating point.
        animated: Whether there are several frames.
        lossless: Whether the values are coded as they are, and not those of a JPEG file.
    """

    width: int
    height: int
    bits: int = 8
    floats: bool = False
    animated: bool = False
    lossless: bool = False


def open_jxl(path: Path, file: IO[bytes], max_pixels: int) -> Contents:
    """Read a JPEG XL file.

    Raises:
        ImageError: It is damaged, announces too many pixels, or is animated.
    """
    try:
        header = read_jxl_header(file)
    except ValueError as error:
        raise damaged(path, error) from error
    check_pixels(path, header.width * header.height, max_pixels)
    if header.animated:
        raise unsupported(path, "several frames in JPEG XL", "save it as animated WebP first")
    file.seek(0)
    contents = open_frames(path, file, max_pixels, lossless=header.lossless)
    kept = header.bits <= 8 * contents.header.dtype.itemsize
    if kept:
        return contents
    kind = "-bit floating point" if header.floats else " bits"
    phrase = f"{header.bits}{kind} reduced to {8 * contents.header.dtype.itemsize} bits"

    def read() -> ImageSequence:
        sequence = contents.read()
        return replace(
            sequence,
            images=tuple(
                replace(image, changes=(*image.changes, phrase)) for image in sequence.images
            ),
        )

    return replace(contents, read=read)


def read_jxl_header(file: IO[bytes]) -> JxlHeader:
    """Read the header of a codestream, bare or in its container.

    Raises:
        ValueError: It is damaged.
    """
    content, is_jpeg = _codestream(file)
    bits = _Bits(content)
    width, height = _size(bits)
    if bits.flag():  # everything as usual
        return JxlHeader(width, height)
    animated = False
    if bits.flag():
        bits.number(3)  # orientation
        if bits.flag():
            _size(bits)  # on a screen
        if bits.flag():
            _preview(bits)
        animated = bits.flag()
    if animated:
        return JxlHeader(width, height, animated=True)
    floats = bits.flag()
    depth = bits.choice(_FLOAT_BITS if floats else _INTEGER_BITS)
    if floats:
        bits.number(4)  # of its exponent
    bits.flag()  # whether 16 bits suffice between decoding steps
    lossless = not is_jpeg and _are_alpha(bits) and not bits.flag()
    return JxlHeader(width, height, depth, floats, lossless=lossless)


def _codestream(file: IO[bytes]) -> tuple[bytes, bool]:
    """Return the first bytes of the codestream, and whether it was made of a JPEG file."""
    content, is_jpeg = file.read(len(_CODESTREAM) + _HEADER_BYTES), False
    if not content.startswith(_CODESTREAM):
        content = b""
        for kind, length in boxes(file):
            is_jpeg |= kind == b"jbrd"
            if kind in (b"jxlc", b"jxlp") and len(content) < _HEADER_BYTES:
                part = file.read(min(length, _PART_NUMBER + _HEADER_BYTES))
                content += part[_PART_NUMBER if kind == b"jxlp" else 0 :]
    if not content.startswith(_CODESTREAM):
        raise ValueError("it holds no codestream")
    return content[len(_CODESTREAM) :], is_jpeg


def _are_alpha(bits: _Bits) -> bool:
    """Read over the extra channels; whether all are opacity as usual, else not all is read."""
    return all(bits.flag() for _ in range(bits.choice(_EXTRA_CHANNELS)))


def _size(bits: _Bits) -> tuple[int, int]:
    eighths = bits.flag()
    height = (bits.number(5) + 1) * 8 if eighths else bits.choice(_SIDE)
    ratio = _RATIOS.get(bits.number(3))
    if ratio:
        return height * ratio[0] // ratio[1], height
    return (bits.number(5) + 1) * 8 if eighths else bits.choice(_SIDE), height


def _preview(bits: _Bits) -> None:
    choices = _PREVIEW_EIGHTHS if bits.flag() else _PREVIEW_SIDE
    bits.choice(choices)
    if bits.number(3) == 0:
        bits.choice(choices)


class _Bits:
    """Numbers of any number of bits, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._left = 8 * len(data)
        self._value = int.from_bytes(data, "little")

    def number(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("it ends in its header")
        number = self._value & (1 << count) - 1
        self._value >>= count
        return number

    def flag(self) -> bool:
        return self.number(1) == 1

    def choice(self, choices: Sequence[tuple[int, int]]) -> int:
        count, base = choices[self.number(2)]
        return self.number(count) + base
