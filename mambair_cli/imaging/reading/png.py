"""Reading PNG files of every depth."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

from PIL import ImageFile

from mambair_cli.errors import ImageError
from mambair_cli.imaging import vips
from mambair_cli.imaging.metadata.collect import read_metadata
from mambair_cli.imaging.metadata.png_chunks import without_unsound_chunks
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
    image = _opened(path, file)
    frames = getattr(image, "n_frames", 1)
    check_pixels(path, image.width * image.height * frames, max_pixels)
    file.seek(_DEPTH_AND_COLOUR)
    depth, colour_type = file.read(2)
    file.seek(0)
    if frames > 1:
        if depth > 8:
            raise unsupported(path, f"{frames} frames of 16 bits", "save it with 8 bits first")
        copy = without_unsound_chunks(file)
        return of_frames(path, image if copy is None else open_image(path, copy), file)

    def decode(_: str) -> pyvips.Image:
        # Checksums tell damage; a warning may be about nothing but an odd colour profile.
        return vips.load("pngload", path, fail_on="error")

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
        changes=_changes(depth, colour_type),
    )
    return of_rasters([raster])


def _opened(path: Path, file: IO[bytes]) -> ImageFile.ImageFile:
    """Open the file, or a copy without the flaws that Pillow does not forgive."""
    try:
        return open_image(path, file)
    except ImageError:
        copy = without_unsound_chunks(file)
        if copy is None:
            raise
        return open_image(path, copy)


def _changes(depth: int, colour_type: int) -> tuple[str, ...]:
    if colour_type == _PALETTE:
        return ("palette converted to RGB",)
    return (f"{depth} bits converted to 8",) if depth < 8 else ()
