"""The steps of `ops.py` on Numba kernels, differentiable; arithmetic in float32.

Where autocast computes in bfloat16 and no gradients are wanted, the results of `depthwise`, `norm`
and `norm_gate` and the second of `residual_norm` are stored in it: matrix products read them next.
The residual stream stays float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mambair_cli.kernels.block import ops, winograd
from mambair_cli.kernels.block.attentive_cpu import attend, dense, sort_by_class
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
from mambair_cli.kernels.parameters import recorded

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
        weight, bias = padded(weight), padded(bias)
        ctx.save_for_backward(x)
        ctx.parameters = weight, bias
        return _normed(x, weight, bias, stored)

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
        skip, weight, bias = (padded(parameter) for parameter in (skip, weight, bias))
        kept, normed = _kept_and_normed(x, branch, NOTHING, skip, weight, bias, stored)
        ctx.save_for_backward(x, kept)
        ctx.parameters = skip, weight, bias
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


def _normed(x: Tensor, weight: Tensor, bias: Tensor, stored: torch.dtype) -> Tensor:
    normed = torch.empty_like(x, dtype=stored)
    _launch_on_pixels(
        _NORM[0], x, 1, flat(x), NOTHING, NOTHING, NOTHING, weight, bias, NOTHING, normed
    )
    return normed


def _kept_and_normed(
    x: Tensor, branch: Tensor, more: Tensor, skip: Tensor, weight: Tensor, bias: Tensor,
    stored: torch.dtype,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    kept, normed = torch.empty_like(x), torch.empty_like(x, dtype=stored)
    _launch_on_pixels(
        _NORM[0], x, 1, flat(x), flat(branch), flat(more), skip, weight, bias, kept, normed
    )
    return kept, normed


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


def convolve(x: Tensor, conv: nn.Conv2d, activation: str) -> Tensor:
    """See `ops.Ops`."""
    if not winograd.pays(x, conv):
        return ops.convolve(x, conv, activation)
    return winograd.convolve(x, conv, ACTIVATIONS[activation])


def depthwise(x: Tensor, conv: nn.Conv2d, activation: str) -> Tensor:
    """See `ops.Ops`."""
    side, reach = conv.kernel_size[0], conv.dilation[0]
    if side not in _DEPTHWISE:
        return ops.depthwise(x, conv, activation)
    assert conv.padding == (side // 2 * reach,) * 2
    assert conv.bias is not None
    stored = _for_products(x, conv.weight, conv.bias)
    (x,) = _readable(stored, x)
    number = ACTIVATIONS[activation]
    if not recorded((x, conv.weight, conv.bias)):
        parameters = padded(conv.weight, _taps), padded(conv.bias)
        return _filtered(x, *parameters, side, reach, number, stored)
    result: Tensor = _Depthwise.apply(x, conv.weight, conv.bias, reach, number, stored)  # type: ignore[no-untyped-call]
    return result


def mixed(x: Tensor, conv: nn.Conv2d, how: str) -> Tensor:
    """See `ops.Ops`; gradients are those of its parts."""
    side = conv.kernel_size[0]
    assert conv.bias is not None
    if side not in _DEPTHWISE or recorded((x, conv.weight, conv.bias)):
        return ops.mixed(x, conv, how, depthwise)
    stored = _for_products(x, conv.weight, conv.bias)
    (x,) = _readable(stored, x)
    parameters = padded(conv.weight, _taps), padded(conv.bias)
    return _filtered(x, *parameters, side, conv.dilation[0], MIXED[how], stored)


def norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """See `ops.Ops`."""
    stored = _for_products(x, norm.weight, norm.bias)
    (x,) = _readable(stored, x)
    if not recorded((x, norm.weight, norm.bias)):
        return _normed(x, padded(norm.weight), padded(norm.bias), stored)
    normed: Tensor = _Norm.apply(x, norm.weight, norm.bias, stored)  # type: ignore[no-untyped-call]
    return normed


def residual_norm(
    x: Tensor,
    branch: Tensor,
    skip: Tensor | None,
    norm: nn.LayerNorm,
    more: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """See `ops.Ops`."""
    given = [x, branch, *(each for each in (skip, more) if each is not None)]
    given += norm.weight, norm.bias
    stored = _for_products(*given)
    if recorded(given):
        branch = branch if more is None else branch + more
        skip = x.new_ones(x.shape[-1]) if skip is None else skip
        (x, branch) = _readable(torch.float32, x, branch)
        kept, normed = _ResidualNorm.apply(x, branch, skip, norm.weight, norm.bias, stored)  # type: ignore[no-untyped-call]
        return kept, normed
    (x, more) = _readable(torch.float32, x, NOTHING if more is None else more)
    (branch,) = _readable(stored, branch)
    parameters = (padded(norm.weight), padded(norm.bias))
    factor = NOTHING if skip is None else padded(skip)
    return _kept_and_normed(x, branch, more, factor, *parameters, stored)


def norm_gate(y: Tensor, z: Tensor, norm: nn.LayerNorm) -> Tensor:
    """See `ops.Ops`."""
    stored = _for_products(y, z, norm.weight, norm.bias)
    more = NOTHING
    if len(y) == 2 and y.dim() == 5 and not recorded((y, z, norm.weight, norm.bias)):
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


FUSED = Ops(
    convolve, depthwise, mixed, dense, project, norm, residual_norm, norm_gate, channel_gate,
    gated_residual, sort_by_class, attend,
)  # fmt: skip
