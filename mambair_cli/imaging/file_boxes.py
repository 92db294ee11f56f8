"""Boxes, of which files of the ISO base media format consist (ISO/IEC 14496-12, section 4.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO


def file_boxes(file: IO[bytes], start: int = 0) -> Iterator[tuple[bytes, int]]:
    """Walk over the outermost boxes of a file.

    Args:
        file: Open for reading; between two boxes it may be read and sought.
        start: Where the first box is.

    Yields:
        Kind of a box, and bytes of its content, which the file may end before; `file` is at its
        first. The last box may leave its length open.
    """
    end, position = file.seek(0, 2), start
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
