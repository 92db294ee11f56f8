"""AVIF files of 10 bits for values of high dynamic range, by libvips: Pillow writes 8 bits."""

from __future__ import annotations

from typing import IO

from mambair_cli.imaging import vips
from mambair_cli.imaging.color.encoding import BT709, ColorSpace
from mambair_cli.imaging.color.items import with_numbers_for_profile
from mambair_cli.imaging.color.profile import made_profile
from mambair_cli.imaging.formats import AVIF
from mambair_cli.imaging.image import Pixels
from mambair_cli.imaging.metadata.preparation import Prepared

_EFFORT = 4


def write_deep_avif(file: IO[bytes], pixels: Pixels, metadata: Prepared, quality: int) -> None:
    """Write one image with code points.

    Args:
        file: Open for writing.
        pixels: `(h w s)` uint16, alpha as the last sample.
        metadata: What to write beside; it has code points.
        quality: 1 to 100.

    Raises:
        ValueError: libvips cannot save the image.
    """
    import pyvips

    assert metadata.color.code_points
    gray = pixels.shape[2] < 3
    image = vips.from_array(pixels).copy(interpretation="grey16" if gray else "rgb16")
    # libvips writes no code points: room for them is made by a profile, whichever. Gray becomes
    # colour.
    blocks = {
        "icc-profile-data": made_profile(ColorSpace(BT709), gray=False),
        "exif-data": metadata.exif,
        "xmp-data": metadata.xmp,
    }
    for name, block in blocks.items():
        if block:
            image.set_type(pyvips.GValue.blob_type, name, block)
    try:
        content = image.heifsave_buffer(
            compression="av1",
            bitdepth=AVIF.high_range_bits,
            Q=quality,
            subsample_mode="off",
            effort=_EFFORT,
        )
    except vips.VipsError as error:
        raise ValueError(vips.reason(error)) from error
    file.write(with_numbers_for_profile(content, *metadata.color.code_points))
