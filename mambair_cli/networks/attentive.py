"""The blocks of MambaIRv2: window attention, and a scan over pixels sorted by what they show."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mambair_cli.kernels.block.ops import PLAIN, Ops, summed
from mambair_cli.networks.selective_scan import SelectiveScan
from mambair_cli.networks.spec import MambaIRv2Config
from mambair_cli.networks.window_attention import WindowAttention

# Of the second skip around a half of a layer: the halves are residual already.
FIRST_SKIP_SCALE = 1e-4


class AttentiveStateSpace(nn.Module):
    """Attentive state-space module: similar pixels are scanned one after the other.

    Each pixel is given a class. The pixels are scanned in the order of their classes, and a prompt,
    which is learnt for each class, is added to the output matrix C (MambaIRv2, section 3.3).

    Args:
        config: Of the network.

    Attributes:
        sampled: Whether a pixel's class is drawn by its probability, as the published code does it
            at inference too, or is the most probable one. In training it is always drawn.
    """

    def __init__(self, config: MambaIRv2Config) -> None:
        super().__init__()
        channels, hidden = config.embed_dim, config.hidden
        self.sampled = False
        self.ops: Ops = PLAIN
        self.selectiveScan = SelectiveScan(
            hidden, config.d_state, rank=math.ceil(hidden / 16), directions=1
        )
        self.out_norm = nn.LayerNorm(hidden)
        self.out_proj = nn.Linear(hidden, channels)
        self.in_proj = nn.Sequential(nn.Conv2d(channels, hidden, 1))
        self.CPE = nn.Sequential(nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden))
        self.embeddingB = nn.Embedding(config.num_tokens, config.inner_rank)
        self.route = nn.Sequential(
            nn.Linear(channels, channels // 3),
            nn.GELU(),
            nn.Linear(channels // 3, config.num_tokens),
            nn.LogSoftmax(dim=-1),
        )

    def forward(self, x: Tensor, prompt_basis: Tensor) -> Tensor:
        """Scan features.

        Args:
            x: `(b h w c)`.
            prompt_basis: What the classes' coefficients are multiplied by for their prompts,
                `(inner_rank n)`.

        Returns:
            `(b h w c)`.
        """
        b, h, w, _ = x.shape
        prompts, order, places = self._routed(x.flatten(1, 2), prompt_basis)
        # No intermediate result outlives its last reader, as in `SS2D`.
        y = self.ops.norm(self._scanned(x, prompts, order), self.out_norm)
        y = self.ops.dense(y, self.out_proj, "none")
        return _taken(y, places).view(b, h, w, -1)

    def _scanned(self, x: Tensor, prompts: Tensor, order: Tensor) -> Tensor:
        """Scan the pixels of `(b h w c)` in their order, `(b 1 l d)`."""
        u = self.ops.dense(x, cast(nn.Conv2d, self.in_proj[0]), "none")
        u = self.ops.mixed(u, cast(nn.Conv2d, self.CPE[0]), "gate")
        u = _taken(u, order).view(len(x), 1, order.numel() // len(x), -1)
        scan = self.selectiveScan
        projected = scan.project(u)
        # The prompts come in the order of the pixels, not of the scan; so they were trained.
        projected[..., -scan.d_state :] += prompts[:, None]
        return summed(scan.run(u, projected))

    def _routed(self, x: Tensor, prompt_basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find the prompt of each pixel of `(b l c)`, `(b l n)`, their order, and their places."""
        prompts = self.embeddingB.weight @ prompt_basis
        into_hidden, _, into_scores, to_probabilities = self.route
        x = self.ops.dense(x, cast(nn.Linear, into_hidden), "gelu")
        x = self.ops.dense(x, cast(nn.Linear, into_scores), "none")
        if not (self.training or self.sampled):
            classes, order, places = self.ops.sort_by_class(x)
            return functional.embedding(classes, prompts), order, places
        # One at the drawn class; in the backward pass the probabilities.
        chosen = functional.gumbel_softmax(to_probabilities(x), hard=True)
        _, order, places = self.ops.sort_by_class(chosen.detach())
        return chosen @ prompts, order, places


def _taken(x: Tensor, order: Tensor) -> Tensor:
    """Take the pixels of `(b h w c)`, of all images, in an order `(b*l)`."""
    return x.flatten(0, -2).index_select(0, order)


class _Depthwise(nn.Module):
    """A depth-wise convolution, under the published names `dwconv.depthwise_conv`."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise_conv = nn.Sequential(_depthwise(channels, kernel))


class _SpatialGate(nn.Module):
    """Norm and depth-wise convolution of one half of the channels, published name `sg`."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = _depthwise(channels, kernel)


def _depthwise(channels: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)


