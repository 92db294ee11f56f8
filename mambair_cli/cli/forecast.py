"""What a run would do and take: told by `--dry-run`, and the room on the disk before every run."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mambair_cli.cli.console import Messages, counted, duration, failure_of
from mambair_cli.cli.display import describe_steps
from mambair_cli.errors import MemoryLimitError, OutputError

if TYPE_CHECKING:
    from mambair_cli.batches.forecasts import Forecast, Volume
    from mambair_cli.batches.models import Model
    from mambair_cli.batches.urls import Place
    from mambair_cli.restoration.costs import Cost, Effort
    from mambair_cli.restoration.restorer import RestoreOptions

    # A model, and what it takes for a file; of each file, in turn.
    Use = tuple[Model, Cost]
    Costs = dict[Place, list[Use]]


def tell_dry_run(
    forecasts: Sequence[Forecast],
    options: RestoreOptions,
    devices: int,
    unknown: str,
    messages: Messages,
) -> None:
    """Tell what a run would write, how long it would take and what it would need.

    Args:
        forecasts: What is known of the files.
        options: How they would be restored.
        devices: How many devices would share the work.
        unknown: Why time and memory are not known, where models are not at hand.
        messages: Where to tell it.

    Raises:
        OutputError: The results may not fit on the disk.
        MambairError: Some images would fail.
    """
    from mambair_cli.batches.events import FileFailed
    from mambair_cli.batches.forecasts import volumes

    costs: Costs = {}
    forecasts = [_with_costs(forecast, options, costs) for forecast in forecasts]
    tell_files(forecasts, costs, messages)
    todo = [forecast for forecast in forecasts if forecast.outcome is None]
    at_hand = all(forecast.models is not None for forecast in todo)
    effort = _effort(costs, options, devices) if at_hand and costs else None
    places = volumes(forecasts)
    _tell_plan_event(forecasts, effort, places, messages, dry_run=True, strength=options.strength)
    for line in _totals(todo, effort if at_hand else unknown, places):
        messages.notice(line)
    for place in places:
        if not place.suffices:
            raise OutputError(
                f"not enough disk space: the results take up to {_size(place.needed)}, "
                f"{_size(place.free)} are free in {place.directory}",
                "choose another place with -o/--output, or a format that compresses more",
            )
    outcomes = [forecast.outcome for forecast in forecasts]
    errors = [outcome.error for outcome in outcomes if isinstance(outcome, FileFailed)]
    if failure := failure_of(errors, len(forecasts), "would fail"):
        raise failure


def tell_files(
    forecasts: Sequence[Forecast], costs: Mapping[Place, Sequence[Use]], messages: Messages
) -> None:
    """Tell file by file what a run would write, leave alone or refuse."""
    from mambair_cli.batches.events import FileFailed, FileSkipped

    for forecast in forecasts:
        job, outcome, result = forecast.job, forecast.outcome, forecast.result
        found = forecast.found
        tiles = sum(cost.tiles for _, cost in costs.get(job.source, ())) or None
        error = outcome.error if isinstance(outcome, FileFailed) else None
        reason = outcome.reason if isinstance(outcome, FileSkipped) else None
        if error is not None:
            messages.notice(f"would fail: {error.message}", "yellow")
        elif reason is not None:
            messages.notice(f"would skip {job.source}: {reason}", "dim")
        else:
            messages.notice(
                f"would write {job.target} from {job.source}{_details(forecast, tiles)}"
            )
            if found is not None and found.text:
                messages.notice(f"{job.source}: {found}")
        messages.event(
            "file_planned",
            source=str(job.source),
            target=str(job.target),
            width=None if result is None else result.width,
            height=None if result is None else result.height,
            images=None if result is None else result.images,
            tiles=tiles,
            found=(found and found.text) or None,
            steps=None if found is None else describe_steps(found.steps),
            skip=reason,
            refusal=None if error is None else error.message,
            hint=None if error is None else error.hint,
        )


def tell_before_run(forecasts: Sequence[Forecast], messages: Messages, strength: float) -> None:
    """Tell what a run begins with, and warn if the disk may have no room for its results."""
    from mambair_cli.batches.forecasts import volumes

    places = volumes(forecasts)
    _tell_plan_event(forecasts, None, places, messages, dry_run=False, strength=strength)
    for place in places:
        if not place.suffices:
            messages.warning(
                f"the disk may become full: the results take up to {_size(place.needed)}, "
                f"{_size(place.free)} are free in {place.directory}"
            )


def _with_costs(forecast: Forecast, options: RestoreOptions, costs: Costs) -> Forecast:
    """Note what a file takes; forecast a failure where memory is short for it."""
    from mambair_cli.batches.events import FileFailed
    from mambair_cli.batches.forecasts import Forecast
    from mambair_cli.restoration.costs import cost_of

    header, uses = forecast.source, []
    for model in forecast.models or ():
        if header is None:
            return forecast
        try:
            uses.append((model, cost_of(model.network, header, model.spec, options)))
        except MemoryLimitError as error:
            return Forecast(forecast.job, outcome=FileFailed(forecast.job, error))
        scale = model.spec.scale
        header = replace(header, width=header.width * scale, height=header.height * scale)
    if uses:
        costs[forecast.job.source] = uses
    return forecast


def _effort(costs: Costs, options: RestoreOptions, devices: int) -> Effort:
    from mambair_cli.restoration.costs import effort_of

    uses = [use for each in costs.values() for use in each]
    models = {id(model): model for model, _ in uses}
    efforts = [
        effort_of(
            model.network,
            [cost for used, cost in uses if used is model],
            model.spec,
            options,
            devices,
        )
        for model in models.values()
    ]
    return functools.reduce(lambda one, other: one.joined(other), efforts)


def _tell_plan_event(
    forecasts: Sequence[Forecast],
    effort: Effort | None,
    places: Sequence[Volume],
    messages: Messages,
    *,
    dry_run: bool,
    strength: float,
) -> None:
    from mambair_cli.batches.events import FileFailed, FileSkipped

    outcomes = [forecast.outcome for forecast in forecasts]
    messages.event(
        "plan",
        dry_run=dry_run,
        strength=strength,
        images=len(forecasts),
        skipped=sum(isinstance(outcome, FileSkipped) for outcome in outcomes),
        refused=sum(isinstance(outcome, FileFailed) for outcome in outcomes),
        pixels=sum(forecast.pixels for forecast in forecasts),
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


def _details(forecast: Forecast, tiles: int | None) -> str:
    if forecast.result is None:
        return ""
    size = f"{forecast.result.width}x{forecast.result.height} pixels"
    if forecast.result.images > 1:
        size = f"{forecast.result.images} images of {size}"
    return f": {size}" + ("" if tiles is None else f", {counted(tiles, 'tile')}")


def _totals(
    todo: Sequence[Forecast], effort: Effort | str | None, places: Sequence[Volume]
) -> list[str]:
    restored = [forecast for forecast in todo if not forecast.left_alone]
    lines = [f"{counted(len(restored), 'image')} to restore"]
    if pixels := sum(forecast.pixels for forecast in restored):
        lines[0] += f", {pixels / 1e6:.1f} megapixels"
    if alone := len(todo) - len(restored):
        lines[0] += f", {alone} left alone"
    if isinstance(effort, str):
        lines[0] += f"; {effort}"
    elif effort is not None:
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
