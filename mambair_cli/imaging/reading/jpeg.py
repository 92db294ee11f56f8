"""Reading JPEG files, those of print and of phones too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from PIL import ImageFile

from mambair_cli.errors import ImageError
from mambair_cli.imaging import vips
from mambair_cli.imaging.metadata.collect import read_metadata
from mambair_cli.imaging.reading.cmyk import cmyk_to_srgb
from mambair_cli.imaging.reading.opening import DAMAGE, Contents, check_pixels, damaged
from mambair_cli.imaging.reading.pillow import open_image
from mambair_cli.imaging.reading.raster import Raster, of_rasters, unread_first

if TYPE_CHECKING:
    import pyvips

_CMYK = 4


def open_jpeg(path: Path, file: IO[bytes], max_pixels: int) -> Contents:
    """Read the header of a JPEG file.

    Raises:
        ImageError: It is damaged, announces too many pixels, or holds pictures of equal rank.
    """
    image = open_image(path, file)
    check_pixels(path, image.width * image.height, max_pixels)
    pictures = _pictures_of_equal_rank(path, image)
    if pictures > 1:
        raise ImageError(
            f"{path} has {pictures} pictures of equal rank; only one is supported",
            hint="split it into one file per picture",
        )
    metadata = read_metadata(image, file)

    def decode(fail_on: str) -> pyvips.Image:
        return vips.load("jpegload", path, fail_on=fail_on)

    try:
        samples = decode("warning")
    except vips.VipsError as error:
        raise damaged(path, vips.reason(error)) from error
    raster = Raster(
        path,
        unread_first(samples, decode),
        samples.bands,
        orientation=metadata.stored_orientation,
        metadata=metadata,
    )
    if samples.bands == _CMYK:
        conversion = cmyk_to_srgb(samples)
        raster = replace(
            raster,
            convert=conversion.apply,
            metadata=replace(metadata, icc_profile=conversion.profile),
            changes=(conversion.phrase,),
        )
    return of_rasters([raster])


def _pictures_of_equal_rank(path: Path, image: ImageFile.ImageFile) -> int:
    """How many there are beside smaller previews and gain maps, as phones add them."""
    pictures = getattr(image, "mpinfo", {}).get(0xB002, [])
    if len(pictures) < 2:
        return 1
    try:
        if any(picture["Attribute"]["MPType"].startswith("Multi-Frame") for picture in pictures):
            return len(pictures)
        full_size = image.size
        sizes = []
        for index in range(1, len(pictures)):
            image.seek(index)
            sizes.append(image.size)
        image.seek(0)
    except DAMAGE as error:
        raise damaged(path, error) from error
    return len(pictures) if full_size in sizes else 1
