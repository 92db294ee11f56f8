"""How the GPU benchmark measures: clocks, CUDA graphs, memory, number formats, its report."""

from __future__ import annotations

import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from mambair_cli.plain_json import to_json
from mambair_cli.restoration.device.cuda_graphs import EAGER_RUNS, Graphs, empty_cache
from mambair_cli.restoration.device.half_weights import frozen_state, with_half_weights
from mambair_cli.restoration.device.precision import HALF_TYPES, Precision, computing_in

Run = Callable[[Tensor], Any]
FORMATS = ("bf16", "fp16", "tf32", "fp32")
DEFAULT = "default"  # convolutions in TF32, matrix products in float32
MEBIBYTE = 2**20


@dataclass
class Report:
    """What a step found; written after every figure, so that a crash loses nothing before it.

    Attributes:
        path: The JSON file.
        figures: What it holds.
    """

    path: Path
    figures: dict[str, Any] = field(default_factory=dict)

    def put(self, value: object, *keys: str) -> None:
        """Stores a value under nested keys and writes the file."""
        branch = self.figures
        for key in keys[:-1]:
            branch = branch.setdefault(key, {})
        branch[keys[-1]] = value
        partial = self.path.with_suffix(".partial")
        partial.write_text(to_json(self.figures, indent=1) + "\n")
        partial.replace(self.path)

    def attempt(self, measure: Callable[[], object], *keys: str) -> None:
        """Stores what `measure` returns, or the last line of why it failed."""
        try:
            value = measure()
        except Exception as error:  # noqa: BLE001 - whatever fails is the result of this figure
            lines = str(error).strip().splitlines() or [""]
            value = {"error": f"{type(error).__name__}: {lines[0][:300]}"}
            traceback.print_exc()
            release()
        self.put(value, *keys)


def release() -> None:
    """Gives cached memory back, so that the next case starts as the first did."""
    if torch.cuda.is_available():
        empty_cache(torch.cuda)


@contextmanager
def computing(number_format: str, device: torch.device) -> Iterator[None]:
    """Runs in a number format; `default` is what torch does unless told otherwise."""
    with torch.inference_mode():
        if number_format == DEFAULT:
            yield
        else:
            with computing_in(cast(Precision, number_format), device):
                yield


def prepared(network: nn.Module, number_format: str) -> Callable[[Tensor], Tensor]:
    """The network as the engine runs it: with its weights kept in the format."""
    dtype = HALF_TYPES.get(cast(Precision, number_format))
    return network if dtype is None else with_half_weights(network, dtype, frozen_state(network))


def milliseconds(
    run: Run, inputs: Sequence[Tensor], seconds: float, most: int = 100
) -> dict[str, float]:
    """Times a call on inputs taken in turn, after every one of them ran once.

    Args:
        run: What is timed.
        inputs: Several, so that no run finds its input in the cache.
        seconds: Stop after this long, with three runs at least.
        most: Stop after this many runs.

    Returns:
        Median and fastest in milliseconds, and the number of runs. Events of the device on CUDA.
    """
    device = inputs[0].device
    for x in inputs:
        run(x)
    taken: list[float] = []
    started = time.perf_counter()
    while len(taken) < 3 or (time.perf_counter() - started < seconds and len(taken) < most):
        taken.append(_timed(run, inputs[len(taken) % len(inputs)], device))
    return {
        "median_ms": round(statistics.median(taken), 4),
        "fastest_ms": round(min(taken), 4),
        "runs": len(taken),
    }


def _timed(run: Run, x: Tensor, device: torch.device) -> float:
    if device.type != "cuda":
        start = time.perf_counter()
        run(x)
        return 1e3 * (time.perf_counter() - start)
    torch.cuda.synchronize()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    run(x)
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def wall_milliseconds(run: Callable[[], object], least: int = 2) -> dict[str, float]:
    """Times a call that includes copies from and to the host, with the host's clock."""
    run()
    taken = []
    for _ in range(least):
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(1e3 * (time.perf_counter() - start))
    return {"median_ms": round(statistics.median(taken), 3), "runs": least}


def replayed(run: Callable[[Tensor], Tensor], example: Tensor) -> Callable[[Tensor], Tensor]:
    """Records a call as a CUDA graph, as the engine does.

    Args:
        run: Without synchronisation and of fixed shapes.
        example: An input.

    Returns:
        What copies an input of that shape in, replays the graph and copies its output out.

    Raises:
        RuntimeError: It cannot be recorded, or the engine has given up recording in this process.
    """
    told: list[str] = []
    graphs = Graphs(torch.cuda)
    recorded = graphs.recording(object(), "fp32", run, told.append)
    for _ in range(EAGER_RUNS + 1):
        recorded(example)
    if not graphs.held:
        raise RuntimeError(told[0] if told else "an earlier recording failed in this process")
    return recorded


def peak_memory(run: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Peak device memory during a call, everything that was there before it included."""
    if device.type != "cuda":
        return {}
    release()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return {
        "held_before_MiB": round(before / MEBIBYTE, 1),
        "peak_allocated_MiB": round(torch.cuda.max_memory_allocated() / MEBIBYTE, 1),
        "peak_reserved_MiB": round(torch.cuda.max_memory_reserved() / MEBIBYTE, 1),
    }


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """`||actual - expected|| / ||expected||` in float64; NaN where a value was not written."""
    wanted = expected.detach().double().cpu()
    return float((actual.detach().double().cpu() - wanted).norm() / wanted.norm().clamp(min=1e-300))


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Fills every new tensor without content with NaN, so that what a kernel forgot shows."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
