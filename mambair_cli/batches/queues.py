"""What waits between reading, network and writing: bounded by number and by pixels."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mambair_cli.batches.jobs import Job
from mambair_cli.batches.stages import Ready, Settled

# Read images that wait for a device, and results that wait to be written: 200 MB each. A single
# image may have more; nothing waits beside it then.
WAITING_PIXELS = 2**26

Result = TypeVar("Result")


@dataclass(frozen=True)
class QueuedJob:
    """A job in the pipeline, its input read or being read.

    Attributes:
        index: From 1.
        job: Which.
        reading: Gives what was read.
        cost_a_device: Whether a device failed for good while it worked on it.
    """

    index: int
    job: Job[Path]
    reading: Future[Ready | Settled]
    cost_a_device: bool = False


class InCallingThread(Executor):
    """Run what is submitted before returning; what that raises is raised there."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Return a future that is done."""
        future: Future[Result] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class ReadAhead:
    """Hand out the jobs in their order, each being read before it is asked for.

    Args:
        jobs: All jobs.
        read: Read one; called from other threads, if there are any.
        measure: Tell the pixels of one without reading it; asked often.
        threads: How many are read at once; 0 for one at a time in the calling thread.
        most: How many may be read, or being read, and not taken.
        alone: Tell whether one is not even read while others are taken, nor others while it is.
    """

    def __init__(
        self,
        jobs: Sequence[Job[Path]],
        read: Callable[[Job[Path]], Ready | Settled],
        measure: Callable[[Job[Path]], int],
        threads: int,
        most: int,
        alone: Callable[[Job[Path]], bool],
    ) -> None:
        self._read = read
        self._measure = measure
        self._most = most
        self._alone = alone
        self._ahead = threads > 0
        name = "mambair-read"
        self._pool = ThreadPoolExecutor(threads, name) if threads else InCallingThread()
        self._changed = threading.Condition()
        self._coming = iter(enumerate(jobs, start=1))
        self._next = next(self._coming, None)
        self._waiting: deque[QueuedJob] = deque()
        self._taken = 0
        self._one_alone = False
        self._stopped = False

    def take(self) -> QueuedJob | None:
        """Give the next job; None once no more will come, also not from a device that fails."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._may_go_on())
            self._refill()
            self._changed.wait_for(lambda: self._stopped or self._waiting or not self._taken)
            if self._stopped or not self._waiting:
                return None
            queued = self._waiting.popleft()
            self._taken += 1
            self._one_alone = self._alone(queued.job)
            if self._ahead:
                self._refill()
        return queued

    def finish(self) -> None:
        """Count a job that was taken as done with."""
        with self._changed:
            self._taken -= 1
            self._changed.notify_all()

    def give_back(self, queued: QueuedJob) -> None:
        """Put a job back, to be taken next: by another device."""
        with self._changed:
            self._waiting.appendleft(queued)
            self._taken -= 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Wait for files that are being read, and drop the rest."""
        self._pool.shutdown(cancel_futures=True)

    def _may_go_on(self) -> bool:
        """Tell whether nothing that is taken keeps the next job from being read."""
        if not self._taken:
            return True
        if self._one_alone:
            return False
        coming = self._waiting[0].job if self._waiting else self._next and self._next[1]
        return coming is None or not self._alone(coming)

    def _refill(self) -> None:
        while self._next is not None and len(self._waiting) < self._most:
            index, job = self._next
            if self._waiting and self._pixels_with(job) > WAITING_PIXELS:
                return
            self._waiting.append(QueuedJob(index, job, self._pool.submit(self._read, job)))
            self._next = next(self._coming, None)

    def _pixels_with(self, job: Job[Path]) -> int:
        """Pixels of all that would wait together with one more job."""
        return sum(self._measure(each) for each in (*(one.job for one in self._waiting), job))


class WriteBehind:
    """Write results in other threads.

    Args:
        threads: How many are written at once; as many more may wait. 0 for one at a time, waited
            for: it has a thread all the same, where an interrupt does not break it off.
        on_failure: Told of an exception in a thread, which is a bug.
    """

    def __init__(self, threads: int, on_failure: Callable[[Future[Any]], None]) -> None:
        self._most = max(1, 2 * threads)
        self._on_failure = on_failure
        self._waits = not threads
        self._pool = ThreadPoolExecutor(max(1, threads), "mambair-write")
        self._changed = threading.Condition()
        self._files = self._pixels = 0
        self._stopped = False

    def add(self, pixels: int, write: Callable[[], None]) -> None:
        """Queue a result to be written."""
        with self._changed:
            self._files += 1
            self._pixels += pixels
        writing = self._pool.submit(write)
        writing.add_done_callback(self._on_failure)
        writing.add_done_callback(partial(self._written, pixels))
        if self._waits:
            writing.result()

    def wait_for_room(self) -> None:
        """Wait until so little is left to be written that another result may be made."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._stopped or (self._files < self._most and self._pixels <= WAITING_PIXELS)
                )
            )

    def stop(self) -> None:
        """Let nobody wait for room any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self, *, drop: bool) -> None:
        """Wait for results that are being written, and for those in the queue unless `drop`."""
        self._pool.shutdown(cancel_futures=drop)

    def _written(self, pixels: int, _: Future[None]) -> None:
        with self._changed:
            self._files -= 1
            self._pixels -= pixels
            self._changed.notify_all()
