"""From the inks of print to sRGB, which networks know."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from PIL import ImageCms

from mambair_cli.imaging import vips
from mambair_cli.imaging.image import ValueRange

if TYPE_CHECKING:
    import pyvips

_COLOUR_SPACE = slice(16, 20)  # of an ICC profile
_PROFILE = "icc-profile-data"


class Conversion(NamedTuple):
    """A way from CMYK to sRGB.

    Attributes:
        apply: Converts an image of libvips, 8 or 16 bits, lazily.
        profile: ICC profile of the result; None where nothing says more than that it is RGB.
        phrase: What it is, for people.
    """

    apply: Callable[[pyvips.Image], pyvips.Image]
    profile: bytes | None
    phrase: str


def cmyk_to_srgb(image: pyvips.Image) -> Conversion:
    """Choose how a CMYK image is converted: through its profile, or by the plain formula.

    The profile's relative colorimetric intent is used, with black point compensation. The formula,
    which viewers use for images without a profile, is `R = (1 - C) (1 - K)` and so on.
    """
    if not image.get_typeof(_PROFILE) or image.get(_PROFILE)[_COLOUR_SPACE] != b"CMYK":
        return Conversion(
            _by_formula, None, "CMYK without a profile converted by the plain formula"
        )
    if not _is_usable(image.get(_PROFILE)):
        return Conversion(
            _by_formula, None, "CMYK with a damaged profile converted by the plain formula"
        )
    profile = _through_profile(image).get(_PROFILE)
    return Conversion(_through_profile, profile, "CMYK converted to sRGB")


def _is_usable(profile: bytes) -> bool:
    """Whether littleCMS takes it; libvips would put another profile in its place."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "CMYK", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False
    return True


def _through_profile(image: pyvips.Image) -> pyvips.Image:
    return image.icc_transform(
        "srgb",
        embedded=True,
        intent="relative",
        black_point_compensation=True,
        depth=16 if image.format == "ushort" else 8,
    )


def _by_formula(image: pyvips.Image) -> pyvips.Image:
    dtype = vips.dtype_of(image)
    assert dtype is not None
    white = ValueRange.of(dtype).white
    paper = image.linear([-1] * 4, [white] * 4)
    light = paper.extract_band(0, n=3) * paper.extract_band(3) / white
    return light.rint().cast(image.format)
