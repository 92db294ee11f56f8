"""What is done for one file before and after the network: checks, reading, writing, the record."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mambair_cli.errors import OutputError
from mambair_cli.imaging.files import read_image, write_image
from mambair_cli.imaging.image import Band, BandReader, ImageHeader, RestorableImage
from mambair_cli.imaging.metadata import MetadataMode
from mambair_cli.restoration.events import FileDone, FileFailed, FileSkipped
from mambair_cli.restoration.failures import FileError, file_failure, no_device_left
from mambair_cli.restoration.jobs import Job
from mambair_cli.restoration.manifest import Entry, Manifest, Recipe, file_sha256
from mambair_cli.restoration.restorer import Notice, Progress

DEFAULT_MAX_PIXELS = 178_956_970


@dataclass(frozen=True)
class FileOptions:
    """How files are read and written.

    Attributes:
        scale: Output side over input side of every image of the batch.
        quality: Of outputs in formats that lose something, 1 to 100.
        metadata: What is handed on of EXIF, XMP and IPTC.
        max_pixels: Images of more pixels are refused; 0 for no limit.
        max_memory: Bytes of main memory to stay below; None for what is free. Larger images are
            read, restored and written in bands.
    """

    scale: int = 1
    quality: int = 95
    metadata: MetadataMode = "keep"
    max_pixels: int = DEFAULT_MAX_PIXELS
    max_memory: int | None = None


@dataclass(frozen=True)
class Restore:
    """What restores images on one device; one thread at a time uses it.

    Attributes:
        image: Restores a whole image, reporting tiles and notes.
        bands: Restores an image that is too large for that: gives what is to be written, and its
            bands from top to bottom, computed as they are asked for.
    """

    image: Callable[[RestorableImage, Progress, Notice], RestorableImage]
    bands: Callable[[BandReader, Progress, Notice], tuple[ImageHeader, Iterator[Band]]]


@dataclass(frozen=True)
class Ready:
    """An image that was read.

    Attributes:
        image: What the network will restore.
        entry: What to record of the output; None where no record is kept.
        seconds: Spent on reading.
    """

    image: RestorableImage
    entry: Entry | None
    seconds: float


@dataclass(frozen=True)
class Settled:
    """A file that never gets to the network; `begun` tells whether work on it had begun."""

    outcome: FileSkipped | FileFailed
    begun: bool


class Stages:
    """Reads inputs and writes outputs; every method may run in several threads at once.

    Args:
        files: How files are read and written.
        resume: Skip what an earlier run with the same recipe has finished.
        recipe: What the outputs depend on beside their input; None: no record is kept.
    """

    def __init__(self, files: FileOptions, recipe: Recipe | None, *, resume: bool) -> None:
        self.without_network = False
        self._files = files
        self._resume = resume
        self._recipe = recipe
        self._manifests: dict[Path, Manifest] = {}
        self._lock = threading.Lock()

    def read(self, job: Job) -> Ready | Settled:
        """Checks what can be checked without the network, and reads the input.

        Raises:
            RuntimeError: A bug of ours.
        """
        begun = False
        try:
            entry = None if self._recipe is None else Entry(file_sha256(job.source), self._recipe)
            if self._is_done(job, entry):
                return Settled(FileSkipped(job, "done by an earlier run"), begun)
            self._check_refusal(job, entry)
            begun = True
            start = time.perf_counter()
            _prepare_directory(job.target.parent)
            return Ready(read_image(job.source), entry, time.perf_counter() - start)
        except FileError as error:
            if (failure := file_failure(job, error)) is None:
                raise
            return Settled(FileFailed(job, failure), begun)

    def write(
        self, job: Job, image: RestorableImage, entry: Entry | None, seconds: float
    ) -> FileDone | FileFailed:
        """Writes an output, whole or not at all, and keeps its record.

        Args:
            job: Which.
            image: The restored image.
            entry: What to record.
            seconds: Spent on it so far.

        Raises:
            RuntimeError: A bug of ours.
        """
        start = time.perf_counter()
        try:
            if entry is not None:
                self._manifest(job).begin(job.target, entry)
            write_image(job.target, image, quality=self._files.quality)
            if entry is not None:
                self._manifest(job).finish(job.target, entry)
            size = job.target.stat().st_size
        except FileError as error:
            if (failure := file_failure(job, error)) is None:
                raise
            return FileFailed(job, failure)
        height, width = image.pixels.shape[:2]
        return FileDone(job, seconds + time.perf_counter() - start, width, height, size)

    def _is_done(self, job: Job, entry: Entry | None) -> bool:
        if not self._resume or entry is None:
            return False
        return self._manifest(job).has_intact(job.target, entry)

    def _check_refusal(self, job: Job, entry: Entry | None) -> None:
        ours = self._resume and entry is not None and self._manifest(job).knows(job.target)
        if job.refusal is not None and not ours:
            raise job.refusal
        if self.without_network:
            raise no_device_left(job)

    def _manifest(self, job: Job) -> Manifest:
        directory = job.target.parent
        with self._lock:
            if directory not in self._manifests:
                self._manifests[directory] = Manifest(directory)
            return self._manifests[directory]


def _prepare_directory(directory: Path) -> None:
    """Makes an output directory, and finds out before the work whether it can be written to."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{directory} cannot be made: {error.strerror}", "choose another directory with -o"
        ) from error
    if not os.access(directory, os.W_OK):
        raise OutputError(f"{directory} cannot be written to", "choose another directory with -o")
