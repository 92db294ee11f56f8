"""The public Python API: load a model, restore an image, fix a photograph, list the models."""

from __future__ import annotations

import math
import os
import reprlib
import warnings
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from mambair_cli.batches.models import LocalWeights, Model, ModelCache, network_for
from mambair_cli.batches.treatment.restorers import restorer_with
from mambair_cli.batches.treatment.sample import Sample
from mambair_cli.batches.treatment.steps import Finding, fitted_as_trained
from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.catalogue import CatalogueEntry
from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.checkpoints.obtain import resolve
from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import UsageError
from mambair_cli.imaging import in_memory
from mambair_cli.restoration.device.compute import Compute
from mambair_cli.restoration.restorer import RestoreOptions, restore_image
from mambair_cli.restoration.sizing import Sizing

if TYPE_CHECKING:
    from mambair_cli.restoration.device.precision import PrecisionRequest

Picture = TypeVar("Picture", Image.Image, NDArray[Any])
# What torch calls the precisions.
PRECISIONS = {
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
}


def load_model(
    reference: str | os.PathLike[str] | CatalogueEntry,
    device: str | int | torch.device | None = "auto",
    precision: PrecisionRequest | torch.dtype | None = "auto",
    scan: str | None = "auto",
) -> Model:
    """Load a model.

    Args:
        reference: A model id or its entry (see `list_models`), a `.safetensors` or `.pth` file, a
            folder as PyTorchModelHubMixin writes it, or a file or such a folder on the Hugging Face
            Hub: `hf://owner/repo[@revision][/path]`. What is not on this machine is fetched.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`, a `torch.device`, or a CUDA GPU's number;
            `auto` takes the fastest one there is, as None does.
        precision: `auto`, `fp32`, `bf16` or `fp16`, or torch's type for it.
        scan: Backend of the selective scan: `auto`, or a name that `mambair doctor` lists.

    Returns:
        The model.

    Raises:
        UsageError: The reference, device or precision is unknown.
        CheckpointError: The weights cannot be had or used.
        BackendError: The device, precision or scan backend cannot run here.
    """
    name = _name_of(reference)
    compute = Compute.resolve(
        _device_named(device), _precision_named(precision), _text("scan", scan)
    )
    loaded = load_checkpoint(resolve(name))
    for note in loaded.notes:
        warnings.warn(f"{loaded.path}: {note}", stacklevel=2)
    return Model.placed(loaded, compute)


def restore(
    image: Picture,
    model: Model,
    tile: int | Literal["auto"] | None = "auto",
    ensemble: bool = False,
    strength: float = 1.0,
) -> Picture:
    """Restore an image.

    Gray stays gray and opacity is kept, enlarged where the model enlarges. Whatever the type of the
    values, the network computes in floating point, and its result is rounded once.

    Args:
        image: A Pillow image of 8 bits a channel or of mode `I;16` or `F`, or an array `(h w)` or
            `(h w c)` with 1 to 4 channels, gray or RGB, then opacity: uint8, uint16, or floating
            point in [0, 1], or a little outside, as noise that was not clipped. One that lies far
            outside is shown to the network stretched to that range, with a warning.
        model: As `load_model` returned it.
        tile: Largest side of a tile in pixels; 0 for the whole image at once, `auto` by memory.
        ensemble: Average the results of the eight flips and turns (MambaIR+): better, eight times
            the work.
        strength: How much of the change is kept: 1 for all of it, 0 for the image as it is (where
            the model enlarges, its bicubic enlargement), between them a blend.

    Returns:
        The restored image, of the kind that came in: a Pillow image, or an array of the same number
        of axes and channels and the same type. Floating point has the precision of float32.

    Raises:
        ImageError: The image is of another kind.
        UsageError: The tile size or the strength cannot work, or an argument is of another kind.
        MemoryLimitError: Memory is short even with the smallest tiles.
    """
    _require_model(image, model)
    options = RestoreOptions(
        tile=_tile_side(tile),
        ensemble=_flag(ensemble),
        precision=model.precision,
        strength=_fraction(strength),
    ).suited_to(model.spec)
    taken = in_memory.take(image)
    for change in taken.image.changes:
        warnings.warn(change, stacklevel=2)
    sample = Sample.of_image(taken.image)
    fitting = fitted_as_trained(model.spec, gray=sample.is_gray)
    network = network_for(model, sample)
    restored = restore_image(network, taken.image, model.spec, options, fitting=fitting)
    result: Picture = taken.given_back(restored)
    return result


