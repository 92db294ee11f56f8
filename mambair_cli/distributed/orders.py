"""What the driver and the workers tell each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mambair_cli.batches.batch import FileOptions
from mambair_cli.batches.events import Event, FileDone, FileFailed, FileSkipped
from mambair_cli.batches.manifest import Entry, Recipe
from mambair_cli.distributed.cluster import import_ray
from mambair_cli.distributed.urls import Url
from mambair_cli.errors import CheckpointError
from mambair_cli.networks.spec import Task
from mambair_cli.restoration.restorer import RestoreOptions

# What a note on a photograph begins with that meets weights for clean images.
LOOKS_LIKE = "looks like a photograph: "


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
    content: Any = field(repr=False)


@dataclass(frozen=True)
class Setup:
    """How all workers restore.

    Attributes:
        task: What is restored.
        weights: By model id; one, or those for all JPEG qualities.
        by_quality: Whether each file's JPEG quality decides about its weights.
        variant: Asked variant of the model, or None for the best on the device.
        options: How images are restored; the precision is resolved.
        files: How files are read and written.
        scan: Name of the scan backend, or `auto`.
        device: `cpu` or `cuda`.
        processors: For the threads of a worker.
        share: Of the node's main memory that a worker may take.
        marker: A file in the folder of the results while the batch runs: a node on which it is not
            has another folder of that name. None where results go elsewhere.
    """

    task: Task
    weights: Mapping[str, Weights]
    by_quality: bool
    variant: str | None
    options: RestoreOptions
    files: FileOptions
    scan: str
    device: str
    processors: int
    share: float
    marker: Path | None = None


@dataclass(frozen=True)
class Order:
    """One file to restore.

    Attributes:
        source: The input, an absolute path or a `Url`.
        target: The output, likewise.
        names: What the user calls them.
        content: Bytes of the input where its store stays in the driver's process.
        recipe: What is recorded beside the weights' sha256; None where no record is kept.
        done: What an earlier run recorded of the output, if its result may be kept.
    """

    source: Path | Url
    target: Path | Url
    names: tuple[str, str]
    content: bytes | None = field(default=None, repr=False)
    recipe: Recipe | None = None
    done: Entry | None = None


@dataclass(frozen=True)
class Receipt:
    """What became of an order.

    Attributes:
        outcome: Its job is not the driver's.
        entry: What to record of it.
        content: Bytes of the output where its store stays in the driver's process.
    """

    outcome: FileDone | FileSkipped | FileFailed
    entry: Entry
    content: bytes | None = field(default=None, repr=False)


Told = Event | Receipt


def ship(path: Path, sha256: str) -> Weights:
    """Puts a weights file into Ray's object store.

    Args:
        path: The file.
        sha256: Its digest, which workers check.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    return Weights(path.name, sha256, import_ray().put(content))
