"""The public Python API: load a model, restore an image, list the models."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mambair_cli.batches.models import Model
from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.catalogue import CatalogueEntry
from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.checkpoints.obtain import resolve
from mambair_cli.errors import ImageError
from mambair_cli.imaging.float_range import measured, told
from mambair_cli.imaging.image import RestorableImage, ValueRange
from mambair_cli.restoration.device.compute import Compute
from mambair_cli.restoration.restorer import RestoreOptions, restore_image

if TYPE_CHECKING:
    from mambair_cli.restoration.device.precision import PrecisionRequest

GRAY_MODES = ("1", "L", "LA", "La")
COLOUR_MODES = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA")
# Modes that hold more than 8 bits, and what becomes of them.
DEEP_MODES: dict[str, type[np.generic]] = {
    **dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), np.uint16),
    "F": np.float32,
}
MOST_CHANNELS = 4
# How to get from a mode that is not supported to one that is.
WAYS_OUT = {
    "CMYK": "convert it first, best with its profile: PIL.ImageCms.profileToProfile(...)",
    "I": "give its values as an array: numpy.asarray(image).astype('uint16')",
}

Picture = TypeVar("Picture", Image.Image, NDArray[Any])


def load_model(
    reference: str | Path,
    device: str = "auto",
    precision: PrecisionRequest = "auto",
    scan: str = "auto",
) -> Model:
    """Load a model.

    Args:
        reference: A model id (see `list_models`), a `.safetensors` or `.pth` file, or a file on the
            Hugging Face Hub: `hf://owner/repo[@revision]/path`. What is not on this machine is
            fetched.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes the fastest one there is.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        scan: Backend of the selective scan: `auto`, or a name that `mambair doctor` lists.

    Returns:
        The model.

    Raises:
        UsageError: The reference, device or precision is unknown.
        CheckpointError: The weights cannot be had or used.
        BackendError: The device, precision or scan backend cannot run here.
    """
    compute = Compute.resolve(device, precision, scan)
    loaded = load_checkpoint(resolve(str(reference)))
    for note in loaded.notes:
        warnings.warn(f"{loaded.path}: {note}", stacklevel=2)
    return Model.placed(loaded, compute)


def restore(
    image: Picture,
    model: Model,
    tile: int | Literal["auto"] = "auto",
    ensemble: bool = False,
) -> Picture:
    """Restores an image.

    Gray stays gray and opacity is kept, enlarged where the model enlarges. Whatever the type of the
    values, the network computes in floating point, and its result is rounded once.

    Args:
        image: A Pillow image of 8 bits a channel or of mode `I;16` or `F`, or an array `(h w)` or
            `(h w c)` with 1 to 4 channels, gray or RGB, then opacity: uint8, uint16, or floating
            point in [0, 1], or a little outside, as noise that was not clipped.
        model: As `load_model` returned it.
        tile: Largest side of a tile in pixels; 0 for the whole image at once, `auto` by memory.
        ensemble: Average the results of the eight flips and turns (MambaIR+): better, eight times
            the work.

    Returns:
        The restored image, of the kind that came in: a Pillow image, or an array of the same number
        of axes and channels and the same type. Floating point has the precision of float32.

    Raises:
        ImageError: The image is of another kind.
        UsageError: The tile size cannot work.
        MemoryLimitError: Memory is short even with the smallest tiles.
    """
    options = RestoreOptions(tile=tile, ensemble=ensemble, precision=model.precision)
    if isinstance(image, Image.Image):
        return _restore_pillow(image, model, options)
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"cannot restore a {type(image).__name__}", "give a Pillow image or a NumPy array"
        )
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ImageError(
            f"an array of shape {image.shape} is no image", "give one image, (h w) or (h w c)"
        )
    pixels = image.reshape(*image.shape[:2], -1)
    native = image.dtype.newbyteorder("=")
    supported = np.issubdtype(native, np.floating) or native in (np.uint8, np.uint16)
    if not supported or pixels.shape[2] > MOST_CHANNELS:
        raise ImageError(
            f"an array of shape {image.shape} and type {image.dtype} is not supported",
            "give uint8, uint16, or floating point in [0, 1], with 1 to 4 channels",
        )
    restored = _restore_pixels(pixels, model, options)
    return restored if image.ndim == 3 else restored[..., 0]


def list_models() -> list[CatalogueEntry]:
    """List the models that the package knows.

    Returns:
        One entry for each; those without a `bundled` file are fetched when they are loaded.
    """
    return list(catalogue.entries())


def _restore_pillow(image: Image.Image, model: Model, options: RestoreOptions) -> Image.Image:
    if image.mode in DEEP_MODES:
        return _restore_deep(image, model, options)
    if image.mode not in GRAY_MODES + COLOUR_MODES:
        raise ImageError(
            f"Pillow images of mode {image.mode!r} are not supported",
            WAYS_OUT.get(image.mode, "convert it first: image.convert('RGB')"),
        )
    mode = "L" if image.mode in GRAY_MODES else "RGB"
    if image.has_transparency_data:
        mode += "A"
    pixels = np.asarray(image.convert(mode))
    values = _restore_pixels(pixels.reshape(*pixels.shape[:2], -1), model, options)
    restored = Image.fromarray(values[..., 0] if mode == "L" else values)
    restored.info.update({key: v for key, v in image.info.items() if key != "transparency"})
    return restored


def _restore_deep(image: Image.Image, model: Model, options: RestoreOptions) -> Image.Image:
    if "transparency" in image.info:
        raise ImageError(
            f"a Pillow image of mode {image.mode!r} cannot hold opacity beside its gray",
            "give an array (h w 2) of uint16: gray, then opacity",
        )
    # In the machine's byte order, whatever the mode's.
    values = np.asarray(image).astype(DEEP_MODES[image.mode])
    restored = Image.fromarray(_restore_pixels(values[..., None], model, options)[..., 0])
    restored.info.update(image.info)
    return restored


def _span_of(pixels: NDArray[np.float32]) -> ValueRange | None:
    finite = bool(np.isfinite(pixels).all())
    span = measured([pixels], pixels.size) if finite else None
    if not finite or told(span):
        raise ImageError(
            f"a floating-point image must lie in [0, 1]; this one spans "
            f"{pixels.min():g} to {pixels.max():g}",
            "divide by its white level, or convert it to uint8 or uint16; values a little outside, "
            "as those of noise, are restored as they are",
        )
    return span


def _restore_pixels(values: NDArray[Any], model: Model, options: RestoreOptions) -> NDArray[Any]:
    floating = np.issubdtype(values.dtype, np.floating)
    pixels = values.astype(np.float32 if floating else values.dtype.newbyteorder("="))
    colours = 1 if pixels.shape[2] < 3 else 3
    alpha = pixels[..., -1] if pixels.shape[2] in (2, 4) else None
    span = _span_of(pixels) if floating else None
    if alpha is not None and floating:
        alpha = alpha.clip(0, 1)
    image = RestorableImage(pixels[..., :colours], alpha, span=span)
    restored = restore_image(model.network, image, model.spec, options)
    result = restored.pixels
    if restored.alpha is not None:
        result = np.concatenate([result, restored.alpha[..., None]], axis=2)
    return result.astype(values.dtype, copy=False)
