"""What MambaIR and MambaIRv2 share around their blocks: convolutions, groups, skips, upsampler."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from mambair_cli.kernels.block.ops import PLAIN, Ops
from mambair_cli.networks.layers import run_convolutions
from mambair_cli.networks.spec import MambaIRConfig, MambaIRv2Config

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


class ResidualGroup(nn.Module):
    """Blocks, convolution and skip connection (MambaIR, section 3.2).

    Args:
        blocks: Maps `(b h w c)` to `(b h w c)`.
        channels: Channels `c` of the feature map.
        connection: Kind of the convolution, `1conv` or `3conv`.
    """

    def __init__(self, blocks: nn.Module, channels: int, connection: str) -> None:
        super().__init__()
        self.ops: Ops = PLAIN
        self.residual_group = blocks
        self.conv = closing_convolution(channels, connection)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b h w c)` to `(b h w c)`."""
        deep = self.residual_group(x).permute(0, 3, 1, 2)
        return run_convolutions(self.conv, deep, self.ops).permute(0, 2, 3, 1) + x

    def change_nothing(self) -> None:
        """Zero the last layer, so that a group that is added to trained ones returns its input."""
        last = self.conv[-1] if isinstance(self.conv, nn.Sequential) else self.conv
        for parameter in last.parameters():
            nn.init.zeros_(parameter)


class Upsample(nn.Sequential):
    """Convolution and pixel shuffle, repeated for powers of two.

    Args:
        scale: A power of two, or 3.
        channels: Channels of input and output.
    """

    def __init__(self, scale: int, channels: int) -> None:
        factors = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
        super().__init__(
            *(
                layer
                for factor in factors
                for layer in (
                    nn.Conv2d(channels, factor**2 * channels, 3, padding=1),
                    nn.PixelShuffle(factor),
                )
            )
        )


class Frame(nn.Module):
    """Shallow features, groups of blocks, skips and upsampler, with the published names.

    Args:
        config: Which of the networks to build.
        blocks: For each group what maps its features `(b h w c)`.
    """

    mean: Tensor

    def __init__(
        self, config: MambaIRConfig | MambaIRv2Config, blocks: Iterable[nn.Module]
    ) -> None:
        super().__init__()
        self.config = config
        self.ops: Ops = PLAIN
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
        self.layers = nn.ModuleList(
            ResidualGroup(group, embed, config.resi_connection) for group in blocks
        )
        self.norm = nn.LayerNorm(embed)
        self.conv_after_body = closing_convolution(embed, config.resi_connection)
        self._add_upsampler(channels, embed)

    def _add_upsampler(self, channels: int, embed: int) -> None:
        config, inner = self.config, UPSAMPLER_CHANNELS
        if config.upsampler in ("pixelshuffle", "nearest+conv"):
            self.conv_before_upsample = nn.Sequential(
                nn.Conv2d(embed, inner, 3, padding=1), nn.LeakyReLU()
            )
            self.conv_last = nn.Conv2d(inner, channels, 3, padding=1)
        elif config.upsampler == "":
            self.conv_last = nn.Conv2d(embed, channels, 3, padding=1)
        if config.upsampler == "pixelshuffle":
            self.upsample: nn.Module = Upsample(config.upscale, inner)
        elif config.upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(
                nn.Conv2d(embed, config.upscale**2 * channels, 3, padding=1),
                nn.PixelShuffle(config.upscale),
            )
        elif config.upsampler == "nearest+conv":
            self.conv_up1 = nn.Conv2d(inner, inner, 3, padding=1)
            self.conv_up2 = nn.Conv2d(inner, inner, 3, padding=1)
            self.conv_hr = nn.Conv2d(inner, inner, 3, padding=1)

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
        return self._convolved(self.conv_after_body, deep) + shallow

    def _convolved(self, layers: nn.Module, x: Tensor) -> Tensor:
        return run_convolutions(layers, x, self.ops)

    def _enlarged(self, features: Tensor) -> Tensor:
        if self.config.upsampler == "pixelshuffledirect":
            return self._convolved(self.upsample, features)
        features = self._convolved(self.conv_before_upsample, features)
        if self.config.upsampler == "pixelshuffle":
            return self._convolved(self.conv_last, self._convolved(self.upsample, features))
        for convolution in (self.conv_up1, self.conv_up2):
            doubled = functional.interpolate(features, scale_factor=2, mode="nearest")
            features = functional.leaky_relu(self._convolved(convolution, doubled), 0.2)
        features = functional.leaky_relu(self._convolved(self.conv_hr, features), 0.2)
        return self._convolved(self.conv_last, features)

    def forward(self, x: Tensor) -> Tensor:
        """Restore a batch of images.

        Args:
            x: `(b c h w)` in [0, 1], any height and width.

        Returns:
            `(b c h*s w*s)`, nominally in [0, 1], not clamped.
        """
        x = (x - self.mean) * self.config.img_range
        shallow = self._convolved(self.conv_first, x.contiguous(memory_format=torch.channels_last))
        features = self.deep_features(shallow)
        if self.config.upsampler:
            out = self._enlarged(features)
        else:
            out = x + self._convolved(self.conv_last, features)
        return out / self.config.img_range + self.mean
