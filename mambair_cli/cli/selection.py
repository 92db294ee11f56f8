"""The weights of a command: found, checked, and told to the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mambair_cli.cli.compiling import prepare_network
from mambair_cli.cli.console import Messages
from mambair_cli.cli.download import DownloadDisplay

if TYPE_CHECKING:
    from pathlib import Path

    from mambair_cli.batches.models import LocalWeights, Model, ModelCache
    from mambair_cli.checkpoints.load import LoadedModel
    from mambair_cli.checkpoints.request import Request
    from mambair_cli.restoration.device.compute import Compute


def models_for(request: Request, compute: Compute, messages: Messages) -> ModelCache:
    """Load the models of a request for a device, and tell which they are.

    Raises:
        MambairError: There is no such model, or it cannot be had or used.
    """
    from mambair_cli.batches.models import LocalWeights, ModelCache

    def found(request: Request) -> LocalWeights:
        return LocalWeights(find_weights(request, compute.device.type, messages))

    def loaded(model: Model, request: Request, notes: tuple[str, ...]) -> None:
        tell_model(model, request, notes, messages)
        prepare_network(model, messages)

    return ModelCache(request, compute, found, loaded)


def weights_for(request: Request, device_type: str, messages: Messages) -> LoadedModel:
    """Load the weights of a request that leaves nothing open, and tell which they are.

    Args:
        request: What is to be done.
        device_type: Device that it will be done on, as in `torch.device.type`.
        messages: Told which weights were taken.

    Raises:
        MambairError: There are no such weights, or they cannot be had or used.
    """
    from mambair_cli.checkpoints.load import load_checkpoint

    model = load_checkpoint(find_weights(request, device_type, messages))
    request.check(model.spec)
    tell_model(model, request, model.notes, messages)
    return model


def find_weights(request: Request, device_type: str, messages: Messages) -> Path:
    """Find the weights file of a request, fetching it where need be; tell what was chosen and why.

    Args:
        request: What is to be done; leaves nothing open.
        device_type: Device that it will be done on, as in `torch.device.type`.
        messages: Told what the user should know of the choice, and of a download.

    Raises:
        UsageError: There is no such model.
        CheckpointError: The weights cannot be had.
    """
    from mambair_cli.checkpoints.obtain import obtain, resolve

    download = DownloadDisplay(messages)
    if request.weights is not None:
        return resolve(request.weights, download)
    choice = request.choose(device_type)
    for notice in choice.notices:
        messages.notice(notice)
    path, stands_in = obtain(choice, download)
    if stands_in is not None:
        messages.notice(stands_in, "yellow")
    return path


def tell_model(
    model: Model | LoadedModel, request: Request, notes: tuple[str, ...], messages: Messages
) -> None:
    """Tell which model was loaded, what speaks against it, and what reading its file noted."""
    for doubt in request.doubts(model.spec):
        messages.warning(doubt)
    messages.notice(f"model: {model.spec.id}")
    messages.detail(f"weights: {model.path}, sha256 {model.sha256}")
    for note in notes:
        messages.notice(f"{model.path}: {note}")


def warn_of_traces(found: str, model: str, messages: Messages) -> None:
    """Warn that weights trained on clean images meet the traces of a camera."""
    messages.warning(
        f"there are traces of a photograph ({found}), and {model} was trained on clean images: it "
        "keeps them, and the rest may look just blurry"
    )
    messages.notice(
        "hint: photographs are enlarged by: mambair fix --scale N, or mambair realsr", "yellow"
    )
