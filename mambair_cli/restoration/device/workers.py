"""Batches of tiles on a CPU, several at the same time, each on threads of its own.

Threads inside a run wait for each other a hundred times in a network, and on a busy machine for one
that the system does not run. Runs side by side wait for each other only at the end of an image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

Run = Callable[[Tensor], Tensor]

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


def side_by_side(batches: Iterator[Tensor], run: Run, workers: int) -> Iterator[Tensor]:
    """Restore batches in threads that share the processors.

    Args:
        batches: `(g c h w)` each; asked for when a thread is free.
        run: What restores a batch; several threads call it at once.
        workers: How many threads.

    Yields:
        The restored batches, float32, in their order.
    """
    threads = torch.get_num_threads()

    def task(batch: Tensor) -> Tensor:
        torch.set_num_threads(threads // workers)  # of this thread
        with torch.inference_mode():
            return run(batch).float()

    pending: deque[Future[Tensor]] = deque()
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
