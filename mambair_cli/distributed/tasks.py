"""The jobs of a batch that wait for a worker, and which place of the cluster gets which."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from mambair_cli.batches.jobs import Job


@dataclass(eq=False)
class Task:
    """A job of the batch.

    Attributes:
        index: Its number, from 1.
        job: What to do.
        lost_at: The places whose workers were lost while they did it.
    """

    index: int
    job: Job
    lost_at: list[str] = field(default_factory=list)


class Tasks:
    """All jobs of a batch, until each has its outcome.

    Args:
        jobs: What to do, in this order.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.open = len(jobs)
        self._coming = (Task(index, job) for index, job in enumerate(jobs, start=1))
        self._waiting: deque[Task] = deque()
        self._places: set[str] = set()
        self._changed = asyncio.Condition()

    def next_ones(self, wanted: int) -> list[Task]:
        """Jobs that are to be admitted next: none while half as many as wanted wait."""
        return [] if 2 * len(self._waiting) > wanted else list(islice(self._coming, wanted))

    def admit(self, tasks: Iterable[Task]) -> None:
        """Lets workers have jobs; they are told by `settle` or by the first `take`."""
        self._waiting.extend(tasks)

    def rest(self) -> list[Task]:
        """Takes all jobs that no worker has."""
        left = [*self._waiting, *self._coming]
        self._waiting.clear()
        return left

    def put_back(self, task: Task) -> None:
        """Has a job that was taken done next, whoever is told of it first."""
        self._waiting.appendleft(task)

    async def settle(self) -> None:
        """Counts a job that has its outcome, and wakes who waits."""
        self.open -= 1
        await self.wake()

    async def wake(self) -> None:
        """Has all who wait look again."""
        async with self._changed:
            self._changed.notify_all()

    async def join(self, place: str) -> None:
        """Counts on a place of the cluster, which has a worker now."""
        self._places.add(place)
        await self.wake()

    async def leave(self, place: str) -> None:
        """Counts no more on a place: it may never have a worker again."""
        self._places.discard(place)
        await self.wake()

    async def all_settled(self) -> None:
        """Returns when no job is open."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.open)

    async def take(self, place: str) -> Task | None:
        """The next job for a place, as soon as there is one; None once no job is open."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.open or self._suitable(place))
            task = self._suitable(place)
            if task is not None:
                self._waiting.remove(task)
            return task

    def _suitable(self, place: str) -> Task | None:
        """The first that waits and was not lost at this place, if another place is left."""
        for task in self._waiting:
            if place not in task.lost_at or self._places <= set(task.lost_at):
                return task
        return None
