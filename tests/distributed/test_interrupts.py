"""How a batch is ended, told by workers that are none: they have to be asked before they are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mambair_cli.batches.events import FileStarted
from mambair_cli.batches.jobs import Job
from mambair_cli.batches.stages import FileOptions
from mambair_cli.checkpoints.request import Request
from mambair_cli.distributed import driver
from mambair_cli.distributed.cluster import Workers
from mambair_cli.distributed.messages import Setup
from mambair_cli.distributed.records import Records
from mambair_cli.restoration.plan import RestoreOptions


class Call:
    """A method of an actor; what it returns is awaited, or waited for by `ray.wait`."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def options(self, **_: object) -> Call:
        return self

    def remote(self, *_: object) -> Any:
        return self._made()


class FakeActor:
    """Writes its only file, for a moment longer when it is asked to stop."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.ready = Call(lambda: asyncio.sleep(0, "a node"))
        self.stop = Call(self._stop)
        self.restore = Call(self._restore)

    async def _restore(self) -> AsyncIterator[Any]:
        yield asyncio.sleep(0, FileStarted(JOBS[0], 0, len(JOBS), ""))
        await asyncio.Event().wait()

    def _stop(self) -> Answer:
        answer = Answer(Future())
        threading.Timer(0.02, self._finish, [answer]).start()
        return answer

    def _finish(self, answer: Answer) -> None:
        if not self.log:
            self.log.append("finished")
        with suppress(InvalidStateError):  # nobody waits for it any more
            answer.future.set_result(None)


class Answer:
    def __init__(self, future: Future[None]) -> None:
        self.future = future

    def __await__(self) -> Any:
        return asyncio.wrap_future(self.future).__await__()


class FakeRay:
    """What the driver uses of Ray."""

    class exceptions:  # noqa: N801 - as in Ray
        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            pass

    def __init__(self) -> None:
        self.actors: list[FakeActor] = []

    def remote(self, _: type) -> Call:
        return Call(self._hire)

    def _hire(self) -> FakeActor:
        self.actors.append(actor := FakeActor())
        return actor

    def wait(self, answers: list[Answer], **_: object) -> None:
        wait([answer.future for answer in answers])

    def kill(self, actor: FakeActor) -> None:
        actor.log.append("killed")


JOBS = [Job(Path(f"{n}.png"), Path(f"out/{n}.png"), Path("out")) for n in range(6)]


def in_a_task(_: int) -> None:
    raise KeyboardInterrupt


def beside_the_tasks(started: int) -> None:
    """As a signal that comes while the loop waits."""
    if started == 2:
        asyncio.get_running_loop().call_soon(in_a_task, 0)


@pytest.mark.parametrize("interrupt", [in_a_task, beside_the_tasks])
def test_workers_finish_what_they_write_before_they_are_ended(interrupt, monkeypatch):
    # The order in which tasks are cancelled is that of a set: it differs from run to run.
    for _ in range(10):
        ray, started = FakeRay(), []
        monkeypatch.setattr(driver, "import_ray", lambda ray=ray: ray)

        def on_event(event, started=started):
            if isinstance(event, FileStarted):
                started.append(event)
                interrupt(len(started))

        setup = Setup(Request("sr"), {}, RestoreOptions(), FileOptions(), "torch", "cpu", 1, 1.0)
        swept = []
        monkeypatch.setattr(driver, "remove_unfinished", swept.append)
        workers = Workers(2, "cpu", 1, 1.0)
        with pytest.raises(KeyboardInterrupt):
            driver.run_on_cluster(JOBS, setup, workers, Records(None), on_event, print, print)
        assert [actor.log for actor in ray.actors] == [["finished", "killed"]] * len(ray.actors)
        assert swept == [{Path("out")}]
