"""TIFF files of every kind, written by tifffile, Pillow and libvips."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tifffile
from image_scene import ImageFile, Values, by_pillow, integers, opacity, scene, wide_gamut
from PIL import Image


def tiff(pages: Sequence[Values], **options: Any) -> bytes:
    """A TIFF file of tifffile, without the tags that it adds for itself."""
    buffer = io.BytesIO()
    constructor = {key: options.pop(key) for key in ("byteorder", "bigtiff") if key in options}
    with tifffile.TiffWriter(buffer, **constructor) as writer:
        for page in pages:
            writer.write(page, metadata=None, **options)
    return buffer.getvalue()


RGB: dict[str, Any] = {"photometric": "rgb"}
GRAY: dict[str, Any] = {"photometric": "minisblack"}
# tifffile writes neither without imagecodecs.
COMPRESSED = {
    "LZW": {"compression": "lzw", "predictor": "horizontal"},
    "packbits": {"compression": "packbits"},
}
WITH_ALPHA: dict[str, Any] = {"extrasamples": ["unassalpha"]}


def tiff_files() -> Iterator[ImageFile]:
    for dtype, bits in ((np.uint8, 8), (np.uint16, 16)):
        for channels, kind in ((1, GRAY), (3, RGB)):
            name = f"{'gray' if channels == 1 else 'RGB'} {bits} bits"
            pixels, alpha = integers(channels, dtype), opacity(dtype)
            both = np.dstack([pixels, alpha])
            yield tiff_file(name, [pixels], **kind)
            yield tiff_file(f"{name} with alpha", [both], **kind, **WITH_ALPHA)
            yield tiff_file(f"{name} deflate", [pixels], **kind, compression="deflate")
            yield tiff_file(
                f"{name} predictor", [pixels], **kind, compression="deflate", predictor=2
            )
            yield tiff_file(f"{name} big endian", [pixels], **kind, byteorder=">")
            yield tiff_file(f"{name} BigTIFF", [pixels], **kind, bigtiff=True)
            yield tiff_file(f"{name} tiled", [pixels], **kind, tile=(16, 32))
            yield tiff_file(f"{name} in strips", [pixels], **kind, rowsperstrip=5)
            yield tiff_file(f"{name}, two pages", [pixels, np.flip(pixels, 1)], **kind)
            for way, options in COMPRESSED.items():
                yield tiff_file(f"{name} {way}", [pixels], make=_by_vips(pixels, **options))
        inverted = integers(1, dtype)
        yield tiff_file(
            f"white is zero {bits} bits",
            [np.iinfo(dtype).max - inverted],
            [inverted],
            photometric="miniswhite",
        )
        pixels = integers(3, dtype)
        planes = np.moveaxis(pixels, 2, 0)
        yield tiff_file(f"planes {bits} bits", [planes], [pixels], **RGB, planarconfig="separate")
        yield tiff_file(
            f"planes {bits} bits tiled",
            [planes],
            [pixels],
            **RGB,
            planarconfig="separate",
            tile=(16, 32),
        )
        yield tiff_file(
            f"planes {bits} bits tiled big endian",
            [planes],
            [pixels],
            **RGB,
            planarconfig="separate",
            tile=(16, 32),
            byteorder=">",
        )
        yield replace(
            tiff_file(f"RGB {bits} bits, wide gamut", [pixels], **RGB, iccprofile=wide_gamut()),
            profile=wide_gamut(),
        )
        yield _premultiplied(dtype, bits)
    yield from _float_tiffs()
    yield from _other_tiffs()


def tiff_file(
    name: str,
    stored: Sequence[Values],
    pages: Sequence[Values] | None = None,
    *,
    make: Callable[[], bytes] | None = None,
    tolerance: float = 0,
    **options: Any,
) -> ImageFile:
    def by_tifffile() -> bytes:
        squeezed = [page[..., 0] if page.shape[-1] == 1 else page for page in stored]
        return tiff(squeezed, **options)

    pixels = stored if pages is None else pages
    alpha: tuple[Values, ...] = ()
    if "extrasamples" in options and pages is None:
        alpha = tuple(page[..., -1] for page in stored)
        pixels = [page[..., :-1] for page in stored]
    return ImageFile(name, ".tif", make or by_tifffile, tuple(pixels), alpha, tolerance)


def _by_vips(pixels: Values, **options: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        import pyvips

        image = pyvips.Image.new_from_array(pixels)
        rgb = "rgb" if pixels.dtype == np.uint8 else "rgb16"
        gray = "b-w" if pixels.dtype == np.uint8 else "grey16"
        image = image.copy(interpretation=gray if pixels.shape[2] == 1 else rgb)
        return bytes(image.tiffsave_buffer(**options))

    return make


def _premultiplied(dtype: type[np.unsignedinteger[Any]], bits: int) -> ImageFile:
    white = int(np.iinfo(dtype).max)
    alpha = np.maximum(opacity(dtype), white // 8).astype(dtype)
    pixels = integers(3, dtype)
    scaled = np.round(pixels.astype(float) * alpha[..., None] / white).astype(dtype)
    return replace(
        tiff_file(
            f"premultiplied {bits} bits",
            [np.dstack([scaled, alpha])],
            [pixels],
            tolerance=6,
            **RGB,
            extrasamples=["assocalpha"],
        ),
        alpha=(alpha,),
    )


def _float_tiffs() -> Iterator[ImageFile]:
    for dtype, bits in ((np.float16, 16), (np.float32, 32), (np.float64, 64)):
        for channels, kind in ((1, GRAY), (3, RGB)):
            stored = scene(channels).astype(dtype)
            name = f"{'gray' if channels == 1 else 'RGB'} float {bits} bits"
            expected = [stored.astype(np.float32)]
            yield tiff_file(name, [stored], expected, tolerance=1e-7, **kind)
            yield tiff_file(
                f"{name} big endian", [stored], expected, tolerance=1e-7, byteorder=">", **kind
            )
            beyond = (stored * 5 - 1).astype(dtype)
            yield tiff_file(
                f"{name}, below 0 and above 1",
                [beyond],
                [beyond.astype(np.float32)],
                tolerance=1e-6,
                **kind,
            )
    pixels, alpha = scene(3).astype(np.float32), scene(1, 9).astype(np.float32)
    yield tiff_file("RGB float with alpha", [np.dstack([pixels, alpha])], **RGB, **WITH_ALPHA)


def _other_tiffs() -> Iterator[ImageFile]:
    bilevel = (scene(1) > 0.5).astype(np.uint8) * np.uint8(255)
    for name, options in (
        ("bilevel", {}),
        ("bilevel, fax", {"compression": "group4"}),
        ("bilevel, packbits", {"compression": "packbits"}),
    ):
        make = by_pillow(Image.fromarray(bilevel[..., 0]).convert("1", dither=0), "TIFF", **options)
        yield tiff_file(name, [bilevel], make=make)
    photo = integers(3, np.uint8)
    make = by_pillow(Image.fromarray(photo), "TIFF", compression="jpeg", quality=95)
    yield tiff_file("YCbCr JPEG", [photo], make=make, tolerance=24)
    image = Image.fromarray(photo).quantize(200, dither=Image.Dither.NONE)
    yield tiff_file("palette", [np.asarray(image.convert("RGB"))], make=by_pillow(image, "TIFF"))
    pages = [photo, np.flip(photo, 1).copy()]
    yield ImageFile(
        "with a smaller version of itself", ".tif", lambda: _with_preview(photo), (photo,)
    )
    mixed = [pages[0], integers(1, np.uint8)[:20, :31].copy()]
    yield ImageFile("pages of different kinds", ".tif", lambda: _mixed(mixed), tuple(mixed))


def _with_preview(photo: Values) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(photo, metadata=None, **RGB)
        writer.write(photo[::2, ::2], metadata=None, subfiletype=1, **RGB)
    return buffer.getvalue()


def _mixed(pages: Sequence[Values]) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page in pages:
            gray = page.shape[2] == 1
            writer.write(page[..., 0] if gray else page, metadata=None, **(GRAY if gray else RGB))
    return buffer.getvalue()
