"""How many chunks a scan is best cut into, and whether fewer registers pay: measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch

from mambair_cli.kernels.scan import triton_forward, triton_gpu
from mambair_cli.kernels.scan.dispatch import TRITON
from mambair_cli.networks.selective_scan import SelectiveScan
from on_gpu.measure import milliseconds

if TYPE_CHECKING:
    from torch import Tensor

    from mambair_cli.kernels.scan.triton_division import Division
    from on_gpu.cases import Case
    from on_gpu.measure import Report
    from on_gpu.settings import Settings

CHUNKS = (22, 33, 44, 55, 66, 88)
REGISTERS = (None, 128, 168)  # the compiler's choice, and what the package asks for
SECONDS = 0.25
QUICK_SIZE = (2, 3)


def limited(named: dict[str, Any], registers: int | None) -> dict[str, Any]:
    """Arguments of a launch with at most so many registers a thread."""
    rest = {name: value for name, value in named.items() if name != "maxnreg"}
    return rest if registers is None else rest | {"maxnreg": registers}


class _Limited:
    """A kernel that is launched with at most so many registers a thread."""

    def __init__(self, kernel: Any, registers: int | None) -> None:
        self._kernel, self._registers = kernel, registers

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*values: Any, **named: Any) -> Any:
            return self._kernel[grid](*values, **limited(named, self._registers))

        return launch


@contextmanager
def cut_into(chunks: int, registers: int | None) -> Iterator[None]:
    """Cuts every scan into so many chunks, or the next smaller number of even length."""
    usual = triton_gpu.divide

    def divide(sequences: int, tokens: int, *rest: Any, **named: Any) -> Division:
        length = -(-tokens // chunks)
        length += length % 2
        return replace(
            usual(sequences, tokens, *rest, **named), length=length, chunks=-(-tokens // length)
        )

    kernel = _Limited(triton_forward.scan_chunks, registers)
    with (
        patch.object(triton_gpu, "divide", divide),
        patch.object(triton_forward, "scan_chunks", kernel),
    ):
        yield


def scan_of(case: Case, device: torch.device, dtype: torch.dtype, size: tuple[int, int]) -> Any:
    """The first scan of a network as a function of its input, and two inputs."""
    scan = next(m for m in case.network(device, "torch").modules() if isinstance(m, SelectiveScan))
    scan.scan = TRITON
    inputs = [torch.randn(1, *size, scan.d_inner, device=device).to(dtype) for _ in range(2)]
    projected = scan.project(inputs[0].float())

    def run(u: Tensor) -> Tensor:
        with torch.inference_mode():
            return scan.run(u, projected)

    return run, inputs


def step(report: Report, settings: Settings, case: Case) -> None:
    """Milliseconds of one block's scan, as the package cuts it and by chunks and registers."""
    device = settings.device
    dtype = torch.bfloat16 if settings.on_gpu else torch.float32
    size = QUICK_SIZE if settings.quick else (case.height, case.width)
    run, inputs = scan_of(case, device, dtype, size)
    timed = partial(milliseconds, run, inputs, 0 if settings.quick else SECONDS)
    report.attempt(timed, "as the package cuts it")
    for registers in REGISTERS:
        for chunks in (3,) if settings.quick else CHUNKS:
            with cut_into(chunks, registers):
                report.attempt(timed, f"maxnreg {registers}", f"{chunks} chunks")
    _choose(report)


def _choose(report: Report) -> None:
    """Names the fastest of all."""
    rows = {
        f"{how}, {chunks}": row["median_ms"]
        for how, table in report.figures.items()
        if how.startswith("maxnreg")
        for chunks, row in table.items()
        if "median_ms" in row
    }
    report.put(min(rows, key=lambda name: rows[name]) if rows else None, "fastest")
