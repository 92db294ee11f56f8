"""How much memory a network needs for each pixel, on a CPU and on a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from mambair_cli.kernels.block.attention import head_channels
from mambair_cli.networks.frame import UPSAMPLER_CHANNELS
from mambair_cli.networks.spec import MambaIRUNetConfig, MambaIRv2Config, NetworkConfig
from mambair_cli.restoration.device.precision import HALF_TYPES, Precision


@dataclass(frozen=True)
class _Sizes:
    """Values for each pixel; letters as in `kernels/scan/README.md`.

    Attributes:
        c: Channels of the feature map, at full resolution where it is widest.
        d: Inner channels.
        directions: Directions of the scan.
        projected: Step inputs, B and C of all directions.
        states: States of one direction.
        upsampled: The upsampler's largest activation.
        images: The input and the output.
        heads: All heads' channels in window attention on a GPU; 0 without it.
    """

    c: int
    d: int
    directions: int
    projected: int
    states: int
    upsampled: int
    images: int
    heads: int

    @classmethod
    def of(cls, config: NetworkConfig) -> _Sizes:
        # The U-Net's widest blocks at full resolution are those after its decoder's last
        # concatenation.
        c = 2 * config.dim if isinstance(config, MambaIRUNetConfig) else config.embed_dim
        d, n = int(config.mlp_ratio * c), config.d_state
        second = isinstance(config, MambaIRv2Config)
        k, r = (1, math.ceil(d / 16)) if second else (4, math.ceil(c / 16))
        upsampled = 0
        if not isinstance(config, MambaIRUNetConfig) and config.upsampler:
            direct = config.upsampler == "pixelshuffledirect"
            channels = config.channels if direct else UPSAMPLER_CHANNELS
            upsampled = channels * config.scale**2
        images = config.channels * (1 + config.scale**2)
        heads = 0
        if isinstance(config, MambaIRv2Config):
            heads = max(count * head_channels(c, count) for count in config.num_heads)
        return cls(c, d, k, k * (r + 2 * n), d * n, upsampled, images, heads)

    @property
    def block(self) -> int:
        """A block's widest moment: the scan's input, output and gate, or the attention."""
        if self.heads:
            # Measured at 128x128 and 256x256 on a CPU: 84 bytes for each channel of MambaIRv2's
            # light network, 64 to 81 of its base one.
            return 9 * self.c
        return 4 * self.d + self.projected + 4 * self.c


@dataclass(frozen=True)
class _Cost:
    """Bytes at the peak of a forward pass on a CPU, fitted to the growth of a process.

    Attributes:
        block: For each value of one block's activations (`_Sizes.block`), fused scan.
        unfused_block: The same without fused kernels.
        upsampler: For each value of the upsampler's largest activation.
    """

    block: float
    unfused_block: float
    upsampler: float


# The reference scan stores `(b 4d l n)` float32: the discrete A and B u, B and C for each channel,
# and a product on the way.
_REFERENCE_STATES = 4 * 4 * 5


# Measured on a CPU at 128x128 and 256x256 for the light, classic x3, x4 and x8, denoising and U-Net
# networks: 7.2 to 9.7 bytes for each value of a block in fp32, 6.7 to 8.1 in bf16; 21 to 25
# without fused kernels, the states of the reference scan not counted; 8.9 and 5.3 for each value of
# the upsampler. Blocks have come to take about a quarter less since.
_FULL_COST = _Cost(block=10.0, unfused_block=26.0, upsampler=9.5)
_HALF_COST = _Cost(block=8.5, unfused_block=26.0, upsampler=6.0)


@dataclass(frozen=True)
class _Alive:
    """Tensors that are alive on a GPU at one of a network's two widest moments.

    Attributes:
        what: Which.
        values: How many values for each pixel of the input.
        full: Bytes of each in fp32 and tf32.
        half: Bytes of each in bf16 and fp16.
    """

    what: str
    values: Callable[[_Sizes], int]
    full: int
    half: int


# Derived from what the code holds, not measured on any GPU yet. The images are there three times:
# arriving, computed, leaving. The states that the scan keeps between chunks are not counted: there
# are as many as fill the GPU, whatever the image, a few dozen MiB of `available.WORKSPACE_RESERVE`.
_EVERYWHERE = (
    _Alive("images on their way", lambda s: 3 * s.images, 4, 4),
    _Alive("shallow features, kept for the skip around all groups", lambda s: s.c, 4, 2),
)
_IN_A_BLOCK = (
    *_EVERYWHERE,
    _Alive("the group's input, kept for its skip", lambda s: s.c, 4, 4),
    _Alive("residual stream", lambda s: s.c, 4, 4),
    _Alive("its norm", lambda s: s.c, 4, 2),
    _Alive("the scan's result in each direction", lambda s: s.directions * s.d, 4, 2),
)
_IN_A_SCAN = (
    *_IN_A_BLOCK,
    _Alive("the scan's input u", lambda s: s.d, 4, 2),
    _Alive("step inputs, B and C", lambda s: s.projected, 4, 4),
)
_IN_A_GATE = (
    *_IN_A_BLOCK,
    _Alive("gate z", lambda s: s.d, 4, 2),
    _Alive("normed and gated sum", lambda s: s.d, 4, 2),
)
_IN_THE_ATTENTION = (
    *_EVERYWHERE,
    _Alive("the group's input, kept for its skip", lambda s: s.c, 4, 4),
    _Alive("residual stream", lambda s: s.c, 4, 4),
    _Alive("queries, keys and values, and shifted", lambda s: 6 * s.c if s.heads else 0, 4, 2),
    _Alive("those in windows, part of them, and the results of both", lambda s: 8 * s.heads, 4, 2),
)
_IN_THE_UPSAMPLER = (
    *_EVERYWHERE,
    _Alive("convolution's input, its result, and that shuffled", lambda s: 3 * s.upsampled, 4, 2),
)
# What the other scans store: the four directions stacked, as the scan's input, its steps and its
# result, each in its own order and in that of the pixels.
_STACKED = _Alive("directions stacked", lambda s: 6 * s.directions * s.d, 4, 4)
_FUSED = {"cpu": ("auto", "numba"), "cuda": ("auto", "triton"), "xpu": ("auto", "triton")}


def bytes_per_pixel(
    config: NetworkConfig, precision: Precision, scan: str = "auto", device_type: str = "cpu"
) -> int:
    """Reckon a network's peak memory for each pixel of its input, weights not counted.

    Args:
        config: Which network.
        precision: What it computes in.
        scan: Name of its scan backend.
        device_type: Where it runs: `cpu`, `cuda`, ...

    Returns:
        Bytes, rounded up to the safe side.
    """
    sizes = _Sizes.of(config)
    half, fused = precision in HALF_TYPES, scan in _FUSED.get(device_type, ())
    states = _REFERENCE_STATES * sizes.states if scan == "reference" else 0
    if device_type == "cpu":
        cost = _HALF_COST if half else _FULL_COST
        block = sizes.block * (cost.block if fused else cost.unfused_block) + states
        return math.ceil(max(block, cost.upsampler * sizes.upsampled))
    in_a_scan = _IN_A_SCAN if fused else (*_IN_A_SCAN, _STACKED)
    return max(
        _bytes_of(in_a_scan, sizes, half=half) + states,
        _bytes_of(_IN_A_GATE, sizes, half=half),
        _bytes_of(_IN_THE_ATTENTION, sizes, half=half),
        _bytes_of(_IN_THE_UPSAMPLER, sizes, half=half),
    )


def widest(config: NetworkConfig, scan: str = "auto") -> int:
    """Reckon the values of a network's largest tensor for each pixel of its input.

    Args:
        config: Which network.
        scan: Name of its scan backend.
    """
    sizes = _Sizes.of(config)
    states = sizes.directions * sizes.states if scan == "reference" else 0
    scanned = max(sizes.directions * sizes.d, sizes.projected, states)
    return max(sizes.upsampled, sizes.images, 3 * sizes.heads, scanned)


def _bytes_of(moment: tuple[_Alive, ...], sizes: _Sizes, *, half: bool) -> int:
    return sum(row.values(sizes) * (row.half if half else row.full) for row in moment)


@dataclass(frozen=True)
class MeasuredFootprint:
    """What peaks measured at several image sizes say about the model.

    Attributes:
        per_pixel: Measured bytes for each further pixel of the input.
        fixed: Measured bytes whatever the size: weights and workspaces.
        predicted: What `bytes_per_pixel` says.
    """

    per_pixel: float
    fixed: float
    predicted: int

    @property
    def safe(self) -> bool:
        """Whether the model promises no less than what was measured."""
        return self.per_pixel <= self.predicted


def measured_footprint(peaks: Mapping[int, int], predicted: int) -> MeasuredFootprint:
    """Fit a line through measured peaks, to compare it with the model.

    Args:
        peaks: Bytes of memory at the peak of one run, by pixels of its input; at least two.
        predicted: From `bytes_per_pixel`.

    Returns:
        The comparison.
    """
    pixels = torch.tensor([[count, 1.0] for count in peaks], dtype=torch.float64, device="cpu")
    measured = torch.tensor(list(peaks.values()), dtype=torch.float64, device="cpu")[:, None]
    slope, fixed = torch.linalg.lstsq(pixels, measured).solution.flatten().tolist()
    return MeasuredFootprint(slope, fixed, predicted)
