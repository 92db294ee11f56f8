"""A training recipe: one TOML file read into frozen dataclasses, every key and value checked."""

from __future__ import annotations

import codecs
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mambair_cli.errors import RecipeError
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.ensemble import MEMBERS
from mambair_cli.training.degradations.camera import Camera
from mambair_cli.training.degradations.chain import Degradation, step_limits
from mambair_cli.training.degradations.compression import Jpeg
from mambair_cli.training.degradations.resizing import Fit, Resize
from mambair_cli.training.losses import LossName
from mambair_cli.training.network_table import (
    NetworkTable,
    check_network,
    network_class,
    network_limits,
)
from mambair_cli.training.parsing import Number, Span, build

TrainingTask = Literal["sr", "realsr", "denoise", "denoise-real", "dejpeg"]


@dataclass(frozen=True)
class ModelTable:
    """What is trained.

    Attributes:
        id: Model id, also written into the weights.
        task: What the network restores.
        init: Weights to start from, an id or a path: tensors of equal name and shape are taken.
        network: Which network; the table `network` has its shape.
    """

    id: str
    task: TrainingTask
    init: str | None = None
    network: Literal["MambaIR", "MambaIRv2"] = "MambaIR"


@dataclass(frozen=True)
class DataTable:
    """Where the samples come from: references that are downscaled, then noised, then JPEG-coded.

    Attributes:
        folders: Folders of reference images, relative to the data root.
        patch: Side of the square input patch, in input pixels.
        batch: Patches in one iteration.
        candidates: Patches that are cut for each one used, which is the one with most detail.
        noise_sigma: Standard deviation of Gaussian noise on the 0-255 scale.
        clipped: Share of the samples whose Gaussian noise is clipped and rounded to 8 bits, as it
            is in files.
        jpeg_quality: JPEG quality, 1 to 100.
        steps: What happens to photographs, in place of all of the above: see `degradations`.
        augment: Whether patches are flipped and turned (all eight symmetries of the square).
        cache_mb: Memory for decoded images, in MB; what exceeds it is read again when needed.
    """

    folders: tuple[str, ...]
    patch: int = 48
    batch: int = 8
    candidates: int = 1
    noise_sigma: Span | None = None
    clipped: float = 0.0
    jpeg_quality: Span | None = None
    steps: tuple[Degradation, ...] = ()
    augment: bool = True
    cache_mb: int = 4096


@dataclass(frozen=True)
class OptimTable:
    """How the weights move.

    Attributes:
        loss: One of `losses.LOSSES`: `l1`, `charbonnier`, `l2` or `l1_fft`.
        optimizer: `adam`; or `muon` for the matrices between the network's ends, Adam for the rest.
        learning_rate: Highest rate, reached after the warm-up.
        final_learning_rate: Rate at the end of the cosine schedule.
        betas: Adam's decay rates of the first and second moment.
        weight_decay: Decoupled decay of the weight matrices; biases, norms and `A`, `D` are spared.
        iterations: Length of the training.
        warmup: Iterations of linear warm-up.
        schedule: `cosine`, or `step` at the milestones.
        milestones: Iterations at which the step schedule multiplies the rate by `gamma`.
        gamma: Factor of the step schedule.
        ema_decay: Decay of the averaged weights, which are the ones that are kept.
        gradient_clip: Largest norm of the gradient; 0 leaves it alone.
        precision: `fp32`, or `bf16` autocast.
    """

    loss: LossName = "l1"
    optimizer: Literal["adam", "muon"] = "adam"
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-7
    betas: tuple[float, ...] = (0.9, 0.99)
    weight_decay: float = 0.0
    iterations: int = 20000
    warmup: int = 200
    schedule: Literal["cosine", "step"] = "cosine"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.5
    ema_decay: float = 0.999
    gradient_clip: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"


@dataclass(frozen=True)
class DistillationTable:
    """A teacher that the network learns from, beside the reference images.

    Attributes:
        teacher: Id or path of trained weights; None for none.
        folder: Folder, relative to the data root, in which the results of any teacher are kept;
            None for none.
        weight: Share of the loss that compares with the teacher's result instead of the reference.
        members: In how many of the eight orientations the teacher restores a batch; their mean
            counts.
    """

    teacher: str | None = None
    folder: str | None = None
    weight: float = 0.5
    members: int = 8


@dataclass(frozen=True)
class ValidationTable:
    """When and on what the averaged weights are scored.

    Attributes:
        folders: Folders relative to the data root; the first decides which weights are the best.
        every: Iterations between two validations.
    """

    folders: tuple[str, ...] = ()
    every: int = 500


