"""Converting pixels to sRGB, for formats that cannot say of what else they are."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from mambair_cli.imaging import vips
from mambair_cli.imaging.color.profile import color_space_of
from mambair_cli.imaging.image import Pixels
from mambair_cli.imaging.writing.depth import to_depth


def to_srgb(pixels: Pixels, profile: bytes) -> Pixels | None:
    """Convert from a colour profile to sRGB.

    Args:
        pixels: `(h w 1)` or `(h w 3)` uint8, uint16 or float32.
        profile: What the pixels are encoded in; one for colours is taken for gray ones too.

    Returns:
        Pixels of the same shape, uint8 or uint16; None if the profile is damaged or does not fit.
    """
    channels = pixels.shape[2]
    if channels == 1 and color_space_of(profile) == b"RGB ":
        pixels = np.repeat(pixels, 3, axis=2)
    mode = "L" if pixels.shape[2] == 1 else "RGB"
    srgb = ImageCms.createProfile("sRGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    if pixels.dtype != np.uint8:
        return _deep(to_depth(pixels, np.dtype(np.uint16)), profile)[..., :channels]
    image = Image.fromarray(pixels[..., 0] if mode == "L" else pixels)
    converted = ImageCms.applyTransform(image, transform)
    return np.array(converted)[..., :channels]


def _deep(pixels: Pixels, profile: bytes) -> Pixels:
    """Convert 16 bits, which Pillow cannot."""
    import pyvips

    kind = "grey16" if pixels.shape[2] == 1 else "rgb16"
    image = vips.from_array(pixels).copy(interpretation=kind)
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return vips.to_array(image.icc_transform("srgb", embedded=True, intent="perceptual", depth=16))
