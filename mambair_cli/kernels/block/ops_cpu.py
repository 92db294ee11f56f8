"""The steps of `ops.py` on Numba kernels, differentiable; float32 on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mambair_cli.kernels.block import classes_cpu, depthwise_cpu, ops, pointwise_cpu
from mambair_cli.kernels.block.ops import Ops, channel_gate, project, summed
from mambair_cli.kernels.numba_launch import FLAT, flat, launch, padded, tasks_for
from mambair_cli.kernels.vector import LANES

ACTIVATIONS = {"none": depthwise_cpu.NONE, "silu": depthwise_cpu.SILU, "gelu": depthwise_cpu.GELU}
_NOTHING = torch.empty(0, **FLAT)


def _float(*tensors: Tensor) -> list[Tensor]:
    return [tensor.float().contiguous() for tensor in tensors]


def _sums(rows: int, channels: int) -> Tensor:
    """Make zeros for sums over pixels, a row for each task, padded to whole vectors."""
    return torch.zeros(rows, channels + -channels % LANES, **FLAT)


def _taps(kernel: Tensor) -> Tensor:
    return kernel.flatten(1).t()


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, reach: int, activation: int
    ) -> Tensor:
        b, h, w, c = x.shape
        parameters = padded(weight, _taps).reshape(-1), padded(bias)
        out, side = torch.empty_like(x), weight.shape[-1]
        launch(
            depthwise_cpu.FORWARD[side],
            flat(x), *parameters, flat(out), b, h, w, c, reach, activation,
        )  # fmt: skip
        ctx.save_for_backward(x)
        ctx.settings = parameters, side, reach, activation
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        parameters, side, reach, activation = ctx.settings
        b, h, w, c = x.shape
        dout, tasks = gradients[0].contiguous(), tasks_for(b * h)
        dinner = dout if activation == depthwise_cpu.NONE else torch.empty_like(x)
        dx, dbias = torch.empty_like(x), _sums(tasks, c)
        dweights = torch.zeros(tasks, side**2 * dbias.shape[1], **FLAT)
        launch(
            depthwise_cpu.BACKWARD[side],
            flat(x), *parameters, flat(dout), flat(dinner), flat(dx), dweights.numpy(),
            dbias.numpy(), b, h, w, c, reach, activation,
        )  # fmt: skip
        dweight = dweights.sum(0).view(side**2, -1)[:, :c].t().reshape(c, 1, side, side)
        return dx, dweight, dbias.sum(0)[:c], None, None


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        c = x.shape[-1]
        p = x.numel() // c
        normed = torch.empty_like(x)
        parameters = padded(weight), padded(bias)
        launch(
            pointwise_cpu.residual_norm_forward,
            flat(x), flat(_NOTHING), parameters[0], *parameters, flat(_NOTHING), flat(normed),
            p, c, tasks_for(p),
        )  # fmt: skip
        ctx.save_for_backward(x)
        ctx.parameters = parameters
        return normed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        (x,) = ctx.saved_tensors
        weight = ctx.parameters[0]
        c = x.shape[-1]
        p = x.numel() // c
        dx, tasks = torch.empty_like(x), tasks_for(p)
        dweight, dbias = _sums(tasks, c), _sums(tasks, c)
        launch(
            pointwise_cpu.residual_norm_backward,
            flat(x), flat(x), weight, weight, flat(_NOTHING), flat(gradients[0]), flat(dx),
            flat(_NOTHING), dbias.numpy(), dweight.numpy(), dbias.numpy(), p, c,
        )  # fmt: skip
        return dx, dweight.sum(0)[:c], dbias.sum(0)[:c]


class _ResidualNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, branch: Tensor, skip: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        c = x.shape[-1]
        kept, normed = torch.empty_like(x), torch.empty_like(x)
        parameters = [padded(parameter) for parameter in (skip, weight, bias)]
        p = x.numel() // c
        launch(
            pointwise_cpu.residual_norm_forward,
            flat(x), flat(branch), *parameters, flat(kept), flat(normed), p, c, tasks_for(p),
        )  # fmt: skip
        ctx.save_for_backward(x, kept)
        ctx.parameters = parameters
        return kept, normed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, kept = ctx.saved_tensors
        skip, weight, _ = ctx.parameters
        c = x.shape[-1]
        p = x.numel() // c
        dkept, dnormed = gradients
        dx, dbranch, tasks = torch.empty_like(x), torch.empty_like(x), tasks_for(p)
        sums = [_sums(tasks, c) for _ in range(3)]
        launch(
            pointwise_cpu.residual_norm_backward,
            flat(x), flat(kept), skip, weight, flat(dkept), flat(dnormed), flat(dx),
            flat(dbranch), *(part.numpy() for part in sums), p, c,
        )  # fmt: skip
        dskip, dweight, dbias = (part.sum(0)[:c] for part in sums)
        return dx, dbranch, dskip, dweight, dbias


class _NormGate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        c = y.shape[-1]
        p = y.numel() // c
        out = torch.empty_like(y)
        parameters = padded(weight), padded(bias)
        launch(
            pointwise_cpu.norm_gate_forward,
            flat(y), flat(z), *parameters, flat(out), p, c, tasks_for(p),
        )  # fmt: skip
        ctx.save_for_backward(y, z)
        ctx.parameters = parameters
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        y, z = ctx.saved_tensors
        c = y.shape[-1]
        p = y.numel() // c
        dy, dz = torch.empty_like(y), torch.empty_like(z)
        tasks = tasks_for(p)
        dweight, dbias = _sums(tasks, c), _sums(tasks, c)
        launch(
            pointwise_cpu.norm_gate_backward,
            flat(y), flat(z), *ctx.parameters, flat(gradients[0]), flat(dy), flat(dz),
            dweight.numpy(), dbias.numpy(), p, c,
        )  # fmt: skip
        return dy, dz, dweight.sum(0)[:c], dbias.sum(0)[:c]


class _GatedResidual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Tensor, skip: Tensor, gate: Tensor) -> Tensor:
        c = x.shape[-1]
        p = x.numel() // c
        out = torch.empty_like(x)
        parameters = padded(skip), padded(gate)
        launch(
            pointwise_cpu.gated_residual_forward,
            flat(x), flat(branch), *parameters, flat(out), p, c, tasks_for(p),
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
            pointwise_cpu.gated_residual_backward,
            flat(x), flat(branch), skip, gate, flat(gradients[0]), flat(dx), flat(dbranch),
            dskip.numpy(), dgate.numpy(), p, c, parts,
        )  # fmt: skip
        return dx, dbranch, dskip.sum(0)[:c], dgate.view(b, parts, -1).sum(1)[:, :c]


def depthwise(x: Tensor, conv: nn.Conv2d, activation: str) -> Tensor:
    """See `ops.Ops`."""
    side, reach = conv.kernel_size[0], conv.dilation[0]
    if side not in depthwise_cpu.FORWARD:
        return ops.depthwise(x, conv, activation)
    assert conv.padding == (side // 2 * reach,) * 2
    (x,) = _float(x)
    result: Tensor = _Depthwise.apply(x, conv.weight, conv.bias, reach, ACTIVATIONS[activation])  # type: ignore[no-untyped-call]
    return result


def norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """See `ops.Ops`."""
    (x,) = _float(x)
    normed: Tensor = _Norm.apply(x, norm.weight, norm.bias)  # type: ignore[no-untyped-call]
    return normed


def residual_norm(
    x: Tensor, branch: Tensor, skip: Tensor, norm: nn.LayerNorm
) -> tuple[Tensor, Tensor]:
    """See `ops.Ops`."""
    kept, normed = _ResidualNorm.apply(*_float(x, branch), skip, norm.weight, norm.bias)  # type: ignore[no-untyped-call]
    return kept, normed


def norm_gate(y: Tensor, z: Tensor, norm: nn.LayerNorm) -> Tensor:
    """See `ops.Ops`."""
    result: Tensor = _NormGate.apply(*_float(summed(y), z), norm.weight, norm.bias)  # type: ignore[no-untyped-call]
    return result


def gated_residual(x: Tensor, branch: Tensor, skip: Tensor, gate: Tensor) -> Tensor:
    """See `ops.Ops`."""
    result: Tensor = _GatedResidual.apply(*_float(x, branch), skip, gate.float())  # type: ignore[no-untyped-call]
    return result


def sort_by_class(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See `ops.Ops`."""
    b, length, count = scores.shape
    found = [torch.empty(b * length, dtype=torch.int64, device="cpu") for _ in range(3)]
    launch(
        classes_cpu.sort_by_class,
        flat(scores.float()), *(part.numpy() for part in found), b, length, count,
    )  # fmt: skip
    classes, order, places = found
    return classes.view(b, length), order, places


FUSED = Ops(
    depthwise, project, norm, residual_norm, norm_gate, channel_gate, gated_residual, sort_by_class
)
