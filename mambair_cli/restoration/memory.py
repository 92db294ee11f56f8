"""How much memory there is, how much a network needs, and the tile size that follows from both.

A CPU gives no out-of-memory exception that could be caught: the system kills the process. So the
tile is planned from what is available before anything runs, container limits included.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from mambair_cli.errors import MemoryLimitError
from mambair_cli.networks.mambair import UPSAMPLER_CHANNELS
from mambair_cli.networks.spec import MambaIRConfig, NetworkConfig
from mambair_cli.restoration.precision import Precision

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


def available_memory(device: torch.device) -> int:
    """Memory that can be allocated now.

    Args:
        device: Where the network runs.

    Returns:
        Bytes; on a GPU including what torch holds in its cache.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
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
    return max(0, min([system, *_control_group_headrooms(root)]))


@dataclass(frozen=True)
class _Cost:
    """Bytes at the peak of a forward pass, fitted to the growth of a process.

    Attributes:
        block: For each value of one block's activations (`_block_values`), fused scan.
        unfused_block: The same without fused kernels.
        upsampler: For each value of the upsampler's largest activation.
    """

    block: float
    unfused_block: float
    upsampler: float


# The reference scan stores `(b 4d l n)` float32: the discrete A and B u, B and C for each channel,
# and a product on the way.
_REFERENCE_STATES = 4 * 4 * 5


# Measured on a CPU at 128x128 and 256x256 for the light, classic x3, x4 and x8, denoising and U-Net
# networks: 7.2 to 9.7 bytes for each value of a block in fp32, 6.7 to 8.1 in bf16; 21 to 25
# without fused kernels, the states of the reference scan not counted; 8.9 and 5.3 for each value of
# the upsampler.
_HALF = _Cost(block=8.5, unfused_block=26.0, upsampler=6.0)
_COSTS: dict[Precision, _Cost] = {
    "fp32": _Cost(block=10.0, unfused_block=26.0, upsampler=9.5),
    "bf16": _HALF,
    "fp16": _HALF,
}


def bytes_per_pixel(config: NetworkConfig, precision: Precision, scan: str = "auto") -> int:
    """Peak memory of a network for each pixel of its input, weights not counted.

    Args:
        config: Which network.
        precision: What it computes in.
        scan: Name of its scan backend.

    Returns:
        Bytes, rounded up to the safe side.
    """
    cost = _COSTS[precision]
    block = cost.block * _block_values(config)
    if scan == "reference":
        block = cost.unfused_block * _block_values(config) + _REFERENCE_STATES * _states(config)
    return math.ceil(max(block, cost.upsampler * _upsampler_values(config)))


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
    least = min(height, SMALLEST_AUTO_TILE) * min(width, SMALLEST_AUTO_TILE) * per_pixel
    if least > available:
        raise MemoryLimitError(
            f"the smallest tile needs {least / MEBIBYTE:.0f} MiB of memory, "
            f"{max(0, available) / MEBIBYTE:.0f} MiB are available",
            "close other programs, raise the container's limit, or use a smaller model",
        )
    pixels = int(PLANNED_SHARE * available) // per_pixel
    if height * width <= pixels:
        return 0
    side = math.isqrt(pixels) // 8 * 8
    return min(max(side, SMALLEST_AUTO_TILE), LARGEST_AUTO_TILE)


def fitting_batch(pixels: int, per_pixel: int, available: int) -> int:
    """How many of the four self-ensemble members of one shape fit in memory together.

    Args:
        pixels: Input pixels of one member.
        per_pixel: Bytes of working memory for each input pixel.
        available: Bytes that the network may use.

    Returns:
        4, 2 or 1.
    """
    fitting = PLANNED_SHARE * available / (pixels * per_pixel)
    return next((batch for batch in (4, 2) if batch <= fitting), 1)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch means that memory ran out; on a CPU it has no class of its own."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        sign in str(error)
        for sign in ("DefaultCPUAllocator: ", "MPS backend out of memory", "Cannot allocate memory")
    )


def _block_values(config: NetworkConfig) -> int:
    """Values for each pixel in a block's widest moment: the scan's input, output and gate."""
    # The U-Net's widest blocks at full resolution are those after its decoder's last concatenation.
    c = _channels(config)
    d, n, r = int(config.mlp_ratio * c), config.d_state, math.ceil(c / 16)
    return 4 * d + 4 * (r + 2 * n) + 4 * c


def _states(config: NetworkConfig) -> int:
    """State values for each pixel in one direction of a block's scan."""
    return int(config.mlp_ratio * _channels(config)) * config.d_state


def _channels(config: NetworkConfig) -> int:
    return config.embed_dim if isinstance(config, MambaIRConfig) else 2 * config.dim


def _upsampler_values(config: NetworkConfig) -> int:
    if not isinstance(config, MambaIRConfig) or not config.upsampler:
        return 0
    channels = UPSAMPLER_CHANNELS if config.upsampler == "pixelshuffle" else config.channels
    return channels * config.scale**2


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
