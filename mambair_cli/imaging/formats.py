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
        high_range_bits: Bits of a sample with which values of high dynamic range are written, where
            that is more.
        floats: Whether floating point is written.
        exact: Whether it loses nothing at quality 100, though it does below.
        several: Whether several frames or pages are written.
        bands: Whether it is written band by band.
        max_side: Pixels.
        max_pixels: Of one image.
        extra: Extra of this package that brings what else the format needs.
        reader: Module of the plugin that reads the format.
        writer: Module of the plugin that writes the format.
    """

    name: str
    label: str
    suffixes: tuple[str, ...]
    alpha: bool = True
    bits: int = 8
    high_range_bits: int = 0
    floats: bool = False
    exact: bool = False
    several: bool = False
    bands: bool = False
    max_side: int = _UNLIMITED
    max_pixels: int = _UNLIMITED**2
    extra: str | None = None
    reader: str | None = None
    writer: str | None = None


PNG = Format("PNG", "PNG", (".png", ".apng"), bits=16, several=True, bands=True)
JPEG = Format(
    "JPEG", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), alpha=False, max_side=65500
)  # libjpeg's JPEG_MAX_DIMENSION
WEBP = Format("WEBP", "WebP", (".webp",), exact=True, several=True, max_side=16383)
TIFF = Format("TIFF", "TIFF", (".tif", ".tiff"), bits=16, floats=True, several=True, bands=True)
BMP = Format("BMP", "BMP", (".bmp",), alpha=False)
GIF = Format("GIF", "GIF", (".gif",), several=True, max_side=65535)
AVIF = Format(
    "AVIF", "AVIF", (".avif",), high_range_bits=10, several=True, max_side=32768, max_pixels=2**28
)  # more libavif does not read
HEIF = Format(
    "HEIF",
    "HEIC",
    (".heic", ".heif", ".hif"),
    exact=True,
    max_side=65535,
    extra="heic",
    reader="pi_heif",
    writer="pillow_heif",
)
JXL = Format(
    "JXL", "JPEG XL", (".jxl",), exact=True, extra="jxl", reader="pillow_jxl", writer="pillow_jxl"
)

FORMATS = (PNG, JPEG, WEBP, TIFF, BMP, GIF, AVIF, HEIF, JXL)
BY_SUFFIX = {suffix: entry for entry in FORMATS for suffix in entry.suffixes}

BLANKS = b"\0\t\n\r "  # which scripts on servers put before a JPEG file
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", PNG),
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
    if start.lstrip(BLANKS).startswith(_JPEG_SIGNATURE):
        return JPEG
    return next((entry for signature, entry in _SIGNATURES if start.startswith(signature)), None)


def is_readable(entry: Format) -> bool:
    """Whether what reads the format is installed; Pillow knows it then."""
    return _are_registered(entry.reader)


def is_writable(entry: Format) -> bool:
    """Whether what writes the format is installed; Pillow knows it then."""
    # Of two plugins that read a format, Pillow asks the one that was registered last.
    return _are_registered(entry.writer, entry.reader)


@cache
def _are_registered(*plugins: str | None) -> bool:
    try:
        modules = [importlib.import_module(plugin) for plugin in plugins if plugin]
    except ImportError:
        return False
    for module in modules:
        if hasattr(module, "register_heif_opener"):
            module.register_heif_opener()
    return True


def install_hint(entry: Format) -> str:
    """Return the command that installs what else reads and writes the format."""
    return f"pip install 'mambair[{entry.extra}]'"


def format_of(path: Path) -> Format | None:
    """Return the format that a path's suffix names; None where none has it."""
    return BY_SUFFIX.get(path.suffix.lower())


def unwritable(suffix: str) -> str | None:
    """Say that the results of sources with a suffix are PNG, if it cannot be written here."""
    entry = BY_SUFFIX.get(suffix.lower())
    if entry is None or is_writable(entry):
        return None
    return f"{entry.label} written as PNG ({install_hint(entry)} writes {entry.label})"


def format_of_content(path: Path) -> Format | None:
    """Return the format that a file begins like; None if it is unknown."""
    try:
        with path.open("rb") as file:
            return identify(file.read(SIGNATURE_BYTES))
    except OSError:
        return None
