"""The flow that all restoring commands share: choose device and weights, plan, restore, sum up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from mambair_cli.cli.compute import describe_device, io_threads, prepare_scan
from mambair_cli.cli.console import Messages, OnceOnly, counted
from mambair_cli.cli.contradictions import check_together
from mambair_cli.cli.display import BatchDisplay
from mambair_cli.cli.forecast import request_at_hand, tell_before_run, tell_dry_run, tell_files
from mambair_cli.cli.options import RestoreSettings
from mambair_cli.cli.piping import is_piped, restore_piped
from mambair_cli.cli.planning import names_the_model, plan
from mambair_cli.cli.selection import ModelShelf, Request, choose_for
from mambair_cli.errors import MambairError

if TYPE_CHECKING:
    import torch

    from mambair_cli.batches.batch import FileOptions, Job, Restore, Summary
    from mambair_cli.batches.manifest import RecipeOf
    from mambair_cli.checkpoints.catalogue import CatalogueEntry
    from mambair_cli.imaging.image import Band, BandReader, ImageHeader, RestorableImage
    from mambair_cli.networks.spec import ModelSpec
    from mambair_cli.restoration.device.precision import Precision
    from mambair_cli.restoration.restorer import Notice, Progress, RestoreOptions

HINTS_SHOWN = 3


def restore_files(request: Request, settings: RestoreSettings) -> None:
    """Do what a restoring command was asked to do.

    Args:
        request: The task and its parameters.
        settings: What all restoring commands take.

    Raises:
        MambairError: The request cannot be met, or images failed; the rest of a batch is done.
    """
    check_together(settings)
    if settings.retry_failed:
        settings = replace(settings, resume=True)
    if is_piped(settings):
        restore_piped(settings, partial(_restore, request))
        return
    messages = Messages(quiet=settings.quiet, verbose=settings.verbose, as_json=settings.json)
    _restore(request, settings, messages)


def _restore(request: Request, settings: RestoreSettings, messages: Messages) -> None:
    from mambair_cli.restoration.restorer import RestoreOptions

    if settings.engine == "ray":
        from mambair_cli.cli.cluster import restore_on_cluster

        restore_on_cluster(request, settings, messages)
        return
    compute = _compute(settings)
    options = RestoreOptions(
        settings.tile,
        settings.overlap,
        settings.ensemble,
        compute.precision,
        settings.max_memory,
    )
    messages.notice(compute.description)
    once = OnceOnly(messages)
    first = compute.devices[0]
    # A dry run fetches no weights, and what is wrong with the files is said before any are fetched.
    # Only what the user wants to know of the weights themselves needs them before.
    early = request.weights is not None or (names_the_model(settings) and not settings.dry_run)
    shelf = _shelf(request, compute, first, once) if early else None
    jobs = plan(request, settings, _weights_of(request, first, shelf))
    if not jobs:
        tell_nothing_to_do(settings, messages)
        return
    if settings.dry_run:
        _dry_run(request, jobs, compute, options, settings, shelf, once)
        return
    shelf = shelf or _shelf(request, compute, first, once)
    shelves = {first: shelf}
    for device in _needed(compute.devices, jobs, messages):
        prepare_scan(compute.scan, device, messages)
        if device not in shelves:
            shelves[device] = _shelf(request, compute, device, once)
    remove_unfinished_of(jobs, settings, messages)
    raise_failures(_run(jobs, shelves, options, settings, messages))


@dataclass(frozen=True)
class _Compute:
    """Where and how the networks run."""

    devices: list[torch.device]
    scan: str
    precision: Precision

    @property
    def description(self) -> str:
        devices = ", ".join(describe_device(device) for device in self.devices)
        return f"device: {devices}, scan: {self.scan}, precision: {self.precision}"


def _compute(settings: RestoreSettings) -> _Compute:
    """Chooses for the first device, and makes sure that the others can do the same."""
    from mambair_cli.kernels.scan import dispatch
    from mambair_cli.restoration.device.precision import resolve_devices, resolve_precision

    devices = resolve_devices(settings.device)
    scan = dispatch.select(settings.scan, devices[0]).name
    precision = resolve_precision(settings.precision, devices[0])
    for device in devices[1:]:
        dispatch.select(scan, device)
        resolve_precision(precision, device)
    return _Compute(devices, scan, precision)


def _shelf(
    request: Request, compute: _Compute, device: torch.device, messages: Messages
) -> ModelShelf:
    return ModelShelf(request, device, compute.precision, compute.scan, messages)


def _needed(
    devices: list[torch.device], jobs: Sequence[Job], messages: Messages
) -> list[torch.device]:
    needed = devices[: len(jobs)]
    if len(needed) < len(devices):
        used = ", ".join(str(device) for device in needed)
        messages.detail(f"{counted(len(jobs), 'image')}: only {used} works")
    return needed


def _weights_of(
    request: Request, device: torch.device, shelf: ModelShelf | None
) -> ModelSpec | CatalogueEntry | None:
    """What is known of the weights; None where each file decides about them."""
    if request.by_file:
        return None
    if shelf is not None and shelf.single is not None:
        return shelf.single.spec
    return choose_for(request, device).entry


def tell_nothing_to_do(settings: RestoreSettings, messages: Messages) -> None:
    """Tell that no image is left to this run."""
    of_part = ""
    if settings.shard is not None:
        index, count = settings.shard
        of_part = f" in part {index}/{count}"
    what = "no image failed in an earlier run" if settings.retry_failed else "there is no image"
    messages.notice(f"{what}{of_part}: nothing to do")
    if settings.dry_run:
        return
    tell_before_run([], messages)
    messages.event("summary", restored=0, skipped=0, failed=0, left=0, seconds=0.0)


def tell_plan(jobs: Sequence[Job], settings: RestoreSettings, messages: Messages) -> None:
    """Tell what a run would do, as far as that is known without looking into files."""
    from mambair_cli.batches.batch import FileFailed, Forecast

    tell_files(
        [
            Forecast(job)
            if job.refusal is None or settings.resume
            else Forecast(job, outcome=FileFailed(job, job.refusal))
            for job in jobs
        ],
        {},
        messages,
    )


def _dry_run(
    request: Request,
    jobs: Sequence[Job],
    compute: _Compute,
    options: RestoreOptions,
    settings: RestoreSettings,
    shelf: ModelShelf | None,
    messages: Messages,
) -> None:
    """Tells what a run would do and take; fetches no weights unless they were named."""
    from mambair_cli.batches.batch import foresee

    first = compute.devices[0]
    model, recipe = None, None
    if (definite := request_at_hand(request, first, jobs)) is not None:
        prepare_scan(compute.scan, first, messages)
        found = shelf or _shelf(definite, compute, first, messages)
        model = found.single
        if not request.by_file:
            recipe = _recipe(found, options, settings)
    files = file_options(_weights_of(request, first, shelf), settings)
    prospects = foresee(jobs, files, resume=settings.resume, recipe=recipe)
    devices = len(_needed(compute.devices, jobs, messages))
    tell_dry_run(prospects, model, options, devices, messages)


def remove_unfinished_of(
    jobs: Sequence[Job], settings: RestoreSettings, messages: Messages
) -> None:
    """Remove what a killed run left, where no other process can be at work on the same batch."""
    if not settings.resume or settings.shard is not None:
        return
    from mambair_cli.disk import remove_unfinished

    if removed := remove_unfinished({job.target.parent for job in jobs}):
        messages.detail(f"{counted(removed, 'unfinished file')} of an earlier run removed")


def _run(
    jobs: Sequence[Job],
    shelves: Mapping[torch.device, ModelShelf],
    options: RestoreOptions,
    settings: RestoreSettings,
    messages: Messages,
) -> Summary:
    from mambair_cli.batches.batch import foresee, run_batch

    first, *_ = shelves.values()
    files = file_options(None if first.single is None else first.single.spec, settings)
    prospects = foresee(jobs, files)
    tell_before_run(prospects, messages)
    pixels = {prospect.job.source: prospect.pixels for prospect in prospects}
    with BatchDisplay(messages, len(jobs), [str(device) for device in shelves], pixels) as display:
        return run_batch(
            jobs,
            {str(device): _restorer(shelf, options) for device, shelf in shelves.items()},
            display.show,
            files=files,
            resume=settings.resume,
            recipe=_recipe(first, options, settings),
            shard=settings.shard,
            io_threads=io_threads(list(shelves)),
        )


def file_options(spec: ModelSpec | CatalogueEntry | None, settings: RestoreSettings) -> FileOptions:
    """How files are read and written; `spec` of the weights, None where each file decides."""
    from mambair_cli.batches.batch import FileOptions

    return FileOptions(
        scale=1 if spec is None else spec.scale,
        quality=settings.quality_out,
        metadata=settings.metadata,
        max_pixels=FileOptions.max_pixels if settings.max_pixels is None else settings.max_pixels,
        max_memory=settings.max_memory,
    )


def _restorer(shelf: ModelShelf, options: RestoreOptions) -> Restore:
    from mambair_cli.batches.batch import Restore
    from mambair_cli.restoration.restorer import restore_image
    from mambair_cli.restoration.streaming import restore_bands

    def image(source: RestorableImage, on_progress: Progress, on_notice: Notice) -> RestorableImage:
        model = shelf.suited_to(source)
        if found := shelf.warn_of_photograph(model.spec, source):
            on_notice(f"looks like a photograph: {found}")
        return restore_image(model.network, source, model.spec, options, on_progress, on_notice)

    def bands(
        reader: BandReader, binary_alpha: bool, on_progress: Progress, on_notice: Notice
    ) -> tuple[ImageHeader, Iterator[Band]]:
        model, callbacks = shelf.suited_to(reader), (on_progress, on_notice)
        return restore_bands(
            model.network, reader, model.spec, options, *callbacks, binary_alpha=binary_alpha
        )

    return Restore(image, bands)


def _recipe(shelf: ModelShelf, options: RestoreOptions, settings: RestoreSettings) -> RecipeOf:
    of_all = recipe_of_all(options, settings)
    return lambda source: {**of_all, "weights": shelf.digest_for(source)}


def recipe_of_all(options: RestoreOptions, settings: RestoreSettings) -> dict[str, object]:
    """What results depend on beside their source and its weights; `--resume` compares it."""
    # How much memory there is decides how a result is made, not what it is.
    of_all = {name: value for name, value in asdict(options).items() if name != "max_memory"}
    return of_all | {
        "version": version("mambair"),
        "quality_out": settings.quality_out,
        "metadata": settings.metadata,
    }


def raise_failures(summary: Summary) -> None:
    """Fail as a command whose images failed.

    Raises:
        MambairError: Some did.
    """
    errors = [failure.error for failure in summary.failed]
    images = len(summary.done) + len(summary.skipped) + len(errors)
    if images == 1 and errors:
        raise errors[0]
    if errors:
        listed = "".join(f"\n  {error.message}" for error in errors)
        hints = list(dict.fromkeys(error.hint for error in errors if error.hint))
        raise MambairError(
            f"{len(errors)} of {images} images failed:{listed}",
            "\n".join(hints[:HINTS_SHOWN]) or None,
        )