@dataclass(frozen=True)
class RunTable:
    """The run itself.

    Attributes:
        seed: Decides the initial weights and every sample.
        checkpoint_every: Iterations between two checkpoints; 0 for none.
        checkpoint_seconds: Seconds between two checkpoints; 0 for none.
        log_every: Iterations between two progress reports; the log file has every iteration.
    """

    seed: int = 0
    checkpoint_every: int = 500
    checkpoint_seconds: float = 120.0
    log_every: int = 50


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run, one attribute for each table of the TOML file."""

    model: ModelTable
    network: NetworkTable
    data: DataTable
    optim: OptimTable = field(default_factory=OptimTable)
    distillation: DistillationTable = field(default_factory=DistillationTable)
    validation: ValidationTable = field(default_factory=ValidationTable)
    run: RunTable = field(default_factory=RunTable)

    @property
    def spec(self) -> ModelSpec:
        """What the trained weights are for."""
        sigma, quality = (
            round(span.low) if span is not None and span.low == span.high else None
            for span in (self.data.noise_sigma, self.data.jpeg_quality)
        )
        return ModelSpec(
            self.model.id,
            self.model.task,
            self.network.scale,
            self.network.channels,
            sigma if self.model.task == "denoise" else None,
            quality if self.model.task == "dejpeg" else None,
            "dejpeg" if self._is_cleaned else None,
        )

    @property
    def _is_cleaned(self) -> bool:
        return any(isinstance(step, Jpeg) and step.restored_by for step in self.data.steps)


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: The file cannot be read, is no TOML, or holds an unknown key, a wrong type or
            an impossible value.
    """
    try:
        tables = tomllib.loads(_decoded(path.read_bytes()))
    except OSError as error:
        raise RecipeError(
            f"cannot read the recipe {path}: {error.strerror}",
            "name a recipe: a TOML file, such as those in recipes/",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"the recipe {path} is not valid TOML: {error}",
            "save it as UTF-8" if isinstance(error, UnicodeDecodeError) else None,
        ) from error
    return parse_recipe(tables)


def _decoded(content: bytes) -> str:
    """Decode UTF-8, or what editors on Windows save: with a byte order mark, or in UTF-16."""
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf_16 else "utf-8-sig")


def parse_recipe(tables: Mapping[str, object]) -> Recipe:
    """Check the tables of a recipe, as `tomllib` reads them, and build it.

    Raises:
        RecipeError: Unknown or missing key, wrong type or impossible value.
    """
    recipe = build(Recipe, tables, chosen={"network": network_class(tables.get("model"))})
    _check_values(recipe)
    check_network(recipe.network)
    _check_task(recipe)
    _check_steps(recipe)
    _check_distillation(recipe)
    return recipe


def _limits(recipe: Recipe) -> Iterator[tuple[str, Number, Number, Number]]:
    """List dotted keys with their values and the smallest and largest allowed ones."""
    network, data, optim = recipe.network, recipe.data, recipe.optim
    infinity = math.inf
    yield from network_limits(network)
    yield "data.patch", data.patch, 2, infinity
    yield "data.candidates", data.candidates, 1, infinity
    yield "data.batch", data.batch, 1, infinity
    yield "data.cache_mb", data.cache_mb, 0, infinity
    for name, span, low, high in (
        ("noise_sigma", data.noise_sigma, 0, 255),
        ("jpeg_quality", data.jpeg_quality, 1, 100),
    ):
        if span is not None:
            yield f"data.{name}", span.low, low, high
            yield f"data.{name}", span.high, low, high
    yield "data.clipped", data.clipped, 0, 1
    for i, step in enumerate(data.steps):
        for key, *limits in step_limits(step):
            yield f"data.steps[{i}].{key}", limits[0], limits[1], limits[2]
    yield "optim.learning_rate", optim.learning_rate, 0, infinity
    yield "optim.final_learning_rate", optim.final_learning_rate, 0, optim.learning_rate
    yield from ((f"optim.betas[{i}]", beta, 0, 0.999999) for i, beta in enumerate(optim.betas))
    yield "optim.weight_decay", optim.weight_decay, 0, infinity
    yield "optim.iterations", optim.iterations, 1, infinity
    yield "optim.warmup", optim.warmup, 0, infinity
    yield "optim.gamma", optim.gamma, 0, 1
    yield "optim.ema_decay", optim.ema_decay, 0, 0.999999
    yield "optim.gradient_clip", optim.gradient_clip, 0, infinity
    yield "distillation.weight", recipe.distillation.weight, 0, 1
    yield "distillation.members", recipe.distillation.members, 1, MEMBERS
    yield "validation.every", recipe.validation.every, 1, infinity
    yield "run.seed", recipe.run.seed, 0, 2**63 - 1
    yield "run.checkpoint_every", recipe.run.checkpoint_every, 0, infinity
    yield "run.checkpoint_seconds", recipe.run.checkpoint_seconds, 0, infinity
    yield "run.log_every", recipe.run.log_every, 1, infinity


