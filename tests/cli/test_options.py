"""Every restoring command takes every shared option, each with the same words."""

from __future__ import annotations

import pytest
import typer
import typer.main

from mambair_cli.cli.main import app
from mambair_cli.kernels.scan.dispatch import BACKENDS

SHARED = {
    *("--output", "--model", "--weights", "--device", "--precision", "--tile", "--overlap"),
    *("--ensemble", "--strength", "--scan", "--format", "--quality-out", "--suffix", "--recursive"),
    *("--files-from", "--null", "--name", "--retry-failed", "--shard", "--metadata"),
    *("--accept-damaged", "--max-pixels", "--max-memory", "--engine", "--ray-address", "--stream"),
    *("--overwrite", "--resume", "--dry-run", "--json", "--quiet", "--verbose", "--debug"),
    *("-o", "-r", "-q", "-v"),
}
SIZES = {"--scale", "--long-side", "--size", "--megapixels", "--only-below"}
OWN = {
    "fix": SIZES,
    "sr": SIZES,
    "realsr": SIZES,
    "denoise": {"--sigma", "--real"},
    "dejpeg": {"--quality"},
}


@pytest.mark.parametrize("name", OWN)
def test_restoring_commands_take_the_same_options(name):
    command = typer.main.get_command(app).commands[name]
    options = {word for parameter in command.params for word in parameter.opts}
    assert options - {"inputs"} == SHARED | OWN[name]


@pytest.mark.parametrize("name", [*OWN, "train"])
def test_the_help_names_every_scan_backend(name):
    command = typer.main.get_command(app).commands[name]
    (scan,) = (parameter for parameter in command.params if "--scan" in parameter.opts)
    assert scan.metavar.split("|") == ["auto", *(backend.name for backend in BACKENDS)]
