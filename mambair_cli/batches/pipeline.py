"""Reading, network and writing at the same time: no device waits for a file that could be ready.

Images are read ahead and results are written behind by a few threads each. What waits in between
is bounded by number and by pixels. The first device is used by the calling thread, every further
one by a thread of its own; whichever is free takes the next image in the order of the jobs.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mambair_cli.batches.beside import ALONE, SMALL_FILE, Beside
from mambair_cli.batches.events import (
    DeviceLost,
    FileNoted,
    FileStarted,
    OrderedEvents,
    Outcome,
    TileDone,
    Timings,
)
from mambair_cli.batches.failures import (
    FileError,
    device_failure,
    file_failure,
    is_device_lost,
    no_device_left,
)
from mambair_cli.batches.jobs import Job
from mambair_cli.batches.manifest import Entry
from mambair_cli.batches.queues import QueuedJob, ReadAhead, WriteBehind
from mambair_cli.batches.stages import Settled, Stages
from mambair_cli.batches.treatment.steps import Finding
from mambair_cli.batches.work import Restore
from mambair_cli.imaging.image import ImageSequence


class _Stopped(Exception):  # noqa: N818 - no error: it unwinds a restoration that nobody wants
    """Raised from a progress callback once the batch has ended early."""


class Pipeline:
    """One run over the jobs of a batch.

    Args:
        jobs: What to do.
        restorers: For each device its name and what restores images on it.
        stages: What is done before and after that.
        events: Told of everything.
        io_threads: How many files are read, and how many written, at the same time; 0 to do both
            between one image and the next.
        beside: How files share the only device.
    """

    def __init__(
        self,
        jobs: Sequence[Job[Path]],
        restorers: Mapping[str, Restore],
        stages: Stages,
        events: OrderedEvents,
        io_threads: int,
        beside: Beside = ALONE,
    ) -> None:
        self._total = len(jobs)
        self._restorers = restorers
        self._working = set(restorers)
        self._stages = stages
        self._events = events
        self._beside = beside
        self._stopped = threading.Event()
        self._broken: list[BaseException] = []
        ahead = max(1, io_threads + len(restorers) - 1)
        self._inputs = ReadAhead(
            jobs, stages.read, stages.pixels, io_threads, ahead, self._has_device_alone
        )
        self._outputs = WriteBehind(io_threads, self._watch)

    def run(self) -> None:
        """Do all jobs.

        Raises:
            BaseException: The first that is no file's failure, from whichever thread, after all
                threads have ended. Results being written then are finished, others dropped.
        """
        first, *others = [*self._restorers.items()] * self._beside.files
        devices = ThreadPoolExecutor(max(1, len(others)), "mambair-device")
        try:
            for other in others:
                devices.submit(self._work, *other).add_done_callback(self._watch)
            self._work(*first)
            devices.shutdown()
            self._outputs.close(drop=self._stopped.is_set())
        finally:
            self._stop()
            devices.shutdown()
            self._inputs.close()
            self._outputs.close(drop=True)
            self._events.settle_held()
        if self._broken:
            raise self._broken[0]

    def _stop(self) -> None:
        self._stopped.set()
        self._inputs.stop()
        self._outputs.stop()

    def _watch(self, future: Future[Any]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            self._broken.append(error)
            self._stop()

    def _work(self, device: str, restore: Restore) -> None:
        while self._step(device, restore):
            self._outputs.wait_for_room()
        if not self._working:
            self._give_up()

    def _step(self, device: str, restore: Restore) -> bool:
        """Do the next job until its result is handed over; False if there is none."""
        if (queued := self._inputs.take()) is None:
            return False
        reading = queued.reading.result()
        if isinstance(reading, Settled):
            if reading.begun:
                self._tell_started(queued, device)
            self._settle(queued, reading.outcome)
            return True
        self._tell_started(queued, device)
        callbacks = partial(self._on_tile, queued), partial(self._on_note, queued)
        start = time.perf_counter()
        try:
            if reading.sequence is None:
                done = self._stages.stream(queued.job, reading, restore, *callbacks)
                self._settle(queued, done)
                return True
            with self._beside.share(alone=self._has_device_alone(queued.job)):
                restored = restore.sequence(reading.sequence, *callbacks)
        except _Stopped:
            return False
        except FileError as error:
            return self._fail(queued, reading.entry, device, error)
        timings = Timings(reading.seconds, time.perf_counter() - start)
        self._outputs.add(
            sum(math.prod(image.pixels.shape[:2]) for image in restored.images),
            partial(self._write, queued.index, queued.job, restored, reading.entry, timings),
        )
        self._inputs.finish()
        return True

    def _fail(self, queued: QueuedJob, entry: Entry | None, device: str, error: Exception) -> bool:
        """Settle a failed job, or put it back for another device; False if this one is lost."""
        if (failure := file_failure(queued.job, error)) is not None:
            self._settle(queued, self._stages.failed(queued.job, entry, failure))
            return True
        if not (isinstance(error, RuntimeError) and is_device_lost(error)):
            raise error
        reason = str(error).partition("\n")[0]
        self._events.tell(DeviceLost(device, queued.job, reason))
        self._working.discard(device)
        if self._working and not queued.cost_a_device:
            self._inputs.give_back(replace(queued, cost_a_device=True))
        else:
            # Twice the same image: more likely its fault than that of all these devices.
            failure = device_failure(queued.job, device, reason)
            self._settle(queued, self._stages.failed(queued.job, entry, failure))
        return False

    def _give_up(self) -> None:
        """Settle what is left once no device is."""
        self._stages.without_network = True
        while (queued := self._inputs.take()) is not None:
            reading = queued.reading.result()
            if isinstance(reading, Settled):
                self._settle(queued, reading.outcome)
            else:
                failure = no_device_left(queued.job)
                self._settle(queued, self._stages.failed(queued.job, reading.entry, failure))

    def _settle(self, queued: QueuedJob, outcome: Outcome) -> None:
        self._events.settle(queued.index, outcome)
        self._inputs.finish()

    def _has_device_alone(self, job: Job[Path]) -> bool:
        return self._beside.files > 1 and self._stages.pixels(job) > SMALL_FILE

    def _tell_started(self, queued: QueuedJob, device: str) -> None:
        started = FileStarted(queued.job, queued.index, self._total, device)
        self._events.tell(started, queued.index)

    def _on_tile(self, queued: QueuedJob, done: int, total: int) -> None:
        if self._stopped.is_set():
            raise _Stopped
        self._events.tell(TileDone(queued.job, done, total), queued.index)

    def _on_note(self, queued: QueuedJob, note: str | Finding) -> None:
        steps = None if isinstance(note, str) else note.steps
        self._events.tell(FileNoted(queued.job, str(note), steps), queued.index)

    def _write(
        self,
        index: int,
        job: Job[Path],
        images: ImageSequence,
        entry: Entry | None,
        timings: Timings,
    ) -> None:
        self._events.settle(index, self._stages.write(job, images, entry, timings))