def _check_values(recipe: Recipe) -> None:
    for key, value, low, high in _limits(recipe):
        if not low <= value <= high:
            bounds = f"at least {low}" if high == math.inf else f"from {low} to {high}"
            raise RecipeError(f"{key} = {value!r} is out of range", f"give a number {bounds}")
    for key, values in (
        ("network.depths", recipe.network.depths),
        ("data.folders", recipe.data.folders),
    ):
        if not values:
            raise RecipeError(f"{key} is empty", "list at least one")
    if len(recipe.optim.betas) != 2:
        raise RecipeError(
            f"optim.betas = {list(recipe.optim.betas)!r} is not a pair", "give two numbers"
        )
    if recipe.optim.schedule == "step" and not recipe.optim.milestones:
        raise RecipeError("optim.schedule = 'step' has no milestones", "set optim.milestones")


def _check_task(recipe: Recipe) -> None:
    task, network, data = recipe.model.task, recipe.network, recipe.data
    enlarges = task in ("sr", "realsr")
    if enlarges != (network.upscale > 1):
        raise RecipeError(
            f"network.upscale = {network.upscale} does not fit model.task = {task!r}",
            "give 2, 3, 4 or 8" if enlarges else "give 1",
        )
    if enlarges and network.upscale not in (2, 3, 4, 8):
        raise RecipeError(
            f"network.upscale = {network.upscale} is not supported", "give 2, 3, 4 or 8"
        )
    if enlarges != bool(network.upsampler):
        raise RecipeError(
            f"network.upsampler = {network.upsampler!r} does not fit model.task = {task!r}",
            'give "pixelshuffle" or "pixelshuffledirect"' if enlarges else 'give ""',
        )
    if network.in_chans not in (1, 3):
        raise RecipeError(f"network.in_chans = {network.in_chans} is not supported", "give 1 or 3")
    needed = {
        "denoise": ("noise_sigma", data.noise_sigma),
        "denoise-real": ("steps", None),
        "dejpeg": ("jpeg_quality", data.jpeg_quality),
    }
    key, span = needed.get(task, ("", Span(0, 0)))
    if span is None and not data.steps:
        raise RecipeError(
            f"model.task = {task!r} needs data.{key}", f"set data.{key} in the recipe"
        )


def _check_steps(recipe: Recipe) -> None:
    steps = recipe.data.steps
    if not steps:
        return
    for key, span in (
        ("noise_sigma", recipe.data.noise_sigma),
        ("jpeg_quality", recipe.data.jpeg_quality),
    ):
        if span is not None:
            raise RecipeError(
                f"data.{key} and data.steps are both set", "list noise and JPEG among the steps"
            )
    changes = [step for step in steps if isinstance(step, Resize | Fit)]
    if (changes and isinstance(changes[-1], Resize)) or (recipe.network.scale > 1 and not changes):
        raise RecipeError(
            "data.steps do not end in the size of the network's input",
            'list a step of kind "fit" after the last one of kind "resize"',
        )
    if recipe.network.channels == 1 and any(isinstance(step, Camera) for step in steps):
        raise RecipeError(
            'a step of kind "camera" needs colour, network.in_chans is 1', "leave that step out"
        )
    for i, step in enumerate(steps):
        for key in ("methods", "subsampling"):
            if getattr(step, key, None) == ():
                raise RecipeError(f"data.steps[{i}].{key} is empty", "list at least one")


def _check_distillation(recipe: Recipe) -> None:
    data, distillation = recipe.data, recipe.distillation
    if distillation.folder is None:
        return
    if distillation.teacher is not None:
        raise RecipeError(
            "distillation.teacher and distillation.folder are both set",
            "name a teacher that runs, or the folder in which results are kept",
        )
    for key in ("noise_sigma", "jpeg_quality", "steps"):
        if getattr(data, key):
            raise RecipeError(
                f"distillation.folder is for inputs that are only downscaled, data.{key} is set",
                "name a teacher that sees each input: distillation.teacher",
            )
