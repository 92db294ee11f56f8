"""The point-wise and depth-wise steps of a block, channels last, as PyTorch defines them.

`ops_cpu.py` and `ops_gpu.py` hold the same functions, fused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mambair_cli.kernels.block.attention import Windows, attend


@dataclass(frozen=True)
class Ops:
    """The steps around the scan.

    Attributes:
        convolve: Convolution of all channels of `(b h w c)`, then an activation as below.
        depthwise: Depth-wise convolution of `(b h w c)`, then `silu`, `gelu` or `none`.
        mixed: `x * sigmoid(conv(x))` (`gate`) or `x + gelu(conv(x))` (`added`) of `(b h w c)`, by
            a depth-wise convolution.
        dense: A linear layer or 1x1 convolution of `(... c)`, then `silu`, `gelu` or `none`.
        project: Product of `(b h w c)` with weights `(o c)`, for the scan to read: `(b h w o)`.
        norm: Layer norm of `(b h w c)` over its channels.
        residual_norm: `x * skip + branch` of two `(b h w c)`, and its layer norm; without a skip
            `x + branch`; a third `(b h w c)` may be added.
        norm_gate: `layer_norm(y) * silu(z)` of two `(b h w c)`; y may come as parts that are still
            to be added up, `(p b h w c)`.
        channel_gate: Of `(b h w c)`, by two 1x1 convolutions of its mean over pixels, `(b c)`.
        gated_residual: `x * skip + branch * gate` of two `(b h w c)` and a gate `(b c)`.
        sort_by_class: Of scores `(b l t)` the class of each pixel, `(b l)`; the pixels in the order
            of their classes, and where each pixel went, `(b*l)`, all images numbered through.
        attend: Attention of each pixel to those of its window, of queries, keys and values
            `(b h w 3c)` and a table of biases by relative position `((2 side-1)**2 heads)`:
            `(b h w c)`. The sides of the image are multiples of the window's.
    """

    convolve: Callable[[Tensor, nn.Conv2d, str], Tensor]
    depthwise: Callable[[Tensor, nn.Conv2d, str], Tensor]
    mixed: Callable[[Tensor, nn.Conv2d, str], Tensor]
    dense: Callable[[Tensor, nn.Linear | nn.Conv2d, str], Tensor]
    project: Callable[[Tensor, Tensor], Tensor]
    norm: Callable[[Tensor, nn.LayerNorm], Tensor]
    residual_norm: Callable[..., tuple[Tensor, Tensor]]
    norm_gate: Callable[[Tensor, Tensor, nn.LayerNorm], Tensor]
    channel_gate: Callable[[Tensor, nn.Conv2d, nn.Conv2d], Tensor]
    gated_residual: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    sort_by_class: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    attend: Callable[[Tensor, Tensor, Windows], Tensor]


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "none": lambda x: x,
}


def convolve(x: Tensor, conv: nn.Conv2d, activation: str) -> Tensor:
    """See `Ops`."""
    return ACTIVATIONS[activation](conv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)


def depthwise(x: Tensor, conv: nn.Conv2d, activation: str) -> Tensor:
    """See `Ops`."""
    return ACTIVATIONS[activation](conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)).contiguous()


def mixed(x: Tensor, conv: nn.Conv2d, how: str, steps: Callable[..., Tensor] = depthwise) -> Tensor:
    """See `Ops`; by the depth-wise convolution of other kernels, if such are given."""
    if how == "gate":
        return x * torch.sigmoid(steps(x, conv, "none"))
    return x + steps(x, conv, "gelu")


def dense(x: Tensor, layer: nn.Linear | nn.Conv2d, activation: str) -> Tensor:
    """See `Ops`."""
    return ACTIVATIONS[activation](functional.linear(x, layer.weight.flatten(1), layer.bias))


def project(x: Tensor, weight: Tensor) -> Tensor:
    """See `Ops`."""
    return functional.linear(x, weight)


def norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """See `Ops`."""
    normed: Tensor = norm(x)
    return normed


def residual_norm(
    x: Tensor,
    branch: Tensor,
    skip: Tensor | None,
    norm: nn.LayerNorm,
    more: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """See `Ops`."""
    kept = residual(x, branch, skip, more)
    return kept, norm(kept)


def residual(x: Tensor, branch: Tensor, skip: Tensor | None, more: Tensor | None) -> Tensor:
    """Add up what `residual_norm` norms."""
    kept = (x if skip is None else x * skip) + branch
    return kept if more is None else kept + more


def norm_gate(y: Tensor, z: Tensor, norm: nn.LayerNorm) -> Tensor:
    """See `Ops`."""
    gated: Tensor = norm(summed(y)) * functional.silu(z)
    return gated


def summed(y: Tensor) -> Tensor:
    """Add up parts `(p b h w c)`, in float32 at least; what has no axis of parts stays."""
    wide = torch.promote_types(y.dtype, torch.float32)
    return y.sum(0, dtype=wide) if y.dim() == 5 else y


def pointwise(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Run a 1x1 convolution on channels-last features `(... c)`."""
    weight = conv.weight.flatten(1)
    if x.is_contiguous():
        return functional.linear(x, weight, conv.bias)
    # Rows with gaps between them: PyTorch adds the bias in the same pass only where they are flat.
    product = functional.linear(x.flatten(0, -2), weight, conv.bias)
    return product.view(*x.shape[:-1], -1)


def channel_gate(x: Tensor, squeeze: nn.Conv2d, expand: nn.Conv2d) -> Tensor:
    """See `Ops`."""
    hidden = functional.relu(pointwise(x.mean((1, 2)), squeeze))
    return torch.sigmoid(pointwise(hidden, expand))


def gated_residual(x: Tensor, branch: Tensor, skip: Tensor, gate: Tensor) -> Tensor:
    """See `Ops`."""
    return x * skip + branch * gate[:, None, None, :]


def sort_by_class(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See `Ops`."""
    b, length, _ = scores.shape
    classes = scores.argmax(-1)
    order = classes.argsort(dim=1, stable=True)
    first = torch.arange(0, b * length, length, device=scores.device)[:, None]
    return classes, (order + first).flatten(), (order.argsort(dim=1) + first).flatten()


PLAIN = Ops(
    convolve, depthwise, mixed, dense, project, norm, residual_norm, norm_gate, channel_gate,
    gated_residual, sort_by_class, attend,
)  # fmt: skip
