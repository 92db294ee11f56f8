"""The models that the package knows (catalogue.toml), and the choice among them."""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mambair_cli.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from mambair_cli.networks.spec import ModelSpec, NetworkConfig, Task

# The best variant that a device runs in reasonable time.
BEST_VARIANT = {"cpu": "light", "mps": "light"}
BEST_VARIANT_ELSEWHERE = "classic"


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
        licence: SPDX identifier of the weights' licence.
        trained_on: Its training images, in a phrase.
        sigma: Gaussian noise level on the 0-255 scale that a denoiser was trained for.
        quality: JPEG quality that an artefact remover was trained for.
        bundled: Name of its file among the weights that ship with the package.
        sha256: Digest of that file.
        repo: Model repository on the Hugging Face Hub, for what is not bundled.
        files: Paths to try in that repository, best first.
        pattern: Case-insensitive regular expression for its file's name, should that have changed.
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
    sigma: int | None = None
    quality: int | None = None
    bundled: str | None = None
    sha256: str | None = None
    repo: str | None = None
    files: tuple[str, ...] = ()
    pattern: str = ""

    def __post_init__(self) -> None:
        assert self.network in _document()["networks"], self.network
        assert (self.bundled is None) == bool(self.repo and self.files and self.pattern), self.id
        assert self.parameters > 0, self.id
        re.compile(self.pattern)

    @property
    def config(self) -> NetworkConfig:
        """The configuration of its network."""
        from mambair_cli.networks.spec import MambaIRConfig, MambaIRUNetConfig

        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in _document()["networks"][self.network].items()
        }
        if "num_blocks" in values:
            return MambaIRUNetConfig(
                inp_channels=self.channels, out_channels=self.channels, **values
            )
        return MambaIRConfig(upscale=self.scale, in_chans=self.channels, **values)

    @property
    def spec(self) -> ModelSpec:
        """What it is for, as the restoration engine takes it."""
        from mambair_cli.networks.spec import ModelSpec

        return ModelSpec(self.id, self.task, self.scale, self.channels, self.sigma, self.quality)

    @property
    def page(self) -> str | None:
        """Address of the page that offers its file; None for a bundled model."""
        return f"https://huggingface.co/{self.repo}" if self.repo else None


@dataclass(frozen=True)
class Choice:
    """A chosen model, and what the user should be told about the choice, a line each."""

    entry: CatalogueEntry
    notices: tuple[str, ...] = ()


@functools.cache
def _document() -> dict[str, Any]:
    text = resources.files("mambair_cli.checkpoints").joinpath("catalogue.toml").read_text("utf-8")
    return tomllib.loads(text)


@functools.cache
def entries() -> tuple[CatalogueEntry, ...]:
    """Reads the catalogue.

    Returns:
        Every known model, in the order of the catalogue.
    """
    rows = _document()["models"]
    known = tuple(CatalogueEntry(**{**row, "files": tuple(row.get("files", ()))}) for row in rows)
    assert len({entry.id for entry in known}) == len(known)
    return known


