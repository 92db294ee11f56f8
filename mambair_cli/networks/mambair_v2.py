"""MambaIRv2: window attention and a scan in one direction over pixels sorted by class."""

from __future__ import annotations

from torch import Tensor

from mambair_cli.networks.attentive import AttentiveLayers, AttentiveStateSpace
from mambair_cli.networks.frame import Frame
from mambair_cli.networks.padding import crop_to, mirror_to_multiple
from mambair_cli.networks.spec import MambaIRv2Config


class MambaIRv2(Frame):
    """MambaIRv2 (arXiv 2411.15269), state-dict compatible with the published weights.

    Args:
        config: Which of the networks to build.
    """

    def __init__(self, config: MambaIRv2Config) -> None:
        groups = zip(config.depths, config.num_heads, strict=True)
        super().__init__(config, (AttentiveLayers(config, *group) for group in groups))
        self.window = config.window_size

    def sample_classes(self, *, sampled: bool) -> None:
        """Choose whether the classes of pixels are drawn, as in the published code, or certain.

        Args:
            sampled: Whether to draw them, by PyTorch's generator: each run then differs.
        """
        for module in self.modules():
            if isinstance(module, AttentiveStateSpace):
                module.sampled = sampled

    def forward(self, x: Tensor) -> Tensor:
        """See `Frame.forward`."""
        h, w = x.shape[2:]
        padded = mirror_to_multiple(x, self.window)
        return crop_to(super().forward(padded), h * self.scale, w * self.scale)
