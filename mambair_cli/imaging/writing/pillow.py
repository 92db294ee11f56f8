"""Files with 8 bits a sample, written by Pillow and its plugins: still images and animations."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
from PIL import Image

from mambair_cli.imaging.color.items import with_code_points
from mambair_cli.imaging.formats import AVIF, BMP, HEIF, JPEG, JXL, WEBP, Format
from mambair_cli.imaging.image import Pixels, Timing
from mambair_cli.imaging.metadata.jpeg_segments import jpeg_segments
from mambair_cli.imaging.metadata.preparation import Prepared

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_METADATA: Mapping[Format, tuple[str, ...]] = {
    JPEG: ("exif", "dpi", "comment"),
    WEBP: ("exif", "xmp"),
    AVIF: ("exif", "xmp"),
    HEIF: ("exif", "xmp"),
    JXL: ("exif", "xmp"),
    BMP: ("dpi",),
}
_HEIC_NUMBERS = ("color_primaries", "transfer_characteristics")
_WHOLE_QUALITY = 100


def write_with_pillow(
    file: IO[bytes],
    file_format: Format,
    frames: Sequence[Pixels],
    metadata: Prepared,
    *,
    timing: Timing | None = None,
    quality: int = 95,
) -> None:
    """Write one image, or the frames of an animation.

    JPEG, AVIF and HEIC are written without chroma subsampling. WebP, HEIC and JPEG XL lose nothing
    at quality 100.

    Args:
        file: Open for writing.
        file_format: Any but PNG, TIFF and GIF; its plugin is installed.
        frames: `(h w s)` uint8 of one shape, alpha as the last sample.
        metadata: What to write beside.
        timing: Of several frames.
        quality: 1 to 100.

    Raises:
        ValueError: The encoder refuses the image.
    """
    images = [_as_pillow(frame) for frame in frames]
    arguments = _metadata_arguments(file_format, metadata) | _encoding(file_format, images, quality)
    if timing is not None:
        arguments |= {
            "save_all": True,
            "append_images": images[1:],
            "duration": list(timing.durations),
            "loop": timing.loops,
        }
    content = io.BytesIO()
    code_points = metadata.color.code_points if file_format is AVIF else None
    try:
        images[0].save(content if code_points else file, file_format.name, **arguments)
    except RuntimeError as error:  # of the plugins; Pillow's own are OSError and ValueError
        raise ValueError(str(error)) from error
    if code_points:
        file.write(with_code_points(content.getvalue(), *code_points))


def _as_pillow(values: Pixels) -> Image.Image:
    height, width, samples = values.shape
    mode = _MODES[samples]
    return Image.frombytes(mode, (width, height), np.ascontiguousarray(values).tobytes())


def _metadata_arguments(file_format: Format, metadata: Prepared) -> dict[str, Any]:
    arguments = {name: getattr(metadata, name) for name in _METADATA[file_format]}
    arguments["icc_profile"] = metadata.color.profile
    if file_format is HEIF and metadata.color.code_points:
        numbers = zip(_HEIC_NUMBERS, metadata.color.code_points, strict=True)
        arguments |= dict(numbers)
    if file_format is JPEG:
        arguments["extra"] = jpeg_segments(metadata.xmp, metadata.iptc)
    return {name: value for name, value in arguments.items() if value}


def _encoding(file_format: Format, images: Sequence[Image.Image], quality: int) -> dict[str, Any]:
    gray = images[0].mode in ("L", "LA")
    whole = quality == _WHOLE_QUALITY
    if file_format is JPEG:
        # Not "optimize": Pillow then needs the whole file in a buffer whose size it guesses.
        return {"quality": quality, "subsampling": 0}
    if file_format is WEBP:
        return {"quality": quality, "lossless": whole, "exact": True}
    if file_format is AVIF:
        # Tiles would depend on the number of processors.
        subsampling = "4:0:0" if gray else "4:4:4"
        return {"quality": quality, "subsampling": subsampling, "autotiling": False}
    if file_format is HEIF:
        exact = {"quality": -1, "matrix_coefficients": 0}
        return {"chroma": 444} | (exact if whole else {"quality": quality})
    if file_format is JXL:
        return {"lossless": True} if whole else {"quality": quality}
    return {}
