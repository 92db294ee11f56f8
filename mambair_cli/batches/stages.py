"""What is done for one file before and after the network: checks, reading, writing, the record."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from mambair_cli.batches.events import FileDone, FileFailed, FileSkipped, Timings
from mambair_cli.batches.failures import FileError, file_failure, no_device_left
from mambair_cli.batches.forecasts import Forecast
from mambair_cli.batches.jobs import Job
from mambair_cli.batches.manifest import Entry, Manifest, RecipeOf, Shard
from mambair_cli.batches.places import check_directory, make_directory
from mambair_cli.batches.treatment.left_alone import copied, may_be_copied, unchanged
from mambair_cli.batches.work import OnNote, Restore, Stopwatch
from mambair_cli.errors import MambairError, MemoryLimitError, OutputError
from mambair_cli.imaging.files import (
    DEFAULT_MAX_PIXELS,
    InputFile,
    can_band,
    write_bands,
    write_images,
)
from mambair_cli.imaging.image import ImageHeader, ImageSequence
from mambair_cli.imaging.metadata.image_metadata import MetadataMode
from mambair_cli.imaging.writing.targets import check_images, check_target
from mambair_cli.restoration.memory.available import available_main_memory
from mambair_cli.restoration.sizing import Sizing
from mambair_cli.restoration.streaming import needs_bands
from mambair_cli.restoration.tiled_run import Progress

DONE_BEFORE = "done by an earlier run"


@dataclass(frozen=True)
class FileOptions:
    """How files are read and written.

    Attributes:
        scale: Output side over input side of every image of the batch.
        quality: Of outputs in formats that lose something, 1 to 100; None as `write_images` has it.
        metadata: What is handed on of EXIF, XMP and IPTC.
        max_pixels: Images of more pixels are refused; 0 for no limit.
        accept_damaged: Damaged files are restored as far as they are there.
        max_memory: Bytes of main memory to stay below; None for what is free. Larger images are
            read, restored and written in bands.
        sizing: Which size results are asked to have.
    """

    scale: int = 1
    quality: int | None = None
    metadata: MetadataMode = "keep"
    max_pixels: int = DEFAULT_MAX_PIXELS
    accept_damaged: bool = False
    max_memory: int | None = None
    sizing: Sizing = field(default_factory=Sizing)


@dataclass(frozen=True)
class Ready:
    """A file that the network may begin with.

    Attributes:
        sequence: The images that were read; None where they are too large, and are to be restored
            in bands.
        entry: What to record of the output; None where no record is kept.
        seconds: Spent on reading.
    """

    sequence: ImageSequence | None
    entry: Entry | None
    seconds: float


@dataclass(frozen=True)
class Settled:
    """A file that never gets to the network; `begun` tells whether work on it had begun."""

    outcome: FileSkipped | FileFailed
    begun: bool


class Stages:
    """Read inputs and write outputs; every method may run in several threads at once.

    Args:
        files: How files are read and written.
        recipe: What the output of a file depends on beside it; None: no record is kept.
        resume: Skip what an earlier run with the same recipe has finished.
        shard: The part of a shared batch that this process does, I of N.
        forecasts: What is known of files already, with the same `files`.
        jobs: What is to be done, for the record; none where nothing is written.
    """

    def __init__(
        self,
        files: FileOptions,
        recipe: RecipeOf | None,
        *,
        resume: bool = False,
        shard: Shard | None = None,
        forecasts: Sequence[Forecast] = (),
        jobs: Sequence[Job[Path]] = (),
    ) -> None:
        self.without_network = False
        self._files = files
        self._recipe = recipe
        self._resume = resume
        self._shard = shard
        self._manifests: dict[Path, Manifest] = {}
        self._planned: dict[Path, list[Path]] = {}
        for job in jobs:
            self._planned.setdefault(job.record, []).append(job.target)
        self._lock = threading.Lock()
        self._pixels = {forecast.job.source: forecast.pixels for forecast in forecasts}
        self._open = {
            forecast.job.source: forecast.file
            for forecast in forecasts
            if forecast.file is not None
        }

    def foresee(self, job: Job[Path], *, keep_open: bool = False) -> Forecast:
        """Tell from its header what will become of a file; nothing is written.

        Args:
            job: Which.
            keep_open: Leave the file open in the forecast, if it is to be restored.

        Raises:
            RuntimeError: A bug of ours.
        """
        file = self._input(job)
        with ExitStack() as closing:
            closing.enter_context(file)
            try:
                entry = self._entry(job, file) if self._resume else None
                if (outcome := self._passed_over(job, file, entry)) is not None:
                    return Forecast(job, outcome=outcome)
                source, result, _ = self._headers(job, file)
            except FileError as error:
                if (failure := file_failure(job, error)) is None:
                    raise
                return Forecast(job, outcome=FileFailed(job, failure))
            if keep_open:
                closing.pop_all()
        return Forecast(job, source, result, file=file if keep_open else None)

    def pixels(self, job: Job[Path]) -> int:
        """Pixels that a file's header announces; 0 where `read` would refuse it."""
        if job.source not in self._pixels:
            with self._input(job) as file:
                try:
                    self._pixels[job.source] = file.header.pixels
                except FileError as error:
                    if file_failure(job, error) is None:
                        raise
                    self._pixels[job.source] = 0
        return self._pixels[job.source]

    def read(self, job: Job[Path]) -> Ready | Settled:
        """Check what can be checked without the network, and read the input.

        Raises:
            RuntimeError: A bug of ours.
        """
        with self._opened(job) as file:
            return self._read_opened(job, file)

    def close(self) -> None:
        """Close the files that forecasts left open and nobody has read, and the records."""
        while self._open:
            self._open.popitem()[1].close()
        for manifest in self._manifests.values():
            with suppress(OutputError):
                manifest.end()

    def _read_opened(self, job: Job[Path], file: InputFile) -> Ready | Settled:
        entry, begun = None, False
        try:
            entry = self._entry(job, file)
            if (outcome := self._passed_over(job, file, entry)) is not None:
                return Settled(outcome, begun)
            if self.without_network:
                return Settled(self.failed(job, entry, no_device_left(job)), begun)
            begun = True
            start = time.perf_counter()
            sequence = self._read(job, file)
            return Ready(sequence, entry, time.perf_counter() - start)
        except FileError as error:
            if (failure := file_failure(job, error)) is None:
                raise
            return Settled(self.failed(job, entry, failure), begun)

    def write(
        self, job: Job[Path], sequence: ImageSequence, entry: Entry | None, timings: Timings
    ) -> FileDone | FileFailed:
        """Write an output, whole or not at all, and keep its record.

        Args:
            job: Which.
            sequence: The restored images.
            entry: What to record.
            timings: Spent on it so far.

        Raises:
            RuntimeError: A bug of ours.
        """
        start = time.perf_counter()
        options, replaces = self._files, self._replaces(job)
        try:
            with self._recorded(job, entry):
                left_alone = all(image.left_alone for image in sequence.images)
                same = left_alone and not any(image.changes for image in sequence.images)
                if same and may_be_copied(job, options.metadata, options.quality):
                    report = copied(job, replaces=replaces)
                else:
                    report = write_images(
                        job.target,
                        sequence,
                        quality=options.quality,
                        metadata=options.metadata,
                        replaces=replaces,
                    )
            size = job.target.stat().st_size
        except FileError as error:
            if (failure := file_failure(job, error)) is None:
                raise
            return self.failed(job, entry, failure)
        height, width = sequence.images[0].pixels.shape[:2]
        timings = replace(timings, write=time.perf_counter() - start)
        images = len(sequence.images)
        return FileDone(job, timings, width, height, size, images, left_alone, report)

    def stream(
        self,
        job: Job[Path],
        ready: Ready,
        restore: Restore,
        on_progress: Progress,
        on_note: OnNote,
    ) -> FileDone:
        """Read, restore and write an image band by band, and keep its record.

        Args:
            job: Which.
            ready: What `read` gave.
            restore: What restores it.
            on_progress: Told of tiles.
            on_note: Told how it is run.

        Raises:
            MambairError, MemoryError, OSError, RuntimeError: The file's failure, the device's, or a
                bug of ours; nothing is written then.
        """
        watch = Stopwatch()
        options, replaces = self._files, self._replaces(job)
        with self._input(job) as file, self._recorded(job, ready.entry):
            source = file.bands()
            with watch.restoring():
                made = restore.bands(watch.reading(source), file.bands, on_progress, on_note)
            header, bands = made or (source.header, unchanged(source))
            same = made is None and not source.changes
            if same and may_be_copied(job, options.metadata, options.quality):
                report = copied(job, replaces=replaces)
            else:
                report = write_bands(
                    job.target,
                    header,
                    watch.bands(bands),
                    source,
                    metadata=options.metadata,
                    replaces=replaces,
                )
        size = job.target.stat().st_size
        timings = watch.timings(ready.seconds)
        width, height, alone = header.width, header.height, made is None
        return FileDone(job, timings, width, height, size, left_alone=alone, report=report)

    def failed(self, job: Job[Path], entry: Entry | None, error: MambairError) -> FileFailed:
        """Keep the record of a failure and give the outcome."""
        if self._recipe is not None:
            # What keeps the record from being written is often what failed: a full disk.
            with suppress(OutputError):
                unread = Entry("", {}, source=job.source)
                self._manifest(job).fail(job.target, entry or unread, error)
        return FileFailed(job, error)

    def _opened(self, job: Job[Path]) -> InputFile:
        """Return the input as a forecast left it open, unless it was changed since."""
        file = self._open.pop(job.source, None)
        if file is not None and file.is_current():
            return file
        if file is not None:
            file.close()
        return self._input(job)

    def _input(self, job: Job[Path]) -> InputFile:
        options = self._files
        return InputFile(
            job.source, max_pixels=options.max_pixels, accept_damaged=options.accept_damaged
        )

    def _entry(self, job: Job[Path], file: InputFile) -> Entry | None:
        if self._recipe is None:
            return None
        return Entry(file.sha256, self._recipe(file), source=job.source)

    def _passed_over(
        self, job: Job[Path], file: InputFile, entry: Entry | None
    ) -> FileSkipped | FileFailed | None:
        """Return the outcome of a file that is not even looked into; None if it is to be read."""
        resumed = entry if self._resume else None
        if resumed and self._manifest(job).has_intact(job.target, resumed):
            return FileSkipped(job, DONE_BEFORE)
        sizing = self._files.sizing
        if sizing.only_below is not None:
            reason = sizing.left_alone(file.header.width, file.header.height)
            if reason is not None:
                return FileSkipped(job, reason)
        if job.refusal is not None and not self._replaces(job):
            # Not recorded: what is there is somebody else's, and must not look like ours.
            return FileFailed(job, job.refusal)
        return None

    def _replaces(self, job: Job[Path]) -> bool:
        """Whether what is at the target may be replaced: the user wants it, or it is ours."""
        known = self._resume and self._recipe is not None and self._manifest(job).knows(job.target)
        return known or job.replaces

    def _headers(self, job: Job[Path], file: InputFile) -> tuple[ImageHeader, ImageHeader, bool]:
        """Headers of the input and of the output, and whether the image is too large as a whole."""
        source = file.header
        scale = self._files.scale
        width, height = self._files.sizing.size_of(source.width, source.height, scale)
        result = replace(source, width=width, height=height)
        check_target(job.target, result)
        check_directory(job.target.parent)
        in_bands = needs_bands(source, scale, available_main_memory(self._files.max_memory))
        if in_bands:
            _check_bands(job, source)
        return source, result, in_bands

    def _read(self, job: Job[Path], file: InputFile) -> ImageSequence | None:
        """Read all images of a file; None if they are too large for the memory there is."""
        _, _, in_bands = self._headers(job, file)
        make_directory(job.target.parent)
        if in_bands:
            return None
        sequence = file.read()
        check_images(job.target, sequence)
        return sequence

    @contextmanager
    def _recorded(self, job: Job[Path], entry: Entry | None) -> Iterator[None]:
        """Keep the record of an output that is written inside."""
        if entry is None:
            yield
            return
        manifest = self._manifest(job)
        manifest.begin(job.target, entry)
        yield
        manifest.finish(job.target, entry)

    def _manifest(self, job: Job[Path]) -> Manifest:
        with self._lock:
            if job.record not in self._manifests:
                manifest = Manifest(job.record, self._shard)
                manifest.plan(self._planned.get(job.record, ()))
                self._manifests[job.record] = manifest
            return self._manifests[job.record]


def _check_bands(job: Job[Path], header: ImageHeader) -> None:
    size = f"{header.width}x{header.height} pixels"
    if header.images > 1:
        raise MemoryLimitError(
            f"{job.source} does not fit in memory: {header.images} images of {size}",
            "split it into one file per frame or page",
        )
    if not header.in_bands:
        raise MemoryLimitError(
            f"{job.source} does not fit in memory: {size}, and its format cannot be read in bands",
            "convert it to PNG or TIFF first",
        )
    if not can_band(job.target):
        raise MemoryLimitError(
            f"{job.source} does not fit in memory: {size}, and {job.target.suffix} files cannot be "
            "written in bands",
            "write PNG or TIFF instead: --format png",
        )
