"""IPTC records and the Photoshop resources that JPEG and TIFF files wrap them in."""

from __future__ import annotations

import struct
from collections.abc import Iterator

PHOTOSHOP_SIGNATURE = b"Photoshop 3.0\x00"
IPTC_RESOURCE = 0x0404
_THUMBNAIL_RESOURCES = (0x0409, 0x040C)

_MARKER = 0x1C
_LARGEST_SEGMENT = 65533

_PLACE, _IDENTIFIER, _THUMBNAIL = "IPTC place", "document identifiers", "thumbnail"
# Record and data set (IPTC-IIM 4.2) of what must not be kept.
_PREVIEWS = {(2, 200): _THUMBNAIL, (2, 201): _THUMBNAIL, (2, 202): _THUMBNAIL}
_PRIVATE = {
    # content location, city, sublocation, province, country
    **dict.fromkeys(((2, n) for n in (26, 27, 90, 92, 95, 100, 101)), _PLACE),
    # unique name of the object, of the document, of its owner
    **dict.fromkeys(((1, 100), (2, 187), (2, 188)), _IDENTIFIER),
}


def photoshop_segments(iptc: bytes) -> list[bytes]:
    """Return the records as contents of JPEG APP13 segments, without marker and length."""
    block = photoshop_resources({IPTC_RESOURCE: iptc})
    room = _LARGEST_SEGMENT - len(PHOTOSHOP_SIGNATURE)
    parts = [block[i : i + room] for i in range(0, len(block), room)]
    return [PHOTOSHOP_SIGNATURE + part for part in parts]


def photoshop_resources(resources: dict[int, bytes]) -> bytes:
    """Resources by number as Photoshop writes them one behind the other."""
    return b"".join(
        b"8BIM" + struct.pack(">H2xI", number, len(data)) + data + bytes(len(data) % 2)
        for number, data in resources.items()
    )


def read_photoshop_resources(block: bytes) -> dict[int, bytes]:
    """Resources by number, up to the first damaged one."""
    found: dict[int, bytes] = {}
    position = 0
    while block[position : position + 4] == b"8BIM" and position + 12 <= len(block):
        (number,) = struct.unpack_from(">H", block, position + 4)
        name = block[position + 6] + 1
        position += 6 + name + name % 2
        if position + 4 > len(block):
            break
        (length,) = struct.unpack_from(">I", block, position)
        data = block[position + 4 : position + 4 + length]
        if len(data) < length:
            break
        found.setdefault(number, data)
        position += 4 + length + length % 2
    return found


def dropped_resources(resources: dict[int, bytes]) -> list[str]:
    """Phrases for the resources that are not taken: all but the IPTC records."""
    phrases = []
    if any(number in resources for number in _THUMBNAIL_RESOURCES):
        phrases.append(_THUMBNAIL)
    if resources.keys() - {IPTC_RESOURCE, *_THUMBNAIL_RESOURCES}:
        phrases.append("Photoshop resources")
    return phrases


def without_previews(iptc: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Return the records without smaller copies of the image, and phrases for what was dropped."""
    kept, phrases = _filtered(iptc, _PREVIEWS)
    return (kept, phrases) if _THUMBNAIL in phrases else (iptc, ())


def private_iptc(iptc: bytes) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the records without places and identifiers, and phrases for what was dropped.

    What does not follow the standard cannot be judged and is dropped too.
    """
    kept, phrases = _filtered(iptc, _PRIVATE)
    return kept or None, phrases


def _filtered(iptc: bytes, unwanted: dict[tuple[int, int], str]) -> tuple[bytes, tuple[str, ...]]:
    records = list(_records(iptc))
    kept = b"".join(data for key, data in records if key not in unwanted)
    phrases = dict.fromkeys(unwanted[key] for key, _ in records if key in unwanted)
    if sum(len(data) for _, data in records) < len(iptc.rstrip(b"\0")):
        phrases["IPTC (damaged)"] = None
    return kept, tuple(phrases)


def _records(iptc: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Record and data set of each entry, and its bytes, up to the first damaged one."""
    position = 0
    while position + 5 <= len(iptc) and iptc[position] == _MARKER:
        key = (iptc[position + 1], iptc[position + 2])
        (length,) = struct.unpack_from(">H", iptc, position + 3)
        start = position + 5
        if length & 0x8000:  # so many bytes hold the length
            size = length & 0x7FFF
            length = int.from_bytes(iptc[start : start + size][:8], "big")
            if size > 8:
                return
            start += size
        if start + length > len(iptc):
            return
        yield key, iptc[position : start + length]
        position = start + length
