"""Image files that announce more than they hold, or more than anybody can hold."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from image_scene import integers
from PIL import Image
from png_files import png, png_chunk

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LARGEST = 2**31 - 1


def bombs() -> Iterator[tuple[str, bytes]]:
    """Names with suffixes, and contents."""
    yield from _pngs()
    yield from _tiffs()
    yield from _others()


def _header(width: int, height: int, depth: int = 8, color_type: int = 2) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0))


def _pngs() -> Iterator[tuple[str, bytes]]:
    photo, end = integers(3, np.uint8), png_chunk(b"IEND", b"")
    zeros = zlib.compress(bytes(10**7), 9)
    data = png_chunk(b"IDAT", zlib.compress(photo.tobytes()))
    for width, height in ((LARGEST, LARGEST), (1, LARGEST), (LARGEST, 1), (12_000, 14_000)):
        yield f"claims {width}x{height}.png", SIGNATURE + _header(width, height) + data + end
    for width, height in ((0, 5), (5, 0), (2**31, 4), (2**32 - 1, 1)):
        yield f"impossible {width}x{height}.png", SIGNATURE + _header(width, height) + data + end
    for depth, color_type in ((3, 0), (8, 1), (8, 7), (1, 2), (16, 3), (0, 0), (255, 255)):
        head = _header(45, 28, depth, color_type)
        yield f"{depth} bits of type {color_type}.png", SIGNATURE + head + data + end
    yield "palette missing.png", SIGNATURE + _header(45, 28, 8, 3) + data + end
    yield "too few rows.png", SIGNATURE + _header(45, 2800) + data + end
    yield "too many rows.png", SIGNATURE + _header(45, 3) + data + end
    yield "no data.png", SIGNATURE + _header(45, 28) + end
    yield "no header.png", SIGNATURE + data + end
    yield "header twice.png", SIGNATURE + _header(45, 28) + _header(2800, 4500) + data + end
    yield "profile bomb.png", png(photo, 8, (b"iCCP", b"a\0\0" + zeros))
    yield "text bomb.png", png(photo, 8, *((b"zTXt", b"a\0\0" + zeros) for _ in range(20)))
    yield (
        "unknown filter.png",
        SIGNATURE
        + _header(45, 28)
        + png_chunk(b"IDAT", zlib.compress(b"\x09" + bytes(45 * 3) + bytes(27 * (1 + 45 * 3))))
        + end,
    )
    frames = struct.pack(">II", 2**31 - 1, 0)
    yield "two billion frames.png", png(photo, 8, (b"acTL", frames))
    control = struct.pack(">IIIIIHHBB", 0, 4500, 2800, 9000, 9000, 1, 0, 0, 0)
    yield (
        "frame beyond the canvas.png",
        png(photo, 8, (b"acTL", struct.pack(">II", 1, 0)), (b"fcTL", control)),
    )


def tiff_directory(entries: dict[int, tuple[int, int, int]], following: int = 0) -> bytes:
    """A little-endian TIFF file of one directory.

    Args:
        entries: Tag to type, count and value.
        following: Where the next directory is.
    """
    rows = b"".join(struct.pack("<HHII", tag, *row) for tag, row in sorted(entries.items()))
    return (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", len(entries))
        + rows
        + struct.pack("<I", following)
        + bytes(range(256)) * 16
    )


SHORT, LONG, RATIONAL = 3, 4, 5
USUAL = {
    256: (LONG, 1, 45),
    257: (LONG, 1, 28),
    258: (SHORT, 1, 8),
    259: (SHORT, 1, 1),
    262: (SHORT, 1, 1),
    273: (LONG, 1, 200),
    277: (SHORT, 1, 1),
    278: (LONG, 1, 28),
    279: (LONG, 1, 45 * 28),
}


def _tiffs() -> Iterator[tuple[str, bytes]]:
    for name, changes in {
        "as it should be": {},
        "huge sides": {256: (LONG, 1, LARGEST), 257: (LONG, 1, LARGEST)},
        "wide": {256: (LONG, 1, 2**32 - 1)},
        "high": {257: (LONG, 1, 150_000_000), 256: (LONG, 1, 1)},
        "no width": {256: (LONG, 1, 0)},
        "255 bits": {258: (SHORT, 1, 255)},
        "3 bits": {258: (SHORT, 1, 3)},
        "65535 samples": {277: (SHORT, 1, 65535)},
        "five samples": {277: (SHORT, 1, 5)},
        "unknown compression": {259: (SHORT, 1, 31337)},
        "unknown photometry": {262: (SHORT, 1, 999)},
        "a filter array": {262: (SHORT, 1, 32803)},
        "data beyond the end": {273: (LONG, 1, 2**31)},
        "data before the start": {273: (LONG, 1, 0)},
        "more data than there is": {279: (LONG, 1, 2**32 - 1)},
        "two billion strips": {273: (LONG, 2**31, 8), 279: (LONG, 2**31, 8), 278: (LONG, 1, 1)},
        "tiles of a billion": {322: (LONG, 1, 2**30), 323: (LONG, 1, 2**30), 324: (LONG, 1, 200)},
        "tiles of nothing": {322: (LONG, 1, 0), 323: (LONG, 1, 0), 324: (LONG, 1, 200)},
        "an orientation of 99": {274: (SHORT, 1, 99)},
        "a profile of 4 GB": {34675: (7, 2**32 - 1, 8)},
        "a description of 2 GB": {270: (2, 2**31, 8)},
        "a resolution at the end": {282: (RATIONAL, 1, 2**32 - 8)},
        "a pyramid of itself": {330: (LONG, 1, 8)},
        "EXIF in itself": {34665: (LONG, 1, 8)},
        "a type that is none": {270: (99, 2**31, 8)},
        "sixty-four bit floats": {258: (SHORT, 1, 64), 339: (SHORT, 1, 3)},
        "complex numbers": {258: (SHORT, 1, 64), 339: (SHORT, 1, 6)},
    }.items():
        yield f"{name}.tif", tiff_directory(USUAL | changes)
    yield "an endless chain of pages.tif", tiff_directory(USUAL, 8)
    yield "pages beyond the end.tif", tiff_directory(USUAL, 2**31)
    yield "65535 tags.tif", b"II*\0\x08\0\0\0" + b"\xff" * 5000
    yield "directory beyond the end.tif", b"II*\0" + struct.pack("<I", 2**31) + bytes(100)
    yield "no tags.tif", tiff_directory({})
    yield "BigTIFF beyond the end.tif", b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63) + bytes(50)


def _pillow(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _others() -> Iterator[tuple[str, bytes]]:
    photo = Image.fromarray(integers(3, np.uint8))
    bmp = _pillow(photo, "BMP")
    for name, width, height in (
        ("huge", LARGEST, LARGEST),
        ("negative", -45, 28),
        ("upside down", 45, -28),
        ("least", -(2**31), -(2**31)),
        ("empty", 0, 0),
    ):
        yield f"{name}.bmp", bmp[:18] + struct.pack("<ii", width, height) + bmp[26:]
    jpeg = bytearray(_pillow(photo, "JPEG"))
    place = jpeg.index(b"\xff\xc0")
    for name, sides in (("huge", (65535, 65535)), ("empty", (0, 0)), ("high", (65535, 45))):
        changed = jpeg.copy()
        changed[place + 5 : place + 9] = struct.pack(">HH", *sides)
        yield f"{name}.jpg", bytes(changed)
    gif = bytearray(_pillow(photo.quantize(16), "GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    yield "huge.gif", bytes(gif)
    canvas = _pillow(Image.new("P", (4000, 4000)), "GIF")
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    yield "two thousand frames.gif", canvas[:-1] + image * 2000 + b"\x3b"
    webp = _pillow(photo, "WEBP", lossless=True)
    yield "huge.webp", webp[:21] + b"\xff\xff\xff\x0f" + webp[25:]
    yield "a size that lies.webp", webp[:4] + struct.pack("<I", 2**32 - 10) + webp[8:]
    for signature, suffix in (
        (SIGNATURE, ".png"),
        (b"\xff\xd8\xff\xe0", ".jpg"),
        (b"II*\0", ".tif"),
        (b"MM\0*", ".tif"),
        (b"II+\0", ".tif"),
        (b"RIFF\x10\0\0\0WEBPVP8L", ".webp"),
        (b"GIF89a", ".gif"),
        (b"BM", ".bmp"),
        (b"\0\0\0\x20ftypavif", ".avif"),
        (b"\0\0\0\x20ftypheic", ".heic"),
        (b"\xff\x0a", ".jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", ".jxl"),
    ):
        name = signature.hex()
        yield f"nothing but {name}{suffix}", signature
        noise = np.random.default_rng(len(name)).bytes(500)
        yield f"noise after {name}{suffix}", signature + noise
    yield "empty.png", b""
    yield "text.jpg", b"no image at all\n" * 20
    yield "web page.webp", b"<!DOCTYPE html><html><body>404</body></html>"
    yield "one byte.tif", b"I"
    yield "zeros.png", bytes(5000)
