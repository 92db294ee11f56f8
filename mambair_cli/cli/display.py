"""How a batch of images is shown while it runs: bars on a terminal, one line a file elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from mambair_cli.cli.console import Messages, duration, print_data

if TYPE_CHECKING:
    from mambair_cli.restoration import batch


class BatchDisplay:
    """Shows the events of a batch; used as a context manager around it.

    Args:
        messages: Where to show them.
        images: How many images there are.
        devices: Names of the devices that restore them; each has a bar for the image it works on.
    """

    def __init__(self, messages: Messages, images: int, devices: Sequence[str]) -> None:
        self._messages = messages
        self._images = images
        self._shared = len(devices) > 1
        self._progress = Progress(
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", max_width=32),
            ),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(compact=True),
            console=messages.console,
            disable=not messages.animated,
            redirect_stdout=False,
            transient=True,
            expand=True,
        )
        self._batch = self._progress.add_task(
            "all images", total=images, unit="images", visible=images > 1
        )
        self._bars = {
            device: self._progress.add_task("", total=None, unit="tiles", visible=False)
            for device in devices
        }
        self._device_of: dict[Path, str] = {}

    def __enter__(self) -> Self:
        """Start showing."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the bars."""
        self._progress.stop()

    def show(self, event: batch.Event) -> None:
        """Show one event of the batch."""
        from mambair_cli.restoration import batch

        match event:
            case batch.FileStarted():
                self._started(event)
            case batch.TileDone():
                self._tile_done(event)
            case batch.FileNoted():
                self._messages.detail(f"{event.job.source}: {event.text}")
            case batch.DeviceLost():
                self._device_lost(event)
            case batch.FileDone():
                self._done(event)
            case batch.FileSkipped():
                self._skipped(event)
            case batch.FileFailed():
                self._failed(event)

    def _started(self, event: batch.FileStarted) -> None:
        source = event.job.source
        self._messages.event(
            "started", source=str(source), target=str(event.job.target), device=event.device
        )
        name = f"{event.device}: {source.name}" if self._shared else source.name
        if self._shared:
            self._messages.detail(f"{source}: on {event.device}")
        self._device_of = {path: on for path, on in self._device_of.items() if on != event.device}
        self._device_of[source] = event.device
        self._progress.reset(self._bars[event.device], total=None, description=name, visible=True)

    def _tile_done(self, event: batch.TileDone) -> None:
        self._messages.event(
            "tile", source=str(event.job.source), done=event.done, total=event.total
        )
        # One tile is done or not: a bar that only moves says more than one that stays at 0 of 1.
        total = event.total if event.total > 1 else None
        bar = self._bars[self._device_of[event.job.source]]
        self._progress.update(bar, completed=event.done, total=total)

    def _device_lost(self, event: batch.DeviceLost) -> None:
        self._progress.update(self._bars[event.device], visible=False)
        self._messages.notice(
            f"warning: {event.device} failed and is not used any more: {event.reason}", "yellow"
        )
        self._messages.event(
            "device_lost", device=event.device, source=str(event.job.source), reason=event.reason
        )

    def _done(self, event: batch.FileDone) -> None:
        self._finish_file(event)
        size = f"{event.width}x{event.height}"
        self._messages.notice(f"{event.job.source}: {size} in {duration(event.seconds)}")
        self._messages.event(
            "done",
            source=str(event.job.source),
            target=str(event.job.target),
            seconds=round(event.seconds, 3),
            width=event.width,
            height=event.height,
            bytes=event.bytes,
        )
        if self._messages.lists_results:
            self._print_path(str(event.job.target))

    def _skipped(self, event: batch.FileSkipped) -> None:
        self._finish_file(event)
        self._messages.notice(f"{event.job.source}: skipped, {event.reason}", "dim")
        self._messages.event(
            "skipped",
            source=str(event.job.source),
            target=str(event.job.target),
            reason=event.reason,
        )

    def _failed(self, event: batch.FileFailed) -> None:
        self._finish_file(event)
        # The failure of a single image is the failure of the command, which says it by itself.
        if self._images > 1:
            self._messages.notice(f"failed: {event.error.message}", "red")
        self._messages.event(
            "failed",
            source=str(event.job.source),
            target=str(event.job.target),
            error=event.error.message,
            hint=event.error.hint,
        )

    def _finish_file(self, event: batch.Outcome) -> None:
        # By now the device may show the next image.
        if (device := self._device_of.pop(event.job.source, None)) is not None:
            self._progress.update(self._bars[device], visible=False)
        self._progress.advance(self._batch)

    def _print_path(self, path: str) -> None:
        # Standard output and the bars may be the same terminal, where the one would cut the other.
        shared = self._messages.animated and sys.stdout.isatty()
        if shared:
            self._progress.stop()
        print_data(path)
        if shared:
            # The old one would begin by clearing as many lines as it had, now above the path.
            self._progress.live = Live(
                console=self._messages.console,
                transient=True,
                redirect_stdout=False,
                get_renderable=self._progress.get_renderable,
            )
            self._progress.start()
