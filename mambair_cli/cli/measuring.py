"""What the commands that measure share: models by name and level, and how they are run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from mambair_cli.cli.compiling import load_kernels, prepare_scan
from mambair_cli.cli.console import Messages
from mambair_cli.cli.option_values import Tile
from mambair_cli.cli.options import Precision
from mambair_cli.cli.selection import models_for
from mambair_cli.errors import UsageError

if TYPE_CHECKING:
    from mambair_cli.batches.models import Model
    from mambair_cli.checkpoints.request import Request
    from mambair_cli.networks.spec import Task
    from mambair_cli.restoration.device.compute import Compute
    from mambair_cli.restoration.plan import RestoreOptions

# What is taken where the user names no level.
DEFAULT_SCALE, DEFAULT_SIGMA, DEFAULT_QUALITY = 4, 25, 10

ScaleLevel = Annotated[
    int | None,
    typer.Option(
        "--scale", metavar="2|3|4", help="Super-resolution, by default 4.", show_default=False
    ),
]
SigmaLevel = Annotated[
    int | None,
    typer.Option(
        "--sigma",
        metavar="15|25|50",
        help="Removal of Gaussian noise, by default 25.",
        show_default=False,
    ),
]
QualityLevel = Annotated[
    int | None,
    typer.Option(
        "--quality",
        metavar="10|30|40",
        help="Removal of JPEG artefacts, by default 10.",
        show_default=False,
    ),
]
Ensemble = Annotated[
    bool, typer.Option("--ensemble", help="With the self-ensemble (MambaIR+): 8 times the work.")
]
NumberFormat = Annotated[
    Precision, typer.Option("--precision", help="Number format of the network.")
]


@dataclass(frozen=True)
class Setting:
    """How the networks run."""

    compute: Compute
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
    """Choose device, precision and scan, and say them.

    Raises:
        BackendError: One of them cannot be had here.
    """
    from mambair_cli.restoration.device.compute import Compute, describe_device
    from mambair_cli.restoration.plan import RestoreOptions

    load_kernels(device, scan, messages)
    compute = Compute.resolve(device, precision, scan)
    prepare_scan(compute.scan, compute.device, messages, precision=compute.precision)
    messages.notice(
        f"device: {describe_device(compute.device)}, scan: {compute.scan.name}, "
        f"precision: {compute.precision}"
    )
    options = RestoreOptions(tile, ensemble=ensemble, precision=compute.precision)
    return Setting(compute, options, messages)


def task_asked(scale: int | None, sigma: int | None, quality: int | None) -> Task | None:
    """Tell the task that the given level is of; None where none is given.

    Raises:
        UsageError: Several are given.
    """
    levels: dict[Task, int | None] = {"sr": scale, "denoise": sigma, "dejpeg": quality}
    given = [task for task, value in levels.items() if value is not None]
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)} were asked for at once", "give one of --scale --sigma --quality"
        )
    return given[0] if given else None


def requests_for(
    task: Task,
    variants: Sequence[str] | None,
    weights: Sequence[str] | None,
    scale: int | None,
    sigma: int | None,
    quality: int | None,
) -> list[Request]:
    """Make one request for each model that was named; for the best on the device where none was."""
    from mambair_cli.checkpoints.request import Request

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
    """Load the model of a request.

    Raises:
        MambairError: There is no such model, or it cannot be had.
    """
    single = models_for(request, setting.compute, setting.messages).single
    assert single is not None
    return single
