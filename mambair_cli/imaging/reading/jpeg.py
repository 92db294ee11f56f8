"""Reading JPEG files, those of print and of phones too."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from PIL import ImageFile

from mambair_cli.errors import ImageError, OutputError
from mambair_cli.imaging import vips
from mambair_cli.imaging.color.encoding import ColorEncoding
from mambair_cli.imaging.metadata.collect import read_metadata
from mambair_cli.imaging.metadata.image_metadata import ContentReport
from mambair_cli.imaging.metadata.jpeg_segments import GAIN_MAP_MARKS
from mambair_cli.imaging.reading.cmyk import cmyk_to_srgb
from mambair_cli.imaging.reading.jpeg_markers import (
    JpegMarkers,
    behind_the_picture,
    mended,
    read_flaws,
    read_markers,
)
from mambair_cli.imaging.reading.opening import DAMAGE, Contents, check_pixels, damaged, unsupported
from mambair_cli.imaging.reading.pillow import open_image
from mambair_cli.imaging.reading.raster import Raster, of_rasters, unread_first

if TYPE_CHECKING:
    import pyvips

_CMYK = 4
_LOOKED_AT = 256 * 2**10  # of a further picture, where its metadata stand


def open_jpeg(path: Path, file: IO[bytes], max_pixels: int) -> Contents:
    """Read the header of a JPEG file.

    Raises:
        ImageError: It is damaged, announces too many pixels, or holds pictures of equal rank.
    """
    file, flaws = _without_flaws(path, file)
    markers = read_markers(file)
    if markers.unsupported:
        raise unsupported(path, markers.unsupported, "convert it to PNG first")
    file.seek(0)
    image = open_image(path, file)
    check_pixels(path, image.width * image.height, max_pixels)
    pictures = _pictures_of_equal_rank(path, image, file)
    if pictures > 1:
        raise ImageError(
            f"{path} has {pictures} pictures of equal rank; only one is supported",
            hint="split it into one file per picture",
        )
    metadata = replace(read_metadata(image, file), lossless=markers.lossless)
    if behind := behind_the_picture(file):
        left = ContentReport(dropped=(behind,))
        metadata = replace(metadata, reading=metadata.reading.joined(left))

    def decode(fail_on: str) -> pyvips.Image:
        if markers.patches or flaws:
            return vips.load_patched(file, markers.patches or {}, fail_on=fail_on)
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
        changes=flaws + _forgiven(markers),
    )
    if samples.bands == _CMYK:
        conversion = cmyk_to_srgb(samples)
        raster = replace(
            raster,
            convert=conversion.apply,
            metadata=replace(metadata, color=ColorEncoding(conversion.profile)),
            changes=(*raster.changes, conversion.phrase),
        )
    return of_rasters([raster])


def _without_flaws(path: Path, file: IO[bytes]) -> tuple[IO[bytes], tuple[str, ...]]:
    """Return the file, or one without what viewers forgive, and what that is, for people."""
    flaws = read_flaws(file)
    if not flaws.phrases:
        return file, ()
    try:
        copy = mended(file, flaws)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be copied to {tempfile.gettempdir()}: {error.strerror}",
            "set TMPDIR to a folder with more room",
        ) from error
    if flaws.endless:
        try:
            vips.load_patched(copy, {}).avg()
        except vips.VipsError:  # more is missing than a marker
            return file, ()
    return copy, flaws.phrases


def _forgiven(markers: JpegMarkers) -> tuple[str, ...]:
    if markers.revision is None:
        return ()
    major, minor = markers.revision
    return (f"unknown JFIF revision {major}.{minor:02} read as 1.{minor:02}",)


def _pictures_of_equal_rank(path: Path, image: ImageFile.ImageFile, file: IO[bytes]) -> int:
    """How many there are beside smaller previews and gain maps, as phones add them."""
    pictures = getattr(image, "mpinfo", {}).get(0xB002, [])
    if len(pictures) < 2:
        return 1
    try:
        if any(picture["Attribute"]["MPType"].startswith("Multi-Frame") for picture in pictures):
            return len(pictures)
        full_size = image.size
        equals = 1
        for index in range(1, len(pictures)):
            image.seek(index)
            equals += image.size == full_size and not _is_gain_map(image, file)
        image.seek(0)
    except DAMAGE as error:
        raise damaged(path, error) from error
    return equals


def _is_gain_map(image: ImageFile.ImageFile, file: IO[bytes]) -> bool:
    """Whether the picture that an image is at says how bright another one is on a better screen."""
    file.seek(getattr(image, "offset", 0))
    start = file.read(_LOOKED_AT)
    return any(mark in start for mark in GAIN_MAP_MARKS)
