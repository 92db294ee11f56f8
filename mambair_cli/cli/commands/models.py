"""`mambair models`: which models there are, what a weights file holds, and its conversion."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from mambair_cli.cli.console import print_data, print_json, print_table
from mambair_cli.cli.options import Debug, Json

if TYPE_CHECKING:
    from mambair_cli.checkpoints.catalogue import CatalogueEntry
    from mambair_cli.checkpoints.inspection import Inspection

app = typer.Typer(help="List models; inspect and convert weights files.", no_args_is_help=True)

Weights = Annotated[
    Path, typer.Argument(metavar="FILE", help="A weights file: .safetensors or .pth.")
]


@app.command("list")
def list_models(
    json: Json = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """List every known model: what it restores, and whether its weights are bundled."""
    from mambair_cli.checkpoints import catalogue

    if json:
        for entry in catalogue.entries():
            print_json(dataclasses.asdict(entry))
        return
    table = Table("model", "task", "--model", "parameters", "weights", box=None, pad_edge=False)
    table.columns[3].justify = "right"
    for entry in catalogue.entries():
        table.add_row(
            entry.id, entry.task, entry.variant, f"{entry.parameters:,}", _availability(entry)
        )
    print_table(table)


def _availability(entry: CatalogueEntry) -> Text:
    if entry.bundled is not None:
        return Text("bundled", "green")
    return Text("--weights FILE", "dim")


@app.command()
def inspect(
    file: Weights,
    json: Json = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """Say which network a weights file holds, and what it is for."""
    from mambair_cli.checkpoints.inspection import inspect_checkpoint

    found = inspect_checkpoint(file)
    if json:
        print_json({**dataclasses.asdict(found), "path": str(found.path)})
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
    yield "network", found.network
    for name, value in dataclasses.asdict(found.config).items():
        yield f"  {name}", str(value)
    formats = ", ".join(found.dtypes)
    yield "parameters", f"{found.parameters:,} in {found.tensors} tensors ({formats})"
    if found.wrapper:
        yield "read from", found.wrapper


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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """Rewrite a weights file as safetensors, with the network's configuration inside."""
    from mambair_cli.checkpoints import convert as conversion

    target = output or file.with_suffix(".safetensors")
    conversion.convert(file, target, overwrite=overwrite)
    print_data(str(target))