def find(model_id: str) -> CatalogueEntry:
    """Looks a model up.

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
    raise UsageError(f"unknown model {model_id!r}", _did_you_mean(model_id, by_id))


def choose(
    task: Task,
    *,
    scale: int | None = None,
    sigma: float | None = None,
    quality: float | None = None,
    variant: str | None = None,
    device_type: str = "cpu",
) -> Choice:
    """Chooses the model for a request that names no weights.

    Published weights cannot be downloaded in this version, so without an explicit variant the
    bundled ones are taken where there are any.

    Args:
        task: What is to be restored.
        scale: Asked output side over input side; None where the task has only one.
        sigma: Asked noise level; the nearest trained one is taken.
        quality: Asked JPEG quality; the nearest trained one is taken.
        variant: Variant or id that the user asked for; None for the best one on the device.
        device_type: Device that will run it, as in `torch.device.type`.

    Returns:
        The model, with notices where it is not quite what was asked for or usual.

    Raises:
        UsageError: No model has that scale or variant, or a needed level is missing.
        CheckpointError: The model's file has to be got first; the hint says from where.
    """
    rows = _at_scale([entry for entry in entries() if entry.task == task], task, scale)
    rows, sigma_notices = _at_level(rows, "sigma", sigma)
    rows, quality_notices = _at_level(rows, "quality", quality)
    notices = sigma_notices + quality_notices
    if variant is not None:
        entry = _named(rows, task, variant)
        if entry.bundled is None:
            raise not_downloadable(entry)
        return Choice(entry, notices)
    best = _best(rows, device_type)
    if best.bundled is not None:
        return Choice(best, notices)
    bundled = [entry for entry in rows if entry.bundled is not None]
    if not bundled:
        raise not_downloadable(best)
    notice = (
        f"using the bundled {bundled[0].id}: {best.id} is better but cannot be downloaded in this "
        "version; --weights FILE takes it"
    )
    return Choice(bundled[0], (*notices, notice))


def not_downloadable(entry: CatalogueEntry) -> CheckpointError:
    """Says that a published model has to be got by hand.

    Args:
        entry: A model that is not bundled.

    Returns:
        The error to raise, with a hint that names the file, its page and what is bundled instead.
    """
    bundled = [other.id for other in entries() if other.bundled and other.task == entry.task]
    alternative = f"; bundled for this task: {', '.join(bundled)}" if bundled else ""
    return CheckpointError(
        f"{entry.id} is not bundled, and downloading is not available in this version",
        f"get {entry.files[0]} from {entry.page} and give it with --weights FILE{alternative}",
    )


def bundled_directory() -> Path:
    """Finds the weights that ship with the package.

    Returns:
        The folder inside the installed package, or `weights/` of the repository it runs from.
    """
    package = Path(__file__).parents[1]
    repository = package.parent
    if (repository / "pyproject.toml").is_file() and (repository / "weights").is_dir():
        return repository / "weights"
    return package / "weights"


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(word, names, n=3)
    listed = "known: " + ", ".join(names)
    return f"did you mean {' or '.join(close)}? {listed}" if close else listed


def _at_scale(rows: list[CatalogueEntry], task: Task, scale: int | None) -> list[CatalogueEntry]:
    scales = sorted({entry.scale for entry in rows})
    if scale is None and len(scales) == 1:
        return rows
    if scale not in scales:
        listed = ", ".join(map(str, scales))
        wrong = f"{task} needs a scale" if scale is None else f"no {task} model for scale {scale}"
        raise UsageError(wrong, f"--scale takes one of: {listed}")
    return [entry for entry in rows if entry.scale == scale]


def _at_level(
    rows: list[CatalogueEntry], level: Literal["sigma", "quality"], asked: float | None
) -> tuple[list[CatalogueEntry], tuple[str, ...]]:
    trained = {getattr(entry, level) for entry in rows} - {None}
    if not trained:
        return rows, ()
    listed = ", ".join(map(str, sorted(trained)))
    if asked is None:
        raise UsageError(f"{rows[0].task} needs a {level}", f"--{level} takes one of: {listed}")
    # Between two levels the stronger restoration: more noise, or a lower quality.
    stronger = 1 if level == "quality" else -1
    nearest = min(trained, key=lambda value: (abs(value - asked), stronger * value))
    chosen = [entry for entry in rows if getattr(entry, level) == nearest]
    if nearest == asked:
        return chosen, ()
    return chosen, (f"{level} {asked:g}: using the nearest trained level {nearest} of {listed}",)


def _named(rows: list[CatalogueEntry], task: Task, variant: str) -> CatalogueEntry:
    for entry in rows:
        if variant in (entry.variant, entry.id):
            return entry
    hint = _did_you_mean(variant, [entry.variant for entry in rows])
    raise UsageError(f"no variant {variant!r} for {task} at scale {rows[0].scale}", hint)


def _best(rows: list[CatalogueEntry], device_type: str) -> CatalogueEntry:
    variant = BEST_VARIANT.get(device_type, BEST_VARIANT_ELSEWHERE)
    published = [entry for entry in rows if entry.repo is not None] or rows
    return next((entry for entry in published if entry.variant == variant), published[0])
