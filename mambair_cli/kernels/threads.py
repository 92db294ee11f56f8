"""Threads that share the tasks of one kernel, and what becomes of them in a forked process.

Where PyTorch's threads are GNU OpenMP's, kernels run on the same ones: threads of two pools would
keep each other from the processors. Elsewhere threads of ours help whoever launches a kernel.
Either way each thread takes parts that no other has begun, outside of the interpreter's lock.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

import torch

from mambair_cli.kernels.machine_code import Entry
from mambair_cli.kernels.parts import Shared, shared

# Parts of the work for each thread: some are slower, or come late.
PARTS_PER_THREAD = 4


class _Helped:
    """Tasks that threads of ours help with.

    Args:
        entry: The kernel.
        tasks: What its threads are given.
        parts: How many there are.
    """

    def __init__(self, entry: Entry, tasks: Shared, parts: int) -> None:
        self._entry, self._tasks, self._left = entry, tasks, parts
        self._counting, self._done = threading.Lock(), threading.Lock()
        self._done.acquire()

    def work(self) -> None:
        """Run parts until none is left."""
        ran = self._entry.take_parts(ctypes.addressof(self._tasks))
        with self._counting:
            self._left -= ran
            if ran and not self._left:
                self._done.release()

    def wait(self) -> None:
        """Wait for the parts that others have taken; not for threads that have taken none."""
        self._done.acquire()


class _Crew:
    """Threads of this process, as many as were ever asked for."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[_Helped] = SimpleQueue()
        self._threads = 0
        self._growing = threading.Lock()

    def run(self, entry: Entry, tasks: Shared, parts: int, threads: int) -> None:
        """Run tasks here, with the help of other threads."""
        with self._growing:
            for _ in range(self._threads, threads - 1):
                threading.Thread(target=self._serve, name="mambair-kernel", daemon=True).start()
                self._threads += 1
        helped = _Helped(entry, tasks, parts)
        for _ in range(min(threads, parts) - 1):
            self._waiting.put(helped)
        helped.work()
        helped.wait()

    def _serve(self) -> None:
        while True:
            self._waiting.get().work()


_crew = _Crew()


@functools.cache
def _openmp() -> Any:
    """Find what has PyTorch's own threads run a function; None where they are not GNU OpenMP's."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        # The one that PyTorch's library is bound to: a process may hold several.
        run = ctypes.CDLL(torch._C.__file__).GOMP_parallel  # noqa: SLF001
    except (AttributeError, OSError):
        return None
    run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    run.restype = None
    return run


@functools.cache
def _processors() -> int:
    """Count this machine's processors, once: the question takes as long as a small kernel."""
    return os.cpu_count() or 1


def in_parallel(entry: Entry, numbers: Sequence[int], tasks: int) -> None:
    """Run the independent tasks of a kernel on as many threads as this thread's torch uses.

    Args:
        entry: The kernel.
        numbers: Its arguments before the first of its tasks and the one after its last.
        tasks: How many there are.
    """
    threads = min(torch.get_num_threads(), _processors())
    if min(threads, tasks) <= 1:
        entry(*numbers, 0, tasks)
        return
    parts = min(tasks, PARTS_PER_THREAD * threads)
    given = shared(entry.address, tasks, parts, numbers)
    if (run := _openmp()) is not None:
        # With all of them, however few the parts: OpenMP ends threads that it does not need.
        run(entry.take_parts, ctypes.addressof(given), threads, 0)
    else:
        _crew.run(entry, given, parts, threads)


def _begin_alone() -> None:
    global _crew  # noqa: PLW0603 - threads, and locks, stayed behind in the parent
    _crew = _Crew()
    # GNU OpenMP waits for ever for threads that only the parent has; with one it asks for none.
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_alone)
