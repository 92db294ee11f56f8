"""What the commands that measure share: models by name and level, and how they are run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mambair_cli.cli.compute import describe_device, prepare_scan
from mambair_cli.cli.console import Messages
from mambair_cli.cli.option_values import Tile
from mambair_cli.cli.options import Precision
from mambair_cli.cli.selection import ModelShelf, Request

if TYPE_CHECKING:
    import torch

    from mambair_cli.api import Model
    from mambair_cli.networks.spec import Task
    from mambair_cli.restoration.restorer import RestoreOptions

# What is taken where the user names no level.
DEFAULT_SCALE, DEFAULT_SIGMA, DEFAULT_QUALITY = 4, 25, 10


@dataclass(frozen=True)
class Setting:
    """How the networks run."""

    device: torch.device
    precision: Any
    scan: str
    options: RestoreOptions
    messages: Messages


def prepare(
    device: str,
    precision: Precision,
    scan: str,
    tile: Tile,
    messages: Messages,
    *,
    ensemble: bool,
) -> Setting:
    """Chooses device, precision and scan, and says them.

    Raises:
        BackendError: One of them cannot be had here.
    """
    from mambair_cli.restoration.precision import resolve_device, resolve_precision
    from mambair_cli.restoration.restorer import RestoreOptions

    place = resolve_device(device)
    number_format = resolve_precision(precision, place)
    backend = prepare_scan(scan, place, messages)
    messages.notice(
        f"device: {describe_device(place)}, scan: {backend}, precision: {number_format}"
    )
    options = RestoreOptions(tile, ensemble=ensemble, precision=number_format)
    return Setting(place, number_format, backend, options, messages)


def requests_for(
    task: Task,
    variants: Sequence[str] | None,
    weights: Sequence[str] | None,
    scale: int | None,
    sigma: int | None,
    quality: int | None,
) -> list[Request]:
    """One request for each model that was named; for the best on the device where none was."""
    asked = Request(
        task,
        scale=scale or DEFAULT_SCALE if task == "sr" else None,
        sigma=sigma or DEFAULT_SIGMA if task == "denoise" else None,
        quality=quality or DEFAULT_QUALITY if task == "dejpeg" else None,
    )
    named = [replace(asked, variant=variant) for variant in variants or []]
    # Weights that the user names say themselves what they are for.
    named += [Request(task, scale=scale, weights=reference) for reference in weights or []]
    return named or [asked]


def load(request: Request, setting: Setting) -> Model:
    """Loads the model of a request.

    Raises:
        MambairError: There is no such model, or it cannot be had.
    """
    shelf = ModelShelf(request, setting.device, setting.precision, setting.scan, setting.messages)
    assert shelf.single is not None
    return shelf.single
