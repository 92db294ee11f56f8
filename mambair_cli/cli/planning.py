"""From the words of a command line to the files that are restored, and into which."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mambair_cli.cli.contradictions import STANDARD_STREAM
from mambair_cli.cli.options import RestoreSettings
from mambair_cli.errors import UsageError

if TYPE_CHECKING:
    from mambair_cli.batches.jobs import Job
    from mambair_cli.batches.naming import NameTemplate
    from mambair_cli.batches.sources.folders import OnNotice
    from mambair_cli.checkpoints.catalogue import CatalogueEntry
    from mambair_cli.checkpoints.request import Request
    from mambair_cli.networks.spec import ModelSpec
    from mambair_cli.restoration.sizing import Sizing

SUFFIXES = {
    "fix": "_fixed",
    "denoise": "_denoised",
    "denoise-real": "_denoised",
    "dejpeg": "_dejpeg",
}


def plan(
    request: Request,
    settings: RestoreSettings,
    spec: ModelSpec | CatalogueEntry | None,
    sizing: Sizing,
    on_notice: OnNotice,
) -> list[Job]:
    """Find what this run is to do; with `--shard` and `--retry-failed` that may be nothing.

    Args:
        request: What is to be done.
        settings: Which files, where to, named how.
        spec: The weights that will do it; None where each file decides about them.
        sizing: Which size results are asked to have.
        on_notice: Told what of folders is left out, and which links to folders are followed.

    Raises:
        UsageError: The inputs, the outputs or the names are wrong.
    """
    from mambair_cli.batches.jobs import failed_before, in_shard, plan_jobs
    from mambair_cli.batches.sources.inputs import resolve_inputs
    from mambair_cli.batches.urls import parse_place

    scale = 1 if spec is None else spec.scale
    suffix = SUFFIXES.get(request.task, f"_x{scale}")
    if sizing.is_free:
        suffix = SUFFIXES.get(request.task, "") + sizing.suffix
    names, listed = _names(settings)
    if settings.engine == "local":
        _refuse_addresses([*names, *listed, settings.output or ""])
    output = None if settings.output is None else parse_place(settings.output)
    jobs = plan_jobs(
        resolve_inputs(names, listed),
        output=output,
        suffix=suffix if settings.suffix is None else settings.suffix,
        format=settings.format,
        recursive=settings.recursive,
        overwrite=settings.overwrite,
        name=_template(request, settings, spec, sizing),
        on_notice=on_notice,
    )
    if settings.shard is not None:
        jobs = in_shard(jobs, settings.shard, output)
    return failed_before(jobs) if settings.retry_failed else jobs


def names_the_model(settings: RestoreSettings) -> bool:
    """Tell whether the weights have to be had before the results can be named.

    Raises:
        UsageError: The template for names is malformed.
    """
    from mambair_cli.batches.naming import NameTemplate

    return settings.name is not None and "model" in NameTemplate.parse(settings.name).fields


def _names(settings: RestoreSettings) -> tuple[list[str], list[str]]:
    """Return the inputs that were typed, and those that a list names."""
    from mambair_cli.batches.sources.inputs import read_names

    names = settings.inputs or []
    if settings.files_from is None:
        return names, []
    listed = read_names(_content(settings.files_from), null=settings.null)
    if not listed and not names:
        raise UsageError(
            f"--files-from {settings.files_from} names no files", "see what made the list"
        )
    return names, listed


def _refuse_addresses(names: list[str]) -> None:
    from mambair_cli.batches.urls import path_text

    if urls := [name for name in names if path_text(name) is None]:
        raise UsageError(
            f"addresses are no files of this machine: {', '.join(urls)}",
            "add --engine ray, which reads and writes them, or copy the files here",
        )


def _content(source: str) -> bytes:
    if source == STANDARD_STREAM:
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise UsageError(
            f"--files-from {source} cannot be read: {error.strerror}", "check the spelling"
        ) from error


def _template(
    request: Request,
    settings: RestoreSettings,
    spec: ModelSpec | CatalogueEntry | None,
    sizing: Sizing,
) -> NameTemplate | None:
    from mambair_cli.batches.naming import NameTemplate
    from mambair_cli.checkpoints import catalogue

    if settings.name is None:
        return None
    values: dict[str, object] = {"task": request.task, "scale": 1}
    if spec is not None:
        variants = {entry.id: entry.variant for entry in catalogue.entries()}
        model = variants.get(spec.id, spec.id)
        levels = {"scale": spec.scale, "sigma": spec.sigma, "quality": spec.quality}
        values |= {"model": model, **levels}
    if sizing.is_free:
        values["scale"] = None if sizing.factor is None else f"{float(sizing.factor):g}"
    return NameTemplate.parse(settings.name).with_values(values)
