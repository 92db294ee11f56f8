"""What a PNG file holds beside its pixels, before and behind them."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

from mambair_cli.imaging.color.png_chunks import NAMES as COLOR_CHUNKS
from mambair_cli.imaging.metadata.iptc import (
    IPTC_RESOURCE,
    PHOTOSHOP_SIGNATURE,
    read_photoshop_resources,
)
from mambair_cli.imaging.metadata.tag_reader import PREFIX
from mambair_cli.imaging.metadata.xmp import XMP_SIGNATURE

XMP_KEYWORD = "XML:com.adobe.xmp"
IPTC_KEYWORD = "Raw profile type iptc"

_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT")
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_END = bytes(4) + b"IEND\xaeB`\x82"
_SIGNATURE_BYTES, _CONTROL_BYTES = 8, 8
_LARGEST = 64 * 2**20
_AROUND = 12  # bytes of a chunk beside its content
_LONGEST_KEYWORD = 79
_INCH = 0.0254  # metres


@dataclass
class PngChunks:
    """What was found.

    Attributes:
        icc_profile: Colour profile.
        exif: EXIF block with its prefix.
        xmp: XMP packet.
        iptc: IPTC records.
        dpi: Horizontal and vertical pixels per inch.
        text: Keywords and values.
        lines: Of each keyword the values, one for each chunk.
        color: Chunks that say how values are encoded, by name.
        others: Names of the chunks that are not taken.
        damaged: Names of chunks that cannot be read.
        large: Names of chunks that are left out for their size.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: dict[str, str] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    color: dict[bytes, bytes] = field(default_factory=dict)
    others: dict[str, None] = field(default_factory=dict)
    damaged: dict[str, None] = field(default_factory=dict)
    large: dict[str, None] = field(default_factory=dict)


def read_png_chunks(file: IO[bytes]) -> PngChunks:
    """Collect the chunks of a PNG file without reading its pixels.

    Args:
        file: Open for reading; it is left at the position it had.
    """
    position = file.tell()
    found = PngChunks()
    inflater = _Inflater()
    for name, data, sound in _chunks(file):
        label = name.decode("latin-1")
        if len(data) > _LARGEST:
            found.large[label] = None
        elif not sound:
            found.damaged[label] = None
        elif name in COLOR_CHUNKS:
            found.color.setdefault(name, data)
        elif name not in _READERS:
            found.others[label] = None
        else:
            try:
                _READERS[name](found, data, inflater)
            except _TooLargeError:
                found.large[label] = None
            except (ValueError, struct.error, zlib.error):
                found.damaged[label] = None
    found.text = {keyword: "\n".join(lines) for keyword, lines in found.lines.items()}
    _take_raw_profiles(found)
    file.seek(position)
    return found


def raw_profile(name: str, data: bytes) -> str:
    """Bytes as ImageMagick and ExifTool write them into a PNG file's text."""
    digits = data.hex()
    lines = (digits[i : i + 72] for i in range(0, len(digits), 72))
    return f"\n{name}\n{len(data):8}\n" + "\n".join(lines) + "\n"


def frames_announced(file: IO[bytes]) -> tuple[int, int] | None:
    """Count the frames that an animated PNG file announces, and those that it has; else None.

    Args:
        file: Open for reading; it is left at its beginning.
    """
    announced, there = None, 0
    for name, start, length in _places(file):
        there += name == b"fcTL"
        if name == b"acTL" and length == _CONTROL_BYTES:
            file.seek(start)
            (announced,) = struct.unpack(">I", file.read(4))
    file.seek(0)
    return None if announced is None else (announced, there)


def only_pixels(file: IO[bytes]) -> IO[bytes]:
    """Copy a PNG file in memory without the chunks that make no pixels.

    The copy announces as many frames as there are, and no animation where there are none.

    Args:
        file: Open for reading; it is left at its beginning.
    """
    frames = frames_announced(file)
    there = 0 if frames is None else frames[1]
    file.seek(0)
    parts = [file.read(_SIGNATURE_BYTES)]
    for name, start, length in _places(file):
        if name not in _PIXELS or (name in _ANIMATION and there == 0):
            continue
        file.seek(start - 8)
        part = file.read(length + _AROUND)
        parts.append(_with_frames(part, there) if name == b"acTL" else part)
    parts.append(_END)
    file.seek(0)
    return io.BytesIO(b"".join(parts))


def _with_frames(control: bytes, frames: int) -> bytes:
    body = b"acTL" + struct.pack(">I", frames) + control[12:-4]
    return control[:4] + body + struct.pack(">I", zlib.crc32(body))


