"""Steps of `ops.py` that MambaIRv2 alone takes, on Numba kernels: attention, sorting, products."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from mambair_cli.kernels.block import attention, ops
from mambair_cli.kernels.block.attention import Windows
from mambair_cli.kernels.numba_kernel import Kernel
from mambair_cli.kernels.numba_launch import (
    FLAT,
    LANES,
    flat,
    launch,
    padded,
    scratch,
    tasks_for,
)
from mambair_cli.kernels.parameters import made_once, recorded
from mambair_cli.kernels.scan.numba_cpu import LOG2_E

_LONG: dict[str, Any] = {"dtype": torch.int64, "device": "cpu"}
_PRODUCT = Kernel("mambair_cli.kernels.block.product_cpu", "product")
# As the kernel has them: rows of a block, and rows that a part of the work has at least.
PRODUCT_ROWS, PRODUCT_CHUNK = LANES // 2, 64
# Weights of a layer from which on the kernel is faster than PyTorch's product alone.
WIDE = 1 << 14
_SORT_BY_CLASS = Kernel("mambair_cli.kernels.block.classes_cpu", "sort_by_class")
_ATTEND = Kernel("mambair_cli.kernels.block.attention_cpu", "window_attention")


def dense(x: Tensor, layer: nn.Linear | nn.Conv2d, activation: str) -> Tensor:
    """See `ops.Ops`; what is narrow and plain, has gradients or half precision is PyTorch's."""
    weight, bias = layer.weight, layer.bias
    n, k = weight.shape[:2]
    rows = x.numel() // k
    if (
        rows < PRODUCT_ROWS
        or (activation == "none" and weight.numel() < WIDE)
        or bias is None
        or activation == "silu"
        or {x.dtype, weight.dtype, bias.dtype} != {torch.float32}
        or torch.is_autocast_enabled("cpu")
        or recorded((x, weight, bias))
    ):
        return ops.dense(x, layer, activation)
    weights, tasks = padded(weight, _columns), tasks_for(-(-rows // PRODUCT_CHUNK))
    out = torch.empty(*x.shape[:-1], n, **FLAT)
    launch(
        _PRODUCT, tasks, flat(x), weights, padded(bias), out,
        rows, k, n, weights.shape[1], activation == "gelu", tasks,
    )  # fmt: skip
    return out


def _columns(weight: Tensor) -> Tensor:
    return weight.flatten(1).t()


def sort_by_class(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See `ops.Ops`."""
    b, length, count = scores.shape
    found = [torch.empty(b * length, **_LONG) for _ in range(3)]
    counters = torch.empty(b * (count + 1), **_LONG)
    launch(_SORT_BY_CLASS, b, flat(scores.float()), *found, counters, length, count)
    classes, order, places = found
    return classes.view(b, length), order, places


def attend(qkv: Tensor, table: Tensor, windows: Windows) -> Tensor:
    """See `ops.Ops`; gradients, half precision and windows of an odd side are PyTorch's."""
    if recorded((qkv, table)) or qkv.dtype != torch.float32 or windows.side % 2:
        return attention.attend(qkv, table, windows)
    b, h, w, width = qkv.shape
    side, c = windows.side, width // 3
    biases = made_once(table, _biases, "kernel")
    apart = _apart(side, windows.shift)
    out = torch.empty(b, h, w, c, **FLAT)
    count = b * (h // side) * (w // side)
    tasks, room = tasks_for(count), _attention_room(c // windows.heads, side)
    launch(
        _ATTEND, tasks, flat(qkv), biases, apart, out, scratch(tasks, room),
        h, w, c, windows.heads, side, windows.shift, biases.shape[1], room, tasks, count,
    )  # fmt: skip
    return out


def _biases(table: Tensor) -> Tensor:
    """Lay out a table of biases, `(heads (2 side-1)**2 + LANES)`: vectors reach beyond its end."""
    return nn.functional.pad(table.detach().float().t() * LOG2_E, (0, LANES)).contiguous()


@functools.cache
def _apart(side: int, shift: int) -> Tensor:
    """Make the four lines of `attention_cpu.window_attention`."""
    behind = torch.arange(side + LANES, device="cpu") >= side - shift
    lines = [torch.zeros_like(behind), behind, ~behind, torch.ones_like(behind)]
    return torch.stack(lines).to(**FLAT) * (attention.APART * LOG2_E)


def _attention_room(each: int, side: int) -> int:
    """Count what a task of `attention_cpu.window_attention` works in: keys, values, queries."""
    filled = each + -each % 4
    scores = max(64, 2 * side)
    return (each + filled) * (side**2 + 2 * LANES) + scores * 2 * LANES
