"""Blocks of the networks: channel attention, local convolution, residual block.

Attribute names are the keys of the published checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mambair_cli.kernels.block.ops import PLAIN, Ops, pointwise
from mambair_cli.networks.ss2d import SS2D

SQUEEZE = 30  # channels over the hidden channels of the attention's gate


def convolutions(sequence: nn.Sequential) -> list[nn.Conv2d]:
    """Return the convolutions among the layers of a sequence, in order."""
    return [layer for layer in sequence if isinstance(layer, nn.Conv2d)]


def run_convolutions(module: nn.Module, x: Tensor, ops: Ops) -> Tensor:
    """Run a convolution, or a sequence with some of them.

    Args:
        module: A convolution, or a sequence of them and of other layers.
        x: `(b c h w)`.
        ops: What convolves.
    """
    for layer in module if isinstance(module, nn.Sequential) else (module,):
        if isinstance(layer, nn.Conv2d):
            x = ops.convolve(x.permute(0, 2, 3, 1), layer, "none").permute(0, 3, 1, 2)
        else:
            x = layer(x)
    return x


class ChannelAttention(nn.Module):
    """Gates each channel by a factor computed from its mean over the image (RCAN; paper, eq. 6).

    Args:
        channels: Channels `c` of the feature map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ops: Ops = PLAIN
        hidden = max(1, channels // SQUEEZE)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the gate `(b c)` of features `(b h w c)`."""
        return self.ops.channel_gate(x, *convolutions(self.attention))


class CAB(nn.Module):
    """Local convolution with channel attention (paper, section 3.3), in a full and a light form.

    Args:
        channels: Channels `c` of the feature map.
        light: Point-wise and depth-wise convolutions instead of full ones, for the light models.
    """

    def __init__(self, channels: int, *, light: bool) -> None:
        super().__init__()
        self.light = light
        self.ops: Ops = PLAIN
        c, m = channels, channels // (2 if light else 3)
        attention = ChannelAttention(c)
        if light:
            self.cab = nn.Sequential(
                nn.Conv2d(c, m, 1),
                nn.Conv2d(m, m, 3, padding=1, groups=m),
                nn.GELU(),
                nn.Conv2d(m, c, 1),
                nn.Conv2d(c, c, 3, padding=2, groups=c, dilation=2),
                attention,
            )
        else:
            self.cab = nn.Sequential(
                nn.Conv2d(c, m, 3, padding=1), nn.GELU(), nn.Conv2d(m, c, 3, padding=1), attention
            )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map `(b h w c)` to features of that shape and their gate `(b c)`, not yet multiplied."""
        attention = self.cab[-1]
        if self.light:
            squeeze, local, expand, context = convolutions(self.cab)
            hidden = self.ops.depthwise(pointwise(x, squeeze), local, "gelu")
            features = self.ops.depthwise(pointwise(hidden, expand), context, "none")
        else:
            squeeze, expand = convolutions(self.cab)
            features = self.ops.convolve(self.ops.convolve(x, squeeze, "gelu"), expand, "none")
        return features, attention(features)


class ResidualStateSpaceBlock(nn.Module):
    """Residual state-space block (paper, section 3.3, equations 5 and 6).

    Args:
        channels: Channels `c` of the feature map.
        d_state: State size `n`.
        expand: Inner channels of the state-space module over `c`.
        light: Which channel-attention block follows.
    """

    def __init__(self, channels: int, d_state: int, expand: float, *, light: bool) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(channels)
        self.self_attention = SS2D(channels, d_state, expand)
        self.skip_scale = nn.Parameter(torch.ones(channels))
        self.conv_blk = CAB(channels, light=light)
        self.ln_2 = nn.LayerNorm(channels)
        self.skip_scale2 = nn.Parameter(torch.ones(channels))
        self.ops: Ops = PLAIN

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b h w c)` to `(b h w c)`."""
        attended = self.self_attention(self.ops.norm(x, self.ln_1))
        x, normed = self.ops.residual_norm(x, attended, self.skip_scale, self.ln_2)
        local, gate = self.conv_blk(normed)
        return self.ops.gated_residual(x, local, self.skip_scale2, gate)
