"""Runs kernels on one thread and on several, and exits with an error where that shows.

Tests have one thread. This is run as a program, with several: PyTorch's, or ours.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from scan_cases import scan_inputs, values_and_gradients
from torch import nn

from mambair_cli.kernels import threads as kernel_threads
from mambair_cli.kernels.block.ops_cpu import FUSED
from mambair_cli.kernels.machine_code import Entry
from mambair_cli.kernels.numba_compiler import kernel, machine_code
from mambair_cli.kernels.scan import numba_cpu
from mambair_cli.kernels.threads import in_parallel

THREADS = 4


def scanned(width: int) -> list[torch.Tensor]:
    """Values and gradients of a scan over an image of some width."""
    inputs = scan_inputs(2, 12, width, 40, 6, 3)
    return values_and_gradients(numba_cpu.selective_scan_2d, inputs, torch.ones_like(inputs[0]))


def steps() -> list[torch.Tensor]:
    """Values and gradients of the steps around the scan."""
    torch.manual_seed(0)
    x = torch.randn(2, 9, 11, 40, requires_grad=True)
    norm, conv = nn.LayerNorm(40), nn.Conv2d(40, 40, 3, padding=1, groups=40)
    results = [FUSED.norm(x, norm), FUSED.norm_gate(x, x, norm), FUSED.depthwise(x, conv, "silu")]
    gradients = torch.autograd.grad(sum(y.square().sum() for y in results), [x, conv.weight])
    return [*(y.detach() for y in results), *gradients]


@kernel(floats=0)
def nothing(first, last):
    """Only its code that takes parts is of use."""


def kernel_of(run: Callable[[int, int], None]) -> Entry:
    """A kernel that is Python's: given the first of its tasks and the one after its last."""
    numbers = [ctypes.c_int64] * 2
    call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *numbers)(
        lambda _result, _exception, first, last: run(first, last) or 0
    )
    taking = machine_code(nothing).loaded()
    address = ctypes.cast(call, ctypes.c_void_p).value
    assert address
    return Entry(call, address, taking.take_parts, taking.engine)


def parts_of(tasks: int) -> list[tuple[int, int]]:
    """In which parts tasks are run, each of which takes a while, and on how many threads."""
    parts: list[tuple[int, int]] = []
    workers = set()

    def run(first: int, last: int) -> None:
        time.sleep(0.01)
        workers.add(threading.get_ident())
        parts.append((first, last))

    in_parallel(kernel_of(run), [], tasks)
    assert len(workers) <= max(1, min(torch.get_num_threads(), os.cpu_count() or 1))
    return sorted(parts)


def main() -> None:
    """Compare one thread with several, and one Python thread with two at once."""
    results = {}
    for threads in (1, 2, THREADS, 1000):
        torch.set_num_threads(threads)
        for tasks in (1, 3, 50):
            parts = parts_of(tasks)
            assert [i for first, last in parts for i in range(first, last)] == list(range(tasks))
        results[threads] = [*scanned(9), *steps()]
    for threads, several in results.items():
        for i, (one, other) in enumerate(zip(results[1], several, strict=True)):
            assert torch.allclose(one, other, rtol=1e-5, atol=1e-5), (threads, i)
    torch.set_num_threads(THREADS)
    widths = [9 + i % 3 for i in range(12)]
    alone = [scanned(width) for width in widths]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(scanned, widths))
    for one, other in zip(alone, together, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        kernel_threads._openmp = lambda: None
    else:
        openmp = sys.platform == "linux" and torch.backends.openmp.is_available()
        assert (kernel_threads._openmp() is not None) == openmp
    main()
