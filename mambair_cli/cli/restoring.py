"""The flow that all restoring commands share: choose device and weights, plan, restore, sum up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from mambair_cli.cli.compute import describe_device, prepare_scan
from mambair_cli.cli.console import Messages, duration
from mambair_cli.cli.display import BatchDisplay
from mambair_cli.cli.options import RestoreSettings
from mambair_cli.cli.selection import ModelShelf, Request
from mambair_cli.errors import MambairError

if TYPE_CHECKING:
    from mambair_cli.imaging.files import RestorableImage
    from mambair_cli.restoration.batch import Job, Summary
    from mambair_cli.restoration.restorer import Progress, RestoreOptions

SUFFIXES = {"denoise": "_denoised", "denoise-real": "_denoised", "dejpeg": "_dejpeg"}
HINTS_SHOWN = 3


def restore_files(request: Request, settings: RestoreSettings) -> None:
    """Do what a restoring command was asked to do.

    Args:
        request: The task and its parameters.
        settings: What all restoring commands take.

    Raises:
        MambairError: The request cannot be met, or images failed; the rest of a batch is done.
    """
    from mambair_cli.restoration.precision import resolve_device, resolve_precision
    from mambair_cli.restoration.restorer import RestoreOptions
    from mambair_cli.selective_scan import dispatch

    messages = Messages(quiet=settings.quiet, verbose=settings.verbose, as_json=settings.json)
    device = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    scan = dispatch.select(settings.scan, device).name
    options = RestoreOptions(settings.tile, settings.overlap, settings.ensemble, precision)
    messages.notice(f"device: {describe_device(device)}, scan: {scan}, precision: {precision}")
    shelf = ModelShelf(request, device, precision, scan, messages)
    jobs = _plan(settings, _suffix(request, shelf))
    if settings.dry_run:
        _tell_plan(jobs, settings, messages)
        return
    prepare_scan(scan, device, messages)
    _raise_failures(_run(jobs, shelf, options, settings, messages))


def _suffix(request: Request, shelf: ModelShelf) -> str:
    if request.task in SUFFIXES:
        return SUFFIXES[request.task]
    assert shelf.single is not None
    return f"_x{shelf.single.spec.scale}"


def _plan(settings: RestoreSettings, suffix: str) -> list[Job]:
    from mambair_cli.restoration.batch import plan_jobs

    return plan_jobs(
        settings.inputs,
        output=settings.output,
        suffix=suffix if settings.suffix is None else settings.suffix,
        format=settings.format,
        recursive=settings.recursive,
        overwrite=settings.overwrite,
    )


def _tell_plan(jobs: Sequence[Job], settings: RestoreSettings, messages: Messages) -> None:
    for job in jobs:
        refusal = None if job.refusal is None or settings.resume else job.refusal.message
        text = f"would write {job.target} from {job.source}"
        messages.notice(text if refusal is None else f"would fail: {refusal}")
        messages.event("planned", source=str(job.source), target=str(job.target), refusal=refusal)


def _run(
    jobs: Sequence[Job],
    shelf: ModelShelf,
    options: RestoreOptions,
    settings: RestoreSettings,
    messages: Messages,
) -> Summary:
    from mambair_cli.restoration.batch import run_batch
    from mambair_cli.restoration.restorer import restore_image

    def restore(image: RestorableImage, on_progress: Progress) -> RestorableImage:
        model = shelf.suited_to(image)
        return restore_image(model.network, image, model.spec, options, on_progress)

    start = time.perf_counter()
    with BatchDisplay(messages, len(jobs)) as display:
        summary = run_batch(
            jobs,
            restore,
            display.show,
            quality=settings.quality_out,
            resume=settings.resume,
            recipe=_fingerprint(shelf, options, settings.quality_out),
        )
    _tell_summary(summary, len(jobs), time.perf_counter() - start, messages)
    return summary


def _fingerprint(shelf: ModelShelf, options: RestoreOptions, quality_out: int) -> dict[str, Any]:
    """What a result depends on beside its source; with --resume it must not have changed."""
    weights = "by JPEG quality" if shelf.single is None else shelf.single.sha256
    return {
        "version": version("mambair"),
        "weights": weights,
        "quality_out": quality_out,
        **asdict(options),
    }


def _tell_summary(summary: Summary, images: int, seconds: float, messages: Messages) -> None:
    counts = {
        "restored": len(summary.done),
        "skipped": len(summary.skipped),
        "failed": len(summary.failed),
    }
    if images > 1:
        listed = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        messages.notice(f"{listed} in {duration(seconds)}")
    messages.event("summary", **counts, seconds=round(seconds, 3))


def _raise_failures(summary: Summary) -> None:
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
