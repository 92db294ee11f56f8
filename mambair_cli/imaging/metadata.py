"""What a file says about its image beside the pixels, and how to hand that on to another file."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from mambair_cli.imaging.exif import sized_exif, upright_exif

# ITU-T T.81, table K.1: libjpeg's luminance table at quality 50, in natural order.
_LUMINANCE_TABLE = np.array(
    [
        *(16, 11, 10, 16, 24, 40, 51, 61),
        *(12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56),
        *(14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77),
        *(24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101),
        *(72, 92, 95, 98, 112, 100, 103, 99),
    ]
)

# A TIFF file keeps these beside tags that only describe its own layout of strips and tiles.
_DESCRIPTIVE_TIFF_TAGS = (
    *(0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C),  # description to host computer
    *(0x4746, 0x4749, 0x8298),  # rating, rating in percent, copyright
    *(0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),  # title to subject as Windows writes them
)
_TIFF_DIRECTORIES = (0x8769, 0x8825)  # EXIF, GPS
_INTEROPERABILITY = 0xA005
_XMP_TIFF_TAG = 0x02BC
_PREDICTOR_TIFF_TAG = 0x013D
_HORIZONTAL_DIFFERENCING = 2

# One JPEG segment holds 65533 bytes, of which XMP's identifier takes 29.
_JPEG_SEGMENT = 65533
_JPEG_XMP = _JPEG_SEGMENT - 29

_UNREADABLE = (SyntaxError, ValueError, TypeError, KeyError, struct.error, OSError)


# `private` drops where and by whom an image was made: GPS, serial numbers, names of owners.
MetadataMode = Literal["keep", "strip", "private"]


@dataclass(frozen=True)
class Fate:
    """What became of a file's content beside its restored pixels, a phrase each, for people.

    Attributes:
        kept: Written as it was: `EXIF`, `colour profile`, `16 bits`.
        changed: Written differently: `orientation applied`, `CMYK converted to sRGB`.
        dropped: Not written: `thumbnail`, `GPS position`.
    """

    kept: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def joined(self, other: Fate) -> Fate:
        """Both together, each phrase once."""
        pairs = (
            (self.kept, other.kept),
            (self.changed, other.changed),
            (self.dropped, other.dropped),
        )
        return Fate(*(tuple(dict.fromkeys(ours + theirs)) for ours, theirs in pairs))


@dataclass(frozen=True)
class Metadata:
    """Everything a file says beside its pixels; all of it speaks of upright pixels.

    Attributes:
        source_format: Pillow's name of the file's format: PNG, JPEG, WEBP, TIFF, BMP and so on.
        icc_profile: Colour profile, byte for byte.
        exif: EXIF block with its prefix, orientation 1, without thumbnail.
        xmp: XMP packet, orientation 1, without thumbnails.
        iptc: Records of IPTC-IIM, as in TIFF tag 33723.
        dpi: Horizontal and vertical pixels per inch.
        jpeg_quality: libjpeg quality nearest to a JPEG file's quantisation table, 1 to 100.
        text: PNG text chunks.
        color_chunks: PNG chunks that say how its values are encoded (gAMA, cHRM, sRGB, cICP).
        comment: Comment of a JPEG or GIF file.
        reading: What reading changed (`orientation applied`) or left behind (`thumbnail`).
    """

    source_format: str = "PNG"
    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    jpeg_quality: int | None = None
    text: Mapping[str, str] = field(default_factory=dict)
    color_chunks: Mapping[bytes, bytes] = field(default_factory=dict)
    comment: bytes | None = None
    reading: Fate = field(default_factory=Fate)


def read_metadata(image: Image.Image, file: IO[bytes] | None = None) -> Metadata:
    """Collect the metadata of an image that Pillow opened, before it is turned upright.

    Whatever is damaged is left out: a broken tag is no reason to refuse the pixels. Of a TIFF file
    it is the metadata of the page that `image` is at.

    Args:
        image: Loaded or not.
        file: The file from which Pillow opened the image; it is left at the position it had.
            Without it nothing is found behind a PNG file's pixels unless they are loaded.
    """
    info = image.info
    exif, xmp = _exif_block(image), info.get("xmp")
    tables: dict[int, Sequence[int]] = getattr(image, "quantization", None) or {}
    is_png = isinstance(image, PngImageFile)
    return Metadata(
        source_format="JPEG" if image.format == "MPO" else image.format or "PNG",
        icc_profile=info.get("icc_profile") or None,
        exif=upright_exif(exif) if exif else None,
        xmp=_set_xmp(_without_thumbnails(xmp), {b"tiff:Orientation": 1})
        if isinstance(xmp, bytes)
        else None,
        dpi=_plausible_dpi(info.get("dpi")),
        jpeg_quality=estimate_jpeg_quality(tables[0]) if 0 in tables else None,
        text=_text(image) if isinstance(image, PngImageFile) else {},
        color_chunks=_color_chunks(info) if is_png else {},
    )


def read_tiff_metadata(path: Path, page: int = 0) -> Metadata:
    """Collect the metadata of a TIFF file, also of one whose pixels Pillow cannot hold.

    Args:
        path: TIFF or BigTIFF file.
        page: Which of its images, from 0.

    Returns:
        What was found; an empty `Metadata` if the directory is damaged.
    """
    return Metadata(source_format="TIFF")


def save_arguments(metadata: Metadata, file_format: str, width: int, height: int) -> dict[str, Any]:
    """Arguments of `PIL.Image.Image.save` that write as much of the metadata as the format holds.

    Args:
        metadata: What to write.
        file_format: Pillow's name: PNG, JPEG, WEBP, TIFF or BMP.
        width: Width of the image to write, in pixels; size tags are set to it.
        height: Height of the image to write.

    Returns:
        Keyword arguments; empty values are left out.
    """
    arguments: dict[str, Any] = {"dpi": metadata.dpi}
    if file_format != "BMP":
        exif = metadata.exif and sized_exif(metadata.exif, width, height)
        xmp = metadata.xmp and _set_xmp_size(metadata.xmp, width, height)
        arguments |= {"icc_profile": metadata.icc_profile, "exif": exif, "xmp": xmp}
    if file_format == "JPEG":
        for name, limit in (("exif", _JPEG_SEGMENT), ("xmp", _JPEG_XMP)):
            if len(arguments[name] or b"") > limit:
                arguments[name] = None
    elif file_format == "TIFF":
        arguments |= _tiff_arguments(exif, arguments.pop("xmp"))
    elif file_format == "PNG":
        arguments["pnginfo"] = _png_chunks(metadata, arguments.pop("xmp"))
    return {name: value for name, value in arguments.items() if value}


def estimate_jpeg_quality(luminance_table: Sequence[int]) -> int:
    """The libjpeg quality whose luminance table is nearest to the given one.

    Exact for files of libjpeg and its descendants; for cameras and Photoshop, whose tables are
    their own, the quality of about the same loss.

    Args:
        luminance_table: 64 quantisation steps in natural order.

    Returns:
        1 (worst) to 100.
    """
    steps = np.log(np.maximum(np.array(luminance_table, dtype=np.float64), 1))
    qualities = range(1, 101)
    errors = [np.abs(np.log(_scaled_table(quality)) - steps).sum() for quality in qualities]
    return qualities[int(np.argmin(errors))]


def _scaled_table(quality: int) -> NDArray[np.int64]:
    """Libjpeg's `jpeg_quality_scaling` and `jpeg_add_quant_table` for baseline files."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.asarray(np.clip((_LUMINANCE_TABLE * percent + 50) // 100, 1, 255))


