"""`mambair train`: makes weights from a recipe, or goes on with a run that was interrupted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mambair_cli.cli.compiling import load_kernels, prepare_scan
from mambair_cli.cli.console import Messages, counted, print_data
from mambair_cli.cli.options import Debug, Device, Json, Quiet, Scan, Verbose, remember_resume

if TYPE_CHECKING:
    from mambair_cli.training import run

# Weights of which no more than this share fits are hardly what was meant.
MOST = 0.5


class TrainingDisplay:
    """Shows a run: a line that redraws itself on a terminal, one line for each event elsewhere.

    Args:
        messages: Where to show it.
    """

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._score = ""
        self._running = self._told_of_unreadable = False
        self.progress = Progress(
            TextColumn("{task.fields[state]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
            console=messages.console,
            disable=not messages.animated,
            transient=True,
            expand=True,
        )
        self._task = self.progress.add_task("train", total=None, state="preparing")

    def show(self, event: run.TrainEvent) -> None:
        """Show one event of the run."""
        from mambair_cli.training import run

        values = {item.name: getattr(event, item.name) for item in dataclasses.fields(event)}
        values = {
            key: str(value) if isinstance(value, Path) else value for key, value in values.items()
        }
        self._messages.event(type(event).__name__.lower(), **values)
        match event:
            case run.Started():
                self._started(event)
            case run.Unreadable():
                self._unreadable(event)
            case run.Progress():
                self._progressed(event)
            case run.Validated():
                self._validated(event)
            case run.Saved():
                self._messages.detail(f"saved {event.path} at iteration {event.iteration}")

    def _started(self, event: run.Started) -> None:
        self._running = True
        verb = f"resuming at iteration {event.iteration} of" if event.iteration else "training for"
        self._messages.notice(
            f"{verb} {event.iterations} iterations: {event.parameters:,} parameters, "
            f"{counted(event.images, 'image')}"
        )
        if event.skipped_images:
            self._messages.notice(
                f"warning: {counted(event.skipped_images, 'image')} left out, smaller than a patch",
                "yellow",
            )
        if event.unreadable_images:
            self._messages.notice(
                f"warning: {counted(event.unreadable_images, 'image')} left out, not readable",
                "yellow",
            )
        if event.initial_tensors:
            self._tell_initial(event.initial_tensors, event.tensors)
        self.progress.update(self._task, total=event.iterations, completed=event.iteration)

    def _tell_initial(self, taken: int, tensors: int) -> None:
        told = f"{taken} of {tensors} tensors taken from the initial weights"
        if taken > MOST * tensors:
            self._messages.notice(told)
            return
        self._messages.notice(f"warning: {told}: the rest begins at random", "yellow")
        self._messages.notice(
            "hint: give [network] the values of the weights: mambair models inspect",
            "yellow",
        )

    def _unreadable(self, event: run.Unreadable) -> None:
        # Of a folder of such files one example is enough; `Started` says how many there are.
        if self._told_of_unreadable and not self._running:
            self._messages.detail(f"left out: {event.reason}")
            return
        self._told_of_unreadable = True
        self._messages.notice(f"warning: left out: {event.reason}", "yellow")
        if event.hint is not None:
            self._messages.notice(f"hint: {event.hint}", "yellow")

    def _progressed(self, event: run.Progress) -> None:
        speed = 1 / max(event.seconds_per_iteration, 1e-9)
        state = (
            f"loss {event.loss:.4f}  lr {event.learning_rate:.1e}  {speed:.2f} it/s{self._score}"
        )
        self.progress.update(self._task, completed=event.iteration, state=state)
        if not self._messages.animated:
            self._messages.notice(f"{event.iteration}/{event.iterations}  {state}")

    def _validated(self, event: run.Validated) -> None:
        folder, score = next(iter(event.scores.items()))
        self._score = f"  {folder} {score:.2f} dB"
        scores = ", ".join(f"{name} {value:.3f} dB" for name, value in event.scores.items())
        best = "the best so far" if event.improved else f"best {event.best:.3f} dB"
        self._messages.notice(f"iteration {event.iteration}: {scores} ({best})")


def train(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="What to train, on what and how: a TOML file.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Folder that the recipe's image folders are relative to. By default the recipe's.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Folder of the run. By default runs/ and the recipe's name.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the run in the output folder.", callback=remember_resume
        ),
    ] = False,
    device: Device = "auto",
    scan: Scan = "auto",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,  # noqa: ARG001 - read by its callback
) -> None:
    """Train or fine-tune weights; interrupted at any moment, a run goes on with --resume."""
    from mambair_cli.kernels.scan import dispatch
    from mambair_cli.restoration.device.compute import describe_device
    from mambair_cli.restoration.device.devices import resolve_device
    from mambair_cli.training.config import load_recipe
    from mambair_cli.training.run import train as run_training

    messages = Messages(quiet=quiet, verbose=verbose, as_json=json)
    loaded = load_recipe(recipe)
    chosen = resolve_device(device)
    load_kernels(device, scan, messages)
    backend = dispatch.select(scan, chosen)
    prepare_scan(backend, chosen, messages, training=True)
    messages.notice(f"device: {describe_device(chosen)}, scan: {backend.name}")
    display = TrainingDisplay(messages)
    with display.progress:
        result = run_training(
            loaded,
            output or Path("runs") / recipe.stem,
            resume=resume,
            on_event=display.show,
            data_root=data or recipe.parent,
            device=str(chosen),
            scan=backend.name,
        )
    messages.event("finished", best=str(result.best), last=str(result.last), psnr=result.best_score)
    if not json:
        print_data(str(result.best))
