"""Runs of a network on a CPU, several at the same time, each on threads of its own.

Threads inside a run wait for each other a hundred times in a network, and on a busy machine for one
that the system does not run. Runs side by side wait for each other only at the end of an image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Given = TypeVar("Given")
Made = TypeVar("Made")

# Share of a run that gains nothing from threads inside: 0.15 on a quiet machine, and far more on
# one that other programs use, as most are.
SERIAL_SHARE = 0.35


def workers_for(runs: int, threads: int) -> int:
    """Choose how many runs of a network go side by side, so that all are done soonest.

    Args:
        runs: How many there are; not more than memory has room for at once.
        threads: Of the processor; those inside a run are as many as remain for each.
    """

    def span(workers: int) -> float:
        inside = threads // workers
        return -(-runs // workers) * (SERIAL_SHARE + (1 - SERIAL_SHARE) / inside)

    return min(range(1, min(runs, threads) + 1), key=lambda workers: (span(workers), -workers))


def side_by_side(
    batches: Iterator[Given], run: Callable[[Given], Made], workers: int
) -> Iterator[Made]:
    """Run batches in threads that share the processors.

    Args:
        batches: What is run; each is asked for when a thread is free.
        run: What runs one; several threads call it at once, without the modes of the caller's.
        workers: How many threads.

    Yields:
        What was made of them, in their order.
    """
    threads = torch.get_num_threads()

    def task(batch: Given) -> Made:
        torch.set_num_threads(threads // workers)  # of this thread
        return run(batch)

    pending: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(workers, "mambair-tile")
    try:
        for batch in batches:
            pending.append(pool.submit(task, batch))
            del batch
            if len(pending) == workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        # What a worker sets is also what new threads begin with.
        torch.set_num_threads(threads)
