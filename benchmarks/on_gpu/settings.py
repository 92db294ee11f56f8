"""What the command line of the GPU benchmark decides for every step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Settings:
    """How steps run.

    Attributes:
        device_name: `cuda`, or `cpu` to try the benchmark itself.
        quick: Toy networks and sizes; figures mean nothing.
        folder: Where steps write their figures, and read those of earlier ones.
        peers: Sources of the networks to compare with.
        data: Benchmark sets, a folder each, or images; None for the samples of scikit-image.
    """

    device_name: str
    quick: bool
    folder: Path
    peers: Path
    data: Path | None = None

    @property
    def device(self) -> torch.device:
        """Where everything runs."""
        import torch

        return torch.device(self.device_name)

    @property
    def on_gpu(self) -> bool:
        """Whether figures mean something."""
        return self.device_name.startswith("cuda")

    @property
    def scan(self) -> str:
        """The scan backend of networks; on a CPU the one that has nothing to compile."""
        return "auto" if self.on_gpu else "torch"
