"""What a forked process must leave alone: threads, and locks, that stayed behind in its parent."""

from __future__ import annotations

import os
import threading

import torch

_forked = False
# Numba's portable thread pool must not be entered twice.
_one_kernel_at_a_time = threading.Lock()


def is_forked() -> bool:
    """Tell whether this process was forked from one that may have started threads."""
    return _forked


def kernel_lock() -> threading.Lock:
    """Return the lock of whoever runs a kernel on several threads."""
    return _one_kernel_at_a_time


def _begin_alone() -> None:
    global _forked, _one_kernel_at_a_time  # noqa: PLW0603 - the state of a process
    _forked = True
    _one_kernel_at_a_time = threading.Lock()
    # GNU OpenMP waits for ever for threads that only the parent has; with one it asks for none.
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_alone)
