"""What a network is (its configuration) and what a model is for (task, scale, channels)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Task = Literal["sr", "realsr", "denoise", "denoise-real", "dejpeg"]
Preceding = Literal["dejpeg"]
Upsampler = Literal["pixelshuffle", "pixelshuffledirect", "nearest+conv", ""]


@dataclass(frozen=True)
class MambaIRConfig:
    """Configuration of `MambaIR` (paper, section 3.2); field names are those of the published code.

    Attributes:
        upscale: Output side over input side: 1, 2, 3, 4 or 8.
        in_chans: Image channels, 3 for RGB or 1 for gray.
        img_range: Value that the network's inner range gives to white; 1 or 255.
        embed_dim: Channels of the feature map.
        d_state: State size `n` of the selective scan.
        depths: Number of blocks in each residual group.
        mlp_ratio: Expansion of the feature channels inside the state-space module.
        upsampler: `pixelshuffle` (classic), `pixelshuffledirect` (light), `nearest+conv` (in
            users' weights for photographs; x4 only) or none (restoration).
        resi_connection: Convolution closing each group, `1conv` or `3conv`.
    """

    upscale: int = 4
    in_chans: int = 3
    img_range: float = 1.0
    embed_dim: int = 60
    d_state: int = 10
    depths: tuple[int, ...] = (6, 6, 6, 6)
    mlp_ratio: float = 1.2
    upsampler: Upsampler = "pixelshuffledirect"
    resi_connection: Literal["1conv", "3conv"] = "1conv"

    @property
    def scale(self) -> int:
        """Output side divided by input side."""
        return self.upscale

    @property
    def channels(self) -> int:
        """Channels of the input and output image."""
        return self.in_chans


@dataclass(frozen=True)
class MambaIRv2Config:
    """Configuration of `MambaIRv2` (arXiv 2411.15269); names are those of the published code.

    Attributes:
        upscale: Output side over input side: 1, 2, 3, 4 or 8.
        in_chans: Image channels, 3 for RGB or 1 for gray.
        img_range: Value that the network's inner range gives to white; 1 or 255.
        embed_dim: Channels of the feature map.
        d_state: State size `n` of the selective scan.
        depths: Number of layers in each residual group.
        num_heads: Heads of the window attention in each residual group.
        window_size: Side of the windows.
        inner_rank: Rank of the table of prompts.
        num_tokens: Number of classes of pixels, each of which has a prompt.
        convffn_kernel_size: Side of the feed-forward network's convolution.
        mlp_ratio: Channels that are scanned, and those inside the feed-forward network, over
            `embed_dim`.
        upsampler: As in `MambaIRConfig`.
        resi_connection: Convolution closing each group, `1conv` or `3conv`.
        light: Whether the feed-forward network is the gated one of the light models.
    """

    upscale: int = 4
    in_chans: int = 3
    img_range: float = 1.0
    embed_dim: int = 48
    d_state: int = 8
    depths: tuple[int, ...] = (5, 5, 5, 5)
    num_heads: tuple[int, ...] = (4, 4, 4, 4)
    window_size: int = 16
    inner_rank: int = 32
    num_tokens: int = 64
    convffn_kernel_size: int = 5
    mlp_ratio: float = 1.0
    upsampler: Upsampler = "pixelshuffledirect"
    resi_connection: Literal["1conv", "3conv"] = "1conv"
    light: bool = True

    @property
    def scale(self) -> int:
        """Output side divided by input side."""
        return self.upscale

    @property
    def channels(self) -> int:
        """Channels of the input and output image."""
        return self.in_chans

    @property
    def hidden(self) -> int:
        """Channels that are scanned, and those inside the feed-forward network."""
        return int(self.embed_dim * self.mlp_ratio)


@dataclass(frozen=True)
class MambaIRUNetConfig:
    """Configuration of `MambaIRUNet`, the real-denoising network; sides are halved three times.

    Attributes:
        inp_channels: Channels of the input image.
        out_channels: Channels of the output image; equal to `inp_channels` (a residual is learnt).
        dim: Channels at full resolution, doubled at each level.
        num_blocks: Blocks at each of the four levels.
        num_refinement_blocks: Blocks at full resolution after the decoder.
        mlp_ratio: Expansion of the feature channels inside the state-space module.
        bias: Whether the resampling and reduction convolutions carry a bias.
        d_state: State size `n` of the selective scan.
    """

    inp_channels: int = 3
    out_channels: int = 3
    dim: int = 48
    num_blocks: tuple[int, int, int, int] = (4, 6, 6, 8)
    num_refinement_blocks: int = 4
    mlp_ratio: float = 1.5
    bias: bool = False
    d_state: int = 16

    @property
    def scale(self) -> int:
        """Output side divided by input side: always 1."""
        return 1

    @property
    def channels(self) -> int:
        """Channels of the input and output image."""
        return self.inp_channels


NetworkConfig = MambaIRConfig | MambaIRUNetConfig | MambaIRv2Config


@dataclass(frozen=True)
class ModelSpec:
    """What weights are for: everything the restoration engine needs to know beside the module.

    Attributes:
        id: Model id such as `mambair-light-sr-x4`, or the file stem of weights without one.
        task: What the network restores.
        scale: Output side divided by input side.
        channels: Image channels that the network takes, 3 or 1.
        sigma: Gaussian noise level on the 0-255 scale that a denoiser was trained for.
        quality: JPEG quality that an artefact remover was trained for.
        after: Task that is done first to files that need it, where the network was trained on what
            that leaves.
    """

    id: str
    task: Task
    scale: int
    channels: int
    sigma: int | None = None
    quality: int | None = None
    after: Preceding | None = None
