"""Metadata in the segments of a JPEG file."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from mambair_cli.imaging.metadata import iptc, xmp
from mambair_cli.imaging.metadata.tag_reader import PREFIX
from mambair_cli.imaging.metadata.xmp_places import GAIN_MAP

_ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
# Starts of the segments whose content is read here or by Pillow, or belongs to the pixels.
_TAKEN = {
    "APP0": (b"JFIF\0", b"JFXX\0"),
    "APP1": (PREFIX, xmp.XMP_SIGNATURE, xmp.EXTENSION_SIGNATURE),
    "APP2": (b"ICC_PROFILE\0", b"MPF\0", _ISO_GAIN_MAP),
    "APP13": (iptc.PHOTOSHOP_SIGNATURE,),
    "APP14": (b"Adobe",),
}
_JFIF_HEADER = 14

# Of them one stands in a picture that is a gain map: of Adobe and Google, Apple, ISO 21496-1.
GAIN_MAP_MARKS = (b"hdr-gain-map", b"HDRGainMap", _ISO_GAIN_MAP)


@dataclass(frozen=True)
class JpegSegments:
    """What was found.

    Attributes:
        xmp: XMP packet, its extensions put in.
        iptc: IPTC records.
        comment: All comments, one a line.
        dropped: Phrases for what is not taken.
    """

    xmp: bytes | None = None
    iptc: bytes | None = None
    comment: bytes | None = None
    dropped: tuple[str, ...] = field(default=())


def read_jpeg_segments(segments: Sequence[tuple[str, bytes]]) -> JpegSegments:
    """Collect what Pillow does not.

    Args:
        segments: Names (`APP1`, `COM`) and contents, in order.
    """
    packets = [data for name, data in segments if data.startswith(xmp.XMP_SIGNATURE)]
    extensions = [data for _, data in segments if data.startswith(xmp.EXTENSION_SIGNATURE)]
    packet, dropped = None, []
    if packets:
        packet, whole = xmp.merged_xmp(packets[0][len(xmp.XMP_SIGNATURE) :], extensions)
        if not whole:
            dropped.append("extended XMP (damaged)")
    resources = iptc.read_photoshop_resources(
        b"".join(
            data.removeprefix(iptc.PHOTOSHOP_SIGNATURE)
            for _, data in segments
            if data.startswith(iptc.PHOTOSHOP_SIGNATURE)
        )
    )
    dropped += iptc.dropped_resources(resources)
    if any(_has_thumbnail(name, data) for name, data in segments):
        dropped.append("thumbnail")
    if any(data.startswith(_ISO_GAIN_MAP) for _, data in segments):
        dropped.append(GAIN_MAP)
    others = [name for name, data in segments if name != "COM" and not _is_taken(name, data)]
    if others:
        dropped.append(f"JPEG segments {', '.join(dict.fromkeys(others))}")
    return JpegSegments(
        xmp=packet,
        iptc=resources.get(iptc.IPTC_RESOURCE) or None,
        comment=b"\n".join(data for name, data in segments if name == "COM") or None,
        dropped=tuple(dropped),
    )


def jpeg_segments(packet: bytes | None, records: bytes | None) -> bytes:
    """Return an XMP packet and IPTC records as segments with their markers.

    Pillow writes them as they are when it is given them as `extra`; it would refuse a packet that
    needs several segments, and does not know IPTC.
    """
    segments = [(0xE1, data) for data in xmp.jpeg_segments(packet)] if packet else []
    segments += [(0xED, data) for data in iptc.photoshop_segments(records)] if records else []
    return b"".join(
        struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in segments
    )


def _is_taken(name: str, data: bytes) -> bool:
    return data.startswith(_TAKEN.get(name, ())) if name in _TAKEN else False


def _has_thumbnail(name: str, data: bytes) -> bool:
    """Whether a JFIF segment holds a thumbnail, or is the extension that is made for it."""
    if name != "APP0":
        return False
    return data.startswith(b"JFXX\0") or (
        data.startswith(b"JFIF\0") and len(data) > _JFIF_HEADER and any(data[12:14])
    )
