"""MambaIR as a U-Net, the real-denoising network: four levels of blocks with skip connections."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mambair_cli.kernels.block.ops import PLAIN, Ops
from mambair_cli.networks.layers import ResidualStateSpaceBlock, run_convolutions
from mambair_cli.networks.padding import crop_to, pad_to_multiple
from mambair_cli.networks.spec import MambaIRUNetConfig

SIDE_MULTIPLE = 8


class PatchEmbedding(nn.Module):
    """The first convolution, under its published name."""

    def __init__(self, channels: int, dim: int, *, bias: bool) -> None:
        super().__init__()
        self.ops: Ops = PLAIN
        self.proj = nn.Conv2d(channels, dim, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b c h w)` to `(b dim h w)`."""
        return run_convolutions(self.proj, x, self.ops)


class Resample(nn.Module):
    """A convolution, then pixels shuffled out of or into channels.

    Args:
        dim: Channels of the input.
        channels: Channels that are shuffled.
        shuffle: `nn.PixelUnshuffle(2)` halves the sides, `nn.PixelShuffle(2)` doubles them.
    """

    def __init__(self, dim: int, channels: int, shuffle: nn.Module) -> None:
        super().__init__()
        self.ops: Ops = PLAIN
        self.body = nn.Sequential(nn.Conv2d(dim, channels, 3, padding=1, bias=False), shuffle)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b c h w)` to `(b 2c h/2 w/2)`, or to `(b c/2 2h 2w)`."""
        return run_convolutions(self.body, x, self.ops)


def downsample(dim: int) -> Resample:
    """Halve the sides and double the channels."""
    return Resample(dim, dim // 2, nn.PixelUnshuffle(2))


def upsample(dim: int) -> Resample:
    """Double the sides and halve the channels."""
    return Resample(dim, dim * 2, nn.PixelShuffle(2))


class MambaIRUNet(nn.Module):
    """The U-Net of the paper's real-denoising results, compatible with the published weights.

    Args:
        config: Its configuration; sides are padded inside to a multiple of 8.
    """

    def __init__(self, config: MambaIRUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.ops: Ops = PLAIN
        dim, bias = config.dim, config.bias
        one, two, three, four = config.num_blocks
        self.patch_embed = PatchEmbedding(config.inp_channels, dim, bias=bias)
        self.encoder_level1 = self._level(dim, one)
        self.down1_2 = downsample(dim)
        self.encoder_level2 = self._level(dim * 2, two)
        self.down2_3 = downsample(dim * 2)
        self.encoder_level3 = self._level(dim * 4, three)
        self.down3_4 = downsample(dim * 4)
        self.latent = self._level(dim * 8, four)
        self.up4_3 = upsample(dim * 8)
        self.reduce_chan_level3 = nn.Conv2d(dim * 8, dim * 4, 1, bias=bias)
        self.decoder_level3 = self._level(dim * 4, three)
        self.up3_2 = upsample(dim * 4)
        self.reduce_chan_level2 = nn.Conv2d(dim * 4, dim * 2, 1, bias=bias)
        self.decoder_level2 = self._level(dim * 2, two)
        self.up2_1 = upsample(dim * 2)
        self.decoder_level1 = self._level(dim * 2, one)
        self.refinement = self._level(dim * 2, config.num_refinement_blocks)
        self.output = nn.Conv2d(dim * 2, config.out_channels, 3, padding=1, bias=bias)

    def _level(self, channels: int, count: int) -> nn.ModuleList:
        return nn.ModuleList(
            ResidualStateSpaceBlock(
                channels, self.config.d_state, self.config.mlp_ratio, light=False
            )
            for _ in range(count)
        )

    @property
    def scale(self) -> int:
        """Output side divided by input side: always 1."""
        return 1

    @property
    def channels(self) -> int:
        """Channels of the input and output image."""
        return self.config.channels

    def forward(self, x: Tensor) -> Tensor:
        """Denoise a batch of images.

        Args:
            x: `(b c h w)` in [0, 1], any height and width.

        Returns:
            `(b c h w)`, nominally in [0, 1], not clamped.
        """
        h, w = x.shape[2:]
        padded = pad_to_multiple(x, SIDE_MULTIPLE)
        first = self.patch_embed(padded.contiguous(memory_format=torch.channels_last))
        level1 = run_blocks(self.encoder_level1, first)
        level2 = run_blocks(self.encoder_level2, self.down1_2(level1))
        level3 = run_blocks(self.encoder_level3, self.down2_3(level2))
        deep = run_blocks(self.latent, self.down3_4(level3))
        deep = self.reduce_chan_level3(torch.cat([self.up4_3(deep), level3], dim=1))
        deep = run_blocks(self.decoder_level3, deep)
        deep = self.reduce_chan_level2(torch.cat([self.up3_2(deep), level2], dim=1))
        deep = run_blocks(self.decoder_level2, deep)
        deep = torch.cat([self.up2_1(deep), level1], dim=1)
        deep = run_blocks(self.refinement, run_blocks(self.decoder_level1, deep))
        return crop_to(run_convolutions(self.output, deep, self.ops) + padded, h, w)


def run_blocks(blocks: nn.ModuleList, features: Tensor) -> Tensor:
    """Run blocks that work channels last on features `(b c h w)`."""
    # What was concatenated or shuffled lies channels first; every reader would lay it out anew.
    x = features.permute(0, 2, 3, 1).contiguous()
    for block in blocks:
        x = block(x)
    return x.permute(0, 3, 1, 2)
