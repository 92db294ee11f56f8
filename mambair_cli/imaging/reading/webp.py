"""Reading WebP files, and whether their pixels are coded without losses."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mambair_cli.imaging.reading.opening import Contents
from mambair_cli.imaging.reading.pillow import open_frames

_RIFF_HEADER, _FRAME_HEADER = 12, 16  # what stands before the first chunk of a file, of a frame
_EXACT, _LOSSY, _FRAME = b"VP8L", b"VP8 ", b"ANMF"


def open_webp(path: Path, file: IO[bytes], max_pixels: int) -> Contents:
    """Read the header of a WebP file.

    Raises:
        ImageError: It is damaged, or announces too many pixels.
    """
    codings = set(_codings(file))
    file.seek(0)
    return open_frames(path, file, max_pixels, lossless=codings == {_EXACT})


def _codings(file: IO[bytes]) -> Iterator[bytes]:
    """Yield how each frame is coded; what cannot be read is left to the decoder to judge."""
    position = _RIFF_HEADER
    while True:
        file.seek(position)
        start = file.read(8)
        if len(start) < 8:
            return
        name, size = struct.unpack("<4sI", start)
        if name in (_EXACT, _LOSSY):
            yield name
        # A frame's chunks follow its header, one after the other as those of the file do.
        position += 8 + (_FRAME_HEADER if name == _FRAME else size + size % 2)
