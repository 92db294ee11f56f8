"""Options that cannot stand together, or not without another: one table for each."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from mambair_cli.cli.options import RestoreSettings
from mambair_cli.errors import UsageError

STANDARD_STREAM = "-"
FIELDS = {"a name with its format": "name", "an output file": "output"}

ONE_RESULT = "with - there is one image, and its result alone goes to standard output"
NOTHING_RECORDED = "of standard input nothing is recorded; run the command again as it was"
FRAMES_AS_THEY_CAME = "frames are coded as they came; have ffmpeg convert them"
ONE_NAME = "a template names the whole file; write the suffix into it: {stem}SUFFIX.{ext}"

EXCLUSIVE = (
    ("-", "another input", ONE_RESULT),
    ("-", "--files-from", ONE_RESULT),
    ("-", "--output", ONE_RESULT),
    ("-", "--json", ONE_RESULT),
    ("-", "--name", ONE_RESULT),
    ("-", "--suffix", ONE_RESULT),
    ("-", "--dry-run", ONE_RESULT),
    ("-", "--shard", ONE_RESULT),
    ("-", "--resume", NOTHING_RECORDED),
    ("-", "--retry-failed", NOTHING_RECORDED),
    ("-", "--engine ray", "pipe files through this machine: leave out --engine"),
    ("--stream", "--format", FRAMES_AS_THEY_CAME),
    ("--stream", "--quality-out", FRAMES_AS_THEY_CAME),
    ("--name", "--suffix", ONE_NAME),
    ("--weights", "--model", "both name the weights; leave out one"),
    ("--quiet", "--verbose", "leave out one"),
)
# Where the command line says the one, what the user wants always of the other does not hold.
OVERRULED = (
    ("--tile", "--overlap"),
    ("an output file", "--format"),
    ("an output file", "--name"),
    ("a name with its format", "--format"),
    *((first, second) for first, second, _ in EXCLUSIVE),
)
NEEDED = (
    ("--null", "--files-from", "it says how the names in a list end: --files-from LIST --null"),
    ("--stream", "-", "say where it goes: --stream y4m - -o -"),
    ("--ray-address", "--engine ray", "add --engine ray"),
)


def check_together(settings: RestoreSettings) -> None:
    """Refuse options that contradict each other or do nothing.

    Raises:
        UsageError: Two exclude each other, one needs another that is missing, or there is no input.
    """
    given = _given(settings)
    if given.isdisjoint(("an input", "--files-from")):
        raise UsageError(
            "no input was given", "name images, folders or patterns, or take them --files-from"
        )
    for first, second, reason in EXCLUSIVE:
        if first in given and second in given:
            raise UsageError(f"{first} and {second} exclude each other", reason)
    for option, other, remedy in NEEDED:
        if option in given and other not in given:
            raise UsageError(f"{option} does nothing without {other}", remedy)


def without_overruled(settings: RestoreSettings) -> RestoreSettings:
    """Return what was asked for now, without what the user wants always and cannot have with it."""
    given = _given(settings)
    asked = {name for name in given if _field(name) not in settings.preferred}
    overruled = {
        _field(other)
        for pair in OVERRULED
        if given.issuperset(pair)
        for one, other in (pair, pair[::-1])
        if one in asked and other not in asked
    }
    usual: dict[str, Any] = {
        item.name: item.default for item in fields(settings) if item.name in overruled
    }
    return replace(settings, **usual)


def _field(name: str) -> str:
    """Return the field that a name of `_given` tells of."""
    return FIELDS.get(name, name.removeprefix("--").replace("-", "_"))


def _given(settings: RestoreSettings) -> set[str]:
    from mambair_cli.imaging.formats import BY_SUFFIX

    inputs = settings.inputs or []
    is_given = {
        "-": STANDARD_STREAM in (*inputs, settings.output),
        "an input": bool(inputs),
        "another input": len(inputs) > 1,
        "--files-from": settings.files_from is not None,
        "--null": settings.null,
        "--output": settings.output not in (None, STANDARD_STREAM),
        "--json": settings.json,
        "an output file": Path(settings.output or "").suffix.lower() in BY_SUFFIX,
        "a name with its format": not (settings.name or "{ext}").endswith("{ext}"),
        "--tile": settings.tile != "auto",
        "--overlap": settings.overlap is not None,
        "--stream": settings.stream is not None,
        "--format": settings.format is not None,
        "--quality-out": settings.quality_out is not None,
        "--name": settings.name is not None,
        "--suffix": settings.suffix is not None,
        "--dry-run": settings.dry_run,
        "--shard": settings.shard is not None,
        "--resume": settings.resume,
        "--retry-failed": settings.retry_failed,
        "--engine ray": settings.engine == "ray",
        "--ray-address": settings.ray_address is not None,
        "--weights": settings.weights is not None,
        "--model": settings.model is not None,
        "--quiet": settings.quiet,
        "--verbose": settings.verbose,
    }
    return {name for name, given in is_given.items() if given}
