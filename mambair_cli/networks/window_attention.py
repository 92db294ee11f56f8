"""Attention inside windows of an image, with a bias for each relative position (MambaIRv2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mambair_cli.kernels.block.attention import Windows
from mambair_cli.kernels.block.ops import PLAIN, Ops


class WindowAttention(nn.Module):
    """Attention of each pixel to those of its window (MambaIRv2, published name `win_mhsa`).

    Args:
        channels: Channels `c` of the feature map.
        window: Side of a window.
        heads: Heads, a divisor of the channels.
        shift: By how many pixels the windows are shifted, 0 or less than a side.
    """

    def __init__(self, channels: int, window: int, heads: int, shift: int) -> None:
        super().__init__()
        self.windows = Windows(window, heads, shift)
        self.ops: Ops = PLAIN
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.proj = nn.Linear(channels, channels)
        if not self.proj.weight.is_meta:
            nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, qkv: Tensor) -> Tensor:
        """Attend.

        Args:
            qkv: Queries, keys and values, `(b h w 3c)`, sides that are multiples of the window.

        Returns:
            `(b h w c)`.
        """
        attended = self.ops.attend(qkv, self.relative_position_bias_table, self.windows)
        return self.ops.dense(attended, self.proj, "none")
