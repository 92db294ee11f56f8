"""Reading TIFF files: every page, of every depth, however its samples are stored."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

from mambair_cli.imaging import vips
from mambair_cli.imaging.color.encoding import ColorEncoding
from mambair_cli.imaging.image import Pixels
from mambair_cli.imaging.metadata.collect import read_tiff_metadata
from mambair_cli.imaging.metadata.image_metadata import ContentReport
from mambair_cli.imaging.metadata.microscopy import counted
from mambair_cli.imaging.reading.camera_raw import check_directories
from mambair_cli.imaging.reading.cmyk import cmyk_to_srgb
from mambair_cli.imaging.reading.opening import DAMAGE, Contents, check_pixels, damaged, unsupported
from mambair_cli.imaging.reading.raster import Raster, of_rasters
from mambair_cli.imaging.reading.tiff_codecs import is_left_to_tifffile, read_by_tifffile
from mambair_cli.imaging.reading.tiff_directories import read_directories
from mambair_cli.imaging.reading.tiff_pages import (
    BLACK_IS_ZERO,
    CMYK,
    LAB,
    PALETTE,
    WHITE_IS_ZERO,
    YCBCR,
    TiffPage,
    pages_of,
)
from mambair_cli.imaging.reading.tiff_stacks import read_slice, slices_of

if TYPE_CHECKING:
    import pyvips

_JPEG = 7
_RGB_COLOURS = 3


def open_tiff(path: Path, file: IO[bytes], max_pixels: int) -> Contents:
    """Read the tags of all pages of a TIFF file.

    Raises:
        ImageError: They are damaged, announce too many pixels, or samples that are not restored.
    """
    try:
        directories = read_directories(file)
        check_directories(path, directories)
        pages, beside = pages_of(path, file, directories)
        if len(directories) == 1:
            pages = slices_of(path, file, directories[0], pages[0])
    except ValueError as error:
        raise damaged(path, error) from error
    pixels = sum(page.width * page.height * (1 + len(page.further)) for page in pages)
    check_pixels(path, pixels, max_pixels, sum(1 + len(page.further) for page in pages))
    rasters: list[Raster] = []
    for page in pages:
        rasters += _rasters(path, file, page, beside)
    return of_rasters([_counted(raster, len(rasters)) for raster in rasters])


def _counted(raster: Raster, images: int) -> Raster:
    """Make a description true that says how many images the file has."""
    if not raster.metadata.exif:
        return raster
    exif, dropped = counted(raster.metadata.exif, images)
    reading = raster.metadata.reading.joined(ContentReport(dropped=dropped))
    return replace(raster, metadata=replace(raster.metadata, exif=exif, reading=reading))


def _rasters(
    path: Path, file: IO[bytes], page: TiffPage, changes: tuple[str, ...]
) -> tuple[Raster, ...]:
    """Return the page, and each sample that is neither colour nor opacity as gray of its own."""
    raster = _raster(path, file, page, changes)
    if page.further and page.photometric in (PALETTE, YCBCR, LAB):
        raise unsupported(path, "further samples beside a palette, luma and chroma, or Lab")
    color = ColorEncoding() if page.colours > 1 else raster.metadata.color
    metadata = replace(raster.metadata, color=color)
    plain = replace(
        raster, colours=1, alpha=None, premultiplied=False, convert=None, metadata=metadata
    )
    return raster, *(replace(plain, first=index) for index in page.further)


def _raster(path: Path, file: IO[bytes], page: TiffPage, changes: tuple[str, ...]) -> Raster:
    if page.photometric == LAB and page.floats:
        raise unsupported(path, "floating-point Lab pixels")
    metadata = read_tiff_metadata(file, page.index, page.position)
    raster = Raster(
        path,
        _decoder(path, file, page),
        _RGB_COLOURS if page.photometric == PALETTE else page.colours,
        alpha=page.alpha,
        premultiplied=page.premultiplied,
        orientation=metadata.stored_orientation,
        metadata=metadata,
        changes=changes + _changes(page),
    )
    if page.photometric == CMYK:
        return _through_profile(raster)
    if page.photometric == LAB:
        convert = None if page.bits == 8 else _lab_to_rgb
        metadata = replace(raster.metadata, color=ColorEncoding())
        return replace(raster, convert=convert, metadata=metadata)
    # What libvips turns for integers it leaves alone for floating point.
    negative = page.photometric == WHITE_IS_ZERO and page.floats
    return replace(raster, convert=_inverted) if negative else raster


def _through_profile(raster: Raster) -> Raster:
    try:
        conversion = cmyk_to_srgb(raster.decode("warning").extract_band(0, n=raster.colours))
    except vips.VipsError as error:
        raise raster.damaged(error) from error
    return replace(
        raster,
        convert=conversion.apply,
        metadata=replace(raster.metadata, color=ColorEncoding(conversion.profile)),
        changes=(*raster.changes, conversion.phrase),
    )


def _inverted(image: pyvips.Image) -> pyvips.Image:
    return 1 - image


def _changes(page: TiffPage) -> tuple[str, ...]:
    kind = "floating point" if page.floats else "bits"
    phrases = {
        "palette converted to RGB": page.photometric == PALETTE,
        "Lab converted to sRGB": page.photometric == LAB,
        "YCbCr converted to RGB": page.photometric == YCBCR and page.compression != _JPEG,
        f"{page.bits} bits converted to 8": page.bits < 8 and page.photometric != PALETTE,
        f"{page.bits} bits widened to 16": 8 < page.bits < 16,
        f"{page.bits}-bit {kind} converted to 32 bits": page.floats and page.bits != 32,
        "premultiplied alpha made straight": page.premultiplied,
        "further channels made pages": bool(page.further),
        "tags out of order or doubled read all the same": page.disordered,
    }
    return tuple(phrase for phrase, said in phrases.items() if said)


def _lab_to_rgb(image: pyvips.Image) -> pyvips.Image:
    return image.colourspace("rgb16")


def _decoder(path: Path, file: IO[bytes], page: TiffPage) -> Callable[[str], pyvips.Image]:
    """Return what opens the page for one pass."""
    if page.pixels_at is not None:
        return lambda _: vips.from_array(read_slice(file, page))
    # Of gray in planes libvips takes the samples of the first one for those of all.
    gray = page.photometric in (BLACK_IS_ZERO, WHITE_IS_ZERO)
    if is_left_to_tifffile(page) or page.unsaid or (page.planar and (page.tiled or gray)):
        return _from_memory(lambda: read_by_tifffile(path, file, page))
    plain_ycbcr = page.photometric == YCBCR and page.compression != _JPEG
    if plain_ycbcr or (page.photometric == LAB and page.bits == 8):
        return _from_memory(lambda: _by_pillow(path, file, page))
    if page.patches:
        # To find a page, libvips would read the tags of all others, each time. And it would divide
        # by the opacity, but cut the fractions off, and mistake the white of floating point.
        return lambda fail_on: vips.load_patched(file, page.patches, **_leniency(fail_on))
    return lambda fail_on: vips.load("tiffload", path, **_leniency(fail_on))


def _leniency(fail_on: str) -> dict[str, str]:
    """Return the options of libvips; of TIFF any warning is damage, unless damage is accepted."""
    return {"fail_on": fail_on} if fail_on == "none" else {}


def _from_memory(decode: Callable[[], Pixels]) -> Callable[[str], pyvips.Image]:
    """Return what decodes a whole page once, for any number of passes."""
    once = functools.cache(decode)
    return lambda _: vips.from_array(once())


def _by_pillow(path: Path, file: IO[bytes], page: TiffPage) -> Pixels:
    """Decode to 8-bit RGB what libvips does not: Lab, and luma and chroma that are not JPEG."""
    try:
        file.seek(0)
        with Image.open(file, formats=["TIFF"]) as image:
            image.seek(page.index)
            image.load()
            rgb = image.convert("RGB") if image.mode != "LAB" else _srgb_of_lab(image)
            return np.array(rgb)
    except DAMAGE as error:
        raise damaged(path, error) from error


def _srgb_of_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # as it is when not converted in place
    return converted
