"""Which slot of a cluster gets which job, and when."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mambair_cli.batches.jobs import Job
from mambair_cli.distributed.job_queue import JobQueue


def jobs(count):
    return [Job(Path(f"{i}.png"), Path(f"out/{i}.png"), Path("out")) for i in range(count)]


@pytest.fixture
def queue():
    waiting = JobQueue(jobs(3))
    waiting.admit(waiting.next_ones(2))
    return waiting


async def soon(coroutine):
    return await asyncio.wait_for(coroutine, 60)


async def not_now(coroutine):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(coroutine, 0.05)


def test_jobs_come_in_order_and_as_many_as_are_wanted(queue):
    async def run():
        await queue.join("one")
        assert queue.next_ones(2) == []
        first, second = await soon(queue.take("one")), await soon(queue.take("two"))
        assert [first.index, second.index] == [1, 2]
        (third,) = queue.next_ones(2)
        queue.admit([third])
        assert await soon(queue.take("one")) is third
        assert queue.next_ones(2) == []

    asyncio.run(run())


def test_a_slot_waits_until_a_job_comes_back_or_all_are_settled(queue):
    async def run():
        await queue.join("one")
        taken = [await queue.take("one"), await queue.take("one")]
        waiting = asyncio.create_task(queue.take("two"))
        await asyncio.sleep(0)
        queue.put_back(taken[0])
        await queue.wake()
        assert await soon(waiting) is taken[0]
        waiting = asyncio.create_task(queue.take("two"))
        for _ in range(3):
            await queue.settle()
        assert await soon(waiting) is None
        await soon(queue.all_settled())

    asyncio.run(run())


def test_what_was_lost_at_a_slot_is_tried_at_another(queue):
    async def run():
        for slot in ("one", "two"):
            await queue.join(slot)
        lost = await queue.take("one")
        lost.lost_at.append("one")
        queue.put_back(lost)
        assert (await soon(queue.take("one"))).index == 2
        await not_now(queue.take("one"))
        assert await soon(queue.take("two")) is lost

    asyncio.run(run())


def test_unless_no_other_slot_has_a_worker(queue):
    async def run():
        for slot in ("one", "two"):
            await queue.join(slot)
        lost, _ = await queue.take("one"), await queue.take("one")
        lost.lost_at.append("one")
        queue.put_back(lost)
        waiting = asyncio.create_task(queue.take("one"))
        await not_now(asyncio.shield(waiting))
        await queue.leave("two")
        assert await soon(waiting) is lost

    asyncio.run(run())


def test_what_nobody_has_can_be_taken_at_once(queue):
    async def run():
        await queue.take("one")
        assert [pending.index for pending in queue.rest()] == [2, 3]
        assert queue.rest() == []

    asyncio.run(run())
