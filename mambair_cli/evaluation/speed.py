"""Throughput and memory of a network, without any data set."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import torch
from torch import nn

from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.restorer import RestoreOptions, restore_tensor

# Width and height in pixels, smallest first: on a CPU a peak is that of all sizes so far.
SIZES = [(64, 64), (128, 128), (320, 180), (256, 256)]
RUNS = 5


@dataclass(frozen=True)
class Speed:
    """How fast images of one size are restored.

    Attributes:
        width: Pixels of the input.
        height: Pixels of the input.
        seconds: Median over the runs.
        fastest: Seconds of the fastest run.
        slowest: Seconds of the slowest run.
        megapixels_per_second: Pixels of results, in millions a second, at the median.
        peak_bytes: Most memory: of the GPU since this size was begun, or of the process so far.
    """

    width: int
    height: int
    seconds: float
    fastest: float
    slowest: float
    megapixels_per_second: float
    peak_bytes: int


def measure_speed(
    network: nn.Module,
    spec: ModelSpec,
    options: RestoreOptions,
    sizes: list[tuple[int, int]],
    runs: int,
) -> Iterator[Speed]:
    """Restore noise of given sizes several times.

    Args:
        network: On its device, evaluation mode.
        spec: Of the network.
        options: Tiles, self-ensemble, precision.
        sizes: Width and height of the inputs, in pixels; smallest first for honest peaks on a CPU.
        runs: Timed runs of each size, after one that is not.

    Yields:
        The results, one for each size as soon as it is there.

    Raises:
        MemoryLimitError: A size does not fit.
    """
    device = next(network.parameters()).device
    for width, height in sizes:
        shape = (1, spec.channels, height, width)
        seeded = torch.Generator("cpu").manual_seed(0)
        x = torch.rand(shape, generator=seeded, dtype=torch.float32, device="cpu")
        reset_peak(device)
        seconds = []
        for _ in range(runs + 1):
            start = time.perf_counter()
            # What comes back is in main memory: on a GPU, too, the work is done by then.
            restore_tensor(network, x, spec, options)
            seconds.append(time.perf_counter() - start)
        timed = seconds[1:]
        median = statistics.median(timed)
        pixels = width * height * spec.scale**2
        yield Speed(
            width,
            height,
            median,
            min(timed),
            max(timed),
            pixels / median / 1e6,
            peak_bytes(device),
        )


def reset_peak(device: torch.device) -> None:
    """Make `peak_bytes` count from now on, where that can be had."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    """Tell the most memory so far: of a GPU since `reset_peak`, else of this process at all."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    # Only there, and the only one that remembers the peak there.
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
