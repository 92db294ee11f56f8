"""The container of JPEG XL files: boxes, as in other files of the ISO base media format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from mambair_cli.imaging.file_boxes import file_boxes

_CONTAINER = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"
_LARGEST = 64 * 2**20


def boxes(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Walk over the boxes of a container as `file_boxes` does; none in a bare codestream."""
    file.seek(0)
    if file.read(len(_CONTAINER)) == _CONTAINER:
        yield from file_boxes(file, len(_CONTAINER))


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
