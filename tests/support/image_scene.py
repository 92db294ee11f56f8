"""What the image files of the tests show, and how one of them is described."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Values = NDArray[Any]

WIDTH, HEIGHT = 45, 28
FRAME_MILLISECONDS = 120


@dataclass(frozen=True)
class ImageFile:
    """A file and what reading it must give.

    Attributes:
        name: Unique; what is special about the file.
        suffix: With its dot.
        make: Gives the file's bytes, the same each time.
        frames: Pixels of each frame or page, upright, `(h w c)`.
        alpha: Opacity of each, `(h w)`; empty where the file has none.
        tolerance: Largest difference of a sample, in steps of the type (for floating point: of 1).
        profile: The colour profile that the file carries.
    """

    name: str
    suffix: str
    make: Callable[[], bytes]
    frames: tuple[Values, ...]
    alpha: tuple[Values, ...] = ()
    tolerance: float = 0
    profile: bytes | None = None

    @property
    def id(self) -> str:
        """Name and suffix, for the names of tests and files."""
        return f"{self.name}{self.suffix}"


@cache
def scene(channels: int, shift: int = 0) -> NDArray[np.float64]:
    """A smooth picture from 0 to 1 with every brightness in it, `(h w c)`."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [
        0.5 + 0.5 * np.sin((x + shift) / (5 + 2 * c) + c) * np.cos(y / (6 + c) - 0.4 * c)
        for c in range(channels)
    ]
    return np.stack(waves, axis=2)


def integers(channels: int, dtype: type[np.unsignedinteger[Any]], shift: int = 0) -> Values:
    """The scene in all values of a type."""
    return np.round(scene(channels, shift) * np.iinfo(dtype).max).astype(dtype)


def opacity(dtype: type[np.unsignedinteger[Any]] = np.uint8) -> Values:
    """From transparent at the left to opaque at the right, `(h w)`."""
    ramp = np.linspace(0, np.iinfo(dtype).max, WIDTH).astype(dtype)
    return np.tile(ramp, (HEIGHT, 1))


@cache
def wide_gamut() -> bytes:
    """A matrix profile with the primaries of Adobe RGB, as littleCMS writes none by itself."""
    xyz = {b"rXYZ": (0.6097, 0.3111, 0.0195), b"gXYZ": (0.2053, 0.6257, 0.0609)}
    xyz |= {b"bXYZ": (0.1492, 0.0632, 0.7446), b"wtpt": (0.9642, 1.0, 0.8249)}
    parts = {
        tag: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))
        for tag, values in xyz.items()
    }
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.19921875 * 256)) + b"\0\0"
    parts |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    text = "Wide gamut of the tests"
    parts[b"desc"] = (
        b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text.encode() + bytes(1 + 4 + 4 + 70)
    )
    parts[b"cprt"] = b"text\0\0\0\0" + b"Public domain\0"
    return _profile(b"RGB ", parts)


@cache
def inks() -> bytes:
    """A profile for CMYK, from libvips."""
    import pyvips

    return bytes(pyvips.Image.profile_load("cmyk"))


def _profile(space: bytes, parts: dict[bytes, bytes]) -> bytes:
    table, body, start = b"", b"", 128 + 4 + 12 * len(parts)
    for tag, content in parts.items():
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4sI4s4s4s", start + len(body), b"\0\0\0\0", 0x02100000, b"mntr", space, b"XYZ "
    )
    head += struct.pack(">6H4s", 2026, 1, 2, 3, 4, 5, b"acsp") + bytes(28)
    head += struct.pack(">3i", round(0.9642 * 65536), 65536, round(0.8249 * 65536))
    return head.ljust(128, b"\0") + struct.pack(">I", len(parts)) + table + body


def by_pillow(image: Image.Image, file_format: str, **options: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, file_format, **options)
        return buffer.getvalue()

    return make
