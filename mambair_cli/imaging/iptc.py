"""IPTC records: captions, names and places, as press agencies have written them since 1991."""

from __future__ import annotations

import struct

_SIGNATURE = b"Photoshop 3.0\x00"
_IPTC_RESOURCE = 0x0404


def photoshop_segment(iptc: bytes) -> bytes:
    """The records as the content of a JPEG file's APP13 segment, without marker and length."""
    header = b"8BIM" + struct.pack(">H2xI", _IPTC_RESOURCE, len(iptc))
    return _SIGNATURE + header + iptc + bytes(len(iptc) % 2)
