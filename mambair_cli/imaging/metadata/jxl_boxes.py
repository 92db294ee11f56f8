"""The container of JPEG XL files: boxes, as in other files of the ISO base media format."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO

_CONTAINER = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"
_LARGEST = 64 * 2**20


def boxes(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Walk over the boxes of a container; none in a bare codestream.

    Args:
        file: Open for reading; between two boxes it may be read and sought.

    Yields:
        Kind of a box, and bytes of its content, which the file may end before; `file` is at its
        first. The last box may leave its length open.
    """
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
        size = size or end - position
        if size < header:
            return
        yield kind, size - header
        position += size


def read_jxl_xmp(file: IO[bytes]) -> tuple[bytes | None, bool]:
    """Read the XMP packet, which Pillow's plugin does not, without decoding the image.

    Args:
        file: Open for reading; it is left at the position it had.

    Returns:
        The packet or None, and whether there are compressed boxes, which are not looked into.
    """
    before = file.tell()
    packet, compressed = None, False
    for kind, length in boxes(file):
        if kind == b"xml " and length <= _LARGEST and not packet:
            content = file.read(length)
            packet = content if len(content) == length else None
        compressed = compressed or kind == b"brob"
    file.seek(before)
    return packet or None, compressed
