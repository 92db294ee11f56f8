"""What runs on the cluster: a worker holds the weights and restores one file after the other."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, TypeVar

import torch

from mambair_cli.batches.batch import run_batch
from mambair_cli.batches.events import (
    Event,
    FileDone,
    FileFailed,
    FileSkipped,
)
from mambair_cli.batches.failures import FileError, file_failure
from mambair_cli.batches.jobs import Job
from mambair_cli.batches.models import ModelCache
from mambair_cli.batches.stages import FileOptions
from mambair_cli.batches.treatment.restorers import restorer_with
from mambair_cli.batches.urls import Url
from mambair_cli.batches.work import Restore
from mambair_cli.distributed.messages import (
    INTERRUPTED,
    EventRelay,
    FileResult,
    FileTask,
    Setup,
    Told,
)
from mambair_cli.distributed.staging import StagedFile
from mambair_cli.errors import BackendError
from mambair_cli.imaging.image import Band, ImageHeader, RestorableImage
from mambair_cli.restoration.device.compute import Compute
from mambair_cli.restoration.device.scan_backend import prepare_kernels
from mambair_cli.restoration.memory.allocator import keep_freed_memory
from mambair_cli.restoration.memory.available import available_system_memory, resident_memory
from mambair_cli.restoration.restorer import RestoreOptions

Limited = TypeVar("Limited", RestoreOptions, FileOptions)


class Worker:
    """Restores files, on one GPU or on a slice of a node's processors.

    Args:
        setup: How.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._models: ModelCache
        self._network = threading.Lock()
        self._stopped = threading.Event()
        self._idle = threading.Condition()
        self._busy = 0
        torch.set_num_threads(max(1, setup.processors))
        keep_freed_memory()

    def ready(self) -> str:
        """Make sure that this node can do the work, and load the weights.

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
            setup = self._setup
            compute = Compute.resolve(setup.device, setup.options.precision, setup.scan)
            self._models = ModelCache(setup.request, compute, setup.weights_for)
            if compute.device.type == "cpu":
                prepare_kernels(compute.scan, precision=compute.precision)
            where = f"{platform.node()}, process {os.getpid()}, {compute.device}"
            return f"{where}, scan {compute.scan.name}"

    def restore(self, task: FileTask) -> Iterator[Told]:
        """Do one task, in a thread of its own.

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
        """Has what runs end at its next tile, without a result; returns when nothing runs.

        What comes later is refused, so that the process can be ended then.
        """
        with self._idle:
            self._stopped.set()
            self._idle.wait_for(lambda: not self._busy)

    def _do(self, task: FileTask, tell: Callable[[Told], None]) -> FileResult:
        with self._counted(), _scratch(task) as scratch:
            staged = StagedFile(task, scratch, self._models.digest_for)
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
        if isinstance(outcome, FileSkipped):
            return FileResult(outcome, staged.entry)
        assert isinstance(outcome, FileFailed)
        return staged.failed(outcome.error)

    def _restore(self, job: Job, tell: Callable[[Told], None]) -> Event:
        relay = EventRelay(tell, self._stopped)
        restore = restorer_with(
            self._models, self._limited(self._setup.options), self._setup.files.sizing
        )
        alone = _one_at_a_time(restore, self._network, relay.begin)
        run_batch([job], {"": alone}, relay.pass_on, files=self._limited(self._setup.files))
        assert relay.outcome is not None
        return relay.outcome

    def _limited(self, options: Limited) -> Limited:
        """Return the same options within this worker's share of the node's memory."""
        share, asked = self._setup.share, options.max_memory
        if share == 1 or asked is not None:
            return options
        limit = resident_memory() + int(share * available_system_memory())
        return replace(options, max_memory=limit)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._idle:
            if self._stopped.is_set():
                raise BackendError(INTERRUPTED)
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()


@contextmanager
def _scratch(task: FileTask) -> Iterator[Path]:
    """Keep a folder for what is copied to this node; make none where nothing is."""
    if not isinstance(task.source, Url) and not isinstance(task.target, Url):
        yield Path(gettempdir())
        return
    with TemporaryDirectory(prefix="mambair-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _one_at_a_time(
    restore: Restore, network: threading.Lock, on_begin: Callable[[], None]
) -> Restore:
    """Have images wait for those of other files, while these are read and written."""

    def images(*arguments: Any) -> Sequence[RestorableImage]:
        with network:
            on_begin()
            return restore.images(*arguments)

    def bands(*arguments: Any) -> tuple[ImageHeader, Iterator[Band]] | None:
        made = restore.bands(*arguments)
        if made is None:
            return None
        header, restored = made

        def alone() -> Iterator[Band]:
            with network:
                on_begin()
                yield from restored

        return header, alone()

    return replace(restore, images=images, bands=bands)
