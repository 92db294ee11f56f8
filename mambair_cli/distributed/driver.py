"""Hand the files of a batch to workers on a Ray cluster, and keep account of every one.

Each worker takes a file when it is free. What a lost worker was doing goes back to the queue and is
tried alone on a worker, on another slot of the cluster if there is one, so that a file which takes
its worker down is told from its neighbours, and a broken node from its files.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mambair_cli.batches import stores
from mambair_cli.batches.events import (
    Event,
    FileDone,
    FileFailed,
    FileNoted,
    FileStarted,
    OrderedEvents,
    Outcome,
    Summary,
    TileDone,
)
from mambair_cli.batches.failures import no_device_left
from mambair_cli.batches.jobs import Job
from mambair_cli.batches.urls import Url
from mambair_cli.disk import remove_unfinished
from mambair_cli.distributed.cluster import Workers, import_ray
from mambair_cli.distributed.job_queue import JobQueue, PendingJob
from mambair_cli.distributed.losses import LOGS, WorkerLost, fatal, reason_of
from mambair_cli.distributed.messages import FileResult, FileTask, Setup
from mambair_cli.distributed.records import SEGMENT_SECONDS, Records, marked
from mambair_cli.errors import BackendError, MambairError, OutputError

# Workers that one file may cost, and that one slot of the cluster may lose in a row.
MOST_LOSSES = 3
# Files that are recorded as begun ahead of the workers, for each that they have at a time.
AHEAD = 4
# What runs when the batch is interrupted gets this long to leave nothing half-written.
STOP_SECONDS = 5.0
# After this it is said that the cluster has not started a worker yet.
SILENCE_SECONDS = 20.0


def run_on_cluster(
    jobs: Sequence[Job],
    setup: Setup,
    workers: Workers,
    records: Records,
    on_event: Callable[[Event], None],
    on_notice: Callable[[str], None],
    on_detail: Callable[[str], None],
) -> Summary:
    """Restore files on a cluster that this process is connected to.

    Args:
        jobs: What to do; sources and targets may be addresses.
        setup: How.
        workers: From `find_workers`.
        records: What earlier runs recorded, and where this one does.
        on_event: Told of everything as it happens, of outcomes in the order of the jobs.
        on_notice: Told what people should know of the workers.
        on_detail: Told where they run.

    Returns:
        The outcomes.

    Raises:
        MambairError: No worker could be used from the start, or nothing can be recorded.
        KeyboardInterrupt: Is not caught; workers are stopped first, and leave nothing half-written
            if they can.
    """
    events = OrderedEvents(on_event)
    with marked(jobs) as marker:
        setup = replace(setup, marker=marker)
        driver = Driver(jobs, setup, workers, records, events, on_notice, on_detail)
        try:
            asyncio.run(driver.run())
        finally:
            driver.end_workers()
            events.settle_held()
            records.flush()
            remove_unfinished(driver.littered)
    return events.summary


class Driver:
    """One run over the jobs of a batch; arguments as for `run_on_cluster`.

    Attributes:
        littered: Folders where workers may have left unfinished files when they were ended.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        setup: Setup,
        workers: Workers,
        records: Records,
        events: OrderedEvents,
        on_notice: Callable[[str], None],
        on_detail: Callable[[str], None],
    ) -> None:
        self.littered: set[Path] = set()
        self._hired: set[Any] = set()
        self._total = len(jobs)
        self._names = workers.names(len(jobs))
        self._queue = JobQueue(jobs)
        self._shown: dict[str, PendingJob] = {}
        self._setup = setup
        self._workers = workers
        self._records = records
        self._events = events
        self._on_notice = on_notice
        self._on_detail = on_detail
        self._ready = asyncio.Event()
        self._losses: Counter[str] = Counter()
        self._reasons: list[MambairError] = []
        self._ray = import_ray()

    async def run(self) -> None:
        """Do all jobs; raise as `run_on_cluster`."""
        self._refill()
        serving = {asyncio.create_task(self._serve(name)) for name in self._names}
        impatience = asyncio.create_task(self._tell_waiting())
        settled = asyncio.create_task(self._queue.all_settled())
        try:
            while serving and not settled.done():
                ended, _ = await asyncio.wait({settled, *serving}, return_when="FIRST_COMPLETED")
                for slot in ended & serving:
                    slot.result()
                serving -= ended
        finally:
            for each in (impatience, settled, *serving):
                each.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
        self._give_up()

    def end_workers(self) -> None:
        """End the workers that are left, after what they are writing if that is soon done.

        An interrupt may cancel every task of `run` in any order, and more than once: what must
        come after it cannot be one of them.
        """
        stopping = [actor.stop.remote() for actor in self._hired]
        self._wait(stopping)
        while self._hired:
            self._ray.kill(self._hired.pop())
        # What is killed lets go of its files only then.
        self._wait(stopping)

    def _wait(self, answers: list[Any]) -> None:
        if answers:
            self._ray.wait(answers, num_returns=len(answers), timeout=STOP_SECONDS)

    async def _tell_waiting(self) -> None:
        try:
            await asyncio.wait_for(self._ready.wait(), SILENCE_SECONDS)
        except TimeoutError:
            self._on_notice("waiting for the cluster to start a worker ...")

    async def _serve(self, name: str) -> None:
        """Keep one slot of the cluster busy, with a new worker for each that is lost there."""
        while self._losses[name] < MOST_LOSSES and await self._employ(name):
            pass

    async def _employ(self, name: str) -> bool:
        """Let one worker work until no job is left or it is lost; return whether to try another."""
        actor = self._hire()
        try:
            where = await actor.ready.remote()
            self._ready.set()
            await self._queue.join(name)
            self._on_detail(f"{name}: {where}")
            await self._feed(name, actor)
        except WorkerLost as lost:
            self._losses[name] = 0 if lost.blamed else self._losses[name] + 1
            self._on_notice(f"warning: {name} was lost: {lost}")
            return True
        except self._ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, MambairError):
                raise error.cause from None
            self._reasons.append(error.cause)
            self._on_notice(f"warning: {name} is not used: {error.cause.message}")
        except self._ray.exceptions.RayError as error:
            self._losses[name] += 1
            self._reasons.append(BackendError(f"{name} did not start: {reason_of(error)}", LOGS))
            return True
        finally:
            await self._queue.leave(name)
            await self._dismiss(actor)
        return False

    def _hire(self) -> Any:
        from mambair_cli.distributed.worker import Worker

        # One call more than files, for `stop`.
        calls = self._workers.lanes + 1
        actor = self._ray.remote(Worker).options(
            max_restarts=0, max_task_retries=0, max_concurrency=calls, **self._workers.resources
        )
        hired = actor.remote(self._setup)
        self._hired.add(hired)
        return hired

    async def _dismiss(self, actor: Any) -> None:
        """End a worker, after what it is writing if that is soon done."""
        with suppress(TimeoutError, self._ray.exceptions.RayError):
            await asyncio.wait_for(actor.stop.remote(), STOP_SECONDS)
        self._ray.kill(actor)
        self._hired.discard(actor)

    async def _feed(self, name: str, actor: Any) -> None:
        """Give a worker files whenever it is free, until none is left.

        Raises:
            WorkerLost: It is gone; all its files are taken care of.
        """
        lanes: set[asyncio.Task[None]] = set()
        try:
            while (pending := await self._next_beside(name, lanes)) is not None:
                if pending.lost_at:
                    await self._be_alone(lanes, pending)
                lanes.add(asyncio.create_task(self._carry_out(name, actor, pending)))
                while (pending.lost_at and lanes) or len(lanes) >= self._workers.lanes:
                    await _one_ended(lanes)
            while lanes:
                await _one_ended(lanes)
        except WorkerLost:
            await asyncio.gather(*lanes, return_exceptions=True)
            raise
        finally:
            for lane in lanes:
                lane.cancel()

    async def _be_alone(self, lanes: set[asyncio.Task[None]], pending: PendingJob) -> None:
        """Let a job that may have cost a worker already wait until this one has no other."""
        try:
            while lanes:
                await _one_ended(lanes)
        except BaseException:
            self._queue.put_back(pending)
            raise

    async def _next_beside(self, name: str, lanes: set[asyncio.Task[None]]) -> PendingJob | None:
        """Wait for the next job of a slot, None if none is left; raise if its worker is lost."""
        coming = asyncio.create_task(self._queue.take(name))
        try:
            while not coming.done():
                await asyncio.wait({coming, *lanes}, return_when="FIRST_COMPLETED")
                _check(lanes)
        except BaseException:
            if coming.done() and (pending := coming.result()) is not None:
                self._queue.put_back(pending)
            coming.cancel()
            raise
        return coming.result()

    async def _carry_out(self, name: str, actor: Any, pending: PendingJob) -> None:
        try:
            outcome = self._settled_by(pending, await self._follow(name, actor, pending))
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            self._litter(pending.job)
            raise await self._lose(name, pending, reason_of(error)) from None
        except (asyncio.CancelledError, KeyboardInterrupt):
            self._litter(pending.job)
            raise
        except MambairError as error:
            outcome = self._fail(pending, error)
        self._losses[name] = 0
        await self._settle(pending, outcome)

    async def _follow(self, name: str, actor: Any, pending: PendingJob) -> FileResult:
        stream = actor.restore.options(num_returns="streaming").remote(self._task(pending.job))
        async for reference in stream:
            told = await reference
            if isinstance(told, FileResult):
                return told
            self._pass_on(name, pending, told)
        raise AssertionError("a worker gave no result")

    def _task(self, job: Job) -> FileTask:
        content = None
        if isinstance(job.source, Url) and job.source.stays_in_its_process:
            content = stores.read(job.source)
        return FileTask(
            # The same files whatever a worker's current directory is.
            job.source.absolute(),
            job.target.absolute(),
            (str(job.source), str(job.target)),
            content,
            self._records.recipe,
            self._records.done_before(job),
            self._records.replaces(job),
        )

    def _pass_on(self, name: str, pending: PendingJob, event: Event) -> None:
        match event:
            case FileStarted():
                self._shown[name] = pending
                self._events.tell(FileStarted(pending.job, pending.index, self._total, name))
            case TileDone() if self._shown.get(name) is pending:
                self._events.tell(replace(event, job=pending.job))
            case FileNoted():
                self._events.tell(replace(event, job=pending.job))

    def _settled_by(self, pending: PendingJob, result: FileResult) -> Outcome:
        """Do what is left to the driver: its own stores, and the record."""
        job, outcome = pending.job, result.outcome
        if isinstance(outcome, FileFailed):
            return self._fail(pending, outcome.error, result)
        if isinstance(outcome, FileDone):
            if result.content is not None and isinstance(job.target, Url):
                stores.write(job.target, result.content)
            self._records.finish(job, result.entry)
            self._records.flush(older_than=SEGMENT_SECONDS)
        return replace(outcome, job=job)

    def _fail(
        self, pending: PendingJob, error: MambairError, result: FileResult | None = None
    ) -> FileFailed:
        # What keeps the record from being written is often what failed: a full disk.
        with suppress(OutputError):
            self._records.fail(pending.job, None if result is None else result.entry, error)
        return FileFailed(pending.job, error)

    def _litter(self, job: Job) -> None:
        if isinstance(job.target, Path):
            self.littered.add(job.target.parent)

    async def _lose(self, name: str, pending: PendingJob, reason: str) -> WorkerLost:
        """Put the job of a lost worker back for another, or give it up."""
        pending.lost_at.append(name)
        blamed = len(pending.lost_at) >= MOST_LOSSES
        if blamed:
            await self._settle(
                pending, self._fail(pending, fatal(pending.job, len(pending.lost_at), reason))
            )
        else:
            self._events.tell(FileNoted(pending.job, f"tried again: {name} was lost: {reason}"))
            self._queue.put_back(pending)
            await self._queue.wake()
        return WorkerLost(reason, blamed=blamed)

    async def _settle(self, pending: PendingJob, outcome: Outcome) -> None:
        self._events.settle(pending.index, outcome)
        self._refill()
        await self._queue.settle()

    def _refill(self) -> None:
        """Record further jobs as begun, and let workers have them."""
        admitted = []
        for pending in self._queue.next_ones(AHEAD * self._workers.lanes * self._workers.count):
            if (refusal := self._records.refusal(pending.job)) is None:
                self._records.begin(pending.job)
                admitted.append(pending)
            else:
                # Not recorded: what is there is somebody else's, and must not look like ours.
                self._events.settle(pending.index, FileFailed(pending.job, refusal))
                self._queue.open -= 1
        if admitted:
            self._records.flush()
        self._queue.admit(admitted)

    def _give_up(self) -> None:
        """Let all jobs fail that are left when no slot is."""
        if self._queue.open == self._total and self._reasons:
            raise self._reasons[0]
        for pending in self._queue.rest():
            self._events.settle(pending.index, self._fail(pending, no_device_left(pending.job)))


async def _one_ended(lanes: set[asyncio.Task[None]]) -> None:
    await asyncio.wait(lanes, return_when="FIRST_COMPLETED")
    _check(lanes)


def _check(lanes: set[asyncio.Task[None]]) -> None:
    """Forget what has ended, and raise what it raised."""
    for lane in [lane for lane in lanes if lane.done()]:
        lanes.remove(lane)
        lane.result()
