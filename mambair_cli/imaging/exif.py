"""Changing the few EXIF values that a restored image makes wrong, and leaving every other byte.

Writing the block anew would move the maker notes, whose inner offsets count from the start of the
block, and cameras' own tags would be lost. So values are replaced where they stand.
"""

from __future__ import annotations

import contextlib
import struct

PREFIX = b"Exif\x00\x00"

_BYTE_ORDERS = {b"II*\x00": "<", b"MM\x00*": ">"}
_SHORT, _LONG = 3, 4

_IMAGE_WIDTH, _IMAGE_LENGTH = 0x0100, 0x0101
_ORIENTATION = 0x0112
_THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_EXIF_DIRECTORY = 0x8769
_PIXEL_X_DIMENSION, _PIXEL_Y_DIMENSION = 0xA002, 0xA003


def upright_exif(exif: bytes) -> bytes | None:
    """Return the block as it is for upright pixels: orientation 1, no thumbnail.

    Args:
        exif: EXIF block, with or without its `Exif` prefix.

    Returns:
        The block with the prefix, or None if it is damaged.
    """
    try:
        block = _Block(exif)
        directory = block.number("I", 4)
        entries = block.entries(directory)
        if _ORIENTATION in entries:
            block.put("HIHH", entries[_ORIENTATION] + 2, _SHORT, 1, 1, 0)
        block.drop_thumbnail(directory + 2 + 12 * len(entries))
    except (struct.error, ValueError):
        return None
    return block.tobytes()


def sized_exif(exif: bytes, width: int, height: int) -> bytes:
    """Return the block of `upright_exif` with its size tags, where it has them, set in pixels."""
    block = _Block(exif)
    entries = block.entries(block.number("I", 4))
    block.set_lengths(entries, {_IMAGE_WIDTH: width, _IMAGE_LENGTH: height})
    if _EXIF_DIRECTORY in entries:
        with contextlib.suppress(struct.error):  # a damaged sub-directory stays as it is
            details = block.entries(block.number("I", entries[_EXIF_DIRECTORY] + 8))
            block.set_lengths(details, {_PIXEL_X_DIMENSION: width, _PIXEL_Y_DIMENSION: height})
    return block.tobytes()


class _Block:
    """A TIFF structure in memory; reading or writing beyond its end raises `struct.error`."""

    def __init__(self, exif: bytes) -> None:
        while exif.startswith(PREFIX):  # some writers put it twice
            exif = exif[len(PREFIX) :]
        if exif[:4] not in _BYTE_ORDERS:
            raise ValueError("not a TIFF structure")
        self.data = bytearray(exif)
        self.order = _BYTE_ORDERS[exif[:4]]

    def number(self, kind: str, position: int) -> int:
        return int(struct.unpack_from(self.order + kind, self.data, position)[0])

    def put(self, kinds: str, position: int, *values: int) -> None:
        struct.pack_into(self.order + kinds, self.data, position, *values)

    def entries(self, directory: int) -> dict[int, int]:
        """Tag -> position of its 12 bytes: tag, type, count, value or offset."""
        positions = [directory + 2 + 12 * i for i in range(self.number("H", directory))]
        return {self.number("H", position): position for position in positions}

    def set_lengths(self, entries: dict[int, int], lengths: dict[int, int]) -> None:
        for tag, length in lengths.items():
            if tag in entries:
                self.put("HII", entries[tag] + 2, _LONG, 1, length)

    def drop_thumbnail(self, pointer: int) -> None:
        """Unlink the second directory and erase the JPEG it points to."""
        directory = self.number("I", pointer)
        self.put("I", pointer, 0)
        if not directory:
            return
        with contextlib.suppress(struct.error, KeyError):
            entries = self.entries(directory)
            start = self.number("I", entries[_THUMBNAIL_OFFSET] + 8)
            end = start + self.number("I", entries[_THUMBNAIL_LENGTH] + 8)
            if self.data[start : start + 2] != b"\xff\xd8":
                return
            if end >= len(self.data):
                del self.data[start:]
            else:
                self.data[start:end] = bytes(end - start)

    def tobytes(self) -> bytes:
        return PREFIX + bytes(self.data)
