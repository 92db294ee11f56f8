"""GIF files, still or animated, by libvips: palettes, dithering, and what changes between frames.

It keeps one index of each palette for itself, so that 256 colours come out as 255. Where frames
have just as many, their palettes are made here, and Pillow compresses every frame as a whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.GifImagePlugin import getdata

from mambair_cli.imaging.image import Pixels, Timing

_COLORS = 256
_OPAQUE = 128
_HEADER_BYTES = 13
_KEEP = 1  # what becomes of a frame before the next one is drawn


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

    Raises:
        ValueError: libvips cannot save the frames.
    """
    has_alpha = frames[0].shape[2] in (2, 4)
    durations = timing.durations if timing else (0,)
    rounded = [round(duration / 10) * 10 for duration in durations]
    loops = timing.loops if timing else 1
    shown = [_shown(frame, has_alpha=has_alpha) for frame in frames]
    counts = [_color_count(frame) for frame in shown]
    if not has_alpha and max(counts) == _COLORS:
        content = _with_whole_palettes(shown, rounded, loops)
    else:
        content = _saved(shown, rounded, loops)
    file.write(_with_comment(content, comment) if comment else content)
    changes = {
        f"colours reduced to {_COLORS}": max(counts) > _COLORS - 2 * has_alpha,
        "transparency reduced to on and off": has_alpha and any(map(_is_partial, frames)),
        "durations rounded to hundredths of a second": rounded != list(durations),
    }
    return tuple(phrase for phrase, changed in changes.items() if changed)


def _shown(frame: Pixels, *, has_alpha: bool) -> NDArray[np.uint8]:
    """Return a frame in colour, as transparent as GIF has it, with one colour where not seen."""
    colors = frame[..., :-1] if has_alpha else frame
    rgb = np.array(np.broadcast_to(colors, (*colors.shape[:2], 3)))
    if not has_alpha:
        return rgb
    transparent = frame[..., -1] < _OPAQUE
    rgb[transparent] = 0 if transparent.all() else rgb[~transparent][0]
    return np.dstack([rgb, np.where(transparent, 0, 255).astype(np.uint8)])


def _color_count(frame: NDArray[np.uint8]) -> int:
    """How many colours a frame has; those of more than a palette are not counted any further."""
    colors = Image.fromarray(frame[..., :3]).getcolors(_COLORS)
    return _COLORS + 1 if colors is None else len(colors)


def _saved(frames: Sequence[NDArray[np.uint8]], durations: Sequence[int], loops: int) -> bytes:
    import pyvips

    from mambair_cli.imaging import vips

    image = pyvips.Image.arrayjoin([vips.from_array(frame) for frame in frames], across=1)
    image = image.copy(interpretation="srgb")
    image.set_type(pyvips.GValue.gint_type, "page-height", len(frames[0]))
    image.set_type(pyvips.GValue.array_int_type, "delay", list(durations))
    image.set_type(pyvips.GValue.gint_type, "loop", loops)
    try:
        content: bytes = image.gifsave_buffer(keep_duplicate_frames=True)
    except vips.VipsError as error:
        raise ValueError(vips.reason(error)) from error
    return content


def _with_whole_palettes(
    frames: Sequence[NDArray[np.uint8]], durations: Sequence[int], loops: int
) -> bytes:
    height, width, _ = frames[0].shape
    # No palette for all frames, 8 bits of colour.
    parts = [b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0)]
    if loops != 1:
        # How often it runs again after the first time; 0 for ever.
        parts.append(b"!\xff\x0bNETSCAPE2.0" + struct.pack("<BBHB", 3, 1, max(0, loops - 1), 0))
    for frame, duration in zip(frames, durations, strict=True):
        codes = frame.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
        used = np.unique(codes)
        indexed = Image.fromarray(np.searchsorted(used, codes).astype(np.uint8), "P")
        palette = np.stack([used >> 16, used >> 8, used], axis=1).astype(np.uint8)
        indexed.putpalette(palette.tobytes().ljust(3 * _COLORS, b"\0"))
        parts += getdata(indexed, duration=duration, disposal=_KEEP, include_color_table=True)
    return b"".join(parts) + b";"


def _with_comment(content: bytes, comment: bytes) -> bytes:
    """Put a comment behind the header and its palette."""
    layout = content[_HEADER_BYTES - 3]
    palette = 3 * 2 ** ((layout & 7) + 1) if layout & 0x80 else 0
    start = _HEADER_BYTES + palette
    blocks = b"!\xfe" + b"".join(_blocks(comment)) + b"\0"
    return content[:start] + blocks + content[start:]


def _blocks(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 255):
        block = content[start : start + 255]
        yield bytes([len(block)]) + block


def _is_partial(frame: Pixels) -> bool:
    alpha = frame[..., -1]
    return bool(((alpha > 0) & (alpha < 255)).any())
