"""Runs kernels on one thread and on several, and exits with an error where that shows.

Tests have one thread. This is run as a program, with several for torch and for Numba.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
import torch
from scan_cases import scan_inputs, values_and_gradients
from torch import nn

from mambair_cli.kernels import numba_launch
from mambair_cli.kernels.block.ops_cpu import FUSED
from mambair_cli.kernels.scan import numba_cpu

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


def threads_of_a_kernel() -> int:
    """On how many threads a kernel is launched."""
    seen: list[int] = []

    class Spy:
        def parallel(self) -> None:
            seen.append(numba.get_num_threads())

    numba_launch.launch(Spy())
    return seen[0]


def main() -> None:
    """Compare one thread with several, and one Python thread with two at once."""
    assert numba.config.NUMBA_NUM_THREADS == THREADS
    results = {}
    for threads in (1, 2, THREADS, 1000):
        torch.set_num_threads(threads)
        assert threads_of_a_kernel() == min(threads, THREADS)
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
    main()
