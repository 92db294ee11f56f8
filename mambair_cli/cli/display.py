"""How a batch of images is shown while it runs: bars on a terminal, one line a file elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

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
    """

    def __init__(self, messages: Messages, images: int) -> None:
        self._messages = messages
        self._images = images
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
        self._file = self._progress.add_task("", total=None, unit="tiles", visible=False)

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
            case batch.FileDone():
                self._done(event)
            case batch.FileSkipped():
                self._skipped(event)
            case batch.FileFailed():
                self._failed(event)

    def _started(self, event: batch.FileStarted) -> None:
        self._messages.event("started", source=str(event.job.source), target=str(event.job.target))
        self._progress.reset(
            self._file, total=None, description=event.job.source.name, visible=True
        )

    def _tile_done(self, event: batch.TileDone) -> None:
        self._messages.event(
            "tile", source=str(event.job.source), done=event.done, total=event.total
        )
        # One tile is done or not: a bar that only moves says more than one that stays at 0 of 1.
        total = event.total if event.total > 1 else None
        self._progress.update(self._file, completed=event.done, total=total)

    def _done(self, event: batch.FileDone) -> None:
        self._finish_file()
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
        if not self._messages.as_json:
            self._print_path(str(event.job.target))

    def _skipped(self, event: batch.FileSkipped) -> None:
        self._finish_file()
        self._messages.notice(f"{event.job.source}: skipped, {event.reason}", "dim")
        self._messages.event(
            "skipped",
            source=str(event.job.source),
            target=str(event.job.target),
            reason=event.reason,
        )

    def _failed(self, event: batch.FileFailed) -> None:
        self._finish_file()
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

    def _finish_file(self) -> None:
        self._progress.update(self._file, visible=False)
        self._progress.advance(self._batch)

    def _print_path(self, path: str) -> None:
        # Standard output and the bars may be the same terminal, where the one would cut the other.
        shared = self._messages.animated and sys.stdout.isatty()
        if shared:
            self._progress.stop()
        print_data(path)
        if shared:
            self._progress.start()
