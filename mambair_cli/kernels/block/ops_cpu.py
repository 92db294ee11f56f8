"""The steps of `ops.py` on Numba kernels, differentiable; arithmetic in float32.

Where autocast computes in bfloat16 and no gradients are wanted, the results of `depthwise`, `norm`
and `norm_gate` and the second of `residual_norm` are stored in it: matrix products read them next.
The residual stream stays float32.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from mambair_cli.kernels.block import attention, ops
from mambair_cli.kernels.block.attention import Windows
from mambair_cli.kernels.block.ops import Ops, channel_gate, project, summed
from mambair_cli.kernels.numba_kernel import Kernel
from mambair_cli.kernels.numba_launch import (
    FLAT,
    LANES,
    NOTHING,
    flat,
    launch,
    padded,
    scratch,
    tasks_for,
)
from mambair_cli.kernels.parameters import made_once, recorded
from mambair_cli.kernels.scan.numba_cpu import LOG2_E

_LONG: dict[str, Any] = {"dtype": torch.int64, "device": "cpu"}
# As the kernels number them.
NONE, SILU, GELU, GATE, ADDED = range(5)
ACTIVATIONS = {"none": NONE, "silu": SILU, "gelu": GELU}
MIXED = {"gate": GATE, "added": ADDED}


def _kernel(module: str, name: str) -> Kernel:
    return Kernel(f"mambair_cli.kernels.block.{module}", name)


# Forward and backward.
_NORM, _NORM_GATE, _GATED_RESIDUAL = (
    tuple(_kernel("pointwise_cpu", f"{name}_{way}") for way in ("forward", "backward"))
    for name in ("residual_norm", "norm_gate", "gated_residual")
)
# By side of the filter: forward, gradient before the activation, gradients of the convolution.
_DEPTHWISE = {
    side: tuple(
        _kernel("depthwise_cpu", f"{name}_{side}x{side}")
        for name in ("forward", "inner", "backward")
    )
    for side in (3, 5)
}
_SORT_BY_CLASS = _kernel("classes_cpu", "sort_by_class")
_ATTEND = _kernel("attention_cpu", "window_attention")


def _for_products(*tensors: Tensor) -> torch.dtype:
    """Tell what is stored that matrix products read next, computed from some tensors."""
    short = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return torch.bfloat16 if short and not recorded(tensors) else torch.float32


def _readable(dtype: torch.dtype, *tensors: Tensor) -> list[Tensor]:
    """Lay tensors out for kernels; what is neither float32 nor of this type becomes float32."""
    return [
        (tensor if tensor.dtype == dtype else tensor.float()).contiguous() for tensor in tensors
    ]


def _sums(rows: int, channels: int) -> Tensor:
    """Make zeros for sums over pixels, a row for each task, padded to whole vectors."""
    return torch.zeros(rows, channels + -channels % LANES, **FLAT)


def _taps(kernel: Tensor) -> Tensor:
    return kernel.flatten(1).t()


def _filtered(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    side: int,
    reach: int,
    activation: int,
    stored: torch.dtype,
) -> Tensor:
    b, h, w, c = x.shape
    out = torch.empty_like(x, dtype=stored)
    launch(
        _DEPTHWISE[side][0], b * h, flat(x), weight, bias, out, _neighbours(b * h, side),
        h, w, c, bias.numel(), reach, activation,
    )  # fmt: skip
    return out


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, reach: int, activation: int,
        stored: torch.dtype,
    ) -> Tensor:  # fmt: skip
        parameters, side = (padded(weight, _taps), padded(bias)), weight.shape[-1]
        out = _filtered(x, *parameters, side, reach, activation, stored)
        ctx.save_for_backward(x)
        ctx.settings = parameters, side, reach, activation
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        parameters, side, reach, activation = ctx.settings
        b, h, w, c = x.shape
        dinner, tasks = flat(gradients[0]), tasks_for(b * h)
        dx, dbias = torch.empty_like(x), _sums(tasks, c)
        width = dbias.shape[1]
        sizes = h, w, c, width, reach
        if activation != NONE:
            dout, dinner = dinner, torch.empty_like(x)
            launch(
                _DEPTHWISE[side][1], b * h, flat(x), *parameters, dout, dinner,
                _neighbours(b * h, side), *sizes, activation,
            )  # fmt: skip
        dweights = torch.zeros(tasks, side**2 * width, **FLAT)
        launch(
            _DEPTHWISE[side][2], tasks, flat(x), parameters[0], dinner, dx, dweights, dbias,
            _neighbours(tasks, side), b * h, *sizes, tasks,
        )  # fmt: skip
        dweight = dweights.sum(0).view(side**2, -1)[:, :c].t().reshape(c, 1, side, side)
        return dx, dweight, dbias.sum(0)[:c], None, None, None


def _neighbours(tasks: int, side: int) -> Tensor:
    return torch.empty(tasks * side**2, **_LONG)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stored: torch.dtype) -> Tensor:
        normed = torch.empty_like(x, dtype=stored)
        parameters = padded(weight), padded(bias)
        _launch_on_pixels(
            _NORM[0], x, 1, flat(x), NOTHING, parameters[0], *parameters, NOTHING, normed
        )
        ctx.save_for_backward(x)
        ctx.parameters = parameters
        return normed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        weight, c = ctx.parameters[0], x.shape[-1]
        dx, sums = torch.empty_like(x), _sums_of_pixels(x, 2)
        _launch_on_pixels(
            _NORM[1], x, 2, flat(x), flat(x), weight, weight, NOTHING, flat(gradients[0]), dx,
            NOTHING, NOTHING, *sums,
        )  # fmt: skip
        dweight, dbias = (part.sum(0)[:c] for part in sums)
        return dx, dweight, dbias, None


class _ResidualNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, branch: Tensor, skip: Tensor, weight: Tensor, bias: Tensor,
        stored: torch.dtype,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        kept, normed = torch.empty_like(x), torch.empty_like(x, dtype=stored)
        parameters = [padded(parameter) for parameter in (skip, weight, bias)]
        _launch_on_pixels(_NORM[0], x, 1, flat(x), flat(branch), *parameters, kept, normed)
        ctx.save_for_backward(x, kept)
        ctx.parameters = parameters
        return kept, normed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, kept = ctx.saved_tensors
        skip, weight, _ = ctx.parameters
        dkept, dnormed = gradients
        dx, dbranch, sums = torch.empty_like(x), torch.empty_like(x), _sums_of_pixels(x, 3)
        _launch_on_pixels(
            _NORM[1], x, 2, flat(x), flat(kept), skip, weight, flat(dkept), flat(dnormed), dx,
            dbranch, *sums,
        )  # fmt: skip
        dskip, dweight, dbias = (part.sum(0)[: x.shape[-1]] for part in sums)
        return dx, dbranch, dskip, dweight, dbias, None


class _NormGate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, y: Tensor, more: Tensor, z: Tensor, weight: Tensor, bias: Tensor,
        stored: torch.dtype,
    ) -> Tensor:  # fmt: skip
        out = torch.empty_like(z, dtype=stored)
        parameters = padded(weight), padded(bias)
        _launch_on_pixels(_NORM_GATE[0], z, 1, flat(y), flat(more), flat(z), *parameters, out)
        ctx.save_for_backward(y, z)
        ctx.parameters = parameters
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        y, z = ctx.saved_tensors
        dy, dz, sums = torch.empty_like(y), torch.empty_like(z), _sums_of_pixels(y, 2)
        _launch_on_pixels(
            _NORM_GATE[1], y, 2, flat(y), flat(z), *ctx.parameters, flat(gradients[0]), dy, dz,
            *sums,
        )  # fmt: skip
        dweight, dbias = (part.sum(0)[: y.shape[-1]] for part in sums)
        return dy, None, dz, dweight, dbias, None


def _launch_on_pixels(kernel: Kernel, x: Tensor, rows: int, *arguments: Tensor) -> None:
    """Launch a kernel on the pixels of `x`; each task works in some rows of its own."""
    c = x.shape[-1]
    p, width = x.numel() // c, c + -c % LANES
    tasks = tasks_for(p)
    launch(kernel, tasks, *arguments, scratch(tasks, rows * width), p, c, width, tasks)


def _sums_of_pixels(x: Tensor, count: int) -> list[Tensor]:
    c = x.shape[-1]
    return [_sums(tasks_for(x.numel() // c), c) for _ in range(count)]


class _GatedResidual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Tensor, skip: Tensor, gate: Tensor) -> Tensor:
        images, c = gate.shape[0], x.shape[-1]
        p = x.numel() // c
        out, tasks = torch.empty_like(x), tasks_for(p)
        parameters = padded(skip), padded(gate)
        launch(
            _GATED_RESIDUAL[0], tasks, flat(x), flat(branch), *parameters, out,
            p, c, parameters[0].numel(), images, tasks,
        )  # fmt: skip
        ctx.save_for_backward(x, branch)
        ctx.parameters = parameters
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, branch = ctx.saved_tensors
        skip, gate = ctx.parameters
        b, c = gate.shape[0], x.shape[-1]
        p = x.numel() // c
        dx, dbranch = torch.empty_like(x), torch.empty_like(x)
        parts = -(-tasks_for(p) // b)
        dskip, dgate = _sums(b * parts, c), _sums(b * parts, c)
        launch(
            _GATED_RESIDUAL[1], b * parts, flat(x), flat(branch), skip, gate, flat(gradients[0]),
            dx, dbranch, dskip, dgate, p, c, skip.numel(), b, parts,
        )  # fmt: skip
        return dx, dbranch, dskip.sum(0)[:c], dgate.view(b, parts, -1).sum(1)[:, :c]


def depthwise(x: Tensor, conv: nn.Conv2d, activation: str) -> Tensor:
    """See `ops.Ops`."""
    side, reach = conv.kernel_size[0], conv.dilation[0]
    if side not in _DEPTHWISE:
        return ops.depthwise(x, conv, activation)
    assert conv.padding == (side // 2 * reach,) * 2
    stored = _for_products(x, *conv.parameters())
    (x,) = _readable(stored, x)
    number = ACTIVATIONS[activation]
    result: Tensor = _Depthwise.apply(x, conv.weight, conv.bias, reach, number, stored)  # type: ignore[no-untyped-call]
    return result


def mixed(x: Tensor, conv: nn.Conv2d, how: str) -> Tensor:
    """See `ops.Ops`; gradients are those of its parts."""
    side = conv.kernel_size[0]
    assert conv.bias is not None
    if side not in _DEPTHWISE or recorded((x, conv.weight, conv.bias)):
        return ops.mixed(x, conv, how, depthwise)
    stored = _for_products(x, *conv.parameters())
    (x,) = _readable(stored, x)
    parameters = padded(conv.weight, _taps), padded(conv.bias)
    return _filtered(x, *parameters, side, conv.dilation[0], MIXED[how], stored)


def norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """See `ops.Ops`."""
    stored = _for_products(x, *norm.parameters())
    (x,) = _readable(stored, x)
    normed: Tensor = _Norm.apply(x, norm.weight, norm.bias, stored)  # type: ignore[no-untyped-call]
    return normed


def residual_norm(
    x: Tensor, branch: Tensor, skip: Tensor, norm: nn.LayerNorm
) -> tuple[Tensor, Tensor]:
    """See `ops.Ops`."""
    stored = _for_products(x, branch, skip, *norm.parameters())
    (x,), (branch,) = _readable(torch.float32, x), _readable(stored, branch)
    kept, normed = _ResidualNorm.apply(x, branch, skip, norm.weight, norm.bias, stored)  # type: ignore[no-untyped-call]
    return kept, normed


def norm_gate(y: Tensor, z: Tensor, norm: nn.LayerNorm) -> Tensor:
    """See `ops.Ops`."""
    stored = _for_products(y, z, *norm.parameters())
    more = NOTHING
    if len(y) == 2 and y.dim() == 5 and not recorded((y, z, *norm.parameters())):
        y, more = y  # which the kernel adds up
    (y,), (z,) = _readable(torch.float32, summed(y)), _readable(stored, z)
    result: Tensor = _NormGate.apply(y, more, z, norm.weight, norm.bias, stored)  # type: ignore[no-untyped-call]
    return result


def gated_residual(x: Tensor, branch: Tensor, skip: Tensor, gate: Tensor) -> Tensor:
    """See `ops.Ops`."""
    (x,) = _readable(torch.float32, x)
    (branch,) = _readable(_for_products(x, branch, skip, gate), branch)
    result: Tensor = _GatedResidual.apply(x, branch, skip, gate.float())  # type: ignore[no-untyped-call]
    return result


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
    biases = made_once(table, _biases)
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


FUSED = Ops(
    depthwise, mixed, project, norm, residual_norm, norm_gate, channel_gate, gated_residual,
    sort_by_class, attend,
)  # fmt: skip
