"""How fast networks run on this GPU, whole and in tiles, and where the time goes."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.profiler import ProfilerActivity, profile

from mambair_cli.networks.selective_scan import SelectiveScan
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.memory.footprint import bytes_per_pixel, measured_footprint
from mambair_cli.restoration.restorer import RestoreOptions, restore_tensor
from on_gpu.floors import census, floors
from on_gpu.measure import (
    FORMATS,
    MEBIBYTE,
    Report,
    computing,
    milliseconds,
    peak_memory,
    prepared,
    release,
    replayed,
    wall_milliseconds,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mambair_cli.restoration.device.precision import PrecisionRequest
    from on_gpu.cases import Case
    from on_gpu.settings import Settings

SECONDS = 1.0
TILES = ("auto", 256, 64)
PARTS = (1, 2, 4)  # of the height, for the memory of one pixel
ON_CPU = [ProfilerActivity.CPU]
ON_GPU = [*ON_CPU, ProfilerActivity.CUDA]
# Kernels by name, the first pattern that matches; names of libraries' kernels and of PyTorch's.
STAGES = (
    ("scan", r"scan|adjoint|selective"),
    ("depthwise", r"depthwise"),
    ("norms", r"norm|gate|residual|channel_sums"),
    ("attention", r"attention|flash|fmha|softmax"),
    ("sorting", r"sort|radix|argmax"),
    ("convolutions", r"conv|fprop|implicit|cudnn"),
    ("products", r"gemm|gemv|nvjet|cutlass|splitk|cublas|::addmm|::mm|::bmm"),
    ("copies", r"copy|memcpy|memset|cat|permute|transpose|nchw|nhwc|pixel|gather|index"),
    ("other element-wise", r"elementwise|reduce|vectorized|aten::"),
)


def time_whole(
    run: Callable[[Tensor], Tensor], inputs: list[Tensor], *, graph: bool = False
) -> dict[str, float]:
    """Milliseconds and peak memory of whole images, launched one by one or replayed as a graph."""
    device = inputs[0].device
    if not graph:
        return milliseconds(run, inputs, SECONDS) | peak_memory(partial(run, inputs[0]), device)
    if device.type != "cuda":
        return {}
    replay = replayed(run, inputs[0])
    return milliseconds(replay, inputs, SECONDS) | {
        "peak_reserved_MiB": round(torch.cuda.memory_reserved() / 2**20, 1)
    }


def whole(report: Report, settings: Settings, case: Case) -> None:
    """Whole images in every number format, and small ones in bf16 with plain PyTorch's scan."""
    device = settings.device
    network, inputs = case.network(device, settings.scan), case.inputs(device)

    def timed(number_format: str, *, graph: bool) -> dict[str, float]:
        release()
        with computing(number_format, device):
            return time_whole(prepared(network, number_format), inputs, graph=graph)

    for number_format in formats_of(settings, case):
        for how, graph in ways_of(settings, case):
            report.attempt(partial(timed, number_format, graph=graph), "whole", number_format, how)
    if settings.on_gpu and case.is_small:
        set_scan_backend(network, "torch")
        report.attempt(partial(timed, "bf16", graph=False), "backends_bf16", "torch")


def formats_of(settings: Settings, case: Case) -> tuple[str, ...]:
    """The number formats that are measured: on a CPU one that every CPU has."""
    if not settings.on_gpu:
        return FORMATS[-1:]
    return FORMATS if case.is_small else (FORMATS[0], FORMATS[-1])


def ways_of(settings: Settings, case: Case) -> tuple[tuple[str, bool], ...]:
    """Launched one by one, and as a graph where that can pay."""
    launched, graph = ("launched", False), ("graph", True)
    return (launched, graph) if settings.on_gpu and case.is_small else (launched,)


def tiles(report: Report, settings: Settings, case: Case) -> None:
    """Images that start and end in the host's memory, through the engine, in tiles."""
    device = settings.device
    network = case.network(device, settings.scan)
    image = case.inputs(torch.device("cpu"), count=1)[0]

    def timed(tile: int | str, precision: PrecisionRequest) -> dict[str, float]:
        release()
        options = RestoreOptions(tile=tile, precision=precision)  # type: ignore[arg-type]
        run = partial(restore_tensor, network, image, case.spec, options)
        return wall_milliseconds(run) | peak_memory(run, device)

    for precision in ("bf16", "fp32")[0 if settings.on_gpu else 1 :]:
        for tile in (16,) if case.quick else TILES:
            report.attempt(partial(timed, tile, precision), "tiles", precision, str(tile))


