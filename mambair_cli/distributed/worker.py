"""What runs on the cluster: a worker holds the weights and restores one file after the other."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory, gettempdir
from typing import TypeVar

import torch

from mambair_cli.api import Model, load_model
from mambair_cli.batches.batch import FileOptions, Job, run_batch
from mambair_cli.batches.events import (
    Event,
    FileDone,
    FileFailed,
    FileSkipped,
)
from mambair_cli.batches.failures import FileError, file_failure
from mambair_cli.batches.work import Restore
from mambair_cli.checkpoints.choice import choose
from mambair_cli.disk import sha256_of
from mambair_cli.distributed.protocol import (
    LOOKS_LIKE,
    EventRelay,
    FileResult,
    FileTask,
    Setup,
    Told,
    Weights,
)
from mambair_cli.distributed.staging import StagedFile
from mambair_cli.distributed.urls import Url
from mambair_cli.errors import BackendError, CheckpointError, ImageError
from mambair_cli.imaging.image import Band, BandReader, ImageHeader, RestorableImage
from mambair_cli.imaging.metadata.jpeg_quality import read_jpeg_quality
from mambair_cli.imaging.writing.depth import in_8_bits
from mambair_cli.kernels.scan import dispatch
from mambair_cli.networks import prepare_kernels
from mambair_cli.pixels.traces import measure_traces
from mambair_cli.restoration.device.precision import resolve_device
from mambair_cli.restoration.memory.allocator import keep_freed_memory
from mambair_cli.restoration.memory.available import available_system_memory, resident_memory
from mambair_cli.restoration.restorer import Notice, Progress, RestoreOptions, restore_image
from mambair_cli.restoration.streaming import restore_bands

Limited = TypeVar("Limited", RestoreOptions, FileOptions)


class Worker:
    """Restores files, on one GPU or on a slice of a node's processors.

    Args:
        setup: How.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._models: dict[str, Model] = {}
        self._network = threading.Lock()
        self._stopped = threading.Event()
        self._idle = threading.Condition()
        self._busy = 0
        torch.set_num_threads(max(1, setup.processors))
        keep_freed_memory()

    def ready(self) -> str:
        """Makes sure that this node can do the work, and loads the weights.

        Returns:
            Where the worker runs, for people.

        Raises:
            BackendError: It cannot.
            CheckpointError: The weights did not arrive as they were sent.
        """
        with self._counted():
            marker = self._setup.marker
            if marker is not None and not marker.exists():
                raise BackendError(
                    f"{marker.parent} is not the same folder on {platform.node()}",
                    "give -o on a file system that all nodes share, or an address such as s3://",
                )
            device = resolve_device(self._setup.device)
            scan = dispatch.select(self._setup.scan, device).name
            if not self._setup.by_quality:
                self._load(next(iter(self._setup.weights)))
            if device.type == "cpu":
                prepare_kernels(scan, training=False)
            return f"{platform.node()}, process {os.getpid()}, {device}, scan {scan}"

    def restore(self, task: FileTask) -> Iterator[Told]:
        """Does one task, in a thread of its own.

        Returns:
            What happens, as it happens; a result at the end, always. The jobs of the events are
            the worker's own.

        Raises:
            RuntimeError: A bug of ours.
        """
        told: SimpleQueue[Told | None] = SimpleQueue()
        with ThreadPoolExecutor(1, "mambair-task") as pool:
            work = pool.submit(self._do, task, told.put)
            work.add_done_callback(lambda _: told.put(None))
            while (each := told.get()) is not None:
                yield each
            yield work.result()

    def stop(self) -> None:
        """Has what runs end at its next tile, without a result; returns when nothing runs."""
        self._stopped.set()
        with self._idle:
            self._idle.wait_for(lambda: not self._busy)

    def _do(self, task: FileTask, tell: Callable[[Told], None]) -> FileResult:
        with self._counted(), _scratch(task) as scratch:
            staged = StagedFile(task, scratch, self._weights_for)
            try:
                return self._carry_out(staged, tell)
            except FileError as error:
                if (failure := file_failure(staged.job, error)) is None:
                    raise
                return staged.failed(failure)

    def _carry_out(self, staged: StagedFile, tell: Callable[[Told], None]) -> FileResult:
        staged.fetch()
        if staged.is_done():
            return FileResult(FileSkipped(staged.job, "done by an earlier run"), staged.entry)
        outcome = self._restore(staged.job, tell)
        if isinstance(outcome, FileDone):
            return staged.deliver(outcome)
        assert isinstance(outcome, FileFailed)
        return staged.failed(outcome.error)

    def _restore(self, job: Job, tell: Callable[[Told], None]) -> Event:
        relay = EventRelay(tell, self._stopped)
        restorer = Restore(
            lambda *arguments: self._image(relay, *arguments),
            lambda *arguments: self._bands(relay, *arguments),
        )
        run_batch([job], {"": restorer}, relay.pass_on, files=self._limited(self._setup.files))
        assert relay.outcome is not None
        return relay.outcome

    def _image(
        self, relay: EventRelay, source: RestorableImage, on_progress: Progress, on_notice: Notice
    ) -> RestorableImage:
        with self._network:
            relay.begin()
            model = self._suited_to(source)
            if model.spec.task == "sr":
                _note_traces(source, on_notice)
            return restore_image(
                model.network,
                source,
                model.spec,
                self._limited(self._setup.options),
                on_progress,
                on_notice,
            )

    def _bands(
        self, relay: EventRelay, reader: BandReader, on_progress: Progress, on_notice: Notice
    ) -> tuple[ImageHeader, Iterator[Band]]:
        options = self._limited(self._setup.options)
        model = self._suited_to(reader)
        header, bands = restore_bands(
            model.network, reader, model.spec, options, on_progress, on_notice
        )

        def one_at_a_time() -> Iterator[Band]:
            with self._network:
                relay.begin()
                yield from bands

        return header, one_at_a_time()

    def _suited_to(self, image: RestorableImage | BandReader) -> Model:
        metadata = image.metadata
        return self._load(
            self._name_for(metadata.jpeg_quality, f"a {metadata.source_format} image")
        )

    def _weights_for(self, path: Path) -> Weights:
        quality = read_jpeg_quality(path) if self._setup.by_quality else None
        return self._setup.weights[self._name_for(quality, str(path))]

    def _name_for(self, quality: int | None, image: str) -> str:
        """The model that restores an image: the only one, or that for its JPEG quality."""
        setup = self._setup
        if not setup.by_quality:
            return next(iter(setup.weights))
        if quality is None:
            raise ImageError(
                f"{image} does not say with which JPEG quality it was once saved",
                "give it: --quality 10, 30 or 40",
            )
        choice = choose(
            setup.task, quality=quality, variant=setup.variant, device_type=setup.device
        )
        return choice.entry.id

    def _load(self, name: str) -> Model:
        if name not in self._models:
            with TemporaryDirectory(prefix="mambair-", ignore_cleanup_errors=True) as scratch:
                path = _unpacked(self._setup.weights[name], Path(scratch))
                setup = self._setup
                precision = setup.options.precision
                self._models[name] = load_model(path, setup.device, precision, setup.scan)
        return self._models[name]

    def _limited(self, options: Limited) -> Limited:
        """The same options within this worker's share of the node's memory."""
        share, asked = self._setup.share, options.max_memory
        if share == 1 or asked is not None:
            return options
        limit = resident_memory() + int(share * available_system_memory())
        return replace(options, max_memory=limit)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()


@contextmanager
def _scratch(task: FileTask) -> Iterator[Path]:
    """A folder for what is copied to this node; none is made where nothing is."""
    if not isinstance(task.source, Url) and not isinstance(task.target, Url):
        yield Path(gettempdir())
        return
    with TemporaryDirectory(prefix="mambair-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _note_traces(image: RestorableImage, on_notice: Notice) -> None:
    traces = measure_traces(in_8_bits(image))
    if traces.found is not None:
        measured = f"blocking {traces.blocking:.2f}, noise {traces.noise:.1f}"
        on_notice(f"{LOOKS_LIKE}{traces.found}: {measured}")


def _unpacked(weights: Weights, folder: Path) -> Path:
    import ray

    path = folder / weights.name
    path.write_bytes(ray.get(weights.content))
    if (digest := sha256_of(path)) != weights.sha256:
        raise CheckpointError(
            f"{weights.name} arrived on {platform.node()} with sha256 {digest} instead of "
            f"{weights.sha256}"
        )
    return path
