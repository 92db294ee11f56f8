"""How a download is shown: one bar on a terminal, lines elsewhere, events for programs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from mambair_cli.cli.console import Messages, duration

if TYPE_CHECKING:
    from mambair_cli.checkpoints.reference import HubFile


class DownloadDisplay:
    """Shows what happens while weights are fetched, as `checkpoints.reference.Listener`.

    Args:
        messages: Where to show it.
    """

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._done = 0
        self._began = 0.0

    def waiting(self, name: str) -> None:
        """Another process fetches the same."""
        self._messages.notice(f"waiting for another process that fetches {name} ...")

    def started(self, file: HubFile) -> None:
        """Tell that a download begins: what, from where, how large."""
        self._messages.notice(f"downloading {file}")
        self._messages.event(
            "download", repo=file.repo, file=file.path, revision=file.revision, bytes=file.size
        )
        self._began, self._done = time.perf_counter(), 0
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=self._messages.console,
            disable=not self._messages.animated,
            redirect_stdout=False,
            transient=True,
            expand=True,
        )
        name = file.path.rpartition("/")[2]
        self._task = self._progress.add_task(name, total=file.size)
        self._progress.start()

    def progressed(self, done: int, total: int | None) -> None:
        """So many bytes of so many are here."""
        self._done = done
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total)

    def troubled(self, reason: str) -> None:
        """Tell that the connection failed, and is tried again."""
        self._messages.notice(
            f"connection lost after {self._done / 1e6:.1f} MB ({reason}), going on from there",
            "yellow",
        )

    def finished(self) -> None:
        """Tell that the download has ended, well or not."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        seconds = time.perf_counter() - self._began
        self._messages.detail(f"received {self._done / 1e6:.1f} MB in {duration(seconds)}")
