"""A whole training run: start or resume, train, log, validate, keep the best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from mambair_cli.checkpoints.convert import write_checkpoint
from mambair_cli.errors import BackendError, MambairError
from mambair_cli.networks import RestorationNetwork, build_network
from mambair_cli.restoration.device.precision import resolve_precision
from mambair_cli.training.config import Recipe
from mambair_cli.training.data import Sampler
from mambair_cli.training.distillation import load_teacher
from mambair_cli.training.initial import initialise
from mambair_cli.training.kept_results import KeptResults
from mambair_cli.training.loop import Step, Trainer, learning_rate
from mambair_cli.training.run_directory import RunDirectory
from mambair_cli.training.validation import Validator


@dataclass(frozen=True)
class Started:
    """Everything is in place; training goes on from `iteration`."""

    iteration: int
    iterations: int
    parameters: int
    images: int
    skipped_images: int
    unreadable_images: int
    tensors: int
    initial_tensors: int
    device: str
    scan: str


@dataclass(frozen=True)
class Unreadable:
    """An image of the training or of a validation folder that cannot be read."""

    path: Path
    reason: str
    hint: str | None


@dataclass(frozen=True)
class Progress:
    """Means over the iterations since the last report."""

    iteration: int
    iterations: int
    loss: float
    gradient_norm: float
    learning_rate: float
    seconds_per_iteration: float


@dataclass(frozen=True)
class Validated:
    """PSNR in dB of the averaged weights by folder, and the best one of the first folder so far."""

    iteration: int
    scores: dict[str, float]
    best: float
    improved: bool


@dataclass(frozen=True)
class Saved:
    """A checkpoint was written: a resumed run goes on from here."""

    iteration: int
    path: Path


TrainEvent = Started | Unreadable | Progress | Validated | Saved


@dataclass(frozen=True)
class TrainResult:
    """What a finished run left.

    Attributes:
        iterations: Length of the run.
        best_score: Highest PSNR of the first validation folder; None without validation.
        best: Weights with that score; the last ones without validation.
        last: Averaged weights after the last iteration.
    """

    iterations: int
    best_score: float | None
    best: Path
    last: Path


def train(
    recipe: Recipe,
    run_dir: Path,
    *,
    resume: bool,
    on_event: Callable[[TrainEvent], None],
    data_root: Path | None = None,
    device: str = "cpu",
    scan: str = "auto",
) -> TrainResult:
    """Train a network, or go on with a run that was interrupted at any moment.

    A resumed run gives the same losses as one that was never interrupted.

    Args:
        recipe: What to train, on what and how.
        run_dir: Directory of the run (see `run_directory`).
        resume: Go on with the run in `run_dir` instead of starting one.
        on_event: Told what happens, from the calling thread.
        data_root: Directory that the recipe's folders are relative to; default the current one.
        device: A torch device.
        scan: `auto` or the name of a scan backend.

    Returns:
        Where the weights are, and the best score.

    Raises:
        RecipeError: The data of the recipe is missing or unusable.
        CheckpointError: The initial weights, the teacher or the checkpoint cannot be used.
        UsageError: Nothing to resume, a changed recipe, a run that is already there, or one that
            another process trains.
        BackendError: The scan backend, or the recipe's precision, cannot run here.
        OutputError: The run directory cannot be written.
        MambairError: The loss is no longer finite.
    """
    place = torch.device(device)
    _check_precision(recipe, place)
    directory = RunDirectory(run_dir)
    directory.require_usable(recipe, resume=resume)
    root = data_root or Path()
    torch.manual_seed(recipe.run.seed)
    network = build_network(recipe.network)
    initial = initialise(network, recipe.model.init)
    teacher = load_teacher(recipe, place, scan)
    trainer = Trainer(network.to(place), recipe.optim, teacher)
    backend = trainer.set_scan_backend(scan)
    kept = recipe.distillation.folder
    sampler = Sampler(
        recipe.data,
        root,
        recipe.network.channels,
        recipe.network.scale,
        recipe.run.seed,
        pinned=place.type == "cuda",
        results=None if kept is None else KeptResults(root / kept, recipe.network.scale),
    )
    run = _Run(recipe, directory, trainer, sampler, Validator(recipe, root), on_event)
    with directory.alone():
        # Another process may have trained here meanwhile.
        directory.require_usable(recipe, resume=resume)
        run.begin(initial, device, backend, resume=resume)
        return run.finish()


def _check_precision(recipe: Recipe, device: torch.device) -> None:
    """Refuse what a GPU would fail on, or emulate slowly; a CPU may be slow."""
    if device.type == "cpu":
        return
    try:
        resolve_precision(recipe.optim.precision, device)
    except BackendError as error:
        raise BackendError(error.message, 'set precision = "fp32" under [optim]') from error


class _Run:
    """The state of a run between its iterations, and what happens when one of them is due."""

    def __init__(
        self,
        recipe: Recipe,
        directory: RunDirectory,
        trainer: Trainer[RestorationNetwork],
        sampler: Sampler,
        validator: Validator,
        on_event: Callable[[TrainEvent], None],
    ) -> None:
        self.iteration = 0
        self.directory = directory
        self._recipe = recipe
        self._trainer = trainer
        self._sampler = sampler
        self._validator = validator
        self._on_event = on_event
        self._best: float | None = None
        self._pending: list[Step] = []
        self._told: set[Path] = set()
        self._reported_at = self._saved_at = time.monotonic()

    def begin(self, initial_tensors: int, device: str, scan: str, *, resume: bool) -> None:
        """Store the state of a new run, or go on from a stored one, and tell what is in place."""
        if resume:
            self._restore()
        else:
            self.directory.write_recipe(self._recipe)
            self.save()
        self._tell_unreadable()
        self._on_event(
            Started(
                self.iteration,
                self._recipe.optim.iterations,
                sum(parameter.numel() for parameter in self._trainer.network.parameters()),
                len(self._sampler.files),
                self._sampler.skipped,
                len(self._told),
                len(self._trainer.network.state_dict()),
                initial_tensors,
                device,
                scan,
            )
        )

    def _restore(self) -> None:
        state = self.directory.load_state()
        self._trainer.load_state_dict(state["trainer"])
        self.iteration = state["iteration"]
        self._best = state["best"]
        torch.set_rng_state(state["random"])
        self.directory.truncate_log(self.iteration)
        self.directory.write_recipe(self._recipe)

    def finish(self) -> TrainResult:
        """Run the iterations that are left."""
        optim, validation = self._recipe.optim, self._recipe.validation
        self._reported_at = self._saved_at = time.monotonic()
        for batch in self._sampler.batches(self.iteration, optim.iterations):
            self._pending.append(self._trainer.step(batch, self.iteration))
            self.iteration += 1
            self._tell_unreadable()
            last = self.iteration == optim.iterations
            if last or self.iteration % self._recipe.run.log_every == 0:
                self._report()
            if validation.folders and (last or self.iteration % validation.every == 0):
                self._validate()
            if last or self._checkpoint_is_due():
                self.save()
        best = self.directory.best if self._best is not None else self.directory.last
        return TrainResult(self.iteration, self._best, best, self.directory.last)

    def _tell_unreadable(self) -> None:
        """Tell of images that cannot be read, of each once."""
        # Put into one, as the samples of the next iteration are drawn meanwhile.
        unreadable = self._validator.unreadable | self._sampler.unreadable
        for path, error in unreadable.items():
            if path not in self._told:
                self._told.add(path)
                self._on_event(Unreadable(path, error.message, error.hint))

    def _report(self) -> None:
        """Log the iterations since the last report.

        Raises:
            MambairError: A loss is not finite.
        """
        if not self._pending:
            return
        losses, norms = (
            torch.stack(values).tolist()
            for values in zip(*((s.loss, s.gradient_norm) for s in self._pending), strict=True)
        )
        first = self.iteration - len(self._pending)
        seconds = (time.monotonic() - self._reported_at) / len(self._pending)
        rates = [learning_rate(self._recipe.optim, first + i) for i in range(len(losses))]
        self.directory.append_log(
            {
                "iteration": first + i + 1,
                "loss": loss,
                "gradient_norm": norm,
                "learning_rate": rate,
                "seconds": round(seconds, 4),
            }
            for i, (loss, norm, rate) in enumerate(zip(losses, norms, rates, strict=True))
        )
        for i, loss in enumerate(losses):
            if not math.isfinite(loss):
                raise MambairError(
                    f"the loss became {loss} at iteration {first + i + 1}",
                    "lower optim.learning_rate, set optim.gradient_clip, or use precision fp32",
                )
        self._pending.clear()
        self._on_event(
            Progress(
                self.iteration,
                self._recipe.optim.iterations,
                sum(losses) / len(losses),
                sum(norms) / len(norms),
                rates[-1],
                seconds,
            )
        )
        self._reported_at = time.monotonic()

    def _validate(self) -> None:
        self._report()
        scores = self._validator.scores(self._trainer.average)
        score = scores[self._recipe.validation.folders[0]]
        improved = self._best is None or score > self._best
        if improved:
            self._best = score
            self._write_weights(self.directory.best, score)
        assert self._best is not None
        self.directory.append_log([{"iteration": self.iteration, "psnr": scores}])
        self._on_event(Validated(self.iteration, scores, self._best, improved))
        self._reported_at = time.monotonic()

    def _checkpoint_is_due(self) -> bool:
        every, seconds = self._recipe.run.checkpoint_every, self._recipe.run.checkpoint_seconds
        by_count = every > 0 and self.iteration % every == 0
        return by_count or 0 < seconds <= time.monotonic() - self._saved_at

    def save(self) -> None:
        """Write a checkpoint that a resumed run goes on from."""
        self._report()
        self._write_weights(self.directory.last, None)
        self.directory.save_state(
            {
                "trainer": self._trainer.state_dict(),
                "iteration": self.iteration,
                "best": self._best,
                "random": torch.get_rng_state(),
            }
        )
        self._on_event(Saved(self.iteration, self.directory.state))
        self._saved_at = time.monotonic()

    def _write_weights(self, path: Path, score: float | None) -> None:
        extra = {"mambair.iteration": str(self.iteration)}
        if score is not None:
            extra["mambair.psnr"] = f"{score:.4f}"
        write_checkpoint(path, self._trainer.average, self._recipe.spec, extra)