class ConvFFN(nn.Module):
    """Feed-forward network with a depth-wise convolution in its middle.

    Args:
        channels: Channels `c` of the feature map.
        hidden: Channels in its middle, an even number if it is light.
        kernel: Side of the convolution, odd.
        light: Whether one half of the channels gates the other.
    """

    def __init__(self, channels: int, hidden: int, kernel: int, *, light: bool) -> None:
        super().__init__()
        self.light = light
        self.ops: Ops = PLAIN
        self.fc1 = nn.Linear(channels, hidden)
        if light:
            self.sg = _SpatialGate(hidden // 2, kernel)
        else:
            self.dwconv = _Depthwise(hidden, kernel)
        self.fc2 = nn.Linear(hidden // 2 if light else hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b h w c)` to `(b h w c)`."""
        x = self.ops.dense(x, self.fc1, "gelu")
        if self.light:
            gated, gate = x.chunk(2, dim=-1)
            x = gated * self.ops.depthwise(self.ops.norm(gate, self.sg.norm), self.sg.conv, "none")
        else:
            x = self.ops.mixed(x, cast(nn.Conv2d, self.dwconv.depthwise_conv[0]), "added")
        return self.ops.dense(x, self.fc2, "none")


class AttentiveLayer(nn.Module):
    """A layer of MambaIRv2: window attention, then the attentive state-space module.

    Each is followed by a feed-forward network, and each half has a second, scaled skip.

    Args:
        config: Of the network.
        heads: Of its window attention.
        shift: By how many pixels its windows are shifted.
    """

    def __init__(self, config: MambaIRv2Config, heads: int, shift: int) -> None:
        super().__init__()
        c, kernel = config.embed_dim, config.convffn_kernel_size
        self.ops: Ops = PLAIN
        self.norm1, self.norm2 = nn.LayerNorm(c), nn.LayerNorm(c)
        self.norm3, self.norm4 = nn.LayerNorm(c), nn.LayerNorm(c)
        self.scale1 = nn.Parameter(FIRST_SKIP_SCALE * torch.ones(c))
        self.scale2 = nn.Parameter(FIRST_SKIP_SCALE * torch.ones(c))
        self.wqkv = nn.Linear(c, 3 * c)
        self.win_mhsa = WindowAttention(c, config.window_size, heads, shift)
        self.assm = AttentiveStateSpace(config)
        self.convffn1 = ConvFFN(c, config.hidden, kernel, light=config.light)
        self.convffn2 = ConvFFN(c, config.hidden, kernel, light=config.light)
        self.embeddingA = nn.Embedding(config.inner_rank, config.d_state)
        if not self.embeddingA.weight.is_meta:
            bound = 1 / config.inner_rank
            nn.init.uniform_(self.embeddingA.weight, -bound, bound)

    def forward(self, x: Tensor, normed: Tensor, following: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """Run a layer; a sum and the norm of it are one step.

        Args:
            x: `(b h w c)`, sides that are multiples of the window.
            normed: What the layer's first norm makes of it.
            following: The first norm of the next layer.

        Returns:
            `(b h w c)`, and what the following norm makes of it.
        """
        x, normed = self._half(
            x, normed, self._attended, self.norm2, self.convffn1, self.scale1, self.norm3
        )
        return self._half(
            x, normed, self._scanned, self.norm4, self.convffn2, self.scale2, following
        )

    def _half(
        self,
        x: Tensor,
        normed: Tensor,
        mix: Callable[[Tensor], Tensor],
        norm: nn.LayerNorm,
        convffn: ConvFFN,
        scale: Tensor,
        following: nn.LayerNorm,
    ) -> tuple[Tensor, Tensor]:
        """Mix pixels, then channels, with a skip around each, and a scaled one around both."""
        mixed, normed = self.ops.residual_norm(x, mix(normed), None, norm)
        return self.ops.residual_norm(x, convffn(normed), scale, following, mixed)

    def _attended(self, normed: Tensor) -> Tensor:
        return cast(Tensor, self.win_mhsa(self.ops.dense(normed, self.wqkv, "none")))

    def _scanned(self, normed: Tensor) -> Tensor:
        return cast(Tensor, self.assm(normed, self.embeddingA.weight))


class AttentiveLayers(nn.Module):
    """The layers of a group, under the published name `residual_group`; every other is shifted."""

    def __init__(self, config: MambaIRv2Config, depth: int, heads: int) -> None:
        super().__init__()
        self.ops: Ops = PLAIN
        self.layers = nn.ModuleList(
            AttentiveLayer(config, heads, shift=(i % 2) * (config.window_size // 2))
            for i in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b h w c)` to `(b h w c)`."""
        norms = [cast(AttentiveLayer, layer).norm1 for layer in self.layers]
        normed = self.ops.norm(x, norms[0])
        # Nothing reads what is made of the last one.
        for layer, following in zip(self.layers, (*norms[1:], norms[0]), strict=True):
            x, normed = layer(x, normed, following)
        return x
