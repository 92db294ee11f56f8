"""How much memory there is, and the tile size that follows from it and from a network's need.

A CPU gives no out-of-memory exception that could be caught: the system kills the process. So the
tile is planned from what is available before anything runs, container limits included.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mambair_cli.errors import MemoryLimitError

MEBIBYTE = 2**20

# The rest is left to the allocator's fragments, to image files being read, and to other processes.
PLANNED_SHARE = 0.6
# Below this a tile is mostly overlap, and further from the training crops than the weights allow.
SMALLEST_AUTO_TILE = 64
# An image that fits runs whole. One that does not is no better in larger tiles than this: seams are
# few already, while progress, interruption and a retry after a failure all wait for a whole tile.
LARGEST_AUTO_TILE = 1024
# Assumed where the system tells nothing.
UNKNOWN_MEMORY = 2048 * MEBIBYTE
# On a GPU, for what torch does not count as its own: libraries' workspaces and loaded kernels.
WORKSPACE_RESERVE = 256 * MEBIBYTE


def available_memory(device: torch.device) -> int:
    """Memory that can be allocated now.

    Args:
        device: Where the network runs.

    Returns:
        Bytes; on a GPU with what torch holds in its cache and what recorded graphs hold, which is
        released before a plan is given up. Counting graphs as taken would plan the same image
        differently after a graph was recorded.
    """
    if device.type in ("cuda", "xpu"):
        here: Any = torch.cuda if device.type == "cuda" else torch.xpu
        if hasattr(here, "mem_get_info"):
            free, _ = here.mem_get_info(device)
        else:
            free = here.get_device_properties(device).total_memory - here.memory_reserved(device)
        cached = here.memory_reserved(device) - here.memory_allocated(device)
        return max(0, int(free + cached) - WORKSPACE_RESERVE)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return available_system_memory()


def available_system_memory(root: Path = Path("/")) -> int:
    """Main memory that can be allocated now: the system's, or less if a control group allows less.

    Args:
        root: Where the `proc` and `sys` file systems are found.

    Returns:
        Bytes, at least 0.
    """
    system = _meminfo_available(root)
    if system is None:
        system = _unaided_available()
    return max(0, min([system, *_control_group_headrooms(root), *_process_limit_headrooms(root)]))


def available_main_memory(max_memory: int | None) -> int:
    """Main memory that this process can still take.

    Args:
        max_memory: Bytes that all of the process stays below; None for no such limit.

    Returns:
        Bytes, at least 0.
    """
    available = available_system_memory()
    if max_memory is None:
        return available
    return max(0, min(available, max_memory - resident_memory()))


def resident_memory(root: Path = Path("/")) -> int:
    """Bytes of main memory that this process takes; its peak where the system tells no more."""
    for line in _lines(root / "proc/self/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 0
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def give_back() -> None:
    """Returns freed main memory to the system, where the C library can be asked to.

    glibc keeps it in pieces, and images of ever other sizes leave pieces that none of the next ones
    fits: a process grows for hundreds of images.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def auto_tile(height: int, width: int, per_pixel: int, available: int) -> int:
    """Chooses the tile: the whole image if it fits, else the largest tile that does, within limits.

    Args:
        height: Pixels of the input image.
        width: Pixels of the input image.
        per_pixel: Bytes of working memory for each input pixel.
        available: Bytes that the network may use; memory of the images themselves not counted.

    Returns:
        Largest side of a tile, a multiple of 8; 0 for the whole image.

    Raises:
        MemoryLimitError: Not even the smallest tile fits.
    """
    least = smallest_need(height, width, per_pixel)
    if least > available:
        raise MemoryLimitError(
            f"the smallest tile needs {least / MEBIBYTE:.0f} MiB of memory, "
            f"{max(0, available) / MEBIBYTE:.0f} MiB are available",
            "close other programs, raise the container's limit or --max-memory, or use a smaller "
            "model",
        )
    pixels = int(PLANNED_SHARE * available) // per_pixel
    if height * width <= pixels:
        return 0
    side = math.isqrt(pixels) // 8 * 8
    return min(max(side, SMALLEST_AUTO_TILE), LARGEST_AUTO_TILE)


def smallest_need(height: int, width: int, per_pixel: int) -> int:
    """Bytes that the smallest tile of an image of this size takes; arguments as `auto_tile`."""
    return min(height, SMALLEST_AUTO_TILE) * min(width, SMALLEST_AUTO_TILE) * per_pixel


def fitting(pixels: int, per_pixel: int, available: int) -> int:
    """How many images of one size fit in memory together.

    Args:
        pixels: Input pixels of each.
        per_pixel: Bytes of working memory for each input pixel.
        available: Bytes that the network may use.

    Returns:
        Their number, at least 1.
    """
    return max(1, int(PLANNED_SHARE * available) // (pixels * per_pixel))


# Where torch has no class of its own: the CPU, Apple GPUs, pinned memory, cuBLAS's workspace.
_SIGNS_OF_SHORT_MEMORY = (
    "DefaultCPUAllocator: ",
    "MPS backend out of memory",
    "Cannot allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch means that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        sign in str(error) for sign in _SIGNS_OF_SHORT_MEMORY
    )


def _meminfo_available(root: Path) -> int | None:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _unaided_available() -> int:
    """Without Linux's own count: half of the physical memory, where the system says how much."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return UNKNOWN_MEMORY
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _control_group_headrooms(root: Path) -> Iterator[int]:
    """Bytes left under each memory limit of this process's control groups and their parents."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            for mount in (root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"):
                yield from _headrooms(mount, path, _VERSION_2)
        elif "memory" in controllers.split(","):
            yield from _headrooms(root / "sys/fs/cgroup/memory", path, _VERSION_1)


# Limits of `ulimit`, and the lines that say how much of each is used.
_PROCESS_LIMITS = {"Max address space": "VmSize:", "Max data size": "VmData:"}


def _process_limit_headrooms(root: Path) -> Iterator[int]:
    """Bytes left under each memory limit of this process itself."""
    used = {
        name: int(rest.split()[0]) * 1024
        for line in _lines(root / "proc/self/status")
        for name, _, rest in [line.partition("\t")]
        if name in _PROCESS_LIMITS.values()
    }
    for line in _lines(root / "proc/self/limits"):
        for limit, usage in _PROCESS_LIMITS.items():
            soft = line.removeprefix(limit).split()[0] if line.startswith(limit) else ""
            if soft.isdecimal() and usage in used:
                yield int(soft) - used[usage]


@dataclass(frozen=True)
class _Accounting:
    """File names of one version of control groups, and the key of reclaimable cache in its stat."""

    limits: tuple[str, ...]
    usage: str
    reclaimable: str


_VERSION_1 = _Accounting(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = _Accounting(("memory.max", "memory.high"), "memory.current", "inactive_file")


def _headrooms(mount: Path, path: str, names: _Accounting) -> Iterator[int]:
    # Inside a container the path may be the host's, which is not mounted: its files are missing
    # then, and the mount point itself is the container's group.
    inner = Path(path.lstrip("/"))
    groups = [mount] if ".." in inner.parts else [mount / p for p in (inner, *inner.parents)]
    for group in groups:
        usage = _number(group / names.usage)
        for name in names.limits:
            limit = _number(group / name)
            if limit is not None and usage is not None:
                yield limit - usage + _reclaimable(group, names.reclaimable)


def _reclaimable(group: Path, key: str) -> int:
    for line in _lines(group / "memory.stat"):
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
