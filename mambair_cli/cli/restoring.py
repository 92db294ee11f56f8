"""The flow that all restoring commands share: engine, weights, plan, restoration, summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mambair_cli.cli.compiling import load_kernels, prepare_scan
from mambair_cli.cli.console import Messages, OnceOnly, counted, failure_of
from mambair_cli.cli.contradictions import check_together, without_overruled
from mambair_cli.cli.display import BatchDisplay, tell_notices
from mambair_cli.cli.forecast import tell_before_run, tell_dry_run
from mambair_cli.cli.options import RestoreSettings
from mambair_cli.cli.piping import is_piped, restore_piped
from mambair_cli.cli.planning import names_the_model, plan
from mambair_cli.cli.selection import models_for, warn_of_traces, weights_for
from mambair_cli.cli.video import opened_frames, pass_on
from mambair_cli.errors import MambairError
from mambair_cli.restoration.sizing import Sizing

if TYPE_CHECKING:
    from mambair_cli.batches.engines import Batch, Engine
    from mambair_cli.batches.events import Event, Summary
    from mambair_cli.batches.jobs import Job
    from mambair_cli.batches.notices import Notice
    from mambair_cli.batches.treatment.steps import Finding
    from mambair_cli.checkpoints.catalogue import CatalogueEntry
    from mambair_cli.checkpoints.request import Request, Wish
    from mambair_cli.networks.spec import ModelSpec
    from mambair_cli.restoration.device.precision import Precision
    from mambair_cli.restoration.plan import RestoreOptions


ANY_SIZE = Sizing()


def restore_files(
    settings: RestoreSettings,
    task: Wish,
    *,
    scale: int | None = None,
    sigma: float | None = None,
    quality: int | None = None,
    sizing: Sizing = ANY_SIZE,
) -> None:
    """Do what a restoring command was asked to do.

    Args:
        settings: What all restoring commands take.
        task: What is restored; `fix` for what each image turns out to need.
        scale: Asked output side over input side; None for the default.
        sigma: Asked noise level on the 0-255 scale.
        quality: Asked JPEG quality; None to read it from each file.
        sizing: Asked size, where it is not the scale of the weights that decides.

    Raises:
        MambairError: The request cannot be met, or images failed; the rest of a batch is done.
    """
    from mambair_cli.checkpoints.request import Request

    settings = without_overruled(settings)
    check_together(settings)
    if settings.retry_failed:
        settings = replace(settings, resume=True)
    request = Request(task, scale, sigma, quality, settings.model, settings.weights)
    if settings.stream is not None:
        _restore_stream(request, sizing, settings)
        return
    if is_piped(settings):
        restore_piped(settings, partial(_restore, request, sizing))
        return
    messages = Messages(quiet=settings.quiet, verbose=settings.verbose, as_json=settings.json)
    _restore(request, sizing, settings, messages)


def _restore(
    request: Request, sizing: Sizing, settings: RestoreSettings, messages: Messages
) -> None:
    by_blocks = request.task == "dejpeg" and request.quality is None and request.weights is None
    if by_blocks and not (settings.engine == "ray" or settings.resume or settings.shard):
        _look_at_the_only(settings.inputs or [], request)
    with _engine(settings, messages) as engine:
        messages.notice(engine.description)
        spec: ModelSpec | CatalogueEntry | None = None
        # A dry run fetches no weights, and what is wrong with the files is said before any are
        # fetched. Only what the user wants to know of the weights themselves needs them before.
        if request.weights is not None or (names_the_model(settings) and not settings.dry_run):
            spec = engine.load(request)
        else:
            choices = [case.choose(engine.device_type) for case in request.every_case()]
            spec = None if request.by_file else choices[0].entry
        notices: list[Notice] = []
        jobs = plan(request, settings, spec, sizing, notices.append)
        tell_notices(notices, messages)
        if not jobs:
            _tell_nothing_to_do(settings, messages)
            return
        if settings.dry_run:
            batch = _batch(request, jobs, spec, engine, settings, sizing)
            forecasts = engine.rehearse(batch)
            devices = len(engine.names(len(jobs)))
            unknown = engine.unknown_effort
            tell_dry_run(forecasts, batch.options, devices, unknown, messages)
            return
        spec = engine.load(request)
        batch = _batch(request, jobs, spec, engine, settings, sizing)
        _remove_unfinished(batch, messages)
        summary = _run(batch, spec, engine, messages)
    _raise_failures(summary)


def _restore_stream(request: Request, sizing: Sizing, settings: RestoreSettings) -> None:
    """Restore a video frame by frame, from one pipe to another."""
    from mambair_cli.batches.local import LocalEngine

    messages = OnceOnly(Messages(quiet=settings.quiet, verbose=settings.verbose))
    with opened_frames(settings, request) as frames, _engine(settings, messages) as engine:
        messages.notice(engine.description)
        # With standard output no cluster is used: `contradictions`.
        assert isinstance(engine, LocalEngine)
        if len(devices := engine.names(2)) > 1:
            messages.notice(f"frames come one after the other: only {devices[0]} works")
        spec = engine.load(request)
        if request.task == "denoise" and request.by_file:
            messages.notice("noise: measured in each frame; --sigma N is the same for all")

        def tell(note: str | Finding) -> None:
            _warn_of_traces(str(note), spec, messages)
            messages.detail(str(note))

        options = _options(settings, engine.precision)
        pass_on(frames, engine.restorer(request, options, sizing), sizing, tell, messages)


def _look_at_the_only(names: Sequence[str], request: Request) -> None:
    """Refuse a single image that lacks what decides about it before kernels are compiled for it."""
    from pathlib import Path

    from mambair_cli.batches.treatment.choice import treatment_of
    from mambair_cli.batches.treatment.sample import samples_of
    from mambair_cli.imaging.files import InputFile

    if len(names) != 1 or not Path(names[0]).is_file():
        return
    with InputFile(Path(names[0])) as file:
        try:
            samples = [] if file.jpeg_quality else samples_of(file)
        except MambairError:
            return  # said with all else that is wrong
    if samples:
        treatment_of(request, *samples)


@contextmanager
def _engine(settings: RestoreSettings, messages: Messages) -> Iterator[Engine]:
    # Several devices, and several levels of quality, load the same weights: told once.
    once = OnceOnly(messages)
    if settings.engine == "ray":
        from mambair_cli.distributed.cluster import connected, find_workers
        from mambair_cli.distributed.ray_engine import RayEngine

        with connected(settings.ray_address):
            workers = find_workers(settings.device)
            yield RayEngine(
                workers,
                settings.precision,
                settings.scan,
                lambda request: weights_for(request, workers.device, once),
                partial(messages.notice, style="yellow"),
                messages.detail,
            )
        return
    from mambair_cli.batches.local import LocalEngine
    from mambair_cli.restoration.device.compute import Compute

    load_kernels(settings.device, settings.scan, messages)
    yield LocalEngine(
        Compute.resolve_all(settings.device, settings.precision, settings.scan),
        lambda request, compute: models_for(request, compute, once),
        lambda compute: prepare_scan(
            compute.scan, compute.device, messages, precision=compute.precision
        ),
        messages.detail,
    )


def _batch(
    request: Request,
    jobs: Sequence[Job],
    spec: ModelSpec | CatalogueEntry | None,
    engine: Engine,
    settings: RestoreSettings,
    sizing: Sizing,
) -> Batch:
    """Describe the work; `spec` is of the weights, None where each file decides about them."""
    from mambair_cli.batches.engines import Batch
    from mambair_cli.batches.stages import FileOptions

    limit = FileOptions.max_pixels if settings.max_pixels is None else settings.max_pixels
    return Batch(
        request,
        jobs,
        _options(settings, engine.precision),
        FileOptions(
            scale=(request.scale or 1) if spec is None else spec.scale,
            quality=settings.quality_out,
            metadata=settings.metadata,
            max_pixels=limit,
            accept_damaged=settings.accept_damaged,
            max_memory=settings.max_memory,
            sizing=sizing,
        ),
        resume=settings.resume,
        shard=settings.shard,
    )


def _options(settings: RestoreSettings, precision: Precision) -> RestoreOptions:
    from mambair_cli.restoration.plan import RestoreOptions

    return RestoreOptions(
        settings.tile,
        settings.overlap,
        settings.ensemble,
        precision,
        settings.max_memory,
        settings.strength,
    )


def _tell_nothing_to_do(settings: RestoreSettings, messages: Messages) -> None:
    of_part = ""
    if settings.shard is not None:
        index, count = settings.shard
        of_part = f" in part {index}/{count}"
    what = "no image failed in an earlier run" if settings.retry_failed else "there is no image"
    messages.notice(f"{what}{of_part}: nothing to do")
    if settings.dry_run:
        return
    tell_before_run([], messages, settings.strength)
    messages.event("summary", restored=0, left_alone=0, skipped=0, failed=0, left=0, seconds=0.0)


def _remove_unfinished(batch: Batch, messages: Messages) -> None:
    """Remove what a killed run left, where no other process can be at work on the same batch."""
    from pathlib import Path

    from mambair_cli.disk import remove_unfinished

    if not batch.resume or batch.shard is not None:
        return
    folders = {job.target.parent for job in batch.jobs if isinstance(job.target, Path)}
    if removed := remove_unfinished(folders):
        messages.detail(f"{counted(removed, 'unfinished file')} of an earlier run removed")


def _run(batch: Batch, spec: ModelSpec | None, engine: Engine, messages: Messages) -> Summary:
    forecasts = engine.foresee(batch)
    tell_before_run(forecasts, messages, batch.options.strength)
    names = engine.names(len(batch.jobs))
    pixels = {each.job.source: each.pixels for each in forecasts if each.source is not None}
    with BatchDisplay(messages, len(batch.jobs), names, pixels) as display:
        return engine.run(batch, forecasts, _watched(display.show, spec, OnceOnly(messages)))


def _watched(
    show: Callable[[Event], None], spec: ModelSpec | None, messages: Messages
) -> Callable[[Event], None]:
    """Warn of the first photographs among images for weights that keep a camera's traces."""
    from mambair_cli.batches.events import FileNoted

    def watch(event: Event) -> None:
        if isinstance(event, FileNoted):
            _warn_of_traces(event.text, spec, messages)
        show(event)

    return watch


def _warn_of_traces(note: str, spec: ModelSpec | None, messages: Messages) -> None:
    from mambair_cli.batches.treatment.restorers import traces_in

    if spec and (found := traces_in(note)):
        warn_of_traces(found, spec.id, messages)


def _raise_failures(summary: Summary) -> None:
    errors = [failure.error for failure in summary.failed]
    images = len(summary.done) + len(summary.skipped) + len(errors)
    if failure := failure_of(errors, images, "failed"):
        raise failure
