"""When and how a dense 3x3 convolution runs on the kernel of `winograd_cpu.py`."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional

from mambair_cli.kernels.instruction_set import target
from mambair_cli.kernels.numba_kernel import Kernel
from mambair_cli.kernels.numba_launch import FLAT, LANES, flat, launch, padded, scratch, tasks_for
from mambair_cli.kernels.parameters import keeps, made_once, recorded

_CONVOLVE = Kernel("mambair_cli.kernels.block.winograd_cpu", "convolve_3x3")
_PLANES, _STEP = 36, 4
_ROWS = target().instruction_set.rows
# Squares in work together: with 180 channels their planes are 0.7 MB, half of a usual second-level
# cache.
_GROUPS = 24 // _ROWS
# Below these a convolution does not take less time.
_LEAST_CHANNELS = 12
_LEAST_SQUARES = 8
_POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)


def pays(x: Tensor, conv: nn.Conv2d) -> bool:
    """Tell whether the kernel computes a convolution, and takes less time for it than PyTorch.

    Args:
        x: `(b h w c)`.
        conv: Of any kind.
    """
    b, h, w, _ = x.shape
    usual = conv.kernel_size == (3, 3) and conv.padding == conv.stride == conv.dilation == (1, 1)
    return (
        usual
        and conv.groups == 1
        and conv.padding_mode == "zeros"
        and x.dtype == conv.weight.dtype == torch.float32
        and min(conv.in_channels, conv.out_channels) >= _LEAST_CHANNELS
        and _squares(b, h, w) >= _LEAST_SQUARES
        and keeps(conv.weight)
        and not torch.is_autocast_enabled("cpu")
        and not recorded((x,))
    )


def convolve(x: Tensor, conv: nn.Conv2d, activation: int) -> Tensor:
    """Convolve `(b h w c)` where that `pays`; activations are numbered as in `ops_cpu.py`."""
    b, h, w, c = x.shape
    o = conv.out_channels
    out = torch.empty(b, h, w, o, **FLAT)
    filters = made_once(conv.weight, _evaluated)
    bias = padded(torch.zeros(o, **FLAT) if conv.bias is None else conv.bias)
    squares, room = _squares(b, h, w), _room(c, o)
    tasks = tasks_for(-(-squares // (_GROUPS * _ROWS)))
    launch(
        _CONVOLVE, tasks, flat(x), filters, bias, out, scratch(tasks, room),
        h, w, c, o, activation, squares, _GROUPS, room, tasks,
    )  # fmt: skip
    return out


def _squares(b: int, h: int, w: int) -> int:
    return b * -(-h // _STEP) * -(-w // _STEP)


def _room(c: int, o: int) -> int:
    """Count what a task works in: planes, products, a copied square, results of one."""
    deep, vectors = -(-c // LANES) * LANES, -(-o // LANES) * LANES
    return _PLANES * ((deep + vectors) * _GROUPS * _ROWS + deep + 4 * LANES)


def _evaluated(weight: Tensor) -> Tensor:
    """Evaluate filters `(o c 3 3)` at the points, in the order that the kernel reads."""
    o, c = weight.shape[:2]
    at = _evaluation()
    planes = torch.einsum("iy,ocyx,jx->ijco", at, weight.detach().double(), at).float()
    planes = functional.pad(planes, (0, -o % LANES)).reshape(_PLANES, c, -1)
    pairs = torch.split(planes, 2 * LANES, dim=2)
    return torch.cat([columns.reshape(_PLANES, -1) for columns in pairs], dim=1)


@functools.cache
def _evaluation() -> Tensor:
    """Make the matrix that evaluates the polynomial of three weights, `(6 3)`.

    The values of a square are left undivided, so those of filters are divided by what Lagrange's
    formula has below the line.
    """
    rows = []
    for point in _POINTS:
        below = 1.0
        for other in _POINTS:
            below *= point - other if other != point else 1.0
        rows.append([1 / below, point / below, point**2 / below])
    return torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64, device="cpu")
