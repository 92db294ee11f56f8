"""What a run would do and take: told by `--dry-run`, and the room on the disk before every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mambair_cli.cli.console import Messages, counted, duration
from mambair_cli.cli.selection import Request, choose_for
from mambair_cli.errors import MemoryLimitError, OutputError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from mambair_cli.api import Model
    from mambair_cli.batches.batch import Forecast, Job
    from mambair_cli.batches.forecasts import Volume
    from mambair_cli.restoration.costs import Cost, Effort
    from mambair_cli.restoration.restorer import RestoreOptions


def request_at_hand(request: Request, device: torch.device, jobs: Sequence[Job]) -> Request | None:
    """The request with nothing left open, if its weights need not be fetched.

    Where each image decides about its weights, the first that does decides here.
    """
    from mambair_cli.checkpoints.obtain import find
    from mambair_cli.imaging.metadata.jpeg_quality import read_jpeg_quality

    if request.by_file:
        qualities = (read_jpeg_quality(job.source) for job in jobs)
        quality = next((quality for quality in qualities if quality is not None), None)
        if quality is None:
            return None
        request = replace(request, quality=quality)
    at_hand = request.weights is not None or find(choose_for(request, device).entry.id)
    return request if at_hand else None


def tell_dry_run(
    prospects: Sequence[Forecast],
    model: Model | None,
    options: RestoreOptions,
    devices: int,
    messages: Messages,
) -> None:
    """Tell what a run would write, how long it would take and what it would need.

    Args:
        prospects: What is known of the files.
        model: What would restore them; None where it would have to be fetched.
        options: How they would be restored.
        devices: How many devices would share the work.
        messages: Where to tell it.

    Raises:
        OutputError: The results may not fit on the disk.
    """
    from mambair_cli.batches.forecasts import volumes
    from mambair_cli.restoration.costs import effort_of

    costs: dict[Path, Cost] = {}
    if model is not None:
        prospects = [_with_cost(prospect, model, options, costs) for prospect in prospects]
    tell_files(prospects, costs, messages)
    effort = None
    if model is not None and costs:
        effort = effort_of(model.network, list(costs.values()), model.spec, options, devices)
    places = volumes(prospects)
    _tell_plan_event(prospects, effort, places, messages, dry_run=True)
    for line in _totals(prospects, effort, places):
        messages.notice(line)
    for place in places:
        if not place.suffices:
            raise OutputError(
                f"not enough disk space: the results take up to {_size(place.needed)}, "
                f"{_size(place.free)} are free in {place.directory}",
                "choose another place with -o/--output, or a format that compresses more",
            )


def tell_files(
    prospects: Sequence[Forecast], costs: Mapping[Path, Cost], messages: Messages
) -> None:
    """Tell file by file what a run would write, leave alone or refuse."""
    from mambair_cli.batches.batch import FileFailed, FileSkipped

    for prospect in prospects:
        job, outcome, result = prospect.job, prospect.outcome, prospect.result
        cost = costs.get(job.source)
        error = outcome.error if isinstance(outcome, FileFailed) else None
        reason = outcome.reason if isinstance(outcome, FileSkipped) else None
        if error is not None:
            messages.notice(f"would fail: {error.message}", "yellow")
        elif reason is not None:
            messages.notice(f"would skip {job.source}: {reason}", "dim")
        else:
            messages.notice(f"would write {job.target} from {job.source}{_details(prospect, cost)}")
        messages.event(
            "file_planned",
            source=str(job.source),
            target=str(job.target),
            width=None if result is None else result.width,
            height=None if result is None else result.height,
            images=None if result is None else result.images,
            tiles=None if cost is None else cost.tiles,
            skip=reason,
            refusal=None if error is None else error.message,
            hint=None if error is None else error.hint,
        )


def tell_before_run(prospects: Sequence[Forecast], messages: Messages) -> None:
    """Tell what a run begins with, and warn if the disk may have no room for its results."""
    from mambair_cli.batches.forecasts import volumes

    places = volumes(prospects)
    _tell_plan_event(prospects, None, places, messages, dry_run=False)
    for place in places:
        if not place.suffices:
            messages.notice(
                f"warning: the disk may become full: the results take up to {_size(place.needed)}, "
                f"{_size(place.free)} are free in {place.directory}",
                "yellow",
            )


def _with_cost(
    prospect: Forecast, model: Model, options: RestoreOptions, costs: dict[Path, Cost]
) -> Forecast:
    """Notes what a file takes; one that memory is short for gets another prospect."""
    from mambair_cli.batches.batch import FileFailed, Forecast
    from mambair_cli.restoration.costs import cost_of

    if prospect.source is None:
        return prospect
    try:
        cost = cost_of(model.network, prospect.source, model.spec, options)
    except MemoryLimitError as error:
        return Forecast(prospect.job, outcome=FileFailed(prospect.job, error))
    costs[prospect.job.source] = cost
    return prospect


def _tell_plan_event(
    prospects: Sequence[Forecast],
    effort: Effort | None,
    places: Sequence[Volume],
    messages: Messages,
    *,
    dry_run: bool,
) -> None:
    from mambair_cli.batches.batch import FileFailed, FileSkipped

    outcomes = [prospect.outcome for prospect in prospects]
    messages.event(
        "plan",
        dry_run=dry_run,
        images=len(prospects),
        skipped=sum(isinstance(outcome, FileSkipped) for outcome in outcomes),
        refused=sum(isinstance(outcome, FileFailed) for outcome in outcomes),
        pixels=sum(prospect.pixels for prospect in prospects),
        tiles=None if effort is None else effort.tiles,
        seconds=None if effort is None else round(effort.seconds, 3),
        memory_bytes=None if effort is None else effort.memory,
        device_memory_bytes=None if effort is None else effort.device_memory,
        disk=[
            {
                "directory": str(place.directory),
                "most_bytes": place.needed,
                "free_bytes": place.free,
            }
            for place in places
        ],
    )


def _details(prospect: Forecast, cost: Cost | None) -> str:
    if prospect.result is None:
        return ""
    size = f"{prospect.result.width}x{prospect.result.height} pixels"
    if prospect.result.images > 1:
        size = f"{prospect.result.images} images of {size}"
    return f": {size}" + ("" if cost is None else f", {counted(cost.tiles, 'tile')}")


def _totals(
    prospects: Sequence[Forecast], effort: Effort | None, places: Sequence[Volume]
) -> list[str]:
    todo = [prospect for prospect in prospects if prospect.outcome is None]
    pixels = sum(prospect.pixels for prospect in todo) / 1e6
    lines = [f"{counted(len(todo), 'image')} to restore, {pixels:.1f} megapixels"]
    if effort is None:
        lines[0] += "; time and memory are not known before the weights are here"
    else:
        lines[0] += f", {counted(effort.tiles, 'tile')}: about {duration(effort.seconds)} for the "
        lines[0] += f"network, {_size(effort.memory)} of memory"
        if effort.device_memory is not None:
            lines[0] += f", {_size(effort.device_memory)} on the device"
    lines += [
        f"results take at most {_size(place.needed)}, {_size(place.free)} are free in "
        f"{place.directory}"
        for place in places
    ]
    return lines


def _size(number: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number / 1e3:.1f} kB"
