"""Batches of tiles on their way to a device, through a network, and back.

On a GPU the copies run beside the computation: while batch i is computed, batch i+1 is uploaded,
and batch i-1 is downloaded and handed out. Pinned memory is what allows it; torch keeps and reuses
such buffers and knows which copies still need them, so none are kept here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

Run = Callable[[Tensor], Tensor]


def pinned(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Return an uninitialised tensor in main memory that a GPU can read and write by itself."""
    return torch.empty(shape, dtype=dtype, device="cpu", pin_memory=True)


@cache
def _copy_stream(interface: ModuleType, device: torch.device) -> Any:
    """Return the stream of a GPU's copies: one for all images, as torch caches memory for each."""
    return interface.Stream(device)


def direct(batches: Iterator[Tensor], run: Run, device: torch.device) -> Iterator[Tensor]:
    """Restore batches one after the other.

    Args:
        batches: `(g c h w)` each.
        run: What restores a batch on the device.
        device: Where.

    Yields:
        The restored batches, float32, on the device that each came from.
    """
    for batch in batches:
        yield run(batch.to(device)).to(batch.device, torch.float32)


def overlapped(
    batches: Iterator[Tensor], run: Run, device: torch.device, interface: ModuleType
) -> Iterator[Tensor]:
    """Restore batches that are in main memory, copying beside the computation.

    Args:
        batches: `(g c h w)` each, on the CPU; the next one is asked for while one is computed.
        run: What restores a batch on the device, without waiting for it.
        device: A GPU.
        interface: Of that GPU: `torch.cuda` or `torch.xpu`.

    Yields:
        The restored batches, float32, on the CPU, each while the next is computed.
    """
    copies = _copy_stream(interface, device)
    arriving = _upload(next(batches, None), device, interface, copies)
    leaving: _Departure | None = None
    while arriving is not None:
        x, arrived = arriving
        interface.current_stream(device).wait_event(arrived)
        restored = run(x).float().contiguous()
        arriving = _upload(next(batches, None), device, interface, copies)
        previous, leaving = leaving, _download(restored, x, interface, copies)
        if previous is not None:
            yield previous.landed()
        del previous
    if leaving is not None:
        yield leaving.landed()


@dataclass(frozen=True)
class _Departure:
    """A restored batch on its way to main memory.

    Attributes:
        result: Where it will be.
        copied: Event after the copy.
        held: Tensors on the device that nothing may overwrite before: the restored batch, and the
            one that it was made of, whose memory the next upload would take while it is read.
    """

    result: Tensor
    copied: Any
    held: tuple[Tensor, ...]

    def landed(self) -> Tensor:
        self.copied.synchronize()
        return self.result


def _upload(
    batch: Tensor | None, device: torch.device, interface: ModuleType, copies: Any
) -> tuple[Tensor, Any] | None:
    if batch is None:
        return None
    buffer = pinned(batch.shape, batch.dtype).copy_(batch)
    with interface.stream(copies):
        return buffer.to(device, non_blocking=True), copies.record_event()


def _download(restored: Tensor, x: Tensor, interface: ModuleType, copies: Any) -> _Departure:
    buffer = pinned(restored.shape, restored.dtype)
    copies.wait_stream(interface.current_stream(restored.device))
    with interface.stream(copies):
        buffer.copy_(restored, non_blocking=True)
        return _Departure(buffer, copies.record_event(), (restored, x))