def footprint(report: Report, settings: Settings, case: Case) -> None:
    """Peak memory at several sizes beside the model that tiles are planned from."""
    network = case.network(settings.device, settings.scan)
    for precision in ("bf16", "fp32"):
        report.attempt(
            partial(_footprint, network, case, precision, settings), "footprint", precision
        )


def _footprint(
    network: nn.Module, case: Case, precision: str, settings: Settings
) -> dict[str, object]:
    scan = next(m.scan.name for m in network.modules() if isinstance(m, SelectiveScan))
    peaks = {}
    for part in PARTS if settings.on_gpu else ():
        x = case.inputs(settings.device, count=1)[0][:, :, : case.height // part]
        with computing(precision, settings.device):
            run = partial(prepared(network, precision), x)
            run()
            peak = peak_memory(run, settings.device)
        over = peak["peak_allocated_MiB"] - peak["held_before_MiB"]
        peaks[x.shape[2] * x.shape[3]] = round(over * MEBIBYTE)
    predicted = bytes_per_pixel(case.config, precision, scan, settings.device.type)  # type: ignore[arg-type]
    row: dict[str, object] = {"predicted_bytes_per_pixel": predicted, "peak_bytes": peaks}
    if peaks:
        fitted = measured_footprint(peaks, predicted)
        row |= {
            "measured_bytes_per_pixel": round(fitted.per_pixel, 1),
            "fixed_MiB": round(fitted.fixed / MEBIBYTE, 1),
            "safe": fitted.safe,
        }
    return row


def stage_of(kernel: str) -> str:
    """The stage that a kernel belongs to, by its name."""
    lower = kernel.lower()
    found = (stage for stage, pattern in STAGES if re.search(pattern, lower))
    return next(found, "everything else")


def kernel_times(run: Callable[[Tensor], Tensor], x: Tensor) -> dict[str, tuple[float, int]]:
    """Milliseconds and calls of each kernel (each operator on a CPU) in one pass."""
    on_gpu = x.device.type == "cuda"
    with profile(activities=ON_GPU if on_gpu else ON_CPU) as profiled:
        run(x)
        if on_gpu:
            torch.cuda.synchronize()
    times = {}
    for event in profiled.key_averages():
        if on_gpu and event.device_type.name != "CUDA":
            continue
        spent = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        times[event.key] = (spent / 1e3, event.count)
    return times


def stages(report: Report, settings: Settings, case: Case) -> None:
    """Time of each stage in a profiled pass beside its floors, and the kernels that take most."""
    device = settings.device
    network, (x, *_) = case.network(device, settings.scan), case.inputs(device, count=1)
    works = census(case.config, case.height, case.width)
    measured = settings.folder / "ceilings.json"
    ceilings = json.loads(measured.read_text()) if measured.exists() else {}
    for number_format in ("bf16", "fp32")[0 if settings.on_gpu else 1 :]:
        with computing(number_format, device):
            run = prepared(network, number_format)
            run(x)
            times = kernel_times(run, x)
        spent: dict[str, float] = defaultdict(float)
        for kernel, (taken, _) in times.items():
            spent[stage_of(kernel)] += taken
        try:
            least = floors(works, ceilings, number_format)
        except (KeyError, TypeError):
            least = {}  # some ceilings were not measured
        table = {
            stage: {"measured_ms": round(spent.get(stage, 0.0), 4), **least.get(stage, {})}
            for stage in sorted({*spent, *least}, key=lambda s: -spent.get(s, 0.0))
        }
        ranked = sorted(times.items(), key=lambda item: -item[1][0])[:25]
        report.put(table, "stages", number_format)
        report.put(
            {name[:120]: {"ms": round(ms, 4), "calls": calls} for name, (ms, calls) in ranked},
            "kernels",
            number_format,
        )
