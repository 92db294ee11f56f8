"""MambaIR: super-resolution (classic and light) and restoration at the input's size."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from mambair_cli.networks.layers import ResidualStateSpaceBlock, Upsample
from mambair_cli.networks.spec import MambaIRConfig

RGB_MEAN = (0.4488, 0.4371, 0.4040)
UPSAMPLER_CHANNELS = 64


def closing_convolution(channels: int, kind: str) -> nn.Module:
    """Return the convolution that closes a residual group: `1conv`, or the bottleneck `3conv`."""
    if kind == "1conv":
        return nn.Conv2d(channels, channels, 3, padding=1)
    return nn.Sequential(
        nn.Conv2d(channels, channels // 4, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(channels // 4, channels // 4, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(channels // 4, channels, 3, padding=1),
    )


class TokenNorm(nn.Module):
    """Layer norm over channels of the shallow features, under the published name `patch_embed`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b h w c)` to `(b h w c)`."""
        normed: Tensor = self.norm(x)
        return normed


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


class ResidualGroup(nn.Module):
    """Residual state-space group: blocks, convolution and skip connection (paper, section 3.2)."""

    def __init__(self, config: MambaIRConfig, depth: int) -> None:
        super().__init__()
        self.residual_group = BlockSequence(config, depth)
        self.conv = closing_convolution(config.embed_dim, config.resi_connection)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b h w c)` to `(b h w c)`."""
        deep = self.residual_group(x).permute(0, 3, 1, 2)
        return cast(Tensor, self.conv(deep).permute(0, 2, 3, 1) + x)


class MambaIR(nn.Module):
    """MambaIR (arXiv 2402.15648, section 3.2), state-dict compatible with the published weights.

    Args:
        config: Which of the networks to build.
    """

    mean: Tensor

    def __init__(self, config: MambaIRConfig) -> None:
        super().__init__()
        self.config = config
        channels, embed = config.in_chans, config.embed_dim
        # Real even on the meta device: it is no parameter, no file fills it.
        device = torch.get_default_device()
        mean = torch.tensor(
            RGB_MEAN if channels == 3 else (0.0,) * channels,
            dtype=torch.float32,
            device="cpu" if device.type == "meta" else device,
        )
        self.register_buffer("mean", mean.view(1, channels, 1, 1), persistent=False)
        self.conv_first = nn.Conv2d(channels, embed, 3, padding=1)
        self.patch_embed = TokenNorm(embed)
        self.layers = nn.ModuleList(ResidualGroup(config, depth) for depth in config.depths)
        self.norm = nn.LayerNorm(embed)
        self.conv_after_body = closing_convolution(embed, config.resi_connection)
        if config.upsampler == "pixelshuffle":
            self.conv_before_upsample = nn.Sequential(
                nn.Conv2d(embed, UPSAMPLER_CHANNELS, 3, padding=1), nn.LeakyReLU()
            )
            self.upsample: nn.Module = Upsample(config.upscale, UPSAMPLER_CHANNELS)
            self.conv_last = nn.Conv2d(UPSAMPLER_CHANNELS, channels, 3, padding=1)
        elif config.upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(
                nn.Conv2d(embed, config.upscale**2 * channels, 3, padding=1),
                nn.PixelShuffle(config.upscale),
            )
        else:
            self.conv_last = nn.Conv2d(embed, channels, 3, padding=1)

    @property
    def scale(self) -> int:
        """Output side divided by input side."""
        return self.config.scale

    @property
    def channels(self) -> int:
        """Channels of the input and output image."""
        return self.config.channels

    def deep_features(self, shallow: Tensor) -> Tensor:
        """Map shallow features `(b c h w)` to deep features of the same shape, skip included."""
        x = self.patch_embed(shallow.permute(0, 2, 3, 1))
        for group in self.layers:
            x = group(x)
        deep = self.norm(x).permute(0, 3, 1, 2)
        return cast(Tensor, self.conv_after_body(deep) + shallow)

    def forward(self, x: Tensor) -> Tensor:
        """Restore a batch of images.

        Args:
            x: `(b c h w)` in [0, 1], any height and width.

        Returns:
            `(b c h*s w*s)`, nominally in [0, 1], not clamped.
        """
        x = (x - self.mean) * self.config.img_range
        shallow = self.conv_first(x.contiguous(memory_format=torch.channels_last))
        features = self.deep_features(shallow)
        if self.config.upsampler == "pixelshuffle":
            out = self.conv_last(self.upsample(self.conv_before_upsample(features)))
        elif self.config.upsampler == "pixelshuffledirect":
            out = self.upsample(features)
        else:
            out = x + self.conv_last(features)
        return cast(Tensor, out / self.config.img_range + self.mean)
