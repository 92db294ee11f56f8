"""Which place of a cluster gets which job, and when."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mambair_cli.batches.jobs import Job
from mambair_cli.distributed.tasks import Tasks


def jobs(count):
    return [Job(Path(f"{i}.png"), Path(f"out/{i}.png"), Path("out")) for i in range(count)]


@pytest.fixture
def tasks():
    waiting = Tasks(jobs(3))
    waiting.admit(waiting.next_ones(2))
    return waiting


async def soon(coroutine):
    return await asyncio.wait_for(coroutine, 60)


async def not_now(coroutine):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(coroutine, 0.05)


def test_jobs_come_in_order_and_as_many_as_are_wanted(tasks):
    async def run():
        await tasks.join("one")
        assert tasks.next_ones(2) == []
        first, second = await soon(tasks.take("one")), await soon(tasks.take("two"))
        assert [first.index, second.index] == [1, 2]
        (third,) = tasks.next_ones(2)
        tasks.admit([third])
        assert await soon(tasks.take("one")) is third
        assert tasks.next_ones(2) == []

    asyncio.run(run())


def test_a_place_waits_until_a_job_comes_back_or_all_are_settled(tasks):
    async def run():
        await tasks.join("one")
        taken = [await tasks.take("one"), await tasks.take("one")]
        waiting = asyncio.create_task(tasks.take("two"))
        await asyncio.sleep(0)
        tasks.put_back(taken[0])
        await tasks.wake()
        assert await soon(waiting) is taken[0]
        waiting = asyncio.create_task(tasks.take("two"))
        for _ in range(3):
            await tasks.settle()
        assert await soon(waiting) is None
        await soon(tasks.all_settled())

    asyncio.run(run())


def test_what_was_lost_at_a_place_is_tried_at_another(tasks):
    async def run():
        for place in ("one", "two"):
            await tasks.join(place)
        lost = await tasks.take("one")
        lost.lost_at.append("one")
        tasks.put_back(lost)
        assert (await soon(tasks.take("one"))).index == 2
        await not_now(tasks.take("one"))
        assert await soon(tasks.take("two")) is lost

    asyncio.run(run())


def test_unless_no_other_place_has_a_worker(tasks):
    async def run():
        for place in ("one", "two"):
            await tasks.join(place)
        lost, _ = await tasks.take("one"), await tasks.take("one")
        lost.lost_at.append("one")
        tasks.put_back(lost)
        waiting = asyncio.create_task(tasks.take("one"))
        await not_now(asyncio.shield(waiting))
        await tasks.leave("two")
        assert await soon(waiting) is lost

    asyncio.run(run())


def test_what_nobody_has_can_be_taken_at_once(tasks):
    async def run():
        await tasks.take("one")
        assert [task.index for task in tasks.rest()] == [2, 3]
        assert tasks.rest() == []

    asyncio.run(run())
