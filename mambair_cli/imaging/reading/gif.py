"""Reading GIF files."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from mambair_cli.imaging.reading.opening import Contents, check_pixels, damaged
from mambair_cli.imaging.reading.pillow import open_frames

_SCREEN_BYTES, _SCREEN_FLAGS = 13, 10
_IMAGE_BYTES, _IMAGE_FLAGS = 9, 8
_HAS_COLOURS, _COLOURS = 0x80, 0x07
_EXTENSION, _IMAGE, _TRAILER, _PADDING = 0x21, 0x2C, 0x3B, 0x00


def open_gif(path: Path, file: IO[bytes], max_pixels: int) -> Contents:
    """Read the blocks of a GIF file, not decoding them.

    Raises:
        ImageError: It is damaged, cut short, or announces too many pixels.
    """
    # Pillow takes the end of the file for the end of the animation.
    frames = _count_frames(file)
    if frames is None:
        raise damaged(path, "it ends before its last frame")
    check_pixels(path, 0, max_pixels, frames)
    file.seek(0)
    return open_frames(path, file, max_pixels)


def _count_frames(file: IO[bytes]) -> int | None:
    """Count the frames; None where the file ends before the block that ends it."""
    frames = 0
    screen = file.read(_SCREEN_BYTES)
    if len(screen) < _SCREEN_BYTES:
        return None
    _skip_colours(file, screen[_SCREEN_FLAGS])
    while kind := file.read(1):
        if kind[0] == _TRAILER:
            return frames
        if kind[0] == _EXTENSION:
            file.read(1)
        elif kind[0] == _IMAGE:
            description = file.read(_IMAGE_BYTES)
            if len(description) < _IMAGE_BYTES:
                return None
            frames += 1
            _skip_colours(file, description[_IMAGE_FLAGS])
            file.read(1)
        else:
            if kind[0] == _PADDING:
                continue
            return frames  # no block at all; the decoder shall judge
        while length := file.read(1):
            if length[0] == 0:
                break
            file.seek(length[0], 1)
    return None


def _skip_colours(file: IO[bytes], flags: int) -> None:
    if flags & _HAS_COLOURS:
        file.seek(3 << (flags & _COLOURS) + 1, 1)
