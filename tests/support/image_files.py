"""Image files of every format and kind of pixel, made by code, with what they hold.

None of them is made by the code under test: PNG is put together byte by byte, TIFF is written by
tifffile, Pillow and libvips, the rest by Pillow and its plugins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from image_scene import (
    FRAME_MILLISECONDS,
    HEIGHT,
    WIDTH,
    ImageFile,
    Values,
    by_pillow,
    integers,
    opacity,
    wide_gamut,
)
from ink_files import ink_files
from PIL import Image
from png_files import png_file, png_files
from tiff_files import RGB, tiff_file, tiff_files


def jpeg_files() -> Iterator[ImageFile]:
    gray, photo = integers(1, np.uint8), integers(3, np.uint8)
    picture = Image.fromarray(photo)

    def jpeg(name: str, tolerance: float, **options: Any) -> ImageFile:
        make = by_pillow(picture, "JPEG", **{"quality": 98, "subsampling": 0} | options)
        return ImageFile(name, ".jpg", make, (photo,), tolerance=tolerance)

    yield ImageFile(
        "gray",
        ".jpg",
        by_pillow(Image.fromarray(gray[..., 0]), "JPEG", quality=98),
        (gray,),
        tolerance=6,
    )
    yield jpeg("YCbCr 4:4:4", 8)
    yield jpeg("YCbCr 4:2:0", 40, subsampling=2)
    yield jpeg("progressive", 8, progressive=True)
    yield jpeg("restart markers", 8, restart_marker_blocks=2)
    yield jpeg("RGB", 6, keep_rgb=True)
    yield replace(jpeg("wide gamut", 8, icc_profile=wide_gamut()), profile=wide_gamut())
    preview = Image.fromarray(photo[::2, ::2].copy())
    make = by_pillow(
        picture, "MPO", save_all=True, append_images=[preview], quality=98, subsampling=0
    )
    yield ImageFile("with a preview (MPO)", ".jpg", make, (photo,), tolerance=8)


def plugin_files() -> Iterator[ImageFile]:
    photo, gray, alpha = integers(3, np.uint8), integers(1, np.uint8), opacity()
    picture, both = Image.fromarray(photo), Image.fromarray(np.dstack([photo, alpha]))
    for name, suffix, file_format, plugin, options, tolerance in (
        ("lossy", ".webp", "WEBP", None, {"quality": 95, "exact": True}, 40),
        ("lossless", ".webp", "WEBP", None, {"lossless": True, "exact": True}, 0),
        ("4:4:4", ".avif", "AVIF", None, {"quality": 95, "subsampling": "4:4:4"}, 12),
        ("4:2:0", ".avif", "AVIF", None, {"quality": 95}, 40),
        ("4:4:4", ".heic", "HEIF", "pillow_heif", {"quality": 95, "chroma": 444}, 12),
        ("lossy", ".jxl", "JXL", "pillow_jxl", {"quality": 95}, 30),
        ("lossless", ".jxl", "JXL", "pillow_jxl", {"lossless": True}, 0),
    ):
        for kind, image, opaque in (("RGB", picture, True), ("RGB with alpha", both, False)):
            make = _registered(plugin, image, file_format, options)
            expected = () if opaque else (alpha,)
            title = f"{kind} {name}"
            yield ImageFile(title, suffix, make, (photo,), expected, tolerance)
    make = _registered("pillow_jxl", Image.fromarray(gray[..., 0]), "JXL", {"lossless": True})
    yield ImageFile("gray lossless", ".jxl", make, (gray,))
    bmp = by_pillow(picture, "BMP")
    yield ImageFile("RGB", ".bmp", bmp, (photo,))
    yield ImageFile("gray", ".bmp", by_pillow(Image.fromarray(gray[..., 0]), "BMP"), (gray,))
    still = picture.quantize(256, dither=Image.Dither.NONE)
    yield ImageFile("still", ".gif", by_pillow(still, "GIF"), (np.asarray(still.convert("RGB")),))


def _registered(
    plugin: str | None, image: Image.Image, file_format: str, options: dict[str, Any]
) -> Callable[[], bytes]:
    def make() -> bytes:
        if plugin == "pillow_heif":
            import pillow_heif

            pillow_heif.register_heif_opener()
        elif plugin == "pillow_jxl":
            import pillow_jxl  # noqa: F401
        return by_pillow(image, file_format, **options)()

    return make


def _animation() -> list[Values]:
    """Four frames of a few colours each: a bar that moves over a ground."""
    frames = []
    for index in range(4):
        frame = np.full((HEIGHT, WIDTH, 3), (20, 40, 160), np.uint8)
        frame[5:15, 4 + 9 * index : 12 + 9 * index] = (250, 200, 10 + 40 * index)
        frames.append(frame)
    return frames


def animated_files() -> Iterator[ImageFile]:
    frames = _animation()
    moving = [Image.fromarray(frame) for frame in frames]
    timing: dict[str, Any] = {"save_all": True, "duration": FRAME_MILLISECONDS, "loop": 0}
    for suffix, file_format, options in (
        (".png", "PNG", {}),
        (".webp", "WEBP", {"lossless": True, "exact": True}),
        (".gif", "GIF", {"disposal": 1}),
        (".gif", "GIF", {"disposal": 2}),
    ):
        name = (
            "animated" if "disposal" not in options else f"animated, disposal {options['disposal']}"
        )
        make = by_pillow(moving[0], file_format, append_images=moving[1:], **timing, **options)
        yield ImageFile(name, suffix, make, tuple(frames))
    ground = (frames[0] == (20, 40, 160)).all(axis=2)
    holes = [
        np.where((frame == (20, 40, 160)).all(axis=2), 0, 255).astype(np.uint8) for frame in frames
    ]
    cut = [
        Image.fromarray(np.dstack([frame, hole])) for frame, hole in zip(frames, holes, strict=True)
    ]
    assert ground.any()
    for suffix, file_format, options in (
        (".png", "PNG", {"disposal": 1, "blend": 0}),
        (".webp", "WEBP", {"lossless": True, "exact": True}),
        (".gif", "GIF", {"disposal": 2}),
    ):
        make = by_pillow(cut[0], file_format, append_images=cut[1:], **timing, **options)
        # libwebp leaves no colour where nothing is to be seen.
        seen = [
            np.where(hole[..., None] > 0, frame, 0).astype(np.uint8) if suffix == ".webp" else frame
            for frame, hole in zip(frames, holes, strict=True)
        ]
        yield ImageFile("animated, transparent", suffix, make, tuple(seen), tuple(holes))


# From the stored pixels to upright ones, by the value of the EXIF tag.
UPRIGHT: dict[int, Callable[[Values], Values]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


def exif_of(orientation: int) -> bytes:
    """An EXIF block with an orientation and a camera's name."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x0110] = "Camera of the tests"
    return exif.tobytes()


