"""`mambair bench`: what weights reach on the benchmark sets, beside the paper's numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from mambair_cli.cli.console import Messages, print_table
from mambair_cli.cli.download import DownloadDisplay
from mambair_cli.cli.measuring import (
    Ensemble,
    NumberFormat,
    QualityLevel,
    ScaleLevel,
    Setting,
    SigmaLevel,
    load,
    prepare,
    requests_for,
    task_asked,
)
from mambair_cli.cli.option_values import Tile, parse_tile
from mambair_cli.cli.options import (
    Debug,
    Device,
    Json,
    Overwrite,
    Quiet,
    Scan,
    Verbose,
    complete_variant,
)
from mambair_cli.errors import UsageError

if TYPE_CHECKING:
    from mambair_cli.batches.models import Model
    from mambair_cli.checkpoints.request import Request
    from mambair_cli.evaluation.benchmark import Pictures
    from mambair_cli.evaluation.datasets import Dataset
    from mambair_cli.evaluation.examples import Example
    from mambair_cli.evaluation.page import Page
    from mambair_cli.evaluation.perceptual import Metric
    from mambair_cli.evaluation.results import ImageResult, Run
    from mambair_cli.networks.spec import Task


def complete_dataset(incomplete: str) -> list[str]:
    """List the sets whose names begin like what was typed, for the shell."""
    from mambair_cli.evaluation.datasets import DATASETS

    return [d.name for d in DATASETS if d.name.lower().startswith(incomplete.lower())]


def repeated(
    flag: str, metavar: str, purpose: str, complete: Callable[[str], list[str]] | None = None
) -> Any:
    """Declare an option that may be given several times."""
    return typer.Option(
        flag,
        metavar=metavar,
        help=f"{purpose} May be repeated.",
        autocompletion=complete,
        show_default=False,
    )


def bench(
    dataset: Annotated[
        list[str] | None,
        repeated(
            "--dataset",
            "NAME",
            "The set to measure on, such as Set5, CBSD68 or classic5.",
            complete_dataset,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Folder of the set, or above it, or of images of your own; else sets are fetched.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        repeated(
            "--model", "VARIANT|ID", "Models to measure, such as tiny or light.", complete_variant
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        repeated("--weights", "FILE|ID|hf://...", "Weights to measure."),
    ] = None,
    scale: ScaleLevel = None,
    sigma: SigmaLevel = None,
    quality: QualityLevel = None,
    protocol: Annotated[
        Literal["paper", "whole", "tiled"],
        typer.Option(
            "--protocol", help="How large images are cut: as the authors did, not, or as we do."
        ),
    ] = "paper",
    ensemble: Ensemble = False,
    report: Annotated[
        list[Path] | None,
        repeated("--report", "FILE", "Write a report: .html, .md, .csv or .json."),
    ] = None,
    overwrite: Overwrite = False,
    check: Annotated[
        float | None,
        typer.Option(
            "--check",
            metavar="DB",
            help="Fail if a PSNR differs from the reported one by more than this.",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        repeated("--metric", "NAME", "Measure this too, such as lpips or dists, through pyiqa."),
    ] = None,
    speed: Annotated[
        bool,
        typer.Option("--speed", help="Measure throughput and memory; needs no data set."),
    ] = False,
    device: Device = "auto",
    precision: NumberFormat = "auto",
    scan: Scan = "auto",
    tile: Annotated[
        Any,
        typer.Option(
            "--tile",
            metavar="auto|N|0",
            parser=parse_tile,
            help="Side of the tiles with --protocol tiled.",
        ),
    ] = "auto",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """Measure weights on benchmark sets, beside the numbers that the paper reports."""
    _check_request(dataset or [], data, report or [], check, speed=speed, overwrite=overwrite)
    messages = Messages(quiet=quiet, verbose=verbose, as_json=json)
    setting = prepare(device, precision, scan, _tile(protocol, tile), messages, ensemble=ensemble)
    asked = task_asked(scale, sigma, quality)

    def requests(task: Task) -> list[Request]:
        return requests_for(task, model, weights, scale, sigma, quality)

    if speed:
        for request in requests(asked or "sr"):
            _tell_speed(load(request, setting), setting)
        return
    from mambair_cli.evaluation.page import Page
    from mambair_cli.evaluation.report import PAGE, kind_of, write_report
    from mambair_cli.evaluation.results import check as check_runs
    from mambair_cli.evaluation.results import require_reported

    further = _metrics(metric or [], setting)
    page = Page("Benchmark") if any(kind_of(path) == PAGE for path in report or []) else None
    # Several sets are measured with the same weights.
    model_of = functools.cache(lambda request: load(request, setting))
    # All of them first: what one lacks is said before an hour of work on another.
    named = [*(model or []), *(weights or [])]
    tests = [
        _Test.of(model_of(request), found, folder, messages)
        for found, folder in _located(dataset or [], data, messages)
        for request in requests(_task(found, folder, asked, named))
    ]
    if check is not None:
        measured = [(test.dataset.name, test.complete, test.model.spec) for test in tests]
        require_reported(measured, ensemble=ensemble)
        if own := [test.dataset.name for test in tests if test.dataset.own]:
            raise UsageError(
                f"nobody reports scores on the images of {', '.join(own)} to check against",
                "leave out --check",
            )
    runs = [_measured(test, protocol, setting, page, further) for test in tests]
    _tell(runs, messages)
    for path in report or []:
        write_report(path, runs, page, overwrite=overwrite)
        messages.notice(f"report: {path}")
    if check is not None:
        check_runs(runs, check)


def _check_request(
    datasets: Sequence[str],
    data: Path | None,
    reports: Sequence[Path],
    check: float | None,
    *,
    speed: bool,
    overwrite: bool,
) -> None:
    for option, given in (("dataset", datasets), ("report", reports), ("check", check is not None)):
        if speed and given:
            raise UsageError(f"--speed and --{option} exclude each other", "give one of them")
    if not speed and not datasets and data is None:
        raise UsageError(
            "no data set was named",
            "name one, such as --dataset Set5, or a folder: --data DIR; or measure --speed",
        )
    if reports:
        from mambair_cli.evaluation.report import require_targets

        require_targets(reports, overwrite=overwrite)


@dataclass(frozen=True)
class _Test:
    """A model and the set that it is measured on."""

    model: Model
    dataset: Dataset
    folder: Path
    examples: Sequence[Example]

    @classmethod
    def of(cls, model: Model, dataset: Dataset, folder: Path, messages: Messages) -> _Test:
        from mambair_cli.evaluation.benchmark import require_task
        from mambair_cli.evaluation.examples import is_published, require_scorable
        from mambair_cli.evaluation.layouts import examples_in

        spec = model.spec
        require_task(dataset, [], spec)
        examples = examples_in(folder, spec.task, spec.scale, own=dataset.own)
        require_task(dataset, examples, spec)
        require_scorable(examples, spec.scale)
        if not dataset.own and not is_published(dataset, examples):
            messages.notice(
                f"warning: {folder} holds other images than {dataset.name}: "
                "what is published of that set is not shown beside them",
                "yellow",
            )
            dataset = replace(dataset, own=True)
        if dataset.own:
            dataset = replace(dataset, images=len(examples))
        return cls(model, dataset, folder, examples)

    @property
    def complete(self) -> bool:
        return len(self.examples) == self.dataset.images


def _tile(protocol: str, tile: Tile) -> Tile:
    if protocol == "tiled":
        return tile
    if tile != "auto":
        raise UsageError(
            f"--tile {tile} means nothing with --protocol {protocol}", "use --protocol tiled"
        )
    return 0


def _located(
    names: Sequence[str], data: Path | None, messages: Messages
) -> list[tuple[Dataset, Path]]:
    from mambair_cli.evaluation.sources import datasets_in, locate

    known = datasets_in(names, data)
    return [(each, locate(each, data, DownloadDisplay(messages))) for each in known]


def _task(dataset: Dataset, folder: Path, asked: Task | None, named: Sequence[str]) -> Task:
    if dataset.own and asked is None:
        from mambair_cli.checkpoints.inspection import task_of
        from mambair_cli.evaluation.layouts import has_partners

        # What the weights are for; or what the folder has inputs for.
        tasks = [task for task in map(task_of, named) if task is not None]
        return tasks[0] if tasks else "denoise" if has_partners(folder) else "sr"
    if asked is not None and asked not in dataset.tasks:
        raise UsageError(
            f"{dataset.name} measures {' and '.join(dataset.tasks)}, not {asked}",
            "leave out the option that is for another task",
        )
    return asked or dataset.tasks[0]


def _metrics(names: Sequence[str], setting: Setting) -> list[Metric]:
    from mambair_cli.evaluation.perceptual import load_metric

    return [load_metric(name, setting.compute.device) for name in names]


def _measured(
    test: _Test,
    protocol: Literal["paper", "whole", "tiled"],
    setting: Setting,
    page: Page | None,
    further: Sequence[Metric],
) -> Run:
    from mambair_cli.evaluation.benchmark import run_benchmark
    from mambair_cli.evaluation.results import label_of

    model, dataset, messages = test.model, test.dataset, setting.messages
    count = len(test.examples)
    if not test.complete:
        messages.notice(
            f"warning: {test.folder} has {count} of the {dataset.images} images of "
            f"{dataset.name}: the mean is not the set's",
            "yellow",
        )
    label = label_of(model.spec, ensemble=setting.options.ensemble)
    done = 0

    def on_image(image: ImageResult, pictures: Pictures) -> None:
        nonlocal done
        done += 1
        scores = f"{image.restored.psnr:.2f} dB, SSIM {image.restored.ssim:.4f}"
        messages.detail(f"{dataset.name}/{image.name}: {scores} ({done} of {count})")
        if page is not None:
            page.add(dataset.name, image.name, label, model.spec.scale, pictures)

    with messages.waiting(f"{label} on {dataset.name}: {count} images ..."):
        return run_benchmark(
            model, dataset, test.examples, setting.options, protocol, on_image, further
        )


def _tell(runs: Sequence[Run], messages: Messages) -> None:
    from mambair_cli.evaluation.report import cells
    from mambair_cli.evaluation.results import conditions, facts

    if messages.as_json:
        for run in runs:
            messages.event("score", **facts(run))
        return
    columns = ("data set", "model", "PSNR", "SSIM", "reported", "difference", "input", "seconds")
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for run in runs:
        table.add_row(*cells(run))
    print_table(table)
    for run in runs:
        peers = run.peers
        listed = ", ".join(f"{row.method} {row.psnr[run.result.dataset]:.2f}" for row in peers)
        if listed:
            messages.notice(f"{run.result.dataset}, {peers[0].source}: {listed}")
    for condition in conditions(runs):
        messages.notice(condition, "dim")


def _tell_speed(model: Model, setting: Setting) -> None:
    from mambair_cli.evaluation import speed

    table = Table("input", "seconds", "range", "MP/s", "peak MiB", box=None, pad_edge=False)
    for row in speed.measure_speed(
        model.network, model.spec, setting.options, speed.SIZES, speed.RUNS
    ):
        setting.messages.event("speed", model=model.spec.id, **asdict(row))
        table.add_row(
            f"{row.width}x{row.height}",
            f"{row.seconds:.3f}",
            f"{row.fastest:.3f} to {row.slowest:.3f}",
            f"{row.megapixels_per_second:.3f}",
            f"{row.peak_bytes / 2**20:.0f}",
        )
    if not setting.messages.as_json:
        print_table(table)
