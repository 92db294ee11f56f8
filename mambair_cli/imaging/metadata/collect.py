"""Collecting what a file says about its image beside the pixels, whatever its format."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import IO, Any

from PIL import Image

from mambair_cli.imaging.color.encoding import ColorEncoding, ColorSpace, space_of_code_points
from mambair_cli.imaging.color.items import read_code_points
from mambair_cli.imaging.color.png_chunks import encoding_of_chunks
from mambair_cli.imaging.color.profile import space_in
from mambair_cli.imaging.color.tags import space_of_exif
from mambair_cli.imaging.file_boxes import file_boxes
from mambair_cli.imaging.metadata.exif import exif_orientation
from mambair_cli.imaging.metadata.image_metadata import ContentReport, Metadata
from mambair_cli.imaging.metadata.jpeg_quality import coding_of_image
from mambair_cli.imaging.metadata.jpeg_segments import read_jpeg_segments
from mambair_cli.imaging.metadata.jxl_boxes import read_jxl_xmp
from mambair_cli.imaging.metadata.png_chunks import read_png_chunks
from mambair_cli.imaging.metadata.tiff_metadata import TiffMetadata, read_tiff_page
from mambair_cli.imaging.metadata.upright import upright_metadata
from mambair_cli.imaging.metadata.xmp import xmp_orientation

_BMP_HEADER, _BMP_V5_BYTES, _EMBEDDED = 14, 124, b"DEBM"
_MOST_BOXES = 1000
_LARGEST_PROFILE = 64 * 2**20
_PICTURES = 0xB002  # of the Multi-Picture Format
_HEIC_EXTRAS = {
    "thumbnails": "thumbnail",
    "depth_images": "depth map",
    "aux": "auxiliary images",
    "metadata": "other metadata",
}
_ANIMATION_EXTENSIONS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


def read_metadata(image: Image.Image, file: IO[bytes] | None = None) -> Metadata:
    """Collect the metadata of an image that Pillow opened, before it is turned upright.

    Whatever is damaged is left out, and said in `reading`: a broken tag is no reason to refuse the
    pixels. Of a TIFF file it is the metadata of the page that `image` is at.

    Args:
        image: Loaded or not.
        file: The file from which Pillow opened the image; it is left at the position it had.
            None for an image that has none, or is not loaded yet.
    """
    file = file or getattr(image, "fp", None)
    if file is not None and image.format == "PNG":
        metadata = _of_png(file)
    elif file is not None and image.format == "TIFF":
        metadata = _of_tiff(file, image.tell())
    elif image.format in ("JPEG", "MPO"):
        metadata = _of_jpeg(image)
    elif file is not None and image.format == "JXL":
        metadata = _of_jxl(image, file)
    elif file is not None and image.format == "BMP":
        metadata = replace(_of_info(image), color=ColorEncoding(_bmp_profile(file)))
    elif file is not None and image.format == "AVIF":
        metadata = _of_avif(image, file)
    else:
        metadata = _of_info(image)
    if (
        file is not None
        and not file.closed
        and image.format in ("AVIF", "HEIF")
        and _has_video(file)
    ):
        left = ContentReport(dropped=("motion video",))
        metadata = replace(metadata, reading=metadata.reading.joined(left))
    turned = image.info.get("original_orientation")  # by the plugin for HEIC
    return upright_metadata(replace(_with_color(metadata), size=image.size), turned)


def read_tiff_metadata(file: IO[bytes], page: int = 0, directory: int | None = None) -> Metadata:
    """Collect the metadata of a TIFF file, also of one whose pixels Pillow cannot hold.

    Args:
        file: TIFF or BigTIFF file; it is left at the position it had.
        page: Which of its images, from 0.
        directory: Position of the page's directory, where it is known; finding it takes time.

    Returns:
        What was found; nothing of a directory that is damaged.

    Raises:
        OSError: The file cannot be read.
    """
    return upright_metadata(_with_color(_of_tiff(file, page, directory)))


def stored_orientation(exif: object, xmp: object) -> int:
    """How an image is stored, 1 to 8: as its EXIF block says, or its XMP packet if that does not.

    Args:
        exif: Bytes of the block; anything else counts as none.
        xmp: Bytes of the packet; anything else counts as none.
    """
    orientation = exif_orientation(exif) if isinstance(exif, bytes) else None
    if orientation is None and isinstance(xmp, bytes):
        orientation = xmp_orientation(xmp)
    return orientation or 1


def _of_png(file: IO[bytes]) -> Metadata:
    found = read_png_chunks(file)
    color, impossible = encoding_of_chunks(found.icc_profile, found.color)
    dropped = [f"{name} (damaged)" for name in found.damaged]
    dropped += [f"colour chunk {name} (impossible)" for name in impossible]
    dropped += [f"{name} (beyond 64 MiB)" for name in found.large]
    if found.others:
        dropped.append(f"PNG chunks {', '.join(sorted(found.others))}")
    return Metadata(
        source_format="PNG",
        color=color,
        exif=found.exif,
        xmp=found.xmp,
        iptc=found.iptc,
        dpi=found.dpi,
        text=found.text,
        stored_orientation=stored_orientation(found.exif, found.xmp),
        reading=ContentReport(dropped=tuple(dropped)),
    )


def _of_tiff(file: IO[bytes], page: int, directory: int | None = None) -> Metadata:
    position = file.tell()
    try:
        found = read_tiff_page(file, page, directory)
    except ValueError:
        found = TiffMetadata(dropped=("TIFF tags (damaged)",))
    finally:
        file.seek(position)
    return Metadata(
        source_format="TIFF",
        color=found.color,
        exif=found.exif,
        xmp=found.xmp,
        iptc=found.iptc,
        dpi=found.dpi,
        size=found.size,
        measures=found.measures,
        stored_orientation=found.orientation or 1,
        reading=ContentReport(dropped=found.dropped),
    )


def _of_jpeg(image: Image.Image) -> Metadata:
    segments: Sequence[tuple[str, bytes]] = getattr(image, "applist", ())
    found = read_jpeg_segments(segments)
    dropped = list(found.dropped)
    has_profile = any(data.startswith(b"ICC_PROFILE\0") for _, data in segments)
    if has_profile and not image.info.get("icc_profile"):
        dropped.append("colour profile (damaged)")
    if len(getattr(image, "mpinfo", {}).get(_PICTURES, ())) > 1:
        dropped.append("further pictures (previews, gain maps)")
    return replace(
        _of_info(image),
        source_format="JPEG",
        xmp=found.xmp,
        iptc=found.iptc,
        jpeg=coding_of_image(image),
        comment=found.comment,
        reading=ContentReport(dropped=tuple(dropped)),
    )


def _of_jxl(image: Image.Image, file: IO[bytes]) -> Metadata:
    packet, compressed = read_jxl_xmp(file)
    dropped = ("compressed metadata",) if compressed else ()
    metadata = replace(_of_info(image), xmp=packet, reading=ContentReport(dropped=dropped))
    # The codestream has an orientation of its own, which is applied; that of EXIF is void, unless
    # the plugin gives back the JPEG file from which this one was made.
    return metadata if getattr(image, "jpeg", False) else replace(metadata, stored_orientation=1)


def _of_avif(image: Image.Image, file: IO[bytes]) -> Metadata:
    metadata = _of_info(image)
    try:
        space = read_code_points(file)
    except ValueError:
        left = ContentReport(dropped=("colour code points (unknown or damaged)",))
        return replace(metadata, reading=metadata.reading.joined(left))
    return replace(metadata, color=replace(metadata.color, space=space))


def _with_color(metadata: Metadata) -> Metadata:
    """Decide between what is said of the values in several places."""
    color = metadata.color
    if color.profile and color.space is None:
        space = space_in(color.profile)
        color = color if space is None or space.fits_profile else replace(color, space=space)
    elif color.profile and color.space and metadata.source_format != "PNG":
        # Beside a profile, code points say how luma and chroma were made, or more than it can.
        color = replace(color, space=None if color.space.fits_profile else color.space)
    elif color.says_nothing:
        color = replace(color, space=space_of_exif(metadata.exif))
    elif color.space and color.space.is_srgb and not color.chunks:
        color = replace(color, space=None)
    return replace(metadata, color=color)


def _of_info(image: Image.Image) -> Metadata:
    """Return what Pillow itself reads."""
    info = image.info
    return Metadata(
        source_format=image.format or "PNG",
        color=ColorEncoding(_bytes(info.get("icc_profile")), _space_of_heic(info)),
        exif=_bytes(info.get("exif")),
        xmp=_bytes(info.get("xmp")),
        dpi=info.get("dpi"),
        comment=_bytes(info.get("comment")),
        reading=ContentReport(dropped=tuple(_left_behind(info))),
        stored_orientation=stored_orientation(info.get("exif"), info.get("xmp")),
    )


def _space_of_heic(info: Mapping[Any, Any]) -> ColorSpace | None:
    profile = info.get("nclx_profile")
    if not isinstance(profile, dict):
        return None
    points = (int(profile.get(name, 2)) for name in ("color_primaries", "transfer_characteristics"))
    try:
        return space_of_code_points(*points)
    except ValueError:
        return None


def _bmp_profile(file: IO[bytes]) -> bytes | None:
    """Return the profile that the fifth kind of header may point to, which Pillow does not read."""
    before = file.tell()
    file.seek(_BMP_HEADER)
    header = file.read(_BMP_V5_BYTES)
    profile = b""
    if len(header) == _BMP_V5_BYTES and header[56:60] == _EMBEDDED:
        start, length = struct.unpack_from("<II", header, 112)
        file.seek(_BMP_HEADER + start)
        profile = file.read(min(length, _LARGEST_PROFILE))
    file.seek(before)
    return profile or None


def _has_video(file: IO[bytes]) -> bool:
    """Whether a video follows a still picture in a box of its own, as phones add it."""
    before = file.tell()
    found = any(kind == b"mpvd" for kind, _ in islice(file_boxes(file), _MOST_BOXES))
    file.seek(before)
    return found


def _left_behind(info: Mapping[Any, Any]) -> Iterator[str]:
    """Return what Pillow and its plugins find and nothing here takes, of HEIC and GIF files."""
    for key, phrase in _HEIC_EXTRAS.items():
        if info.get(key):
            yield phrase
    name, _ = info.get("extension") or (b"", 0)
    if name and not name.startswith(_ANIMATION_EXTENSIONS):
        yield f"GIF extension {name.decode('latin-1')}"


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) and value else None
