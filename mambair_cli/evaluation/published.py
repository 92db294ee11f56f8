"""What the paper and its authors report: the rows of published.toml."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

from mambair_cli.networks.spec import ModelSpec

# Which of the paper's tables a model belongs in; classic super-resolution has its own.
TABLE_OF_TASK = {
    "sr": "light-sr",
    "denoise": "color-denoise",
    "denoise-real": "real-denoise",
    "dejpeg": "jpeg",
}
CLASSIC = "mambair-classic-sr"
# Super-resolution without a limit on the size of the network.
LARGE = (CLASSIC, "mambairv2-small-sr", "mambairv2-base-sr", "mambairv2-large-sr")
# What the tables call the authors' models, by the beginning of our ids.
METHODS = {
    CLASSIC: "MambaIR",
    "mambair-light-sr": "MambaIR-light",
    "mambair-base": "MambaIR",
    "mambair-unet": "MambaIR",
    "mambairv2-light-sr": "MambaIRv2-light",
    "mambairv2-base-sr": "MambaIRv2-base",
    "mambairv2-base-denoise": "MambaIRv2",
    "mambairv2-base-dejpeg": "MambaIRv2",
}


@dataclass(frozen=True)
class PublishedResult:
    """One row of a table.

    Attributes:
        task: Which table: `classic-sr`, `light-sr`, `color-denoise`, `real-denoise` or `jpeg`.
        method: As the table calls it; the self-ensemble has a `+`.
        source: Table and page, or where else it stands.
        scale: Of super-resolution.
        sigma: Gaussian noise level on the 0-255 scale.
        quality: JPEG quality.
        parameters: Of the network, where the table says so.
        psnr: Data set to dB, as printed.
        ssim: Data set to structural similarity, as printed.
    """

    task: str
    method: str
    source: str
    scale: int | None = None
    sigma: int | None = None
    quality: int | None = None
    parameters: int | None = None
    psnr: Mapping[str, float] = field(default_factory=dict)
    ssim: Mapping[str, float] = field(default_factory=dict)

    @property
    def of_released_weights(self) -> bool:
        """Whether the authors give it for the weights that they handed out, not for the paper's."""
        return "README" in self.source


@functools.cache
def results() -> tuple[PublishedResult, ...]:
    """Read all rows, in the order of the tables."""
    text = resources.files("mambair_cli.evaluation").joinpath("published.toml").read_text("utf-8")
    return tuple(PublishedResult(**row) for row in tomllib.loads(text)["result"])


def table_of(spec: ModelSpec) -> list[PublishedResult]:
    """List the rows that a model is to be compared with, at its scale, level or quality."""
    table = "classic-sr" if spec.id.startswith(LARGE) else TABLE_OF_TASK.get(spec.task)
    scale = spec.scale if spec.scale > 1 else None
    level = (scale, spec.sigma, spec.quality)
    return [
        row
        for row in results()
        if row.task == table and (row.scale, row.sigma, row.quality) == level
    ]


def reported_on(dataset: str, spec: ModelSpec, *, ensemble: bool = False) -> PublishedResult | None:
    """Find what the authors say that a model of theirs reaches on a data set.

    Args:
        dataset: Name of the set.
        spec: The model; nothing is reported for models of others.
        ensemble: With the self-ensemble (MambaIR+).

    Returns:
        The row; where the released weights differ from the paper, theirs, which is what a
        measurement has to reproduce.
    """
    rows = (row for row in reported_for(spec, ensemble=ensemble) if dataset in row.psnr)
    return next(rows, None)


def reported_for(spec: ModelSpec, *, ensemble: bool = False) -> list[PublishedResult]:
    """List the rows that the authors give for a model of theirs; none for any other.

    Args:
        spec: The model.
        ensemble: With the self-ensemble (MambaIR+).

    Returns:
        Those for the released weights first: where they differ from the paper, they are what a
        measurement has to reproduce.
    """
    name = next((name for start, name in METHODS.items() if spec.id.startswith(start)), None)
    wanted = f"{name}+" if ensemble else name
    rows = [row for row in table_of(spec) if row.method == wanted]
    return sorted(rows, key=lambda row: not row.of_released_weights)


def peers_of(spec: ModelSpec, dataset: str) -> list[PublishedResult]:
    """List the rows of a model's table with a score on a data set, the authors' too, best last."""
    rows = [row for row in table_of(spec) if dataset in row.psnr and not row.of_released_weights]
    return sorted(rows, key=lambda row: row.psnr[dataset])
