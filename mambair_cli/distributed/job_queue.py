"""The jobs of a batch that wait for a worker, and which slot of the cluster gets which.

A slot is the room of one worker: when its worker is lost, another is started there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from mambair_cli.batches.jobs import Job


@dataclass(eq=False)
class PendingJob:
    """A job of the batch.

    Attributes:
        index: Its number, from 1.
        job: What to do.
        lost_at: The slots whose workers were lost while they did it.
    """

    index: int
    job: Job
    lost_at: list[str] = field(default_factory=list)


class JobQueue:
    """All jobs of a batch, until each has its outcome.

    Args:
        jobs: What to do, in this order.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.open = len(jobs)
        self._coming = (PendingJob(index, job) for index, job in enumerate(jobs, start=1))
        self._waiting: deque[PendingJob] = deque()
        self._slots: set[str] = set()
        self._changed = asyncio.Condition()

    def next_ones(self, wanted: int) -> list[PendingJob]:
        """Return the jobs to admit next: none while half as many as wanted wait."""
        return [] if 2 * len(self._waiting) > wanted else list(islice(self._coming, wanted))

    def admit(self, jobs: Iterable[PendingJob]) -> None:
        """Let workers have jobs; those that wait notice at `settle` or at the next `take`."""
        self._waiting.extend(jobs)

    def rest(self) -> list[PendingJob]:
        """Take all jobs that no worker has."""
        left = [*self._waiting, *self._coming]
        self._waiting.clear()
        return left

    def put_back(self, pending: PendingJob) -> None:
        """Put a job back for another worker, before all others."""
        self._waiting.appendleft(pending)

    async def settle(self) -> None:
        """Count a job that has its outcome, and wake everyone who waits."""
        self.open -= 1
        await self.wake()

    async def wake(self) -> None:
        """Wake everyone who waits, to look again."""
        async with self._changed:
            self._changed.notify_all()

    async def join(self, slot: str) -> None:
        """Add a slot of the cluster, which has a worker now."""
        self._slots.add(slot)
        await self.wake()

    async def leave(self, slot: str) -> None:
        """Remove a slot: it may never have a worker again."""
        self._slots.discard(slot)
        await self.wake()

    async def all_settled(self) -> None:
        """Wait until every job has its outcome."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.open)

    async def take(self, slot: str) -> PendingJob | None:
        """Wait for the next job for a slot; None once every job has its outcome."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.open or self._suitable(slot))
            pending = self._suitable(slot)
            if pending is not None:
                self._waiting.remove(pending)
            return pending

    def _suitable(self, slot: str) -> PendingJob | None:
        """Find the first job that was not lost at this slot, unless no other slot is left."""
        for pending in self._waiting:
            if slot not in pending.lost_at or self._slots <= set(pending.lost_at):
                return pending
        return None
