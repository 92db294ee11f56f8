"""What could break rather than be slow: recorded odd shapes, an image beyond 2^31 elements."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from mambair_cli.restoration.device.cuda_graphs import EAGER_RUNS
from mambair_cli.restoration.plan import limits_of
from mambair_cli.restoration.restorer import RestoreOptions, restore_tensor
from on_gpu.measure import computing, peak_memory, prepared, relative_error, release, replayed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from on_gpu.cases import Case
    from on_gpu.measure import Report
    from on_gpu.settings import Settings

# Sides that the U-Net mirrors outward: of a photograph, and of what the engine records.
PHOTOGRAPH, RECORDED = (910, 1366), (50, 70)
LARGE = (3000, 4000)
QUICK = (13, 19)
CORNER, INNER = 640, 320  # pixels of a corner that is run alone, and of it those that are compared


def recording(report: Report, settings: Settings, case: Case) -> None:
    """Odd shapes as often as the engine takes to record them and once more, then by force.

    What comes after a recording must be what came before it, and memory must still be released.
    """
    network = case.network(settings.device, settings.scan)
    for size in (QUICK,) if settings.quick else (PHOTOGRAPH, RECORDED):
        name = f"{size[1]}x{size[0]}"
        x = _image(case, size)
        report.attempt(partial(_restored_again, network, case, x, settings), "engine", name)
        if settings.on_gpu:
            report.attempt(partial(_forced, network, x.to(settings.device)), "by force", name)
    if settings.on_gpu:
        report.attempt(_empty_cache, "memory_released_MiB")


def _restored_again(
    network: nn.Module, case: Case, x: Tensor, settings: Settings
) -> dict[str, object]:
    notices: list[str] = []
    options = RestoreOptions(tile=0, precision="bf16" if settings.on_gpu else "fp32")
    results = [
        restore_tensor(network, x, case.spec, options, on_notice=notices.append)
        for _ in range(2 if settings.quick else EAGER_RUNS + 2)
    ]
    errors = [relative_error(restored, results[0]) for restored in results[1:]]
    return {"relative_errors": errors, "notices": notices}


def _forced(network: nn.Module, x: Tensor) -> dict[str, float]:
    run = prepared(network, "bf16")
    with computing("bf16", x.device):
        eager = run(x)
        return {"relative_error": relative_error(replayed(run, x)(x), eager)}


def _empty_cache() -> float:
    before = torch.cuda.memory_reserved()
    torch.cuda.empty_cache()
    return round((before - torch.cuda.memory_reserved()) / 2**20, 1)


def large(report: Report, settings: Settings, case: Case) -> None:
    """A photograph of 12 megapixels as the package plans it, and whole, past the planner."""
    network = case.network(settings.device, settings.scan)
    precision = "bf16" if settings.on_gpu else "fp32"
    x = _image(case, QUICK if settings.quick else LARGE)
    report.attempt(partial(_planned, network, x, precision, settings), "planned")
    report.attempt(partial(_whole, network, x, precision, case.spec.scale, settings), "whole")


def _planned(network: Any, x: Tensor, precision: Any, settings: Settings) -> str:
    on_gpu = settings.on_gpu
    limits = limits_of(network, precision, 0, batches=on_gpu, graphs=on_gpu)
    return str(limits.plan(x.shape[2], x.shape[3], RestoreOptions()))


def _whole(
    network: nn.Module, x: Tensor, precision: str, scale: int, settings: Settings
) -> dict[str, Any]:
    """Its time and memory; the corner of it beside the same corner alone."""
    release()
    x, results, seconds = x.to(settings.device), [], []
    with computing(precision, settings.device):
        run = prepared(network, precision)

        def once() -> None:
            began = time.perf_counter()
            results.append(run(x))
            seconds.append(round(time.perf_counter() - began, 3))

        memory = peak_memory(once, settings.device)
        if not results:
            once()
        corner = run(x[:, :, :CORNER, :CORNER])
    result, inner = results[0], INNER * scale
    return memory | {
        "launched_in_s": seconds[0],
        "finite": bool(result.isfinite().all()),
        "mean": round(float(result.mean()), 5),
        "corner_relative_difference": relative_error(
            result[:, :, :inner, :inner], corner[:, :, :inner, :inner]
        ),
    }


def _image(case: Case, size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand((1, case.spec.channels, *size), generator=generator)
