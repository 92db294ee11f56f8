"""Images that a program holds: Pillow images and NumPy arrays, taken in and given back alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mambair_cli.errors import ImageError
from mambair_cli.imaging.float_range import measured, told
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.imaging.metadata.image_metadata import Metadata
from mambair_cli.imaging.metadata.jpeg_quality import JpegCoding, coding_of_image
from mambair_cli.imaging.reading.opening import DAMAGE

GRAY_MODES = ("1", "L", "LA", "La")
COLOUR_MODES = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA")
# Modes that hold more than 8 bits, and what becomes of them.
DEEP_MODES: dict[str, type[np.generic]] = {
    **dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), np.uint16),
    "F": np.float32,
}
MOST_CHANNELS = 4
_BY_PROFILE = "convert it first, best with its profile: PIL.ImageCms.profileToProfile(...)"
# How to get from a mode that is not supported to one that is.
WAYS_OUT = {
    "CMYK": _BY_PROFILE,
    "LAB": _BY_PROFILE,
    "I": "give its values as an array: numpy.asarray(image).astype('uint16')",
}


@dataclass(frozen=True)
class Taken:
    """An image of the caller's.

    Attributes:
        image: What it holds; `changes` says what a network is shown of values far outside [0, 1].
        given_back: Makes a restored image one of the caller's kind.
    """

    image: RestorableImage
    given_back: Callable[[RestorableImage], Any]


def take(image: object) -> Taken:
    """Take an image in.

    Args:
        image: A Pillow image of 8 bits a channel or of mode `I;16` or `F`, or an array `(h w)` or
            `(h w c)` with 1 to 4 channels, gray or RGB, then opacity: uint8, uint16 or finite
            floating point.

    Returns:
        Its content, and the way back.

    Raises:
        ImageError: It is of another kind, or cannot be decoded.
    """
    if isinstance(image, Image.Image):
        return _taken_from_pillow(image)
    if isinstance(image, np.ndarray):
        return _taken_from_array(image)
    raise ImageError(f"cannot restore a {type(image).__name__}", _way_to_an_image(image))


def _way_to_an_image(given: object) -> str:
    if isinstance(given, (str, bytes, PathLike)):
        return "open it first: PIL.Image.open(path)"
    if isinstance(given, (list, tuple)):
        return "give one Pillow image or NumPy array at a time"
    if type(given).__name__ == "Tensor":
        return "give an array (h w c): tensor.numpy(); model.network takes tensors (b c h w)"
    return "give a Pillow image or a NumPy array"


def _taken_from_array(array: NDArray[Any]) -> Taken:
    if np.ma.is_masked(array):
        raise ImageError(
            "an array of which values are masked has pixels that nobody knows",
            "fill them first: array.filled(...)",
        )
    # Subclasses, as numpy.matrix, reshape in ways of their own.
    array = np.asarray(array)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ImageError(
            f"an array of shape {array.shape} is no image", "give one image, (h w) or (h w c)"
        )
    pixels = array.reshape(*array.shape[:2], -1)
    native = array.dtype.newbyteorder("=")
    supported = np.issubdtype(native, np.floating) or native in (np.uint8, np.uint16)
    if not supported or pixels.shape[2] > MOST_CHANNELS:
        hint = "give uint8, uint16, or floating point in [0, 1], with 1 to 4 channels"
        if supported and array.shape[0] <= MOST_CHANNELS:
            hint = "channels come last, (h w c): array.transpose(1, 2, 0)"
        raise ImageError(
            f"an array of shape {array.shape} and type {array.dtype} is not supported", hint
        )

    def given_back(restored: RestorableImage) -> NDArray[Any]:
        values = _samples(restored, array.dtype)
        return values if array.ndim == 3 else values[..., 0]

    return Taken(_image_of(pixels), given_back)


def _taken_from_pillow(image: Image.Image) -> Taken:
    deep = image.mode in DEEP_MODES
    if not deep and image.mode not in GRAY_MODES + COLOUR_MODES:
        raise ImageError(
            f"Pillow images of mode {image.mode!r} are not supported",
            WAYS_OUT.get(image.mode, "convert it first: image.convert('RGB')"),
        )
    if deep and "transparency" in image.info:
        raise ImageError(
            f"a Pillow image of mode {image.mode!r} cannot hold opacity beside its gray",
            "give an array (h w 2) of uint16: gray, then opacity",
        )
    if 0 in image.size:
        raise ImageError(
            f"a Pillow image of {image.width}x{image.height} pixels has none", "give one that has"
        )
    _decode(image)
    info = dict(image.info)
    if deep:
        # In the machine's byte order, whatever the mode's.
        values = np.asarray(image).astype(DEEP_MODES[image.mode])
    else:
        mode = "L" if image.mode in GRAY_MODES else "RGB"
        values = np.asarray(image.convert(mode + "A" * image.has_transparency_data))
        info.pop("transparency", None)

    def given_back(restored: RestorableImage) -> Image.Image:
        samples = _samples(restored, values.dtype)
        result = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
        result.info.update(info)
        return result

    taken = _image_of(values.reshape(*values.shape[:2], -1))
    metadata = Metadata(source_format=image.format or "PNG", jpeg=_coding_of(image))
    return Taken(replace(taken, metadata=metadata), given_back)


def _coding_of(image: Image.Image) -> JpegCoding | None:
    """Return how the file is coded that an image was opened from and still is the content of."""
    drafted = getattr(image, "decoderconfig", ())
    return None if drafted and drafted[0] != 1 else coding_of_image(image)


def _decode(image: Image.Image) -> None:
    """Have Pillow decode what it has only opened so far."""
    try:
        image.load()
    # Of a file that was closed some of its decoders ask for an attribute of None.
    except (*DAMAGE, AttributeError) as error:
        raise ImageError(
            f"the Pillow image cannot be decoded: {str(error) or 'there is no file'}",
            "its file must be whole, and open until its pixels were read: image.load()",
        ) from error


def _image_of(samples: NDArray[Any]) -> RestorableImage:
    """Part `(h w c)` samples into colour and opacity."""
    floating = np.issubdtype(samples.dtype, np.floating)
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused as infinite
        pixels = samples.astype(np.float32 if floating else samples.dtype.newbyteorder("="))
    colours = pixels[..., : 1 if pixels.shape[2] < 3 else 3]
    alpha = pixels[..., -1] if pixels.shape[2] in (2, 4) else None
    if not floating:
        return RestorableImage(colours, alpha)
    if not np.isfinite(pixels).all():
        raise ImageError(
            f"a floating-point image must lie in [0, 1]; this one spans "
            f"{pixels.min():g} to {pixels.max():g}",
            "replace values that are infinite or no numbers; what they stand for only you know",
        )
    span = measured([colours], colours.size)
    alpha = None if alpha is None else alpha.clip(0, 1)
    return RestorableImage(colours, alpha, span=span, changes=told(span))


def _samples(image: RestorableImage, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Put colour and opacity together, `(h w c)` of the caller's type."""
    samples = image.pixels
    if image.alpha is not None:
        samples = np.concatenate([samples, image.alpha[..., None]], axis=2)
    return samples.astype(dtype, copy=False)
