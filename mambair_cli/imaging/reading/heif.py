"""Reading AVIF and HEIC files; samples of more than 8 bits are widened to 16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from PIL import ImageFile

from mambair_cli.imaging import vips
from mambair_cli.imaging.color.items import is_premultiplied, is_rgb
from mambair_cli.imaging.image import ImageHeader, ImageSequence, Pixels, RestorableImage
from mambair_cli.imaging.metadata.collect import read_metadata
from mambair_cli.imaging.reading.depth import widened
from mambair_cli.imaging.reading.opening import DAMAGE, Contents, check_pixels, damaged
from mambair_cli.imaging.reading.pillow import of_frames, open_image
from mambair_cli.imaging.reading.raster import unread_first

if TYPE_CHECKING:
    import pyvips

_GRAY_MODES = ("L", "LA")

_ALPHA_BANDS = {1: False, 2: True, 3: False, 4: True}


def open_avif(path: Path, file: IO[bytes], max_pixels: int) -> Contents:
    """Read the header of an AVIF file.

    Raises:
        ImageError: It is damaged, or announces too many pixels.
    """
    image, frames = _opened(path, file, max_pixels)
    # Encoders code red, green and blue as they are to lose nothing.
    lossless = is_rgb(file)
    if frames > 1:
        return of_frames(path, image, file, lossless=lossless)
    try:
        # Pillow decodes to 8 bits and does not say how many there were.
        deep = _by_libvips(path)
        bits = int(deep.get("bits-per-sample"))
    except vips.VipsError as error:
        raise damaged(path, vips.reason(error)) from error
    if bits <= 8:
        return of_frames(path, image, file, lossless=lossless)
    open_again = unread_first(deep, lambda _: _by_libvips(path))

    def decode() -> Pixels:
        try:
            samples = vips.to_array(open_again("warning"))
        except vips.VipsError as error:
            raise damaged(path, vips.reason(error)) from error
        return samples[..., kept]

    # libvips spreads gray to three bands.
    kept = list(range(deep.bands))
    if image.mode in _GRAY_MODES:
        kept = kept[2:]  # one of them, and the opacity
    return _deep(image, file, bits, (deep.width, deep.height, len(kept)), decode)


def open_heic(path: Path, file: IO[bytes], max_pixels: int) -> Contents:
    """Read the header of a HEIC file.

    Raises:
        ImageError: It is damaged, or announces too many pixels.
    """
    image, frames = _opened(path, file, max_pixels)
    bits = int(image.info.get("bit_depth", 8))
    if bits <= 8 or frames > 1:
        return of_frames(path, image, file, lossless=is_rgb(file))
    shape = (*image.size, len(image.getbands()))
    return _deep(image, file, bits, shape, lambda: _by_pi_heif(path, file))


def _opened(path: Path, file: IO[bytes], max_pixels: int) -> tuple[ImageFile.ImageFile, int]:
    """Open the image with Pillow; return it and the number of its frames."""
    image = open_image(path, file)
    frames = int(getattr(image, "n_frames", 1))
    check_pixels(path, image.width * image.height * frames, max_pixels, frames)
    return image, frames


def _deep(
    image: ImageFile.ImageFile,
    file: IO[bytes],
    bits: int,
    shape: tuple[int, int, int],
    decode: Callable[[], Pixels],
) -> Contents:
    width, height, bands = shape
    has_alpha = _ALPHA_BANDS[bands]
    header = ImageHeader(width, height, bands - has_alpha, np.dtype(np.uint16), has_alpha)

    def read() -> ImageSequence:
        samples = widened(decode() >> (16 - bits), bits)
        changes = [f"{bits} bits widened to 16"]
        if has_alpha and is_premultiplied(file):
            samples = _straight(samples)
            changes.append("premultiplied alpha made straight")
        pixels, alpha = (
            (samples[..., :-1].copy(), samples[..., -1].copy()) if has_alpha else (samples, None)
        )
        metadata = replace(read_metadata(image, file), lossless=is_rgb(file))
        image_read = RestorableImage(pixels, alpha, metadata, changes=tuple(changes))
        return ImageSequence((image_read,))

    return Contents(header, read)


def _straight(samples: Pixels) -> Pixels:
    """Divide the colours of 16-bit samples by the opacity behind them; nothing seen is black."""
    alpha = samples[..., -1:].astype(np.uint32)
    colours = samples[..., :-1].astype(np.uint32) * 65535 + alpha // 2
    straight = np.minimum(colours // np.maximum(alpha, 1), 65535) * (alpha > 0)
    return np.concatenate([straight.astype(np.uint16), samples[..., -1:]], axis=2)


def _by_libvips(path: Path) -> pyvips.Image:
    return vips.load("heifload", path)


def _by_pi_heif(path: Path, file: IO[bytes]) -> Pixels:
    import pi_heif

    try:
        file.seek(0)
        image = pi_heif.open_heif(file, convert_hdr_to_8bit=False)
        samples = np.asarray(image)
    except DAMAGE as error:
        raise damaged(path, error) from error
    return samples.reshape(*samples.shape[:2], -1)
