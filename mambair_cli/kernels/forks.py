"""What a forked process must leave alone: threads, and locks, that stayed behind in its parent."""

from __future__ import annotations

import os
import threading

import torch

_has_threads = False
_forked = False
# Numba's portable thread pool must not be entered twice.
_one_kernel_at_a_time = threading.Lock()


def expect_threads() -> None:
    """Note that Numba's threads are started, which no process has that is forked from now on."""
    global _has_threads  # noqa: PLW0603 - the state of a process
    _has_threads = True


def is_forked() -> bool:
    """Tell whether this process was forked from one that had started Numba's threads."""
    return _forked


def kernel_lock() -> threading.Lock:
    """Return the lock of whoever runs a kernel on several threads."""
    return _one_kernel_at_a_time


def _begin_alone() -> None:
    global _forked, _one_kernel_at_a_time  # noqa: PLW0603 - the state of a process
    _forked = _has_threads
    _one_kernel_at_a_time = threading.Lock()
    # GNU OpenMP waits for ever for threads that only the parent has; with one it asks for none.
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_alone)