def _exif_block(image: Image.Image) -> bytes | None:
    try:
        if image.format == "TIFF":
            tags = _descriptive(image.getexif())
            return tags.tobytes() if len(tags) else None
        if "exif" not in image.info and "Raw profile type exif" in image.info:
            return image.getexif().tobytes()
    except _UNREADABLE:
        return None
    block = image.info.get("exif")
    return block if isinstance(block, bytes) else None


def _descriptive(source: Image.Exif) -> Image.Exif:
    tags = Image.Exif()
    for tag in _DESCRIPTIVE_TIFF_TAGS:
        if tag in source:
            tags[tag] = source[tag]
    for tag in _TIFF_DIRECTORIES:
        if tag in source:
            directory = tags.get_ifd(tag)
            directory.update(source.get_ifd(tag))
            directory.pop(_INTEROPERABILITY, None)  # an offset into the old block
            tags[tag] = directory
    return tags


def _tiff_arguments(exif: bytes | None, xmp: bytes | None) -> dict[str, Any]:
    tags = _tiff_tags(exif) if exif else Image.Exif()
    # libtiff, which compresses, cannot be given EXIF directories through Pillow.
    compression = None if len(tags) else "tiff_adobe_deflate"
    if compression:
        tags[_PREDICTOR_TIFF_TAG] = _HORIZONTAL_DIFFERENCING
    if xmp:
        tags[_XMP_TIFF_TAG] = xmp
    return {"exif": tags, "compression": compression}


