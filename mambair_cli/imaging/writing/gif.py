"""GIF files, still or animated: every frame complete, with a palette of its own.

Pillow compresses the frames. Its own animations leave out frames that look like the one before and
write differences, which goes wrong where palettes and transparency change from frame to frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.GifImagePlugin import getdata

from mambair_cli.imaging.image import Pixels, Timing

_COLORS = 256
_OPAQUE = 128
_KEEP, _CLEAR = 1, 2  # what becomes of a frame before the next one is drawn


def write_gif(
    file: IO[bytes],
    frames: Sequence[Pixels],
    timing: Timing | None = None,
    comment: bytes | None = None,
) -> tuple[str, ...]:
    """Write one image or an animation.

    Args:
        file: Open for writing.
        frames: `(h w s)` uint8 of one shape, 1 to 4 samples, alpha as the last one.
        timing: Of several frames.
        comment: For people.

    Returns:
        What was changed to fit into the format, for people.
    """
    height, width, samples = frames[0].shape
    has_alpha = samples in (2, 4)
    durations = timing.durations if timing else (0,)
    # No palette for all frames, 8 bits of colour.
    file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
    if timing and timing.loops != 1:
        # How often it runs again after the first time; 0 for ever.
        again = max(0, timing.loops - 1)
        file.write(b"!\xff\x0bNETSCAPE2.0" + struct.pack("<BBHB", 3, 1, again, 0))
    if comment:
        file.write(b"!\xfe" + b"".join(_blocks(comment)) + b"\0")
    reduced = False
    for frame, duration in zip(frames, durations, strict=True):
        indexed = _indexed(frame, has_alpha=has_alpha)
        reduced |= indexed.reduced
        clear: dict[str, Any] = {}
        if indexed.clear is not None:
            clear["transparency"] = indexed.clear
        parts = getdata(
            indexed.image,
            duration=round(duration / 10) * 10,
            disposal=_CLEAR if has_alpha else _KEEP,
            include_color_table=True,
            **clear,
        )
        file.writelines(parts)
    file.write(b";")
    changes = {
        f"colours reduced to {_COLORS}": reduced,
        "transparency reduced to on and off": has_alpha and any(map(_is_partial, frames)),
        "durations rounded to hundredths of a second": any(d % 10 for d in durations),
    }
    return tuple(phrase for phrase, changed in changes.items() if changed)


@dataclass(frozen=True)
class _Indexed:
    """A frame with its palette; `clear` is the index of what is transparent."""

    image: Image.Image
    clear: int | None
    reduced: bool


def _indexed(frame: Pixels, *, has_alpha: bool) -> _Indexed:
    colors = frame[..., :-1] if has_alpha else frame
    transparent = frame[..., -1] < _OPAQUE if has_alpha else np.zeros(frame.shape[:2], np.bool_)
    rgb = np.array(np.broadcast_to(colors, (*colors.shape[:2], 3)))
    # What is not seen takes none of the palette; one index stands for it.
    clear = _COLORS - 1 if transparent.any() else None
    rgb[transparent] = 0 if transparent.all() else rgb[~transparent][0]
    limit = _COLORS if clear is None else clear
    image = Image.fromarray(rgb)
    reduced = image.getcolors(limit) is None
    indices, palette = _quantized(image, limit) if reduced else _exact(rgb)
    if clear is not None:
        indices[transparent] = clear
    height, width = indices.shape
    result = Image.frombytes("P", (width, height), indices.tobytes())
    result.putpalette(palette.tobytes().ljust(3 * _COLORS, b"\0"))
    return _Indexed(result, clear, reduced)


def _exact(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    codes = rgb.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    used = np.unique(codes)
    palette = np.stack([used >> 16, used >> 8, used], axis=1).astype(np.uint8)
    return np.searchsorted(used, codes).astype(np.uint8), palette


def _quantized(image: Image.Image, limit: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    palette = image.quantize(limit, method=Image.Quantize.MEDIANCUT)
    indexed = image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    return np.array(indexed), np.array(indexed.getpalette(), np.uint8)


def _is_partial(frame: Pixels) -> bool:
    alpha = frame[..., -1]
    return bool(((alpha > 0) & (alpha < 255)).any())


def _blocks(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 255):
        block = content[start : start + 255]
        yield bytes([len(block)]) + block
