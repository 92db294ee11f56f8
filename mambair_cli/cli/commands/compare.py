"""`mambair compare`: what several models make of one's own image, on one page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from mambair_cli.cli.console import Messages, duration, print_data
from mambair_cli.cli.measuring import (
    Ensemble,
    NumberFormat,
    QualityLevel,
    ScaleLevel,
    SigmaLevel,
    load,
    prepare,
    requests_for,
    task_asked,
)
from mambair_cli.cli.options import Debug, Device, Quiet, Scan, Verbose
from mambair_cli.disk import check_writable, write_whole
from mambair_cli.errors import OutputError, UsageError


def compare(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The image to restore.")],
    names: Annotated[
        str,
        typer.Option(
            "--models",
            metavar="VARIANT|ID,...",
            help="Models to compare, such as tiny,light,classic.",
        ),
    ],
    scale: ScaleLevel = None,
    sigma: SigmaLevel = None,
    quality: QualityLevel = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The page to write. By default photo_compare.html beside photo.png.",
            show_default=False,
        ),
    ] = None,
    ensemble: Ensemble = False,
    device: Device = "auto",
    precision: NumberFormat = "auto",
    scan: Scan = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """Restore an image with several models and write a page that shows them side by side."""
    from mambair_cli.evaluation.page import Page
    from mambair_cli.evaluation.results import label_of
    from mambair_cli.imaging.files import read_image
    from mambair_cli.restoration.restorer import restore_image

    target = output or image.with_name(f"{image.stem}_compare.html")
    if target.suffix.lower() != ".html":
        raise UsageError(f"{target} is no name of a page", "give -o a name that ends in .html")
    variants = [name.strip() for name in names.split(",") if name.strip()]
    if not variants:
        raise UsageError("--models names none", "name some, such as --models tiny,light")
    task = task_asked(scale, sigma, quality) or "sr"
    try:
        check_writable(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    source = read_image(image)
    messages = Messages(quiet=quiet, verbose=verbose)
    setting = prepare(device, precision, scan, "auto", messages, ensemble=ensemble)
    page = Page(f"{image.name}: models compared")
    for request in requests_for(task, variants, None, scale, sigma, quality):
        model = load(request, setting)
        start = time.perf_counter()
        with messages.waiting(f"{model.spec.id} ..."):
            restored = restore_image(model.network, source, model.spec, setting.options)
        messages.notice(f"{model.spec.id}: {duration(time.perf_counter() - start)}")
        label = label_of(model.spec, ensemble=ensemble)
        page.add_restored(image.name, label, model.spec.scale, source, restored)
    try:
        write_whole(target, page.render().encode())
    except OSError as error:
        raise _unwritable(target, error) from error
    print_data(str(target))


def _unwritable(target: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{target} cannot be written: {error.strerror}", "choose another place with -o"
    )
