"""The machine that figures were measured on."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import torch
from hardware import describe_cpu

if TYPE_CHECKING:
    from on_gpu.measure import Report
    from on_gpu.settings import Settings

QUERY = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit"
PACKAGES = ("torch", "triton", "numba", "safetensors", "mamba-ssm")
TOOLS = ("nvcc", "ninja", "ncu", "gcc")


def step(report: Report, settings: Settings) -> None:
    """GPU, driver, clocks as they are, processor, versions, tools."""
    report.attempt(describe_cpu, "processor")
    report.put(os.cpu_count(), "processors")
    report.put({name: _version(name) for name in PACKAGES}, "packages")
    report.put({name: shutil.which(name) is not None for name in TOOLS}, "tools")
    if settings.on_gpu:
        report.attempt(lambda: _gpu(settings.device), "gpu")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gpu(device: torch.device) -> dict[str, object]:
    properties = torch.cuda.get_device_properties(device)
    asked = subprocess.run(  # noqa: S603
        ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "L2_MiB": properties.L2_cache_size / 2**20,
        "memory_MiB": properties.total_memory // 2**20,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        QUERY: asked.stdout.strip(),
    }
