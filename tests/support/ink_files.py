"""Files whose colours are inks or Lab."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache

import numpy as np
from image_scene import HEIGHT, WIDTH, ImageFile, Values, by_pillow, inks, integers, scene
from PIL import Image, ImageCms
from tiff_files import tiff_file


def ink_values() -> Values:
    """The scene in four inks, `(h w 4)` uint8; 255 is full ink."""
    values = integers(4, np.uint8)
    values[..., 3] //= 3
    return values


@cache
def inks_on_screen() -> Values:
    """`ink_values` in sRGB through the profile, by littleCMS."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(inks())),
        ImageCms.createProfile("sRGB"),
        "CMYK",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    image = Image.frombytes("CMYK", (WIDTH, HEIGHT), ink_values().tobytes())
    return np.asarray(ImageCms.applyTransform(image, transform))


def inks_by_formula() -> Values:
    """`ink_values` as viewers show them that know no profile."""
    paper = 1 - ink_values() / 255
    return np.round(255 * paper[..., :3] * paper[..., 3:]).astype(np.uint8)


def cmyk_jpeg(*, profile: bool = True, adobe: int | None = 0) -> bytes:
    """A JPEG file of four inks.

    Args:
        profile: Whether the profile is in it.
        adobe: Colour transform of Adobe's marker, 0 for CMYK or 2 for YCCK; None for a file without
            the marker. All of them are inverted, as all viewers take them to be.
    """
    stored = ink_values()
    if adobe == 2:
        rgb = Image.fromarray(stored[..., :3].copy()).convert("YCbCr")
        stored = np.dstack([255 - np.asarray(rgb), stored[..., 3]])
    image = Image.frombytes("CMYK", (WIDTH, HEIGHT), np.ascontiguousarray(stored).tobytes())
    options = {"icc_profile": inks()} if profile else {}
    content = by_pillow(image, "JPEG", quality=98, subsampling=0, **options)()
    marker = content.index(b"\xff\xee\x00\x0eAdobe")
    if adobe is None:
        return content[:marker] + content[marker + 16 :]
    return content[: marker + 15] + bytes([adobe]) + content[marker + 16 :]


def ink_files() -> Iterator[ImageFile]:
    pixels, plain = inks_on_screen(), inks_by_formula()
    for name, adobe in (("CMYK", None), ("CMYK inverted by Adobe", 0), ("YCCK", 2)):
        for profile in (True, False):
            yield ImageFile(
                name if profile else f"{name}, no profile",
                ".jpg",
                lambda adobe=adobe, profile=profile: cmyk_jpeg(adobe=adobe, profile=profile),
                (pixels if profile else plain,),
                tolerance=10,
            )
    deep = (ink_values().astype(np.uint16) * 257).astype(np.uint16)
    for bits, stored in ((8, ink_values()), (16, deep)):
        yield tiff_file(
            f"CMYK {bits} bits",
            [stored],
            [pixels if bits == 8 else (pixels.astype(np.uint16) * 257)],
            tolerance=6 if bits == 8 else 6 * 257,
            photometric="separated",
            iccprofile=inks(),
        )
    lab = np.stack([40 + 40 * scene(1)[..., 0], *(20 * np.moveaxis(scene(2, 7), 2, 0) - 10)], 2)
    stored = np.dstack(
        [np.round(lab[..., 0] * 2.55), *(np.round(lab[..., c]) % 256 for c in (1, 2))]
    )
    stored = stored.astype(np.uint8)
    yield tiff_file("Lab", [stored], [lab_on_screen(stored)], tolerance=6, photometric="cielab")


def lab_on_screen(stored: Values) -> Values:
    """Lab as TIFF stores it (signed a and b) in sRGB, by littleCMS."""
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"),
        ImageCms.createProfile("sRGB"),
        "LAB",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    # Pillow keeps a and b signed, as the file does.
    image = Image.frombytes("LAB", (stored.shape[1], stored.shape[0]), stored.tobytes())
    return np.asarray(ImageCms.applyTransform(image, transform))
