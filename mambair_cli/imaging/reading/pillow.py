"""Reading what Pillow decodes best: formats of at most 8 bits, and animations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import DTypeLike
from PIL import Image, ImageFile, UnidentifiedImageError

from mambair_cli.imaging.formats import FORMATS, is_readable
from mambair_cli.imaging.image import (
    ImageHeader,
    ImageSequence,
    Pixels,
    RestorableImage,
    Timing,
)
from mambair_cli.imaging.metadata.collect import read_metadata
from mambair_cli.imaging.metadata.image_metadata import Metadata
from mambair_cli.imaging.orientation import turn, turned_size
from mambair_cli.imaging.reading.opening import DAMAGE, Contents, check_pixels, damaged, unsupported

_DEEP_MODES = ("I;16", "F")
_GRAY_MODES = ("1", "L", "LA", "La", *_DEEP_MODES)
_TYPES: dict[str, DTypeLike] = {
    **dict.fromkeys((*_GRAY_MODES, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"), np.uint8),
    "I;16": np.uint16,
    "F": np.float32,
}
_ANIMATIONS = ("AVIF", "GIF", "PNG", "WEBP")


def open_image(path: Path, file: IO[bytes]) -> ImageFile.ImageFile:
    """Open an image of any format that is restored, without decoding it.

    Raises:
        ImageError: The header is damaged.
    """
    try:
        return Image.open(file, formats=[entry.name for entry in FORMATS if is_readable(entry)])
    except UnidentifiedImageError as error:
        raise damaged(path, "its header cannot be read") from error
    except DAMAGE as error:
        raise damaged(path, error) from error


def open_frames(
    path: Path, file: IO[bytes], max_pixels: int, *, lossless: bool = False
) -> Contents:
    """Read the header of a file that Pillow decodes.

    Args:
        path: The file.
        file: The same file, open.
        max_pixels: The most pixels, of all frames together, that are read; 0 for any number.
        lossless: As `Metadata.lossless`.

    Raises:
        ImageError: It is damaged, or announces too many pixels.
    """
    image = open_image(path, file)
    try:
        frames = getattr(image, "n_frames", 1)
    except DAMAGE as error:
        raise damaged(path, error) from error
    check_pixels(path, image.width * image.height * frames, max_pixels, frames)
    return of_frames(path, image, file, lossless=lossless)


def of_frames(
    path: Path,
    image: ImageFile.ImageFile,
    file: IO[bytes],
    *,
    lossless: bool = False,
    changes: tuple[str, ...] = (),
) -> Contents:
    """Return the contents of a file that Pillow opened."""
    metadata = replace(read_metadata(image, file), lossless=lossless)
    frames = _Frames(path, image, metadata, changes)
    return Contents(frames.header(), frames.read)


@dataclass(frozen=True)
class _Frame:
    pixels: Pixels
    alpha: Pixels | None
    milliseconds: int


class _Frames:
    """The frames of a file that Pillow opened, composed and upright."""

    def __init__(
        self,
        path: Path,
        image: ImageFile.ImageFile,
        metadata: Metadata,
        changes: tuple[str, ...],
    ) -> None:
        self._changes = changes
        self._path, self._image = path, image
        # A PNG file may begin with a picture for viewers without animation.
        self._first = int(getattr(image, "default_image", False))
        self._stop: int = getattr(image, "n_frames", 1)
        self._metadata = metadata
        self._orientation = self._metadata.stored_orientation
        _scale_transparent_level(image)

    def header(self) -> ImageHeader:
        image = self._image
        if image.mode not in _TYPES:
            raise unsupported(self._path, f"{image.mode} pixels")
        width, height = turned_size(image.width, image.height, self._orientation)
        return ImageHeader(
            width,
            height,
            1 if image.mode in _GRAY_MODES else 3,
            np.dtype(_TYPES[image.mode]),
            image.has_transparency_data,
            self._stop - self._first,
        )

    def read(self) -> ImageSequence:
        frames = []
        try:
            for index in range(self._first, self._stop):
                if self._stop > 1:
                    self._image.seek(index)
                self._image.load()
                frames.append(self._frame())
        except DAMAGE as error:
            raise damaged(self._path, error) from error
        frames, cut = _on_one_screen(frames) if self._image.format == "GIF" else (frames, ())
        hidden = ("picture for viewers without animation left out",) if self._first else ()
        channels = max(frame.pixels.shape[2] for frame in frames)
        # Composing makes opacity even where nothing is to be seen through.
        has_alpha = any(
            frame.alpha is not None and (len(frames) == 1 or frame.alpha.min() < 255)
            for frame in frames
        )
        images = tuple(
            RestorableImage(
                _repeated(frame.pixels, channels),
                _opacity(frame) if has_alpha else None,
                self._metadata,
                changes=self._changes + hidden + cut,
            )
            for frame in frames
        )
        return ImageSequence(images, self._timing(frames))

    def _frame(self) -> _Frame:
        pixels, alpha = _split(self._image)
        return _Frame(
            np.ascontiguousarray(turn(pixels, self._orientation)),
            None if alpha is None else np.ascontiguousarray(turn(alpha, self._orientation)),
            round(self._image.info.get("duration") or 0),
        )

    def _timing(self, frames: Sequence[_Frame]) -> Timing | None:
        if len(frames) < 2 or self._image.format not in _ANIMATIONS:
            return None
        return Timing(tuple(frame.milliseconds for frame in frames), _loops(self._image))


def _on_one_screen(frames: list[_Frame]) -> tuple[list[_Frame], tuple[str, ...]]:
    """Cut frames that reach beyond the first one, as viewers do; say so where any does."""
    h, w = frames[0].pixels.shape[:2]
    cut = [
        replace(
            frame,
            pixels=np.ascontiguousarray(frame.pixels[:h, :w]),
            alpha=None if frame.alpha is None else np.ascontiguousarray(frame.alpha[:h, :w]),
        )
        for frame in frames
    ]
    beyond = any(frame.pixels.shape[:2] != (h, w) for frame in frames)
    return cut, ("parts of frames outside of the animation cut off",) if beyond else ()


def _split(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    gray = image.mode in _GRAY_MODES
    if image.mode in _DEEP_MODES:
        return np.array(image, dtype=_TYPES[image.mode])[..., None], None
    if image.has_transparency_data:
        values = np.asarray(image.convert("LA" if gray else "RGBA"))
        return values[..., :-1].copy(), values[..., -1].copy()
    values = np.array(image.convert("L" if gray else "RGB"))
    return values.reshape(*values.shape[:2], -1), None


def _repeated(pixels: Pixels, channels: int) -> Pixels:
    """Return a gray frame among coloured ones in as many channels."""
    return pixels if pixels.shape[2] == channels else np.repeat(pixels, channels, axis=2)


def _opacity(frame: _Frame) -> Pixels:
    if frame.alpha is not None:
        return frame.alpha
    return np.full(frame.pixels.shape[:2], 255, frame.pixels.dtype)


def _loops(image: ImageFile.ImageFile) -> int:
    loops = image.info.get("loop")
    if image.format != "GIF":
        return int(loops or 0)
    # A GIF file counts how often the animation is repeated after it ran; nothing said is once.
    return 1 if loops is None else int(loops) and int(loops) + 1


def _scale_transparent_level(image: ImageFile.ImageFile) -> None:
    """Scale to 8 bits what Pillow leaves in 2 or 4 bits when it scales the gray pixels."""
    level = image.info.get("transparency")
    if image.format == "PNG" and image.mode == "L" and isinstance(level, int) and image.tile:
        image.info["transparency"] = level * {"L;2": 85, "L;4": 17}.get(str(image.tile[0][3]), 1)
