"""The restoring commands with `--engine ray`: the same flow, with the work on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mambair_cli.cli.console import Messages, OnceOnly
from mambair_cli.cli.display import BatchDisplay
from mambair_cli.cli.download import DownloadDisplay
from mambair_cli.cli.options import RestoreSettings
from mambair_cli.cli.planning import names_the_model, plan
from mambair_cli.cli.restoring import (
    file_options,
    raise_failures,
    recipe_of_all,
    remove_unfinished_of,
    tell_nothing_to_do,
    tell_plan,
)
from mambair_cli.cli.selection import Request, check_purpose, choose_for, doubts, warn_of_traces

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from mambair_cli.batches.batch import Event, Job, Summary
    from mambair_cli.checkpoints.catalogue import CatalogueEntry
    from mambair_cli.checkpoints.load import LoadedModel
    from mambair_cli.distributed.cluster import Workers
    from mambair_cli.networks.spec import ModelSpec


def restore_on_cluster(request: Request, settings: RestoreSettings, messages: Messages) -> None:
    """Do what a restoring command was asked to do, on a Ray cluster.

    Args:
        request: The task and its parameters.
        settings: What all restoring commands take.
        messages: Told what happens.

    Raises:
        MambairError: The request cannot be met, or images failed; the rest of a batch is done.
    """
    from mambair_cli.distributed.cluster import connected, find_workers

    with connected(settings.ray_address):
        workers = find_workers(settings.device)
        messages.notice(f"ray: {workers}, scan: {settings.scan}")
        summary = _restore(request, settings, workers, messages)
    if summary is not None:
        raise_failures(summary)


def _restore(
    request: Request, settings: RestoreSettings, workers: Workers, messages: Messages
) -> Summary | None:
    import torch

    device = torch.device(workers.device)
    early = request.weights is not None or (names_the_model(settings) and not settings.dry_run)
    models = _models(request, device, messages) if early else None
    jobs = plan(request, settings, _known(request, device, models))
    if not jobs:
        tell_nothing_to_do(settings, messages)
        return None
    if settings.dry_run:
        tell_plan(jobs, settings, messages)
        return None
    models = models or _models(request, device, messages)
    return _run(request, jobs, models, settings, workers, messages)


def _known(
    request: Request, device: torch.device, models: Mapping[str, LoadedModel] | None
) -> ModelSpec | CatalogueEntry | None:
    """What is known of the weights; None where each file decides about them."""
    if request.by_file:
        return None
    if models is not None:
        return next(iter(models.values())).spec
    return choose_for(request, device).entry


def _models(request: Request, device: torch.device, messages: Messages) -> dict[str, LoadedModel]:
    """The weights of the run by name: one, or those for all JPEG qualities."""
    once = OnceOnly(messages)
    if request.weights is not None:
        from mambair_cli.checkpoints.obtain import resolve

        path = resolve(request.weights, DownloadDisplay(once))
        return {request.weights: _loaded(path, request, once)}
    return {
        choose_for(each, device).entry.id: _loaded(_obtained(each, device, once), each, once)
        for each in _requests(request)
    }


def _requests(request: Request) -> list[Request]:
    from mambair_cli.checkpoints import catalogue

    if not request.by_file:
        return [request]
    entries = [entry for entry in catalogue.entries() if entry.task == request.task]
    qualities = sorted({entry.quality for entry in entries if entry.quality is not None})
    return [replace(request, quality=quality) for quality in qualities]


def _obtained(request: Request, device: torch.device, messages: Messages) -> Path:
    from mambair_cli.checkpoints.obtain import obtain

    choice = choose_for(request, device)
    for notice in choice.notices:
        messages.notice(notice)
    path, stands_in = obtain(choice, DownloadDisplay(messages))
    if stands_in is not None:
        messages.notice(stands_in, "yellow")
    return path


def _loaded(path: Path, request: Request, messages: Messages) -> LoadedModel:
    from mambair_cli.checkpoints.load import load_checkpoint

    model = load_checkpoint(path)
    check_purpose(model.spec, request)
    for doubt in doubts(model.spec, request):
        messages.notice(f"warning: {doubt}", "yellow")
    messages.notice(f"model: {model.spec.id}")
    messages.detail(f"weights: {model.path}, sha256 {model.sha256}")
    return model


def _run(
    request: Request,
    jobs: Sequence[Job],
    models: Mapping[str, LoadedModel],
    settings: RestoreSettings,
    workers: Workers,
    messages: Messages,
) -> Summary:
    from mambair_cli.distributed.cluster import number_format
    from mambair_cli.distributed.driver import run_on_cluster
    from mambair_cli.distributed.protocol import Setup, ship
    from mambair_cli.distributed.records import Records
    from mambair_cli.distributed.urls import address
    from mambair_cli.restoration.restorer import RestoreOptions

    options = RestoreOptions(
        settings.tile,
        settings.overlap,
        settings.ensemble,
        number_format(workers, settings.precision),
        settings.max_memory,
    )
    single = None if request.by_file else next(iter(models.values())).spec
    setup = Setup(
        task=request.task,
        weights={name: ship(model.path, model.sha256) for name, model in models.items()},
        by_quality=request.by_file,
        variant=request.variant,
        options=options,
        files=file_options(single, settings),
        scan=settings.scan,
        device=workers.device,
        processors=workers.processors,
        share=workers.share,
    )
    kept = len(jobs) > 1 or settings.resume or settings.shard is not None
    records = Records(
        recipe_of_all(options, settings) if kept else None,
        resume=settings.resume,
        shard=settings.shard,
    )
    remove_unfinished_of([job for job in jobs if address(job.target) is None], settings, messages)
    with BatchDisplay(messages, len(jobs), workers.names(len(jobs))) as display:
        return run_on_cluster(
            jobs,
            setup,
            workers,
            records,
            _watched(display.show, single, OnceOnly(messages)),
            partial(messages.notice, style="yellow"),
            messages.detail,
        )


def _watched(
    show: Callable[[Event], None], spec: ModelSpec | None, messages: Messages
) -> Callable[[Event], None]:
    """Shows events, and warns of photographs that workers find."""
    from mambair_cli.batches.batch import FileNoted
    from mambair_cli.distributed.protocol import LOOKS_LIKE

    def watch(event: Event) -> None:
        if isinstance(event, FileNoted) and spec and event.text.startswith(LOOKS_LIKE):
            found = event.text.removeprefix(LOOKS_LIKE).rpartition(":")[0]
            warn_of_traces(found, spec.id, messages)
        show(event)

    return watch
