"""The XMP packet of a JPEG XL file, which Pillow's plugin does not read."""

from __future__ import annotations

import struct
from typing import IO

_CONTAINER = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"
_LARGEST = 64 * 2**20


def read_jxl_xmp(file: IO[bytes]) -> tuple[bytes | None, bool]:
    """Read the packet without decoding the image.

    Args:
        file: Open for reading; it is left at the position it had.

    Returns:
        The packet or None, and whether there are compressed boxes, which are not looked into.
    """
    before = file.tell()
    packet, compressed = None, False
    end = file.seek(0, 2)
    file.seek(0)
    position = len(_CONTAINER) if file.read(len(_CONTAINER)) == _CONTAINER else end
    while position + 8 <= end:
        file.seek(position)
        size, kind = struct.unpack(">I4s", file.read(8))
        header = 8
        if size == 1 and position + 16 <= end:
            (size,) = struct.unpack(">Q", file.read(8))
            header = 16
        size = size or end - position  # the last box may leave it open
        if size < header or position + size > end:
            break
        if kind == b"xml " and size <= _LARGEST:
            packet = packet or file.read(size - header)
        compressed = compressed or kind == b"brob"
        position += size
    file.seek(before)
    return packet, compressed
