"""Camera raw files: what a sensor saw, which is no picture before somebody develops it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mambair_cli.errors import ImageError
from mambair_cli.imaging.reading.tiff_directories import Directory

# How files begin that are no TIFF files, or TIFF files with a mark: position and bytes.
_SIGNATURES = (
    (0, b"FUJIFILMCCD-RAW", "Fujifilm RAF"),
    (4, b"ftypcrx ", "Canon CR3"),
    (0, b"II\x1a\0\0\0HEAPCCDR", "Canon CRW"),
    (8, b"CR\2", "Canon CR2"),
    (0, b"IIRO", "Olympus ORF"),
    (0, b"IIRS", "Olympus ORF"),
    (0, b"MMOR", "Olympus ORF"),
    (0, b"IIU\0", "Panasonic RW2"),
    (0, b"FOVb", "Sigma X3F"),
    (0, b"\0MRM", "Minolta MRW"),
    (8, b"IIIITwaR", "Phase One IIQ"),
    (8, b"MMMMRawT", "Phase One IIQ"),
    (0, b"ARRI", "ARRIRAW"),
)

_BITS, _COMPRESSION, _PHOTOMETRIC, _MAKE = 258, 259, 262, 271
_MOSAIC = frozenset({33421, 33422})  # the pattern of the colours before a sensor
_DNG_VERSION = 50706
_COLOUR_FILTERS, _LINEAR_RAW = 32803, 34892
_JPEG = (6, 7)
# Of Nikon, Sony, Samsung, Kodak and Pentax; 34892 is DNG's with losses.
_COMPRESSIONS = frozenset({32767, 32769, 32770, 32867, 34713, 34892, 65000, 65535})


def check_signature(path: Path, start: bytes) -> None:
    """Refuse a file that begins as one of camera raw.

    Raises:
        ImageError: It does.
    """
    for position, mark, name in _SIGNATURES:
        if start[position:].startswith(mark):
            raise _refused(path, name)


def check_directories(path: Path, directories: Iterable[Directory]) -> None:
    """Refuse a TIFF structure whose pages, or what lies inside them, are a sensor's values.

    Raises:
        ImageError: There are such values; the pages beside them are previews.
        ValueError: A tag is damaged.
    """
    for directory in directories:
        if _DNG_VERSION in directory.places:
            raise _refused(path, "DNG")
        if any(_is_raw(one) for one in (directory, *directory.inside)):
            raise _refused(path)


def _is_raw(directory: Directory) -> bool:
    compression = directory.value(_COMPRESSION, 1)
    return (
        bool(_MOSAIC & directory.places.keys())
        or directory.value(_PHOTOMETRIC, 0) in (_COLOUR_FILTERS, _LINEAR_RAW)
        or compression in _COMPRESSIONS
        # JPEG of other depths is lossless, and what cameras make.
        or (_MAKE in directory.places and compression in _JPEG and directory.value(_BITS, 8) != 8)
    )


def _refused(path: Path, name: str = "") -> ImageError:
    kind = f" ({name})" if name else ""
    return ImageError(
        f"{path} is camera raw{kind}: what the sensor saw, not yet a picture",
        hint="develop it first, with darktable or RawTherapee, and restore the 16-bit TIFF "
        "that they write",
    )