def fix(
    image: Picture,
    scale: float | None = None,
    device: str | int | torch.device | None = "auto",
    precision: PrecisionRequest | torch.dtype | None = "auto",
    scan: str | None = "auto",
    tile: int | Literal["auto"] | None = "auto",
    ensemble: bool = False,
    strength: float = 1.0,
    on_found: Callable[[str], None] | None = None,
) -> Picture:
    """Make a photograph better: look what it has, and do what helps, with the bundled weights.

    A Pillow image that is as it was opened from a JPEG file tells how it is coded, and the result
    stays within what the file can have come from. In others blocks are looked for.

    Args:
        image: As for `restore`.
        scale: How many times larger each side becomes at last, more than 1; None for the same size.
        device: As for `load_model`.
        precision: As for `load_model`.
        scan: As for `load_model`.
        tile: As for `restore`.
        ensemble: As for `restore`.
        strength: As for `restore`, of the change by each model.
        on_found: Told what was found and is done, in one line.

    Returns:
        The better image, of the kind that came in; one with the same values where there is nothing
        to gain.

    Raises:
        ImageError: The image is of another kind, or is not enlarged so.
        UsageError: An argument cannot work, or is of another kind.
        BackendError: The device, precision or scan backend cannot run here.
        MemoryLimitError: Memory is short even with the smallest tiles.
    """
    compute = Compute.resolve(
        _device_named(device), _precision_named(precision), _text("scan", scan)
    )
    options = RestoreOptions(
        tile=_tile_side(tile),
        ensemble=_flag(ensemble),
        precision=compute.precision,
        strength=_fraction(strength),
    )
    factor = None if scale is None else _factor(scale)
    models = _models_that_fix(None if factor is None else math.ceil(factor), compute)
    taken = in_memory.take(image)
    for change in taken.image.changes:
        warnings.warn(change, stacklevel=2)

    def note(each: str | Finding) -> None:
        if on_found is not None and isinstance(each, Finding):
            on_found(each.text)

    restore_one = restorer_with(models, options, Sizing(factor)).image
    result: Picture = taken.given_back(restore_one(taken.image, lambda *_: None, note))
    return result


@cache
def _models_that_fix(scale: int | None, compute: Compute) -> ModelCache:
    def find(request: Request) -> LocalWeights:
        return LocalWeights(resolve(request.choose(compute.device.type).entry.id))

    return ModelCache(Request("fix", scale), compute, find)


def list_models() -> list[CatalogueEntry]:
    """List the models that the package knows.

    Returns:
        One entry for each; those without a `bundled` file are fetched when they are loaded.
    """
    return list(catalogue.entries())


def _shown(value: object) -> str:
    return " ".join(reprlib.repr(value).split())


def _name_of(reference: object) -> str:
    if isinstance(reference, CatalogueEntry):
        return reference.id
    name = os.fspath(reference) if isinstance(reference, os.PathLike) else reference
    if isinstance(name, str) and name:
        return name
    if isinstance(name, (nn.Module, Mapping)):
        hint = "save its state_dict() with torch.save, and give the name of that file"
    elif hasattr(name, "name"):
        hint = "give the name of the file"
    else:
        hint = "give an id of list_models(), the path of a file, or hf://owner/repo/path"
    what = "no name" if name in ("", None) else f"a {type(name).__name__}"
    raise UsageError(f"a model is loaded by its name, and {what} was given", hint)


def _device_named(device: object) -> str:
    if isinstance(device, torch.device):
        return str(device)
    number = isinstance(device, int) and not isinstance(device, bool) and device >= 0
    return f"cuda:{device}" if number else _text("device", device)


def _precision_named(precision: object) -> Any:
    if isinstance(precision, torch.dtype):
        return PRECISIONS.get(precision, str(precision))
    return _text("precision", precision)


def _text(argument: str, value: object) -> Any:
    if value is None:
        return "auto"
    if isinstance(value, str):
        return value
    raise UsageError(f"{argument} {_shown(value)} is no name", "give it as text, such as 'auto'")


def _require_model(image: object, model: object) -> None:
    if isinstance(model, Model):
        return
    if isinstance(image, Model):
        raise UsageError("the model was given as the image", "restore(image, model)")
    raise UsageError(
        f"a {type(model).__name__} was given as the model", "give what load_model(...) returned"
    )


def _tile_side(tile: object) -> int | Literal["auto"]:
    if tile is None or (isinstance(tile, str) and tile == "auto"):
        return "auto"
    # NumPy's numbers, and floating-point ones that are whole.
    numbers = (int, float, np.integer, np.floating)
    if isinstance(tile, numbers) and not isinstance(tile, bool) and float(tile).is_integer():
        return int(tile)
    raise UsageError(
        f"tile {_shown(tile)} is no number of pixels",
        "give a whole number, 0 for the whole image, or 'auto'",
    )


def _flag(ensemble: object) -> bool:
    if isinstance(ensemble, (bool, np.bool_)) or (isinstance(ensemble, int) and ensemble in (0, 1)):
        return bool(ensemble)
    raise UsageError(f"ensemble {_shown(ensemble)} is neither True nor False", "give one of them")


def _factor(scale: object) -> Fraction:
    numbers = (int, float, np.integer, np.floating, Fraction)
    if not isinstance(scale, numbers) or isinstance(scale, bool) or not 1 < scale <= 4:
        raise UsageError(f"scale {_shown(scale)} is none", "give a number above 1, 4 at most")
    return Fraction(scale if isinstance(scale, Fraction) else str(scale))


def _fraction(strength: object) -> float:
    if isinstance(strength, (int, float, np.integer, np.floating)):
        return float(strength)
    raise UsageError(f"strength {_shown(strength)} is no number", "give one from 0 to 1")
