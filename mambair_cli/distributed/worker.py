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
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TypeVar

import torch

from mambair_cli.api import Model, load_model
from mambair_cli.checkpoints.choice import choose
from mambair_cli.checkpoints.digest import sha256_of
from mambair_cli.distributed import urls
from mambair_cli.distributed.orders import Order, Receipt, Setup, Weights
from mambair_cli.distributed.urls import Url
from mambair_cli.errors import BackendError, CheckpointError, ImageError, MambairError
from mambair_cli.imaging.image import Band, BandReader, ImageHeader, RestorableImage
from mambair_cli.imaging.jpeg_quality import read_jpeg_quality
from mambair_cli.imaging.traces import measure_traces
from mambair_cli.networks import prepare_kernels
from mambair_cli.restoration.batch import FileOptions, Job, run_batch
from mambair_cli.restoration.events import (
    Event,
    FileDone,
    FileFailed,
    FileNoted,
    FileSkipped,
    FileStarted,
    TileDone,
)
from mambair_cli.restoration.failures import FileError, file_failure
from mambair_cli.restoration.manifest import Entry, file_sha256
from mambair_cli.restoration.memory import available_system_memory, resident_memory
from mambair_cli.restoration.precision import resolve_device
from mambair_cli.restoration.restorer import Notice, Progress, RestoreOptions, restore_image
from mambair_cli.restoration.streaming import restore_bands
from mambair_cli.restoration.work import Restore
from mambair_cli.selective_scan import dispatch

# Of the tiles of an image no more are told to the driver than one in this time, and the last.
TILE_SECONDS = 0.5

Told = Event | Receipt
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

    def ready(self) -> str:
        """Makes sure that this node can do the work, and loads the weights.

        Returns:
            Where the worker runs, for people.

        Raises:
            BackendError: It cannot.
            CheckpointError: The weights did not arrive as they were sent.
        """
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

    def restore(self, order: Order) -> Iterator[Told]:
        """Does one order, in a thread of its own.

        Returns:
            What happens, as it happens; a receipt at the end, always. The jobs of the events are
            the worker's own.

        Raises:
            RuntimeError: A bug of ours.
        """
        told: SimpleQueue[Told | None] = SimpleQueue()
        with ThreadPoolExecutor(1, "mambair-order") as pool:
            work = pool.submit(self._do, order, told.put)
            work.add_done_callback(lambda _: told.put(None))
            while (each := told.get()) is not None:
                yield each
            yield work.result()

    def stop(self) -> None:
        """Has what runs end at its next tile, without a result; returns when nothing runs."""
        self._stopped.set()
        with self._idle:
            self._idle.wait_for(lambda: not self._busy)

    def _do(self, order: Order, tell: Callable[[Told], None]) -> Receipt:
        with self._counted(), TemporaryDirectory(prefix="mambair-") as scratch:
            errand = Errand(order, Path(scratch), self._weights_for)
            try:
                return self._carry_out(errand, tell)
            except FileError as error:
                if (failure := file_failure(errand.job, error)) is None:
                    raise
                return errand.failed(failure)

    def _carry_out(self, errand: Errand, tell: Callable[[Told], None]) -> Receipt:
        errand.fetch()
        if errand.is_done():
            return Receipt(FileSkipped(errand.job, "done by an earlier run"), errand.entry)
        outcome = self._restore(errand.job, tell)
        if isinstance(outcome, FileDone):
            return errand.deliver(outcome)
        assert isinstance(outcome, FileFailed)
        return errand.failed(outcome.error)

    def _restore(self, job: Job, tell: Callable[[Told], None]) -> Event:
        relay = Relay(tell, self._stopped)
        restorer = Restore(
            lambda *arguments: self._image(relay, *arguments),
            lambda *arguments: self._bands(relay, *arguments),
        )
        run_batch([job], {"": restorer}, relay.pass_on, files=self._limited(self._setup.files))
        assert relay.outcome is not None
        return relay.outcome

    def _image(
        self, relay: Relay, source: RestorableImage, on_progress: Progress, on_notice: Notice
    ) -> RestorableImage:
        with self._network:
            relay.begin()
            model = self._suited_to(source)
            if model.spec.task == "sr" and (found := measure_traces(source.pixels).found):
                on_notice(f"looks like a photograph: {found}")
            return restore_image(
                model.network,
                source,
                model.spec,
                self._limited(self._setup.options),
                on_progress,
                on_notice,
            )

    def _bands(
        self, relay: Relay, reader: BandReader, on_progress: Progress, on_notice: Notice
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


class Errand:
    """The way of one file to a worker and back.

    Args:
        order: What to do.
        scratch: An empty folder, for what is copied to this node.
        weights_for: Tells the weights that a file is restored with.
    """

    def __init__(self, order: Order, scratch: Path, weights_for: Callable[[Path], Weights]) -> None:
        self._order = order
        self._weights_for = weights_for
        source = _local(order.source, scratch / "in")
        target = _local(order.target, scratch / "out")
        self.job = Job(source, target, target.parent)
        self.entry = Entry("", order.recipe or {}, source=order.source)

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


def _local(place: Path, scratch: Path) -> Path:
    return scratch / place.name if isinstance(place, Url) else place


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
