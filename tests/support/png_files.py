"""PNG files of every kind, put together byte by byte."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from image_scene import HEIGHT, WIDTH, ImageFile, Values, integers, opacity, scene, wide_gamut


def png_chunk(name: bytes, body: bytes) -> bytes:
    """Length, name, body and checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
ADAM7 = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


def png(
    samples: Values,
    depth: int,
    *chunks: tuple[bytes, bytes],
    palette: bool = False,
    interlaced: bool = False,
) -> bytes:
    """A PNG file of any depth.

    Args:
        samples: `(h w c)`, whole numbers of `depth` bits.
        depth: Bits of a sample.
        *chunks: Name and body of those between IHDR and IDAT.
        palette: Whether samples are indices into the PLTE among the chunks.
        interlaced: Whether Adam7 is used.
    """
    height, width, channels = samples.shape
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(_png_rows(samples[y::dy, x::dx], depth) for y, x, dy, dx in passes)
    color_type = 3 if palette else COLOR_TYPES[channels]
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlaced)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def _png_rows(samples: Values, depth: int) -> bytes:
    if 0 in samples.shape:
        return b""
    rows = samples.reshape(len(samples), -1)
    if depth == 16:
        packed = rows.astype(">u2").view(np.uint8)
    elif depth == 8:
        packed = rows.astype(np.uint8)
    else:
        shifts = np.arange(depth - 1, -1, -1)
        packed = np.packbits((rows[..., None] >> shifts & 1).reshape(len(rows), -1), axis=1)
    return np.insert(packed, 0, 0, axis=1).tobytes()


def png_files() -> Iterator[ImageFile]:
    for depth in (1, 2, 4):
        samples = np.round(scene(1) * (2**depth - 1)).astype(np.uint8)
        gray = samples * np.uint8(255 // (2**depth - 1))
        yield png_file(f"gray {depth} bits", samples, gray, depth)
    level = 2
    samples = np.round(scene(1) * 3).astype(np.uint8)
    yield png_file(
        "gray 2 bits, a level transparent",
        samples,
        samples * np.uint8(85),
        2,
        (b"tRNS", struct.pack(">H", level)),
        alpha=np.where(samples[..., 0] == level, 0, 255).astype(np.uint8),
    )
    for depth, dtype in ((8, np.uint8), (16, np.uint16)):
        for channels, name in ((1, "gray"), (3, "RGB")):
            pixels = integers(channels, dtype)
            yield png_file(f"{name} {depth} bits", pixels, pixels, depth)
            yield png_file(
                f"{name} {depth} bits interlaced", pixels, pixels, depth, interlaced=True
            )
            both = np.dstack([pixels, opacity(dtype)])
            yield png_file(
                f"{name} with alpha {depth} bits", both, pixels, depth, alpha=opacity(dtype)
            )
            chosen = pixels[3, 4]
            yield png_file(
                f"{name} {depth} bits, a colour transparent",
                pixels,
                pixels,
                depth,
                (b"tRNS", b"".join(struct.pack(">H", value) for value in chosen)),
                alpha=np.where((pixels == chosen).all(axis=2), 0, np.iinfo(dtype).max).astype(
                    dtype
                ),
            )
    dark = (integers(3, np.uint16) // 300).astype(np.uint16)
    yield png_file("RGB 16 bits, no value above 255", dark, dark, 16)
    opaque = np.full((HEIGHT, WIDTH), 65535, np.uint16)
    pixels = integers(3, np.uint16)
    yield png_file(
        "RGB with alpha 16 bits, opaque", np.dstack([pixels, opaque]), pixels, 16, alpha=opaque
    )
    yield from _palettes()
    profile = (b"iCCP", b"wide\0\0" + zlib.compress(wide_gamut()))
    for depth, dtype in ((8, np.uint8), (16, np.uint16)):
        pixels = integers(3, dtype)
        file = png_file(f"RGB {depth} bits, wide gamut", pixels, pixels, depth, profile)
        yield replace(file, profile=wide_gamut())


def _palettes() -> Iterator[ImageFile]:
    for depth in (1, 2, 4, 8):
        count = 2**depth
        colours = np.random.default_rng(depth).integers(0, 256, (count, 3), np.uint8)
        indices = np.round(scene(1) * (count - 1)).astype(np.uint8)
        pixels = colours[indices[..., 0]]
        table = (b"PLTE", colours.tobytes())
        yield png_file(f"palette {depth} bits", indices, pixels, depth, table, palette=True)
        levels = np.full(count, 255, np.uint8)
        levels[: count // 2] = np.linspace(0, 200, count // 2)
        yield png_file(
            f"palette {depth} bits, transparent",
            indices,
            pixels,
            depth,
            table,
            (b"tRNS", levels[: count // 2].tobytes()),
            alpha=levels[indices[..., 0]],
            palette=True,
        )


def png_file(
    name: str,
    samples: Values,
    pixels: Values,
    depth: int,
    *chunks: tuple[bytes, bytes],
    alpha: Values | None = None,
    **options: bool,
) -> ImageFile:
    def make() -> bytes:
        return png(samples, depth, *chunks, **options)

    return ImageFile(name, ".png", make, (pixels,), () if alpha is None else (alpha,))
