"""What could break rather than be slow: a recorded odd shape, an image beyond 2^31 elements."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from on_gpu.measure import peak_memory, relative_error, release
from torch import Tensor

from mambair_cli.restoration.device.cuda_graphs import EAGER_RUNS
from mambair_cli.restoration.restorer import RestoreOptions, restore_tensor

if TYPE_CHECKING:
    from on_gpu.cases import Case
    from on_gpu.measure import Report
    from on_gpu.settings import Settings

ODD = (910, 1366)  # sides that the U-Net mirrors outward
LARGE = (3000, 4000)
QUICK = (13, 19)
CORNER = 640
INNER = 320


def recording(report: Report, settings: Settings, case: Case) -> None:
    """An odd shape as often as it takes to be recorded as a CUDA graph, and once more.

    Runs after the recording must give what runs before it gave, and memory must still be released.
    """
    network = case.network(settings.device, settings.scan)
    notices: list[str] = []
    options = RestoreOptions(tile=0, precision="bf16" if settings.on_gpu else "fp32")
    x = _image(case, QUICK if settings.quick else ODD)
    first: list[Tensor] = []

    def run() -> dict[str, object]:
        began = time.perf_counter()
        restored = restore_tensor(network, x, case.spec, options, on_notice=notices.append)
        first.append(restored)
        seconds = round(time.perf_counter() - began, 3)
        return {"relative_error": relative_error(restored, first[0]), "seconds": seconds}

    for count in range(1, (2 if settings.quick else EAGER_RUNS + 2) + 1):
        report.attempt(run, "runs", str(count))
        del first[1:]
    report.put(notices, "notices")
    if settings.on_gpu:
        report.attempt(_empty_cache, "memory_released_MiB")


def _empty_cache() -> float:
    before = torch.cuda.memory_reserved()
    torch.cuda.empty_cache()
    return round((before - torch.cuda.memory_reserved()) / 2**20, 1)


def large(report: Report, settings: Settings, case: Case) -> None:
    """A photograph of 12 megapixels whole; a corner of it beside the same corner alone."""
    network = case.network(settings.device, settings.scan)
    precision = "bf16" if settings.on_gpu else "fp32"
    x = _image(case, QUICK if settings.quick else LARGE)
    notices: list[str] = []

    def restored(image: Tensor) -> Tensor:
        options = RestoreOptions(tile=0, precision=precision)  # type: ignore[arg-type]
        return restore_tensor(network, image, case.spec, options, on_notice=notices.append)

    def whole() -> dict[str, Any]:
        release()
        began = time.perf_counter()
        results: list[Tensor] = []
        memory = peak_memory(lambda: results.append(restored(x)), settings.device)
        result = results[0] if results else restored(x)
        inner = INNER * case.spec.scale
        corner = restored(x[:, :, :CORNER, :CORNER])[:, :, :inner, :inner]
        return memory | {
            "seconds": round(time.perf_counter() - began, 3),
            "finite": bool(result.isfinite().all()),
            "mean": round(float(result.mean()), 5),
            "corner_relative_difference": relative_error(result[:, :, :inner, :inner], corner),
        }

    report.attempt(whole, "whole")
    report.put(notices, "notices")
    report.attempt(partial(_plan, network, x, precision, settings), "planned")


def _plan(network: Any, x: Tensor, precision: str, settings: Settings) -> str:
    """How the package itself would run it."""
    from mambair_cli.restoration.plan import limits_of

    limits = limits_of(
        network,
        precision,  # type: ignore[arg-type]
        0,
        batches=settings.on_gpu,
        graphs=settings.on_gpu,
    )
    return str(limits.plan(x.shape[2], x.shape[3], RestoreOptions()))


def _image(case: Case, size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand((1, case.spec.channels, *size), generator=generator)
