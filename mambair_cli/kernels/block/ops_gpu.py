"""The steps of `ops.py` on Triton kernels: one pass over memory each; arithmetic in float32.

Inputs may be float32, bfloat16 or float16, in any mix. What matrix products read next (the results
of `depthwise`, `norm` and `norm_gate`, the second of `residual_norm`) is stored in autocast's type,
or in float32 without autocast. The residual stream and the channel gate stay float32.

Gradients come from the definitions: the backward pass runs the step of `ops.py` again in float32
and differentiates it, so that training needs no kernels of its own and keeps only the inputs.

Everything is launched without waiting for the device and without measuring variants, so that it can
be captured into a CUDA graph; the shapes of blocks follow from channels and pixels by rule.

The bytes that a step must move for each pixel of c channels, with `i` bytes an element of what it
reads (j for the second tensor) and `o` of what it stores; none reads a tensor twice:

    depthwise       c (i + o)
    project         c i + 4 o              o channels of output
    norm            c (i + o)
    residual_norm   c (i + j + 4 + o)      x, branch; kept, normed
    norm_gate       c (p i + j + o)        p planes of y, z; out
    channel_gate    c i
    gated_residual  c (i + j + 4)          x, branch; out

`project` is a matrix product of PyTorch's whose result keeps the float32 of its accumulator: the
scan would convert it again for every block of channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar, TypeVarTuple

import torch
import triton
from torch import Tensor, nn

from mambair_cli.kernels.block import depthwise_gpu, ops, pointwise_gpu
from mambair_cli.kernels.block.attention import attend
from mambair_cli.kernels.parameters import made_once, recorded
from mambair_cli.kernels.triton_launch import launch

ACTIVATIONS = {"none": depthwise_gpu.NONE, "silu": depthwise_gpu.SILU, "gelu": depthwise_gpu.GELU}
WIDEST_LOAD = 4  # elements: 16 bytes of float32; one layout whatever types meet in a kernel
ROW_BYTES = 16  # of which a matrix product's rows are multiples, or it takes slower ways
ENOUGH_WARPS = 4096  # keep a large GPU busy
TILES = (1024, 512, 256, 128)  # elements of a point-wise program for each of its warps
SUMMED = 4096  # elements that a reducing program loads at once
MOST_PARTS = 256  # of an image whose pixels are summed
BLOCKS = {3: 1024, 5: 512}  # elements of one row of a depth-wise program, by side of the filter
ROWS = (8, 4, 2)  # rows of a depth-wise program
WARPS = 8  # of a depth-wise program and of a reducing one
KEYS = (torch.uint8, torch.int16, torch.int32, torch.int64)  # of pixels that are sorted
SLICES = (32, 96)  # least and most channels of a depth-wise program

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class _Fused(torch.autograd.Function):
    """A fused forward pass; its backward pass differentiates the definition."""

    @staticmethod
    def forward(
        ctx: Any,
        fused: Callable[..., Any],
        definition: Callable[..., Any],
        count: int,
        *arguments: Any,
    ) -> Any:
        ctx.definition = definition
        ctx.arguments = [
            None if isinstance(value, Tensor) else value for value in arguments[:count]
        ]
        # Modules' parameters follow, saved only so that a change before the backward is noticed.
        ctx.save_for_backward(*(value for value in arguments if isinstance(value, Tensor)))
        return fused(*arguments[:count])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        with torch.enable_grad(), torch.autocast(gradients[0].device.type, enabled=False):
            inputs = [
                next(saved).detach().float().requires_grad_() if value is None else value
                for value in ctx.arguments
            ]
            results = ctx.definition(*inputs)
        needed = ctx.needs_input_grad[3:]
        leaves = [*inputs, *_parameters_of(ctx.arguments)]
        found = iter(
            torch.autograd.grad(
                results,
                [leaf for leaf, need in zip(leaves, needed, strict=True) if need],
                [gradient.float() for gradient in gradients],
            )
        )
        return (None, None, None, *(next(found) if need else None for need in needed))


def _parameters_of(arguments: Sequence[object]) -> Iterator[nn.Parameter]:
    for argument in arguments:
        if isinstance(argument, nn.Module):
            yield from argument.parameters()


def _differentiable_as(
    definition: Callable[[*Arguments], Result],
) -> Callable[[Callable[[*Arguments], Result]], Callable[[*Arguments], Result]]:
    """Give a fused step the gradients of its definition."""

    def decorate(fused: Callable[[*Arguments], Result]) -> Callable[[*Arguments], Result]:
        def step(*arguments: *Arguments) -> Result:
            tensors = (value for value in arguments if isinstance(value, Tensor))
            if not recorded(chain(tensors, _parameters_of(arguments))):
                return fused(*arguments)
            result: Result = _Fused.apply(  # type: ignore[no-untyped-call]
                fused, definition, len(arguments), *arguments, *_parameters_of(arguments)
            )
            return result

        return step

    return decorate


def _matrix_dtype(device: torch.device) -> torch.dtype:
    """Tell what matrix products on a device compute in."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32