def _tiff_tags(exif: bytes) -> Image.Exif:
    source = Image.Exif()
    try:
        source.load(exif)
        tags = _descriptive(source)
        tags.tobytes()  # values that Pillow cannot write are found now, not in the open output
    except _UNREADABLE:
        return Image.Exif()
    return tags


def _png_chunks(metadata: Metadata, xmp: bytes | None) -> PngInfo:
    chunks = PngInfo()
    for name, data in metadata.color_chunks.items():
        chunks.add(name, data)
    for keyword, text in metadata.text.items():
        chunks.add_text(keyword, text)
    if xmp:
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    return chunks


def _text(image: PngImageFile) -> dict[str, str]:
    elsewhere = ("XML:com.adobe.xmp", "Raw profile type")
    return {key: text for key, text in image.text.items() if not key.startswith(elsewhere)}


def _color_chunks(info: Mapping[str | tuple[int, int], Any]) -> dict[bytes, bytes]:
    chunks = {}
    if "gamma" in info:
        chunks[b"gAMA"] = struct.pack(">I", round(info["gamma"] * 100000))
    if "chromaticity" in info:
        values = [round(value * 100000) for value in info["chromaticity"]]
        chunks[b"cHRM"] = struct.pack(f">{len(values)}I", *values)
    if "srgb" in info:
        chunks[b"sRGB"] = bytes([info["srgb"]])
    return chunks


def _plausible_dpi(dpi: object) -> tuple[float, float] | None:
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    x, y = (float(value) for value in dpi)
    # JPEG stores 16 bits; a resolution of 0, infinity or NaN comes from a damaged fraction.
    plausible = all(math.isfinite(value) and 1 <= value <= 65535 for value in (x, y))
    return (x, y) if plausible else None


def _without_thumbnails(xmp: bytes) -> bytes:
    return re.sub(rb"<xmp:Thumbnails\b.*?</xmp:Thumbnails>", b"", xmp, flags=re.DOTALL)


def _set_xmp_size(xmp: bytes, width: int, height: int) -> bytes:
    return _set_xmp(
        xmp,
        {
            b"tiff:ImageWidth": width,
            b"tiff:ImageLength": height,
            b"exif:PixelXDimension": width,
            b"exif:PixelYDimension": height,
        },
    )


def _set_xmp(xmp: bytes, values: Mapping[bytes, int]) -> bytes:
    """Replace integer properties where they stand, written as attributes or as elements."""
    for name, value in values.items():
        pattern = rb"(\b" + name + rb"\s*(?:=\s*[\"']|>)\s*)\d+"
        xmp = re.sub(pattern, rb"\g<1>%d" % value, xmp)
    return xmp