def turned_files() -> Iterator[ImageFile]:
    photo = integers(3, np.uint8)
    deep = integers(3, np.uint16)
    for orientation, upright in UPRIGHT.items():
        exif = exif_of(orientation)
        expected = (np.ascontiguousarray(upright(photo)),)
        name = f"orientation {orientation}"
        options: dict[str, Any] = {"exif": exif}
        picture = Image.fromarray(photo)
        jpeg = by_pillow(picture, "JPEG", quality=98, subsampling=0, **options)
        yield ImageFile(name, ".jpg", jpeg, expected, tolerance=8)
        webp = by_pillow(picture, "WEBP", lossless=True, **options)
        yield ImageFile(name, ".webp", webp, expected)
        body = exif.removeprefix(b"Exif\0\0")
        for depth, stored in ((8, photo), (16, deep)):
            pixels = (np.ascontiguousarray(upright(stored)),)
            turned = png_file(f"{name}, {depth} bits", stored, stored, depth, (b"eXIf", body))
            yield replace(turned, frames=pixels)
            tag = (274, 3, 1, orientation, True)
            yield tiff_file(
                f"{name}, {depth} bits", [stored], pixels, **RGB, extratags=[tag], rowsperstrip=7
            )


def image_files() -> tuple[ImageFile, ...]:
    """All of them; those of a plugin that is not installed are left out by whoever reads them."""
    return _all()


@cache
def _all() -> tuple[ImageFile, ...]:
    groups: Iterable[Iterator[ImageFile]] = (
        *(png_files(), tiff_files(), ink_files(), jpeg_files()),
        *(plugin_files(), animated_files(), turned_files()),
    )
    return tuple(file for group in groups for file in group)
