"""The devices of this machine, and what each can do."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

GIB = 2**30
CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Device:
    """One device.

    Attributes:
        name: What its maker calls it.
        precisions: Number formats that `--precision` takes on it; none if it cannot be used.
        architecture: CUDA's compute capability such as `9.0`, ROCm's such as `gfx942`, or None.
        memory_total: Bytes of its own memory, or None.
        memory_free: Bytes of it that nobody uses now, or None.
        problem: Why it cannot be used, or None.
    """

    name: str
    precisions: tuple[str, ...] = ()
    architecture: str | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    problem: str | None = None

    def __str__(self) -> str:
        """One line for people."""
        parts = [self.name]
        if self.architecture is not None:
            compute = "" if self.architecture.startswith("gfx") else "compute capability "
            parts.append(compute + self.architecture)
        if self.memory_total is not None and self.memory_free is not None:
            free, total = self.memory_free / GIB, self.memory_total / GIB
            parts.append(f"{free:.1f} of {total:.1f} GiB free")
        if self.precisions:
            parts.append("/".join(self.precisions))
        return ", ".join(parts) + (f": {self.problem}" if self.problem else "")


def found_devices() -> dict[torch.device, Device]:
    """Look at every device that torch sees; one that fails on being asked says so itself."""
    import torch

    found = {torch.device("cpu"): Device(processor(), _precisions(torch.device("cpu")))}
    for kind, interface in (("cuda", torch.cuda), ("xpu", torch.xpu)):
        for index in range(interface.device_count()):
            device = torch.device(kind, index)
            found[device] = _accelerator(device, interface)
    if torch.backends.mps.is_available():
        device = torch.device("mps")
        total = torch.mps.recommended_max_memory()
        free = total - torch.mps.driver_allocated_memory()
        found[device] = Device("Apple GPU", _precisions(device), None, total, free)
    return found


def torch_platform() -> str:
    """Tell what the installed torch was built for, such as `CUDA 13.0`, `ROCm 7.1` or `CPU`."""
    import torch

    versions = {
        "CUDA": torch.version.cuda,
        "ROCm": torch.version.hip,
        "XPU": getattr(torch.version, "xpu", None),
    }
    built = [f"{name} {version}" for name, version in versions.items() if version]
    if torch.backends.mps.is_built():
        built.append("MPS")
    return ", ".join(built) or "CPU"


def _accelerator(device: torch.device, interface: Any) -> Device:
    """Ask a GPU; `interface` is `torch.cuda` or `torch.xpu`."""
    try:
        properties = interface.get_device_properties(device)
        free, total = interface.mem_get_info(device)
        return Device(properties.name, _precisions(device), _architecture(properties), total, free)
    except RuntimeError as error:
        # A driver that does not fit, or a GPU that another process has for itself.
        return Device("not usable", problem=str(error).partition("\n")[0])


def _architecture(properties: Any) -> str | None:
    if name := getattr(properties, "gcnArchName", None):
        return str(name).partition(":")[0]
    if hasattr(properties, "major"):
        return f"{properties.major}.{properties.minor}"
    return None


def _precisions(device: torch.device) -> tuple[str, ...]:
    from mambair_cli.errors import BackendError
    from mambair_cli.restoration.device.precision import PRECISIONS, resolve_precision

    usable: list[str] = []
    for precision in PRECISIONS:
        if precision == "auto":
            continue
        try:
            usable.append(resolve_precision(precision, device))
        except BackendError:
            continue
    return tuple(usable)


def usable_processors() -> int:
    """Count the processors that this process may run on."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def processor() -> str:
    """Find the name that the maker of the processor gave it."""
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
