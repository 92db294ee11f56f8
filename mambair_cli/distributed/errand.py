"""The way of one file to a worker and back, and what is told of it meanwhile."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic

from mambair_cli.batches.events import (
    Event,
    FileDone,
    FileFailed,
    FileNoted,
    FileSkipped,
    FileStarted,
    TileDone,
)
from mambair_cli.batches.jobs import Job
from mambair_cli.batches.manifest import Entry, file_sha256
from mambair_cli.distributed import urls
from mambair_cli.distributed.orders import Order, Receipt, Told, Weights
from mambair_cli.distributed.urls import Url
from mambair_cli.errors import BackendError, ImageError, MambairError

# Of the tiles of an image no more are told to the driver than one in this time, and the last.
TILE_SECONDS = 0.5


class Errand:
    """The way of one file to a worker and back.

    Args:
        order: What to do.
        scratch: An empty folder, for what is copied to this node; not used where nothing is.
        weights_for: Tells the weights that a file is restored with.
    """

    def __init__(self, order: Order, scratch: Path, weights_for: Callable[[Path], Weights]) -> None:
        self._order = order
        self._weights_for = weights_for
        source = _local(order.source, scratch / "in")
        target = _local(order.target, scratch / "out")
        self.job = Job(source, target, target.parent)
        self.entry = Entry("", order.recipe or {})

    def fetch(self) -> None:
        """Has the input on this node.

        Raises:
            ImageError: It cannot be had.
        """
        order, here = self._order, self.job.source
        if isinstance(order.source, Url):
            here.parent.mkdir()
            if order.content is None:
                urls.fetch(order.source, here)
            else:
                here.write_bytes(order.content)
        elif not here.exists():
            raise ImageError(
                f"{here} is not there on {platform.node()}",
                "keep files on a file system that all nodes share, or in a store such as s3://",
            )
        if order.recipe is not None:
            recipe = {**order.recipe, "weights": self._weights_for(here).sha256}
            self.entry = replace(self.entry, input=file_sha256(here), recipe=recipe)

    def is_done(self) -> bool:
        """Whether an earlier run made the output from the same input, and it is still whole."""
        done, target = self._order.done, self._order.target
        if done is None or (done.input, done.recipe) != (self.entry.input, self.entry.recipe):
            return False
        if isinstance(target, Url):
            # It was written whole or not at all; to read it again would cost more than the input.
            return target.stays_in_its_process or urls.size_of(target) == done.size
        return (
            target.is_file()
            and target.stat().st_size == done.size
            and file_sha256(target) == done.output
        )

    def deliver(self, outcome: FileDone) -> Receipt:
        """Brings the output to its place.

        Raises:
            OutputError: It cannot be written there.
        """
        here, target = self.job.target, self._order.target
        entry = self.entry
        if self._order.recipe is not None:
            entry = replace(entry, output=file_sha256(here), size=here.stat().st_size)
        if not isinstance(target, Url):
            return Receipt(outcome, entry)
        if target.stays_in_its_process:
            return Receipt(outcome, entry, here.read_bytes())
        urls.upload(here, target)
        return Receipt(outcome, entry)

    def failed(self, error: MambairError) -> Receipt:
        """Says what failed, in words of the order: the folders of this node mean nothing to it."""
        text = error.message
        for here, name in zip((self.job.source, self.job.target), self._order.names, strict=True):
            text = text.replace(str(here), name)
        return Receipt(FileFailed(self.job, type(error)(text, error.hint)), self.entry)


class Relay:
    """Passes the events of one file on to the driver, fewer of them.

    Args:
        tell: Told of them.
        stopped: Whether nobody wants the result any more.
    """

    def __init__(self, tell: Callable[[Told], None], stopped: threading.Event) -> None:
        self.outcome: FileDone | FileSkipped | FileFailed | None = None
        self._tell = tell
        self._stopped = stopped
        self._started: FileStarted | None = None
        self._last_tile = 0.0

    def begin(self) -> None:
        """Tells that the network begins with the file, which others may have kept from it."""
        if self._started is not None:
            self._tell(self._started)
            self._started = None

    def pass_on(self, event: Event) -> None:
        """Takes an event.

        Raises:
            MambairError: Nobody wants the result any more.
        """
        match event:
            case FileStarted():
                self._started = event
            case TileDone():
                self._pass_on_tile(event)
            case FileNoted():
                self._tell(event)
            case FileDone() | FileFailed() | FileSkipped():
                self.begin()
                self.outcome = event

    def _pass_on_tile(self, event: TileDone) -> None:
        if self._stopped.is_set():
            raise BackendError("the run was interrupted")
        now = monotonic()
        if event.done in (0, event.total) or now - self._last_tile >= TILE_SECONDS:
            self._last_tile = now
            self._tell(event)


def _local(place: Path | Url, scratch: Path) -> Path:
    return scratch / place.name if isinstance(place, Url) else place