def _places(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Go through all chunks before the last: names, where their contents begin, and their lengths.

    The file may be read and sought between two of them.
    """
    end = file.seek(0, 2)
    position = _SIGNATURE_BYTES
    while position + _AROUND <= end:
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        start, position = position + 8, position + _AROUND + length
        if name == b"IEND" or position > end:
            return
        yield name, start, length


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, bytes, bool]]:
    """Go through chunks that make no pixels: names, contents, whether they are sound."""
    for name, start, length in _places(file):
        if name in _PIXELS:
            continue
        file.seek(start)
        # No more than tells that it is too large.
        data, checksum = file.read(min(length, _LARGEST + 1)), file.read(4)
        yield name, data, zlib.crc32(name + data).to_bytes(4, "big") == checksum


class _TooLargeError(Exception):
    pass


class _Inflater:
    """Inflate at most as much as `_LARGEST` in all: a few bytes can stand for any amount."""

    def __init__(self) -> None:
        self._left = _LARGEST

    def __call__(self, data: bytes) -> bytes:
        stream = zlib.decompressobj()
        inflated = stream.decompress(data, max(self._left, 1))
        self._left -= len(inflated)
        if self._left <= 0:
            raise _TooLargeError
        if not stream.eof:
            raise ValueError("the data is cut short")
        return inflated


def _read_profile(found: PngChunks, data: bytes, inflate: _Inflater) -> None:
    _, compressed = _split(data)
    found.icc_profile = inflate(compressed[1:])


def _read_exif(found: PngChunks, data: bytes, _: _Inflater) -> None:
    found.exif = PREFIX + data.removeprefix(PREFIX)


def _read_resolution(found: PngChunks, data: bytes, _: _Inflater) -> None:
    x, y, unit = struct.unpack(">IIB", data)
    if unit == 1:
        found.dpi = (_per_inch(x), _per_inch(y))
    elif x != y:
        found.others["pHYs"] = None  # the shape of a pixel, which nothing else here holds


def _per_inch(per_metre: int) -> float:
    """Return the whole number that was rounded to pixels per metre, if it can have been one."""
    dpi = per_metre * _INCH
    return round(dpi) if abs(dpi - round(dpi)) <= _INCH / 2 + 1e-9 else dpi


def _read_text(found: PngChunks, data: bytes, _: _Inflater) -> None:
    keyword, text = _split(data)
    _add_text(found, keyword, text.decode("latin-1"))


def _read_compressed_text(found: PngChunks, data: bytes, inflate: _Inflater) -> None:
    keyword, text = _split(data)
    _add_text(found, keyword, inflate(text[1:]).decode("latin-1"))


def _read_international_text(found: PngChunks, data: bytes, inflate: _Inflater) -> None:
    keyword, rest = _split(data)
    compressed, rest = rest[:1] == b"\1", rest[2:]
    _, rest = _split(rest)  # language
    _, text = _split(rest)  # keyword in that language
    if compressed:
        text = inflate(text)
    if keyword == XMP_KEYWORD.encode():
        found.xmp = text
    else:
        _add_text(found, keyword, text.decode("utf-8"))


def _split(data: bytes) -> tuple[bytes, bytes]:
    before, separator, after = data.partition(b"\0")
    if not separator:
        raise ValueError("a separator is missing")
    return before, after


def _add_text(found: PngChunks, keyword: bytes, text: str) -> None:
    if not 1 <= len(keyword) <= _LONGEST_KEYWORD:
        raise ValueError("the keyword has an impossible length")
    found.lines.setdefault(keyword.decode("latin-1"), []).append(text)


_READERS: dict[bytes, Callable[[PngChunks, bytes, _Inflater], None]] = {
    b"iCCP": _read_profile,
    b"eXIf": _read_exif,
    b"pHYs": _read_resolution,
    b"tEXt": _read_text,
    b"zTXt": _read_compressed_text,
    b"iTXt": _read_international_text,
}


def _take_raw_profiles(found: PngChunks) -> None:
    """Move blocks that older programs wrote as text to where they belong."""
    if XMP_KEYWORD in found.text:
        text = found.text.pop(XMP_KEYWORD)
        found.xmp = found.xmp or text.encode("latin-1")
    for keyword in [key for key in found.text if key.startswith("Raw profile type ")]:
        data = _raw_bytes(found.text.pop(keyword))
        if not data or not _take_profile(found, keyword.rpartition(" ")[2].lower(), data):
            found.damaged[keyword] = None


def _take_profile(found: PngChunks, kind: str, data: bytes) -> bool:
    resources = read_photoshop_resources(data.removeprefix(PHOTOSHOP_SIGNATURE))
    if kind in ("xmp", "app1") and not data.startswith(PREFIX):
        found.xmp = found.xmp or data.removeprefix(XMP_SIGNATURE)
    elif kind in ("exif", "app1"):
        found.exif = found.exif or PREFIX + data.removeprefix(PREFIX)
    elif kind in ("iptc", "8bim"):
        found.iptc = found.iptc or (resources.get(IPTC_RESOURCE) if resources else data)
    elif kind in ("icc", "icm"):
        found.icc_profile = found.icc_profile or data
    else:
        return False
    return True


def _raw_bytes(text: str) -> bytes | None:
    # Split, as a regular expression would try every way to divide a run of blanks.
    parts = text.split(maxsplit=2)
    if len(parts) < 3 or not re.fullmatch(r"\w+", parts[0]) or not parts[1].isdecimal():
        return None
    try:
        data = bytes.fromhex(parts[2])
        return data if len(data) == int(parts[1]) else None
    except ValueError:
        return None
