"""The models that the package knows: the rows of catalogue.toml."""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mambair_cli.errors import UsageError

if TYPE_CHECKING:
    from mambair_cli.networks.spec import ModelSpec, NetworkConfig, Preceding, Task


# Of a buffer in the files of MambaIRv2: 256x256 numbers of 8 bytes, and what surrounds them.
POSITIONS_BYTES = 0.65e6
UNKNOWN = "unknown"


@dataclass(frozen=True)
class PublishedScore:
    """What the authors say that a model reaches.

    Attributes:
        source: Where they say it.
        psnr: Data set to peak signal-to-noise ratio in dB, as printed.
        ssim: Data set to structural similarity, as printed; empty where they give none.
        ensemble: Whether with the self-ensemble (MambaIR+).
    """

    source: str
    psnr: Mapping[str, float]
    ssim: Mapping[str, float] = field(default_factory=dict)
    ensemble: bool = False

    def __post_init__(self) -> None:
        assert self.psnr, self.source
        assert all(10 < value < 60 for value in self.psnr.values()), self.psnr
        assert all(0 < value < 1 for value in self.ssim.values()), self.ssim


@dataclass(frozen=True)
class CatalogueEntry:
    """One known model.

    Attributes:
        id: Model id, also the stem of a bundled file.
        task: What it restores.
        variant: What `--model` calls it.
        scale: Output side divided by input side.
        channels: Image channels, 3 for RGB or 1 for gray.
        network: Name of its configuration in the catalogue.
        parameters: Number of parameters of its network.
        licence: SPDX identifier of the weights' licence; what they were trained on has terms of its
            own.
        trained_on: Its training images, or `unknown`.
        degradation: What was done to them, and the model learnt to undo, in a phrase.
        megabytes: Size that its file is expected to have, in 1e6 bytes.
        sigma: Gaussian noise level on the 0-255 scale that a denoiser was trained for.
        quality: JPEG quality that an artefact remover was trained for.
        after: As in `ModelSpec`.
        bundled: Name of its file among the weights that ship with the package.
        sha256: Digest of that file; None for a published one that nobody has stated: the Hub is
            asked then.
        repo: Model repository on the Hugging Face Hub, for what is not bundled.
        files: Paths to try in that repository, best first.
        pattern: Case-insensitive regular expression for its file's name, should that have changed.
        published: What its authors say that it reaches.
    """

    id: str
    task: Task
    variant: str
    scale: int
    channels: int
    network: str
    parameters: int
    licence: str
    trained_on: str
    degradation: str
    megabytes: float
    sigma: int | None = None
    quality: int | None = None
    after: Preceding | None = None
    bundled: str | None = None
    sha256: str | None = None
    repo: str | None = None
    files: tuple[str, ...] = ()
    pattern: str = ""
    published: tuple[PublishedScore, ...] = field(default=(), hash=False)

    def __post_init__(self) -> None:
        assert self.network in _document()["networks"], self.network
        assert (self.bundled is None) == bool(self.repo and self.files and self.pattern), self.id
        assert self.parameters > 0, self.id
        # Four bytes a parameter, and little else, in one copy.
        least, size = 4 * self.parameters, self.megabytes * 1e6
        assert 0.95 * least < size < 1.1 * least + POSITIONS_BYTES, self.id
        re.compile(self.pattern)

    @property
    def config(self) -> NetworkConfig:
        """The configuration of its network."""
        from mambair_cli.networks.spec import MambaIRConfig, MambaIRUNetConfig, MambaIRv2Config

        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in _document()["networks"][self.network].items()
        }
        if "num_blocks" in values:
            return MambaIRUNetConfig(
                inp_channels=self.channels, out_channels=self.channels, **values
            )
        kind = MambaIRv2Config if "num_heads" in values else MambaIRConfig
        return kind(upscale=self.scale, in_chans=self.channels, **values)

    @property
    def spec(self) -> ModelSpec:
        """What it is for, as the restoration engine takes it."""
        from mambair_cli.networks.spec import ModelSpec

        return ModelSpec(
            self.id, self.task, self.scale, self.channels, self.sigma, self.quality, self.after
        )

    @property
    def terms(self) -> dict[str, str]:
        """Under which terms the makers of its training images offer them, by set, or `unknown`."""
        known = _document()["terms"]
        return {name: known.get(name, UNKNOWN) for name in self.trained_on.split(", ")}

    @property
    def page(self) -> str | None:
        """Address of the page that offers its file; None for a bundled model."""
        return f"https://huggingface.co/{self.repo}" if self.repo else None


@functools.cache
def _document() -> dict[str, Any]:
    text = resources.files("mambair_cli.checkpoints").joinpath("catalogue.toml").read_text("utf-8")
    return tomllib.loads(text)


def _entry(row: Mapping[str, Any]) -> CatalogueEntry:
    published = tuple(PublishedScore(**score) for score in row.get("published", ()))
    files = tuple(row.get("files", ()))
    return CatalogueEntry(**{**row, "files": files, "published": published})


@functools.cache
def entries() -> tuple[CatalogueEntry, ...]:
    """Read the catalogue.

    Returns:
        Every known model, in the order of the catalogue.
    """
    known = tuple(_entry(row) for row in _document()["models"])
    assert len({entry.id for entry in known}) == len(known)
    return known


def find(model_id: str) -> CatalogueEntry:
    """Look a model up.

    Args:
        model_id: Its id.

    Returns:
        Its entry.

    Raises:
        UsageError: No such model; the hint names the closest ones, or all.
    """
    by_id = {entry.id: entry for entry in entries()}
    if model_id in by_id:
        return by_id[model_id]
    raise UsageError(f"unknown model {model_id!r}", did_you_mean(model_id, by_id))


def command(model: ModelSpec | CatalogueEntry) -> str:
    """Name the command that uses weights.

    Args:
        model: The weights, or what they are for.

    Returns:
        The command with the options that weights of this kind need.
    """
    match model.task:
        case "sr":
            return f"sr --scale {model.scale}"
        case "denoise-real":
            return "denoise --real"
        case "denoise" if model.sigma is not None:
            return f"denoise --sigma {model.sigma}"
        case "dejpeg" if model.quality is not None:
            return f"dejpeg --quality {model.quality}"
    return model.task


def bundled_directory() -> Path:
    """Find the weights that ship with the package.

    Returns:
        The folder inside the installed package, or `weights/` of the repository it runs from.
    """
    package = Path(__file__).parents[1]
    repository = package.parent
    if (repository / "pyproject.toml").is_file() and (repository / "weights").is_dir():
        return repository / "weights"
    return package / "weights"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest what was meant.

    Args:
        word: What was given.
        known: What there is.

    Returns:
        A hint with the closest names, if any, and all of them.
    """
    names = list(known)
    close = difflib.get_close_matches(word, names, n=3) or [name for name in names if word in name]
    listed = "known: " + ", ".join(names)
    return f"did you mean {' or '.join(close[:3])}? {listed}" if close else listed
