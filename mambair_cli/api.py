"""The public Python API: load a model, restore an image, list the models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.catalogue import CatalogueEntry
from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.checkpoints.obtain import resolve
from mambair_cli.errors import ImageError
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.networks.ss2d import set_scan_backend
from mambair_cli.restoration.precision import (
    Precision,
    PrecisionRequest,
    resolve_device,
    resolve_precision,
)
from mambair_cli.restoration.restorer import RestoreOptions, restore_image, restore_tensor

if TYPE_CHECKING:
    from mambair_cli.networks import RestorationNetwork
    from mambair_cli.networks.spec import ModelSpec

GRAY_MODES = ("1", "L", "LA", "La")
COLOUR_MODES = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA")
MODE_OF_CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}

Picture = TypeVar("Picture", Image.Image, NDArray[Any])


@dataclass(frozen=True)
class Model:
    """Weights in their network, on a device, ready to restore.

    Attributes:
        network: The module: `(b c h w)` float32 in [0, 1] to `(b c h*s w*s)`, not clamped, any
            height and width; evaluation mode, without gradients.
        spec: Its task, scale `s` and channels `c`.
        device: Where it runs.
        precision: Number format of its matrix products: `fp32`, `bf16` or `fp16`.
        scan: Name of its selective-scan backend.
        path: The weights file.
        sha256: Digest of that file.
    """

    network: RestorationNetwork
    spec: ModelSpec
    device: torch.device
    precision: Precision
    scan: str
    path: Path
    sha256: str


def load_model(
    reference: str | Path,
    device: str = "auto",
    precision: PrecisionRequest = "auto",
    scan: str = "auto",
) -> Model:
    """Loads a model.

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
    place = resolve_device(device)
    number_format = resolve_precision(precision, place)
    loaded = load_checkpoint(resolve(str(reference)))
    network = loaded.network.to(place)
    backend = set_scan_backend(network, scan)
    return Model(network, loaded.spec, place, number_format, backend, loaded.path, loaded.sha256)


def restore(
    image: Picture,
    model: Model,
    tile: int | Literal["auto"] = "auto",
    ensemble: bool = False,
) -> Picture:
    """Restores an image.

    Gray stays gray and opacity is kept, enlarged where the model enlarges.

    Args:
        image: A Pillow image with 8 bits a channel, or an array `(h w)` or `(h w c)`: uint8 with 1
            to 4 channels (gray or RGB, then opacity), or floating point in [0, 1] with 1 or 3.
        model: As `load_model` returned it.
        tile: Largest side of a tile in pixels; 0 for the whole image at once, `auto` by memory.
        ensemble: Average the results of the eight flips and turns (MambaIR+): better, eight times
            the work.

    Returns:
        The restored image, of the kind that came in: a Pillow image, or an array of the same number
        of axes and channels and the same type.

    Raises:
        ImageError: The image is of another kind.
        UsageError: The tile size cannot work, or a floating-point RGB array meets a gray model.
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
    restored: NDArray[Any]
    if image.dtype == np.uint8 and pixels.shape[2] in MODE_OF_CHANNELS:
        restored = _restore_pixels(pixels, model, options)
    elif np.issubdtype(image.dtype, np.floating) and pixels.shape[2] in (1, 3):
        restored = _restore_floats(pixels, model, options)
    else:
        raise ImageError(
            f"an array of shape {image.shape} and type {image.dtype} is not supported",
            "give uint8 with 1 to 4 channels, or floating point in [0, 1] with 1 or 3 channels",
        )
    return restored if image.ndim == 3 else restored[..., 0]


def list_models() -> list[CatalogueEntry]:
    """Lists the models that the package knows.

    Returns:
        One entry for each; those without a `bundled` file are fetched when they are loaded.
    """
    return list(catalogue.entries())


def _restore_pillow(image: Image.Image, model: Model, options: RestoreOptions) -> Image.Image:
    if image.mode not in GRAY_MODES + COLOUR_MODES:
        raise ImageError(
            f"Pillow images of mode {image.mode!r} are not supported",
            "convert it first: image.convert('RGB')",
        )
    mode = "L" if image.mode in GRAY_MODES else "RGB"
    if image.has_transparency_data:
        mode += "A"
    pixels = np.asarray(image.convert(mode))
    values = _restore_pixels(pixels.reshape(*pixels.shape[:2], -1), model, options)
    restored = Image.fromarray(values[..., 0] if mode == "L" else values)
    restored.info.update({key: v for key, v in image.info.items() if key != "transparency"})
    return restored


def _restore_pixels(
    pixels: NDArray[np.uint8], model: Model, options: RestoreOptions
) -> NDArray[np.uint8]:
    colours = 1 if pixels.shape[2] < 3 else 3
    alpha = pixels[..., -1] if pixels.shape[2] in (2, 4) else None
    image = RestorableImage(pixels[..., :colours].copy(), alpha)
    restored = restore_image(model.network, image, model.spec, options)
    if restored.alpha is None:
        return restored.pixels
    return np.concatenate([restored.pixels, restored.alpha[..., None]], axis=2)


def _restore_floats(
    values: NDArray[np.floating[Any]], model: Model, options: RestoreOptions
) -> NDArray[np.floating[Any]]:
    if not (values.min() >= 0 and values.max() <= 1):
        raise ImageError(
            f"a floating-point image must lie in [0, 1]; this one spans "
            f"{values.min():g} to {values.max():g}",
            "divide by its white level, or convert it to uint8",
        )
    x = torch.from_numpy(np.array(values.transpose(2, 0, 1), np.float32, order="C"))[None]
    gray_as_colour = x.shape[1] == 1 and model.spec.channels == 3
    if gray_as_colour:
        x = x.expand(-1, 3, -1, -1)
    restored = restore_tensor(model.network, x, model.spec, options)
    if gray_as_colour:
        restored = restored.mean(dim=1, keepdim=True)
    return restored[0].permute(1, 2, 0).cpu().numpy().astype(values.dtype)
