"""`mambair models`: which models there are, and what a weights file holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from mambair_cli.cli.commands import fetched
from mambair_cli.cli.console import fits, print_data, print_json, print_table, print_text
from mambair_cli.cli.options import Debug, Json, Overwrite, complete_model

if TYPE_CHECKING:
    from mambair_cli.checkpoints.catalogue import CatalogueEntry
    from mambair_cli.checkpoints.inspection import Inspection

app = typer.Typer(
    help="List and fetch published models; inspect and convert weights files.",
    no_args_is_help=True,
)

# What stands behind the licence of weights, and what it means.
LIMITED = "*"
TERMS_OF_IMAGES = (
    f"{LIMITED} trained on images that are offered for research and education alone, not for\n"
    "  commercial use: mambair models show ID"
)

Weights = Annotated[
    Path, typer.Argument(metavar="FILE", help="A weights file: .safetensors or .pth.")
]


@app.command("list")
def list_models(
    json: Json = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """List every known model: what it restores, what it was trained on, and whether it is here."""
    from mambair_cli.checkpoints import catalogue

    if json:
        for entry in catalogue.entries():
            print_json(_facts_of(entry))
        return
    table = Table(
        "model", "task", "trained on", "size", "licence", "weights", box=None, pad_edge=False
    )
    table.columns[3].justify = "right"
    for entry in catalogue.entries():
        table.add_row(*_row(entry))
    if fits(table):
        print_table(table)
    else:
        _print_narrow([_row(entry) for entry in catalogue.entries()])
    print_text(Text(TERMS_OF_IMAGES, "dim"))


def _print_narrow(rows: Sequence[tuple[str, str, str, str, str, Text]]) -> None:
    """Print two lines for each model, for terminals that cut the table."""
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for name, task, training, size, licence, weights in rows:
        line = f"{name:<{widths[0]}}  {task:<{widths[1]}}  {size:>{widths[3]}}  {licence}  "
        print_text(Text.assemble(line, weights))
        print_text(Text(f"  {training}", "dim"))


def _row(entry: CatalogueEntry) -> tuple[str, str, str, str, str, Text]:
    from mambair_cli.checkpoints import catalogue

    training = f"{entry.trained_on}; {entry.degradation}"
    size = f"{entry.megabytes:.1f} MB"
    limited = any(terms != catalogue.UNKNOWN for terms in entry.terms.values())
    licence = f"{entry.licence} {LIMITED}" if limited else entry.licence
    return entry.id, entry.task, training, size, licence, _availability(entry)


def _availability(entry: CatalogueEntry) -> Text:
    from mambair_cli.checkpoints.obtain import find

    if entry.bundled is not None:
        return Text("bundled", "green")
    return Text("not here", "dim") if find(entry.id) is None else Text("cached", "green")


def _facts_of(entry: CatalogueEntry) -> dict[str, object]:
    from mambair_cli.checkpoints.obtain import find

    found = find(entry.id)
    path = None if found is None else str(found)
    cached = found is not None and entry.bundled is None
    return {**dataclasses.asdict(entry), "terms": entry.terms, "cached": cached, "path": path}


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="ID", help="Model id.", autocompletion=complete_model)
    ],
    json: Json = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """Tell everything that is known of a model."""
    from mambair_cli.checkpoints import catalogue

    entry = catalogue.find(name)
    if json:
        print_json(_facts_of(entry))
        return
    table = Table.grid(padding=(0, 2))
    for title, value in _description(entry):
        table.add_row(Text(title, "bold"), Text(value))
    print_table(table)
    if entry.published:
        print_table(_scores(entry))


def _description(entry: CatalogueEntry) -> Iterator[tuple[str, str]]:
    from mambair_cli.checkpoints import cache, catalogue
    from mambair_cli.checkpoints.obtain import find

    yield "model", entry.id
    yield "use", f"mambair {catalogue.command(entry)} --model {entry.variant} IMAGE"
    yield "trained on", entry.trained_on
    yield from _terms(entry)
    yield "to undo", entry.degradation
    for level in ("sigma", "quality"):
        if (value := getattr(entry, level)) is not None:
            yield level, str(value)
    yield "network", f"{entry.network}, {entry.parameters:,} parameters"
    yield "image", "gray" if entry.channels == 1 else "colour"
    yield "licence", entry.licence
    yield "size", f"{entry.megabytes:g} MB expected"
    if entry.repo is not None:
        yield "published at", f"{entry.page}, {' or '.join(entry.files)}"
    pin = cache.find(entry.id)
    yield "weights", str(find(entry.id) or f"not here; fetch them: mambair models pull {entry.id}")
    yield "sha256", (pin.sha256 if pin else entry.sha256) or "unknown until they are fetched"
    if pin is not None:
        yield "revision", pin.revision
        yield "made from", f"{pin.file}, {pin.source_size / 1e6:.2f} MB, sha256 {pin.source_sha256}"
    if not entry.published:
        yield "published scores", "none known"


def _terms(entry: CatalogueEntry) -> Iterator[tuple[str, str]]:
    for images, terms in entry.terms.items():
        if images != terms:  # unknown images under unknown terms
            yield f"terms of {images}", terms


def _scores(entry: CatalogueEntry) -> Table:
    table = Table("data set", "PSNR", "SSIM", "published in", box=None, pad_edge=False)
    for score in entry.published:
        ensemble = ", self-ensemble" if score.ensemble else ""
        for data, psnr in score.psnr.items():
            ssim = score.ssim.get(data)
            table.add_row(
                data,
                f"{psnr:.2f}",
                "" if ssim is None else f"{ssim:.4f}",
                score.source + ensemble,
            )
    return table


for published in (fetched.pull, fetched.path, fetched.verify, fetched.remove, fetched.push):
    app.command()(published)


@app.command()
def inspect(
    file: Weights,
    json: Json = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """Say which network a weights file holds, and what it is for."""
    from mambair_cli.checkpoints.inspection import inspect_checkpoint

    found = inspect_checkpoint(file)
    known = found.known
    if json:
        told = {"licence": known.licence, "terms": known.terms} if known else {}
        print_json({**dataclasses.asdict(found), "path": str(found.path), **told})
        return
    table = Table.grid(padding=(0, 2))
    for name, value in _facts(found):
        table.add_row(Text(name, "bold"), Text(value))
    print_table(table)


def _facts(found: Inspection) -> Iterator[tuple[str, str]]:
    yield "file", f"{found.path} ({found.size / 1e6:.2f} MB, {found.format})"
    yield "sha256", found.sha256
    yield "model", found.spec.id
    for name, value in dataclasses.asdict(found.spec).items():
        if name != "id" and value is not None:
            yield name, str(value)
    if found.known is not None:
        yield "licence", found.known.licence
        yield "trained on", found.known.trained_on
        yield from _terms(found.known)
    yield "network", found.network
    for name, value in dataclasses.asdict(found.config).items():
        yield f"  {name}", str(value)
    formats = ", ".join(found.dtypes)
    yield "parameters", f"{found.parameters:,} in {found.tensors} tensors ({formats})"
    if found.wrapper:
        yield "read from", found.wrapper
    for note in found.notes:
        yield "note", note


@app.command()
def convert(
    file: Weights,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File to write. By default the source with the suffix .safetensors.",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """Rewrite a weights file as safetensors, with the network's configuration inside."""
    from mambair_cli.checkpoints import convert as conversion

    target = output or file.with_suffix(".safetensors")
    conversion.convert(file, target, overwrite=overwrite)
    print_data(str(target))
