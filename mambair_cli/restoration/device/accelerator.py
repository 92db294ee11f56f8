"""What the engine asks of a GPU itself: streams, events, graphs, cached memory."""

from __future__ import annotations

from types import ModuleType

import torch


def interface_of(device: torch.device) -> ModuleType | None:
    """Returns torch's interface to a GPU that copies beside computing, or None for other devices.

    Args:
        device: Where a network runs.

    Returns:
        `torch.cuda` (NVIDIA and AMD) or `torch.xpu`; the engine uses `device`, `Stream`, `stream`,
        `current_stream`, `Event` and `empty_cache` of it, and `graph` and `CUDAGraph` where there
        are any.
    """
    interfaces: dict[str, ModuleType] = {"cuda": torch.cuda, "xpu": torch.xpu}
    return interfaces.get(device.type)
