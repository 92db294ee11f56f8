"""What the driver and the workers say to each other."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from mambair_cli.batches.events import (
    Event,
    FileDone,
    FileFailed,
    FileNoted,
    FileSkipped,
    FileStarted,
    Outcome,
    TileDone,
)
from mambair_cli.batches.manifest import Entry, Recipe
from mambair_cli.batches.stages import FileOptions
from mambair_cli.batches.urls import Place
from mambair_cli.checkpoints.load import LoadedModel, load_checkpoint
from mambair_cli.checkpoints.request import Request
from mambair_cli.distributed.cluster import import_ray
from mambair_cli.errors import BackendError, CheckpointError
from mambair_cli.restoration.restorer import RestoreOptions

# Of the tiles of an image no more are told to the driver than one in this time, and the last.
TILE_SECONDS = 0.5
# What a worker says of the files that it does not finish any more.
INTERRUPTED = "the run was interrupted"


@dataclass(frozen=True)
class Weights:
    """A weights file that is shipped to the workers.

    Attributes:
        name: Of the file; it may say what the weights are for.
        sha256: Digest of its content.
        content: Reference to its content in Ray's object store, which a node fetches once.
    """

    name: str
    sha256: str
    content: Any = field(repr=False, compare=False)

    def load(self) -> LoadedModel:
        """Fetch the content to this node, and load it into its network.

        Raises:
            CheckpointError: It did not arrive as it was sent.
        """
        content = import_ray().get(self.content)
        if (digest := sha256(content).hexdigest()) != self.sha256:
            raise CheckpointError(
                f"{self.name} arrived on {platform.node()} with sha256 {digest} instead of "
                f"{self.sha256}",
                "run it again",
            )
        with TemporaryDirectory(prefix="mambair-", ignore_cleanup_errors=True) as scratch:
            path = Path(scratch, self.name)
            path.write_bytes(content)
            return load_checkpoint(path)


@dataclass(frozen=True)
class Setup:
    """How all workers restore.

    Attributes:
        request: What is to be done.
        weights: One, or by model id those for all JPEG qualities.
        options: How images are restored; the precision is resolved.
        files: How files are read and written.
        scan: Name of the scan backend, or `auto`.
        device: `cpu` or `cuda`.
        processors: For the threads of a worker.
        share: Of the node's main memory that a worker may take.
        marker: A file in the folder of the results while the batch runs: a node on which it is not
            has another folder of that name. None where results go elsewhere.
    """

    request: Request
    weights: Mapping[str, Weights]
    options: RestoreOptions
    files: FileOptions
    scan: str
    device: str
    processors: int
    share: float
    marker: Path | None = None

    def weights_for(self, request: Request) -> Weights:
        """Return the weights for a request that leaves nothing open."""
        if request.task == self.request.task and not self.request.by_file:
            return next(iter(self.weights.values()))
        return self.weights[request.choose(self.device).entry.id]


@dataclass(frozen=True)
class FileTask:
    """One file to restore.

    Attributes:
        source: The input, an absolute path or a `Url`.
        target: The output, likewise.
        names: What the user calls them.
        content: Bytes of the input where its store stays in the driver's process.
        recipe: What is recorded beside the weights' sha256; None where no record is kept.
        done: What an earlier run recorded of the output, if its result may be kept.
        replaces: Whether what is at the target when it is written may be replaced.
    """

    source: Place
    target: Place
    names: tuple[str, str]
    content: bytes | None = field(default=None, repr=False)
    recipe: Recipe | None = None
    done: Entry | None = None
    replaces: bool = False


@dataclass(frozen=True)
class FileResult:
    """What became of a task.

    Attributes:
        outcome: Its job is not the driver's.
        entry: What to record of it.
        content: Bytes of the output where its store stays in the driver's process.
    """

    outcome: Outcome
    entry: Entry
    content: bytes | None = field(default=None, repr=False)


Told = Event | FileResult


class EventRelay:
    """Passes the events of one file on to the driver, not every tile.

    Args:
        tell: Told of them.
        stopped: Whether nobody wants the result any more.
    """

    def __init__(self, tell: Callable[[Told], None], stopped: threading.Event) -> None:
        self.outcome: Outcome | None = None
        self._tell = tell
        self._stopped = stopped
        self._started: FileStarted | None = None
        self._last_tile = 0.0

    def begin(self) -> None:
        """Tell that the network begins with the file: until now it may have worked on others."""
        if self._started is not None:
            self._tell(self._started)
            self._started = None

    def pass_on(self, event: Event) -> None:
        """Pass an event on.

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
            raise BackendError(INTERRUPTED)
        now = monotonic()
        if event.done in (0, event.total) or now - self._last_tile >= TILE_SECONDS:
            self._last_tile = now
            self._tell(event)


def ship(path: Path, sha256: str) -> Weights:
    """Put a weights file into Ray's object store.

    Args:
        path: The file.
        sha256: Its digest, which workers check.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror}", "check its permissions"
        ) from error
    return Weights(path.name, sha256, import_ray().put(content))
