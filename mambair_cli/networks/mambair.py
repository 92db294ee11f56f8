"""MambaIR: super-resolution (classic and light) and restoration at the input's size."""

from __future__ import annotations

from torch import Tensor, nn

from mambair_cli.networks.frame import Frame
from mambair_cli.networks.layers import ResidualStateSpaceBlock
from mambair_cli.networks.spec import MambaIRConfig


class BlockSequence(nn.Module):
    """The blocks of a group, under the published name `residual_group`."""

    def __init__(self, config: MambaIRConfig, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualStateSpaceBlock(
                config.embed_dim,
                config.d_state,
                config.mlp_ratio,
                light=config.upsampler == "pixelshuffledirect",
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b h w c)` to `(b h w c)`."""
        for block in self.blocks:
            x = block(x)
        return x


class MambaIR(Frame):
    """MambaIR (arXiv 2402.15648, section 3.2), state-dict compatible with the published weights.

    Args:
        config: Which of the networks to build.
    """

    def __init__(self, config: MambaIRConfig) -> None:
        super().__init__(config, (BlockSequence(config, depth) for depth in config.depths))
