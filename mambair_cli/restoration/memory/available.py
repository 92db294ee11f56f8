"""How much memory there is: what the system has free, within the limits set to this process.

A CPU gives no out-of-memory exception that could be caught: the system kills the process. So tiles
are planned from what is available before anything runs, container limits included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

MEBIBYTE = 2**20
# On a GPU, for what torch does not count as its own: libraries' workspaces and loaded kernels.
WORKSPACE_RESERVE = 256 * MEBIBYTE


def in_mebibytes(amount: float) -> str:
    """Tell an amount of memory, which never looks like none where there is some.

    Args:
        amount: Bytes; less than none is told as none.
    """
    whole = round(max(0, amount) / MEBIBYTE)
    return "less than 1 MiB" if whole == 0 < amount else f"{whole} MiB"


def available_memory(device: torch.device) -> int:
    """Ask how much memory can be allocated now.

    Args:
        device: Where the network runs.

    Returns:
        Bytes; on a GPU with what torch holds in its cache and what recorded graphs hold, which is
        released before a plan is given up. Counting graphs as taken would plan the same image
        differently after a graph was recorded.
    """
    if device.type in ("cuda", "xpu"):
        here: Any = torch.get_device_module(device)
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
    """Ask how much main memory can be allocated now: what is free, or less where a limit is lower.

    Args:
        root: Where the `proc` and `sys` file systems tell of control groups.

    Returns:
        Bytes, at least 0.
    """
    import psutil

    system = int(psutil.virtual_memory().available)
    return max(0, min([system, *_control_group_headrooms(root), *_process_limit_headrooms()]))


def available_main_memory(max_memory: int | None) -> int:
    """Ask how much main memory this process can still take.

    Args:
        max_memory: Bytes that all of the process stays below; None for no such limit.

    Returns:
        Bytes, at least 0.
    """
    available = available_system_memory()
    if max_memory is None:
        return available
    return max(0, min(available, max_memory - resident_memory()))


def resident_memory() -> int:
    """Ask how many bytes of main memory this process takes."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def _process_limit_headrooms() -> Iterator[int]:
    """Yield the bytes left under each limit that `ulimit` set to this process."""
    import psutil

    # As psutil knows them: on Linux and FreeBSD.
    if hasattr(psutil, "RLIMIT_AS"):
        process = psutil.Process()
        used = process.memory_info()
        for limit, taken in ((psutil.RLIMIT_AS, used.vms), (psutil.RLIMIT_DATA, used.data)):
            soft, _ = process.rlimit(limit)
            if soft != psutil.RLIM_INFINITY:
                yield soft - taken


def _control_group_headrooms(root: Path) -> Iterator[int]:
    """Yield the bytes left under each limit of this process's control groups and their parents."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            for mount in (root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"):
                yield from _headrooms(mount, path, _VERSION_2)
        elif "memory" in controllers.split(","):
            yield from _headrooms(root / "sys/fs/cgroup/memory", path, _VERSION_1)


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
