"""What a batch tells while it runs, and what it comes to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from mambair_cli.batches.jobs import Job
from mambair_cli.batches.treatment.steps import ToldStep
from mambair_cli.errors import MambairError
from mambair_cli.imaging.metadata.image_metadata import ContentReport


@dataclass(frozen=True)
class FileStarted:
    """The network's work on a file begins; `index` counts from 1 to `total`.

    A file that cannot be read is started too, right before it fails. One whose device fails is
    started again on another.
    """

    job: Job
    index: int
    total: int
    device: str


@dataclass(frozen=True)
class TileDone:
    """Tiles of a started file: how many are done, first none, and how many there are."""

    job: Job
    done: int
    total: int


@dataclass(frozen=True)
class FileNoted:
    """How a started file is run, or what did not go as planned; `text` is for people.

    `steps` is what is done about it, where `text` says what was found in it; None elsewhere.
    """

    job: Job
    text: str
    steps: tuple[ToldStep, ...] | None = None


@dataclass(frozen=True)
class DeviceLost:
    """A device failed for good while it worked on a file; it gets no more work."""

    device: str
    job: Job
    reason: str


@dataclass(frozen=True)
class Timings:
    """Seconds spent on a file, without the waits in between.

    Attributes:
        read: On the input: reading, decoding.
        network: On restoring it.
        write: On the output: encoding, writing, the record.
    """

    read: float = 0.0
    network: float = 0.0
    write: float = 0.0

    @property
    def total(self) -> float:
        """Seconds in all."""
        return self.read + self.network + self.write


@dataclass(frozen=True)
class FileDone:
    """A file was restored and written.

    Attributes:
        job: Which.
        timings: Spent on it.
        width: Pixels of the output.
        height: Pixels of the output.
        bytes: Size of the output file.
        images: Frames or pages of the output.
        left_alone: Whether there was nothing to restore in any of them.
        report: What was kept, changed and dropped of the input beside its restored pixels.
    """

    job: Job
    timings: Timings
    width: int
    height: int
    bytes: int
    images: int = 1
    left_alone: bool = False
    report: ContentReport = field(default_factory=ContentReport)


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
Event = FileStarted | TileDone | FileNoted | DeviceLost | Outcome


@dataclass
class Summary:
    """Outcomes of a batch, in the order of the jobs."""

    done: list[FileDone] = field(default_factory=list)
    skipped: list[FileSkipped] = field(default_factory=list)
    failed: list[FileFailed] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        match outcome:
            case FileDone():
                self.done.append(outcome)
            case FileSkipped():
                self.skipped.append(outcome)
            case FileFailed():
                self.failed.append(outcome)


class OrderedEvents:
    """Pass events on from any thread, one at a time, and outcomes in the order of the jobs.

    Args:
        on_event: Told of everything.
        in_turn: Whether all that is told of a job comes after the outcomes of those before it.
    """

    def __init__(self, on_event: Callable[[Event], None], *, in_turn: bool = False) -> None:
        self.summary = Summary()
        self._on_event = on_event
        self._lock = threading.Lock()
        self._held: dict[int, Outcome] = {}
        self._early: dict[int, list[Event]] = {}
        self._in_turn = in_turn
        self._next = 1

    def tell(self, event: Event, index: int = 0) -> None:
        """Pass an event on, of a job where there is an index: at once, or in its turn."""
        with self._lock:
            if self._in_turn and index > self._next:
                self._early.setdefault(index, []).append(event)
            else:
                self._on_event(event)

    def settle(self, index: int, outcome: Outcome) -> None:
        """Pass the outcome of a job on as soon as all jobs before it have theirs."""
        with self._lock:
            self._held[index] = outcome
            while (ready := self._held.pop(self._next, None)) is not None:
                self._next += 1
                self._pass_on(ready)
                self._tell_early(self._next)

    def settle_held(self) -> None:
        """Pass on what waits for jobs that will have no outcome any more."""
        with self._lock:
            for index in sorted({*self._early, *self._held}):
                self._tell_early(index)
                if (outcome := self._held.pop(index, None)) is not None:
                    self._pass_on(outcome)

    def _tell_early(self, index: int) -> None:
        for event in self._early.pop(index, ()):
            self._on_event(event)

    def _pass_on(self, outcome: Outcome) -> None:
        self.summary.add(outcome)
        self._on_event(outcome)
