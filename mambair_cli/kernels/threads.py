"""Threads that share the tasks of one kernel, and what becomes of them in a forked process.

Kernels run outside of the interpreter's lock. Whoever launches one works on it too, and takes what
no other thread has begun: on a busy machine nobody waits for a thread that does not come.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from itertools import count
from queue import SimpleQueue

import torch

# Parts of the work for each thread: some are slower, or come late.
PARTS_PER_THREAD = 4

Run = Callable[[int, int], None]


class _Shared:
    """Tasks that several threads run.

    Args:
        run: Runs the tasks from its first to before its second argument.
        tasks: How many there are.
        parts: How many of them go together.
    """

    def __init__(self, run: Run, tasks: int, parts: int) -> None:
        self._run, self._tasks, self._parts = run, tasks, parts
        # Counting is atomic: each part is taken once, and one thread ends the last.
        self._taken, self._ended = count(), count(1)
        self._done = threading.Lock()
        self._done.acquire()

    def work(self) -> None:
        """Run parts until none is left."""
        while (part := next(self._taken)) < self._parts:
            first, last = (self._tasks * at // self._parts for at in (part, part + 1))
            self._run(first, last)
            if next(self._ended) == self._parts:
                self._done.release()

    def wait(self) -> None:
        """Wait for the parts that others have taken."""
        self._done.acquire()


class _Crew:
    """Threads of this process, as many as were ever asked for."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[_Shared] = SimpleQueue()
        self._threads = 0
        self._growing = threading.Lock()

    def help_with(self, shared: _Shared, helpers: int) -> None:
        with self._growing:
            for _ in range(self._threads, helpers):
                threading.Thread(target=self._serve, name="mambair-kernel", daemon=True).start()
                self._threads += 1
        for _ in range(helpers):
            self._waiting.put(shared)

    def _serve(self) -> None:
        while True:
            self._waiting.get().work()


_crew = _Crew()


def in_parallel(run: Run, tasks: int) -> None:
    """Run independent tasks on as many threads as this thread's torch uses.

    Args:
        run: Runs the tasks from its first to before its second argument, outside of the
            interpreter's lock, and raises nothing.
        tasks: How many there are.
    """
    threads = min(torch.get_num_threads(), tasks, os.cpu_count() or 1)
    if threads <= 1:
        run(0, tasks)
        return
    shared = _Shared(run, tasks, min(tasks, PARTS_PER_THREAD * threads))
    _crew.help_with(shared, threads - 1)
    shared.work()
    shared.wait()


def _begin_alone() -> None:
    global _crew  # noqa: PLW0603 - threads, and locks, stayed behind in the parent
    _crew = _Crew()
    # GNU OpenMP waits for ever for threads that only the parent has; with one it asks for none.
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_alone)
