"""Reading PNG files of every depth."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import IO, TYPE_CHECKING

from PIL import ImageFile

from mambair_cli.errors import ImageError
from mambair_cli.imaging import vips
from mambair_cli.imaging.metadata.collect import read_metadata
from mambair_cli.imaging.metadata.png_chunks import frames_announced, only_pixels
from mambair_cli.imaging.reading.opening import Contents, check_pixels, damaged, unsupported
from mambair_cli.imaging.reading.pillow import of_frames, open_image
from mambair_cli.imaging.reading.raster import Raster, of_rasters, unread_first

if TYPE_CHECKING:
    import pyvips

_DEPTH_AND_COLOUR = 24  # their position in the file
_PALETTE = 3


def open_png(path: Path, file: IO[bytes], max_pixels: int) -> Contents:
    """Read the header of a PNG file.

    Raises:
        ImageError: It is damaged, announces too many pixels, or is animated in 16 bits.
    """
    announced = frames_announced(file)
    image = _opened(path, file, announced)
    frames = getattr(image, "n_frames", 1)
    check_pixels(path, image.width * image.height * frames, max_pixels, frames)
    file.seek(_DEPTH_AND_COLOUR)
    depth, colour_type = file.read(2)
    file.seek(0)
    if frames > 1:
        if depth > 8:
            raise unsupported(path, f"{frames} frames of 16 bits", "save it with 8 bits first")
        return of_frames(path, image, file, changes=_flaw(announced))

    def decode(fail_on: str) -> pyvips.Image:
        # Checksums tell damage; a warning may be about nothing but an odd colour profile.
        return vips.load("pngload", path, fail_on="none" if fail_on == "none" else "error")

    try:
        samples = decode("warning")
    except vips.VipsError as error:
        raise damaged(path, vips.reason(error)) from error
    bands = samples.bands
    colours = 1 if bands < 3 else 3
    metadata = read_metadata(image, file)
    raster = Raster(
        path,
        unread_first(samples, decode),
        colours,
        alpha=colours if bands > colours else None,
        orientation=metadata.stored_orientation,
        metadata=metadata,
        changes=_changes(depth, colour_type) + _flaw(announced),
    )
    return of_rasters([raster])


def _opened(path: Path, file: IO[bytes], announced: tuple[int, int] | None) -> ImageFile.ImageFile:
    """Open the file, or a copy of its pixels, where Pillow does not forgive what is beside them."""
    if announced is None:
        with contextlib.suppress(ImageError):
            return open_image(path, file)
    return open_image(path, only_pixels(file))


def _changes(depth: int, colour_type: int) -> tuple[str, ...]:
    if colour_type == _PALETTE:
        return ("palette converted to RGB",)
    return (f"{depth} bits converted to 8",) if depth < 8 else ()


def _flaw(announced: tuple[int, int] | None) -> tuple[str, ...]:
    if announced is None or announced[0] == announced[1]:
        return ()
    return (f"{announced[0]} frames announced, {announced[1]} read",)
