"""Runs a batch of files: one bad file never stops the rest, and every file has its own outcome."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mambair_cli.errors import ImageError, MambairError, MemoryLimitError, OutputError
from mambair_cli.imaging.files import RestorableImage, read_image, write_image
from mambair_cli.restoration.jobs import Job, plan_jobs
from mambair_cli.restoration.manifest import Entry, Manifest, Recipe, file_sha256
from mambair_cli.restoration.memory import is_out_of_memory
from mambair_cli.restoration.restorer import Progress

__all__ = [
    "Event",
    "FileDone",
    "FileFailed",
    "FileSkipped",
    "FileStarted",
    "Job",
    "Restore",
    "Summary",
    "TileDone",
    "plan_jobs",
    "run_batch",
]

Restore = Callable[[RestorableImage, Progress], RestorableImage]


@dataclass(frozen=True)
class FileStarted:
    """Work on a file begins; `index` counts from 1 to `total`."""

    job: Job
    index: int
    total: int


@dataclass(frozen=True)
class TileDone:
    """Tiles of the current file: how many are done, first none, and how many there are."""

    job: Job
    done: int
    total: int


@dataclass(frozen=True)
class FileDone:
    """A file was restored and written.

    Attributes:
        job: Which.
        seconds: From reading the input to the finished output.
        width: Pixels of the output.
        height: Pixels of the output.
        bytes: Size of the output file.
    """

    job: Job
    seconds: float
    width: int
    height: int
    bytes: int


@dataclass(frozen=True)
class FileSkipped:
    """A file needs no work; `reason` says why."""

    job: Job
    reason: str


@dataclass(frozen=True)
class FileFailed:
    """A file could not be restored; nothing was written for it."""

    job: Job
    error: MambairError


Outcome = FileDone | FileSkipped | FileFailed
Event = FileStarted | TileDone | Outcome


@dataclass
class Summary:
    """Outcomes of a batch, in the order of the jobs."""

    done: list[FileDone] = field(default_factory=list)
    skipped: list[FileSkipped] = field(default_factory=list)
    failed: list[FileFailed] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        """0 when nothing failed, else 1."""
        return 1 if self.failed else 0

    def add(self, outcome: Outcome) -> None:
        """Counts one outcome."""
        match outcome:
            case FileDone():
                self.done.append(outcome)
            case FileSkipped():
                self.skipped.append(outcome)
            case FileFailed():
                self.failed.append(outcome)


def run_batch(
    jobs: Sequence[Job],
    restore: Restore,
    on_event: Callable[[Event], None],
    *,
    quality: int = 95,
    resume: bool = False,
    recipe: Recipe | None = None,
) -> Summary:
    """Restores files one after the other.

    A record of what was done (`manifest.Manifest`) is kept in the output directories when there is
    more than one job, or with `resume`. With `resume` a file is skipped if its record agrees with
    the input, the recipe and the bytes of the output; an output of an earlier run that does not
    agree is made again; an output that is in no record is refused as without `resume`.

    Args:
        jobs: From `plan_jobs`.
        restore: Restores one image, reporting tiles.
        on_event: Told of everything as it happens.
        quality: Of JPEG and WebP outputs, 1 to 100.
        resume: Skip what an earlier run with the same recipe has finished.
        recipe: What the outputs depend on beside their input: weights' sha256, options, version;
            JSON values only. None: no record is kept.

    Returns:
        The outcomes. A `KeyboardInterrupt` is not caught; no output is half-written when it passes.
    """
    run = _Run(restore, on_event, quality, resume, _Records(recipe, len(jobs) > 1 or resume))
    summary = Summary()
    for index, job in enumerate(jobs, start=1):
        outcome = run.outcome(job, index, len(jobs))
        summary.add(outcome)
        on_event(outcome)
    return summary


class _Records:
    """Manifests of all output directories of a run; does nothing where no record is kept."""

    def __init__(self, recipe: Recipe | None, wanted: bool) -> None:
        self._recipe = recipe if wanted else None
        self._manifests: dict[Path, Manifest] = {}

    def entry(self, job: Job) -> Entry | None:
        return None if self._recipe is None else Entry(file_sha256(job.source), self._recipe)

    def of(self, job: Job) -> Manifest:
        directory = job.target.parent
        if directory not in self._manifests:
            self._manifests[directory] = Manifest(directory)
        return self._manifests[directory]


@dataclass(frozen=True)
class _Run:
    restore: Restore
    on_event: Callable[[Event], None]
    quality: int
    resume: bool
    records: _Records

    def outcome(self, job: Job, index: int, total: int) -> Outcome:
        try:
            return self._attempt(job, index, total)
        except MambairError as error:
            return FileFailed(job, error)
        except MemoryError:
            return FileFailed(job, _too_large(job))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return FileFailed(job, _too_large(job))
        except OSError as error:
            return FileFailed(job, ImageError(f"{job.source}: {error.strerror or error}"))

    def _attempt(self, job: Job, index: int, total: int) -> Outcome:
        entry = self.records.entry(job)
        if self.resume and entry is not None and self.records.of(job).has_intact(job.target, entry):
            return FileSkipped(job, "done by an earlier run")
        if job.refusal is not None and not self._is_ours(job, entry):
            raise job.refusal
        self.on_event(FileStarted(job, index, total))
        start = time.perf_counter()
        _prepare_directory(job.target.parent)
        restored = self._restored(job)
        self._write(job, restored, entry)
        height, width = restored.pixels.shape[:2]
        seconds = time.perf_counter() - start
        return FileDone(job, seconds, width, height, job.target.stat().st_size)

    def _is_ours(self, job: Job, entry: Entry | None) -> bool:
        return self.resume and entry is not None and self.records.of(job).knows(job.target)

    def _restored(self, job: Job) -> RestorableImage:
        return self.restore(
            read_image(job.source), lambda done, total: self.on_event(TileDone(job, done, total))
        )

    def _write(self, job: Job, image: RestorableImage, entry: Entry | None) -> None:
        if entry is None:
            write_image(job.target, image, quality=self.quality)
            return
        manifest = self.records.of(job)
        manifest.begin(job.target, entry)
        write_image(job.target, image, quality=self.quality)
        manifest.finish(job.target, entry)


def _too_large(job: Job) -> MemoryLimitError:
    return MemoryLimitError(
        f"{job.source} is too large for the memory of this machine",
        "close other programs, or cut the image into parts",
    )


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
