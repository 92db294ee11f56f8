"""What will become of files, told from their headers before any work, and if the disk has room."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mambair_cli.batches.events import FileFailed, FileSkipped
from mambair_cli.batches.jobs import Job
from mambair_cli.batches.places import nearest_directory
from mambair_cli.batches.treatment.steps import Finding
from mambair_cli.imaging.files import InputFile
from mambair_cli.imaging.image import ImageHeader

if TYPE_CHECKING:
    from mambair_cli.batches.models import Model


@dataclass(frozen=True)
class Forecast:
    """What is known of a file before it is read.

    Attributes:
        job: Which.
        source: What its header announces; None where nothing will be written.
        result: What will be written, or None.
        outcome: That nothing will be written, and why; None where something will.
        found: What was found in it and follows; None where nothing was looked for.
        models: What would restore it, in turn; None where that is not known or not at hand.
        file: The input, left open for who reads it next; None where it was closed.
    """

    job: Job
    source: ImageHeader | None = None
    result: ImageHeader | None = None
    outcome: FileSkipped | FileFailed | None = None
    found: Finding | None = None
    models: tuple[Model, ...] | None = None
    file: InputFile | None = field(default=None, compare=False, repr=False)

    @property
    def left_alone(self) -> bool:
        """Whether there is nothing to restore in it."""
        return self.found is not None and not self.found.steps

    @property
    def pixels(self) -> int:
        """Input pixels that will be restored."""
        return 0 if self.source is None else self.source.pixels

    @property
    def most_bytes(self) -> int:
        """Bytes of the result's pixels, which its file is hardly ever larger than."""
        if self.result is None:
            return 0
        samples = self.result.channels + self.result.has_alpha
        return self.result.pixels * samples * self.result.dtype.itemsize


@dataclass(frozen=True)
class Volume:
    """A file system that results go to.

    Attributes:
        directory: One that is on it.
        needed: Bytes that the results take at most.
        free: Bytes that are free.
    """

    directory: Path
    needed: int
    free: int

    @property
    def suffices(self) -> bool:
        """Whether the results fit, whatever is in them."""
        return self.needed <= self.free


def volumes(forecasts: Iterable[Forecast]) -> list[Volume]:
    """Return the file systems of this machine that results go to, with what they take."""
    needed: dict[int, int] = {}
    directories: dict[int, Path] = {}
    for forecast in forecasts:
        if forecast.result is None or not isinstance(forecast.job.target, Path):
            continue
        directory = nearest_directory(forecast.job.target.parent)
        device = directory.stat().st_dev
        directories.setdefault(device, directory)
        needed[device] = needed.get(device, 0) + forecast.most_bytes
    return [
        Volume(directory, needed[device], shutil.disk_usage(directory).free)
        for device, directory in directories.items()
    ]
