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
from mambair_cli.cli.options import Debug, Device, Overwrite, Quiet, Scan, Verbose
from mambair_cli.errors import UsageError


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
    overwrite: Overwrite = False,
    ensemble: Ensemble = False,
    device: Device = "auto",
    precision: NumberFormat = "auto",
    scan: Scan = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """Restore an image with several models and write a page that shows them side by side."""
    from mambair_cli.batches.treatment.sample import Sample
    from mambair_cli.batches.treatment.steps import fitted_as_trained
    from mambair_cli.evaluation.page import Page
    from mambair_cli.evaluation.report import require_target, write_text
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
    require_target(target, "-o", overwrite=overwrite, sources=[image])
    source = read_image(image)
    gray = Sample.of_image(source).is_gray
    messages = Messages(quiet=quiet, verbose=verbose)
    setting = prepare(device, precision, scan, "auto", messages, ensemble=ensemble)
    page = Page(f"{image.name}: models compared")
    for request in requests_for(task, variants, None, scale, sigma, quality):
        model = load(request, setting)
        start = time.perf_counter()
        with messages.waiting(f"{model.spec.id} ..."):
            restored = restore_image(
                model.network,
                source,
                model.spec,
                setting.options.suited_to(model.spec),
                fitting=fitted_as_trained(model.spec, gray=gray),
            )
        messages.notice(f"{model.spec.id}: {duration(time.perf_counter() - start)}")
        label = label_of(model.spec, ensemble=ensemble)
        page.add_restored(image.name, label, model.spec.scale, source, restored)
    write_text(target, page.render(), "-o", overwrite=overwrite)
    print_data(str(target))