def _pixels(x: Tensor) -> Tensor:
    """Return rows `(p c)` of `(... c)`, evenly spaced: a view if possible, else a copy."""
    rows = x.flatten(0, -2)
    return rows if rows.stride(-1) == 1 else rows.contiguous()


def _aligned_rows(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Make room for pixels that matrix products read: their rows begin at whole vectors."""
    c = shape[-1]
    room = torch.empty(
        *shape[:-1], c + -c % (ROW_BYTES // dtype.itemsize), dtype=dtype, device=device
    )
    return room[..., :c]


def _align(c: int, *strides: int) -> int:
    """Find the power of two up to `WIDEST_LOAD` that divides channels and strides."""
    return math.gcd(WIDEST_LOAD, c, *strides)


def _tile(p: int, c: int, images: int = 1) -> dict[str, int]:
    """Choose a point-wise kernel's block: smaller tiles where large ones would be too few.

    From 128 channels one warp takes whole pixels and reduces them without barriers; below, four
    do. Both let the parameters have the layout of the tile, so that no value changes lanes.
    """
    channels = triton.next_power_of_2(c)
    warps = 4 if channels < 128 else max(1, channels // 2048)
    sizes = [max(1, elements * warps // channels) for elements in TILES]
    fitting = (n for n in sizes if images * triton.cdiv(p, n) * warps >= ENOUGH_WARPS)
    return {"PIXELS": next(fitting, sizes[-1]), "CHANNELS": channels, "num_warps": warps}


def _slice(c: int, align: int) -> int:
    """Choose a depth-wise program's channels: the largest width that leaves the fewest idle."""
    least, most = SLICES
    if c <= most:
        return c
    return min(range(least, most + 1, align), key=lambda width: (-c % width, -width))


def _taps(weight: Tensor) -> Tensor:
    """Lay filters `(c 1 s s)` out as `(s*s c)`: a kernel loads one tap of many channels."""
    return weight.detach().flatten(1).t().contiguous()


@_differentiable_as(ops.depthwise)
def depthwise(x: Tensor, conv: nn.Conv2d, activation: str) -> Tensor:
    """See `ops.Ops`."""
    (size,), (reach,) = {*conv.kernel_size}, {*conv.dilation}
    if size not in BLOCKS:
        return ops.depthwise(x, conv, activation)
    assert {*conv.padding} == {size // 2 * reach}
    b, h, w, c = x.shape
    rows = _pixels(x)
    align = _align(c, rows.stride(0))
    width = _slice(c, align)
    slices, columns = triton.cdiv(c, width), triton.cdiv(w, BLOCKS[size] // width)
    groups = [triton.cdiv(triton.cdiv(h, reach), height) * reach * b for height in ROWS]
    enough = ENOUGH_WARPS // (WARPS * slices * columns)
    fitting = (i for i, count in enumerate(groups) if count >= enough)
    chosen = next(fitting, len(ROWS) - 1)
    out = torch.empty(x.shape, dtype=_matrix_dtype(x.device), device=x.device)
    launch(
        depthwise_gpu.depthwise, (groups[chosen], slices, columns), x.device,
        rows, made_once(conv.weight, _taps), conv.bias, out, h, w, c, rows.stride(0), SIZE=size,
        REACH=reach, ACTIVATION=ACTIVATIONS[activation], ROWS=ROWS[chosen], SLICE=width,
        BLOCK=BLOCKS[size], ALIGN=align, num_warps=WARPS,
    )  # fmt: skip
    return out


def mixed(x: Tensor, conv: nn.Conv2d, how: str) -> Tensor:
    """See `ops.Ops`."""
    return ops.mixed(x, conv, how, depthwise)


def project(x: Tensor, weight: Tensor) -> Tensor:
    """See `ops.Ops`."""
    dtype = _matrix_dtype(x.device)
    if dtype == torch.float32 or recorded((x, weight)) or not _keeps_accumulator(x.device):
        return ops.project(x, weight)
    rows, columns = x.flatten(0, -2).to(dtype), weight.to(dtype).t()
    with torch.autocast(x.device.type, enabled=False):
        product = torch.mm(rows, columns, out_dtype=torch.float32)
    return product.view(*x.shape[:-1], -1)


def _keeps_accumulator(device: torch.device) -> bool:
    """Tell whether torch multiplies half-precision matrices to a float32 result: on CUDA."""
    newer = hasattr(torch.ops.aten.mm, "dtype")
    return newer and device.type == "cuda" and torch.version.hip is None


@_differentiable_as(ops.norm)
def norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """See `ops.Ops`."""
    rows = _pixels(x)
    p, c = rows.shape
    normed = _aligned_rows(x.shape, _matrix_dtype(x.device), x.device)
    tile, strides = _tile(p, c), (rows.stride(0), 0, normed.stride(-2))
    launch(
        pointwise_gpu.residual_norm, (triton.cdiv(p, tile["PIXELS"]),), x.device,
        rows, None, None, norm.weight, norm.bias, None, normed, p, c, *strides, norm.eps,
        ALIGN=_align(c, *strides), **tile,
    )  # fmt: skip
    return normed


@_differentiable_as(ops.residual_norm)
def residual_norm(
    x: Tensor,
    branch: Tensor,
    skip: Tensor | None,
    norm: nn.LayerNorm,
    more: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """See `ops.Ops`.

    Sums without a scaled skip, and of three parts, are PyTorch's: in every format and width they
    would be a tenth more kernels to compile.
    """
    if skip is None or more is not None:
        total = ops.residual(x, branch, skip, more)
        return total, FUSED.norm(total, norm)
    rows, branches = _pixels(x), _pixels(branch)
    p, c = rows.shape
    kept = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    normed = torch.empty(x.shape, dtype=_matrix_dtype(x.device), device=x.device)
    strides, tile = (rows.stride(0), branches.stride(0)), _tile(p, c)
    launch(
        pointwise_gpu.residual_norm, (triton.cdiv(p, tile["PIXELS"]),), x.device,
        rows, branches, skip, norm.weight, norm.bias, kept, normed, p, c, *strides, c, norm.eps,
        ALIGN=_align(c, *strides), **tile,
    )  # fmt: skip
    return kept, normed


@_differentiable_as(ops.norm_gate)
def norm_gate(y: Tensor, z: Tensor, norm: nn.LayerNorm) -> Tensor:
    """See `ops.Ops`."""
    planes = y.reshape(-1, z[..., 0].numel(), z.shape[-1])
    planes = planes if planes.stride(-1) == 1 else planes.contiguous()
    gates = _pixels(z)
    p, c = gates.shape
    out = torch.empty(z.shape, dtype=_matrix_dtype(z.device), device=z.device)
    strides, tile = (*planes.stride()[:2], gates.stride(0)), _tile(p, c)
    launch(
        pointwise_gpu.norm_gate, (triton.cdiv(p, tile["PIXELS"]),), z.device,
        planes, gates, norm.weight, norm.bias, out, p, c, *strides, norm.eps,
        PLANES=planes.shape[0], ALIGN=_align(c, *strides), **tile,
    )  # fmt: skip
    return out


@_differentiable_as(ops.channel_gate)
def channel_gate(x: Tensor, squeeze: nn.Conv2d, expand: nn.Conv2d) -> Tensor:
    """See `ops.Ops`."""
    b, h, w, c = x.shape
    hidden, rows, p = squeeze.out_channels, _pixels(x), h * w
    channels = triton.next_power_of_2(c)
    together = max(1, SUMMED // channels)
    share = triton.cdiv(p, min(MOST_PARTS, triton.cdiv(p, together)))
    parts = triton.cdiv(p, share)
    sums = torch.empty(b, parts, c, dtype=torch.float32, device=x.device)
    gate = torch.empty(b, c, dtype=torch.float32, device=x.device)
    launch(
        pointwise_gpu.channel_sums, (parts, b), x.device,
        rows, sums, p, c, rows.stride(0), share, PIXELS=together, CHANNELS=channels,
        ALIGN=_align(c, rows.stride(0)), num_warps=WARPS,
    )  # fmt: skip
    launch(
        pointwise_gpu.channel_gate, (b,), x.device,
        sums, squeeze.weight, squeeze.bias, expand.weight, expand.bias, gate, p, c, parts, hidden,
        PARTS=together, CHANNELS=channels, HIDDEN=triton.next_power_of_2(hidden),
        num_warps=WARPS,
    )  # fmt: skip
    return gate


def sort_by_class(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See `ops.Ops`.

    One radix sort over the pixels of all images, by keys of as few bytes as number the classes, and
    one scatter. By count of what they read and write, some 80 bytes a pixel with 8-bit keys, where
    the definition's two sorts of 64-bit numbers move some 550; reading the scores is 128 to 256
    more. A counting sort of our own could save some 50.
    """
    b, length, count = scores.shape
    classes = scores.argmax(-1)
    images = torch.arange(0, b * count, count, device=scores.device)[:, None]
    kind = next(kind for kind in KEYS if b * count - 1 <= torch.iinfo(kind).max)
    order = (classes + images).to(kind).flatten().argsort(stable=True)
    pixels = torch.arange(b * length, device=scores.device)
    return classes, order, torch.empty_like(order).scatter_(0, order, pixels)


@_differentiable_as(ops.gated_residual)
def gated_residual(x: Tensor, branch: Tensor, skip: Tensor, gate: Tensor) -> Tensor:
    """See `ops.Ops`."""
    b, h, w, c = x.shape
    rows, branches = _pixels(x), _pixels(branch)
    out = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    strides, tile = (rows.stride(0), branches.stride(0)), _tile(h * w, c, images=b)
    launch(
        pointwise_gpu.gated_residual, (triton.cdiv(h * w, tile["PIXELS"]), b), x.device,
        rows, branches, skip, gate.contiguous(), out, h * w, c, *strides,
        ALIGN=_align(c, *strides), **tile,
    )  # fmt: skip
    return out


FUSED = ops.Ops(
    ops.convolve, depthwise, mixed, ops.dense, project, norm, residual_norm, norm_gate,
    channel_gate, gated_residual, sort_by_class, attend,
)  # fmt: skip
