"""The point-wise and depth-wise steps of a block, channels last, as PyTorch defines them.

`ops_cpu.py` holds the same functions, fused. Networks take either set as a module attribute.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional


class Ops(Protocol):
    """A module with the steps; this one defines them."""

    def depthwise(self, x: Tensor, conv: nn.Conv2d, activation: str) -> Tensor:
        """Depth-wise 3x3 convolution of `(b h w c)`, then `silu`, `gelu` or `none`."""

    def norm(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Layer norm of `(b h w c)` over its channels."""

    def residual_norm(
        self, x: Tensor, branch: Tensor, skip: Tensor, norm: nn.LayerNorm
    ) -> tuple[Tensor, Tensor]:
        """`x * skip + branch`, and its layer norm; both `(b h w c)`."""

    def norm_gate(self, y: Tensor, z: Tensor, norm: nn.LayerNorm) -> Tensor:
        """`layer_norm(y) * silu(z)` of two `(b h w c)`."""

    def gated_residual(self, x: Tensor, branch: Tensor, skip: Tensor, gate: Tensor) -> Tensor:
        """`x * skip + branch * gate`, with `gate` `(b c)` for each image."""


ACTIVATIONS = {"silu": functional.silu, "gelu": functional.gelu, "none": lambda x: x}


def depthwise(x: Tensor, conv: nn.Conv2d, activation: str) -> Tensor:
    """See `Ops`."""
    return ACTIVATIONS[activation](conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)).contiguous()


def norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """See `Ops`."""
    normed: Tensor = norm(x)
    return normed


def residual_norm(
    x: Tensor, branch: Tensor, skip: Tensor, norm: nn.LayerNorm
) -> tuple[Tensor, Tensor]:
    """See `Ops`."""
    kept = x * skip + branch
    return kept, norm(kept)


def norm_gate(y: Tensor, z: Tensor, norm: nn.LayerNorm) -> Tensor:
    """See `Ops`."""
    gated: Tensor = norm(y) * functional.silu(z)
    return gated


def gated_residual(x: Tensor, branch: Tensor, skip: Tensor, gate: Tensor) -> Tensor:
    """See `Ops`."""
    return x * skip + branch * gate[:, None, None, :]
