"""The image file formats: what each can hold and which package reads and writes it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_UNLIMITED = 2**31 - 1
SIGNATURE_BYTES = 512


@dataclass(frozen=True)
class Format:
    """A file format, as far as this package reads and writes it.

    Attributes:
        name: Pillow's name.
        label: As people write it.
        suffixes: In lower case, the usual one first.
        alpha: Whether it holds opacity.
        bits: The most bits of an integer sample that are written.
        floats: Whether floating point is written.
        several: Whether several frames or pages are written.
        bands: Whether it is written band by band.
        max_side: Pixels.
        max_pixels: Of one image.
        extra: Extra of this package that brings the plugin which reads and writes the format.
        plugin: That plugin's module.
    """

    name: str
    label: str
    suffixes: tuple[str, ...]
    alpha: bool = True
    bits: int = 8
    floats: bool = False
    several: bool = False
    bands: bool = False
    max_side: int = _UNLIMITED
    max_pixels: int = _UNLIMITED**2
    extra: str | None = None
    plugin: str | None = None


PNG = Format("PNG", "PNG", (".png", ".apng"), bits=16, several=True, bands=True)
JPEG = Format(
    "JPEG", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), alpha=False, max_side=65500
)  # libjpeg's JPEG_MAX_DIMENSION
WEBP = Format("WEBP", "WebP", (".webp",), several=True, max_side=16383)
TIFF = Format("TIFF", "TIFF", (".tif", ".tiff"), bits=16, floats=True, several=True, bands=True)
BMP = Format("BMP", "BMP", (".bmp",), alpha=False)
GIF = Format("GIF", "GIF", (".gif",), several=True, max_side=65535)
AVIF = Format(
    "AVIF", "AVIF", (".avif",), several=True, max_side=32768, max_pixels=2**28
)  # more libavif does not read
HEIF = Format(
    "HEIF", "HEIC", (".heic", ".heif"), max_side=65535, extra="heic", plugin="pillow_heif"
)
JXL = Format("JXL", "JPEG XL", (".jxl",), extra="jxl", plugin="pillow_jxl")

FORMATS = (PNG, JPEG, WEBP, TIFF, BMP, GIF, AVIF, HEIF, JXL)
BY_SUFFIX = {suffix: entry for entry in FORMATS for suffix in entry.suffixes}

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),  # BigTIFF
    (b"MM\0+", TIFF),
    (b"GIF8", GIF),
    (b"BM", BMP),
    (b"\xff\x0a", JXL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", JXL),
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})


def identify(start: bytes) -> Format | None:
    """Return the format of a file that begins with these `SIGNATURE_BYTES`, or None."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return WEBP
    if start[4:8] == b"ftyp":
        brands = start[8 : int.from_bytes(start[:4], "big")]
        names = {brands[i : i + 4] for i in range(0, len(brands), 4)}
        if names & _AVIF_BRANDS:
            return AVIF
        return HEIF if names & _HEIF_BRANDS else None
    return next((entry for signature, entry in _SIGNATURES if start.startswith(signature)), None)


@cache
def is_installed(entry: Format) -> bool:
    """Whether the format can be read and written here; its plugin is then known to Pillow."""
    if entry.plugin is None:
        return True
    try:
        plugin = importlib.import_module(entry.plugin)
    except ImportError:
        return False
    if entry is HEIF:
        plugin.register_heif_opener()
    return True


def install_hint(entry: Format) -> str:
    """Return the command that installs what reads and writes the format."""
    return f"pip install 'mambair[{entry.extra}]'"


def format_of(path: Path) -> Format | None:
    """Return the format that a path's suffix names; None where none has it."""
    return BY_SUFFIX.get(path.suffix.lower())


def suffix_of_content(path: Path) -> str | None:
    """Return the usual suffix of the format that a file begins like; None if it is unknown."""
    try:
        with path.open("rb") as file:
            start = file.read(SIGNATURE_BYTES)
    except OSError:
        return None
    entry = identify(start)
    return None if entry is None else entry.suffixes[0]
