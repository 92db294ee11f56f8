"""What the GPU benchmark runs: networks with their inputs, shapes of the scan, limits of error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mambair_cli.checkpoints import catalogue
from mambair_cli.networks import MambaIRConfig, MambaIRUNetConfig, build_network
from mambair_cli.restoration.device.scan_backend import set_scan_backend

if TYPE_CHECKING:
    from mambair_cli.networks import RestorationNetwork
    from mambair_cli.networks.spec import ModelSpec, NetworkConfig


@dataclass(frozen=True)
class Case:
    """A published network at the size that it is measured at: an output of 1280x720.

    Attributes:
        name: What the report calls it.
        model: Id in the catalogue, for the configuration; weights are fresh ones.
        height: Pixels of the input.
        width: Pixels of the input.
        quick: Run a small network of the same kind on a small input.
    """

    name: str
    model: str
    height: int
    width: int
    quick: bool = False

    @property
    def config(self) -> NetworkConfig:
        """The network's configuration."""
        config = catalogue.find(self.model).config
        if not self.quick:
            return config
        if isinstance(config, MambaIRUNetConfig):
            return replace(config, dim=32, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1)
        if isinstance(config, MambaIRConfig):
            return replace(config, embed_dim=32, d_state=4, depths=(1, 1))
        return replace(config, embed_dim=32, d_state=4, depths=(2,), num_heads=(2,), window_size=8)

    @property
    def is_small(self) -> bool:
        """Whether it is fast enough to be run often, and in slow ways."""
        return self.height * self.width < 100_000

    @property
    def spec(self) -> ModelSpec:
        """What the network is for."""
        return catalogue.find(self.model).spec

    def network(self, device: torch.device, scan: str = "auto") -> RestorationNetwork:
        """The network with the weights that training starts from, drawn with seed 0."""
        torch.manual_seed(0)
        network = build_network(self.config).eval().requires_grad_(False).to(device)
        set_scan_backend(network, scan)
        return network

    def inputs(self, device: torch.device, count: int | None = None) -> list[Tensor]:
        """Random images `(1 3 h w)` in [0, 1]; three, or one that no cache holds."""
        count = count or (3 if self.is_small else 1)
        generator = torch.Generator().manual_seed(1)
        shape = (1, self.spec.channels, self.height, self.width)
        return [torch.rand(shape, generator=generator).to(device) for _ in range(count)]


NETWORKS = (
    Case("classic_x4", "mambair-classic-sr-x4", 180, 320),
    Case("light_x4", "mambair-light-sr-x4", 180, 320),
    Case("denoise_colour", "mambair-base-denoise-s25", 720, 1280),
    Case("denoise_real_unet", "mambair-unet-denoise-real", 720, 1280),
    Case("v2_light_x4", "mambairv2-light-sr-x4", 180, 320),
    Case("v2_base_x4", "mambairv2-base-sr-x4", 180, 320),
)


def case_of(name: str, *, quick: bool) -> Case:
    """Finds a case; the quick form has the same code paths and means nothing as a figure."""
    case = next(case for case in NETWORKS if case.name == name)
    return replace(case, height=16, width=24, quick=True) if quick else case


# b, h, w, d, n, r: single rows and columns, sides that no block divides, the published networks'.
SCAN_SHAPES = (
    (1, 1, 1, 7, 1, 1),
    (2, 1, 37, 16, 5, 1),
    (1, 37, 1, 20, 6, 3),
    (3, 5, 7, 40, 10, 3),
    (2, 7, 19, 72, 10, 4),
    (1, 41, 13, 16, 4, 1),
    (1, 3, 23, 216, 16, 12),
    (1, 5, 9, 360, 16, 12),
)
# For values alone: the gradients of the definition take time quadratic in the pixels.
LONG_SCAN_SHAPES = (
    (1, 33, 65, 72, 10, 4),
    (1, 31, 67, 216, 16, 12),
    (1, 63, 41, 360, 16, 12),
)
QUICK_SCAN_SHAPES = ((1, 1, 1, 7, 1, 1), (2, 2, 3, 5, 5, 1))
# Largest error against float64 that passes, by the format of the operands.
LIMITS = {"fp32": 1e-5, "tf32": 2e-3, "bf16": 2e-2, "fp16": 3e-3}


def scan_inputs(shape: tuple[int, ...]) -> list[Tensor]:
    """Arguments of the four-direction scan in float32, on the CPU, drawn from the shape."""
    b, h, w, d, n, r = shape
    generator = torch.Generator().manual_seed(sum(shape))

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    return [
        normal(b, h, w, d),
        normal(b, h, w, 4 * (r + 2 * n)),
        normal(4, d, r) * 0.3,
        normal(4, d) - 2,
        -0.2 - 8 * torch.rand(4, d, n, generator=generator),
        normal(4, d),
    ]
