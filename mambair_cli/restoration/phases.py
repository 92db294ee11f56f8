"""Has a network that knows fine noise remove coarse noise too, without another network.

Every second pixel is a picture of half the size, in which noise that neighbours share lies as fine
as the network knows it (Zhou et al., "When AWGN-based denoiser meets real noises", AAAI 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from mambair_cli.networks import RestorationNetwork
from mambair_cli.networks.padding import crop_to, mirror_to_multiple
from mambair_cli.networks.spec import NetworkConfig
from mambair_cli.pixels.traces import LUMA

# By the distance of the pixels that are shown together: the share of that answer in luma, and in
# colour, whose noise is the coarsest. Chosen on every fifth pair of PolyU (docs/training-notes.md).
SHARES = {1: (0.5, 0.0), 2: (0.5, 0.75), 4: (0.0, 0.25)}


class InPhases(nn.Module):
    """A network that is shown an image as a whole and as pictures of every second, fourth pixel.

    It takes three times as long, and hardly more memory.

    Args:
        network: Of scale 1, for three colours.
    """

    luma: Tensor

    def __init__(self, network: RestorationNetwork) -> None:
        super().__init__()
        self.network = network
        like = next(network.parameters())
        # A buffer, since a CUDA graph copies nothing from main memory.
        self.register_buffer("luma", torch.from_numpy(LUMA).view(1, -1, 1, 1).to(like.device))
        self.train(network.training)

    @property
    def config(self) -> NetworkConfig:
        """Of the network, which says how much memory is needed."""
        return self.network.config

    def forward(self, x: Tensor) -> Tensor:
        """Restore images.

        Args:
            x: `(b 3 h w)`.

        Returns:
            `(b 3 h w)`.
        """
        restored = torch.zeros_like(x)
        for stride, (of_luma, of_colour) in SHARES.items():
            answer: Tensor = self._restored(x, stride).float()
            luma = (answer * self.luma).sum(dim=1, keepdim=True)
            restored += of_colour * answer + (of_luma - of_colour) * luma
        return restored

    def _restored(self, x: Tensor, stride: int) -> Tensor:
        # (b c*n h w), where the n phases of a colour follow each other.
        phases = pixel_unshuffle(mirror_to_multiple(x, stride), stride)
        images, channels, (height, width) = len(x), x.shape[1], phases.shape[2:]
        apart = phases.view(images, channels, -1, height, width).transpose(1, 2)
        restored: Tensor = self.network(apart.reshape(-1, channels, height, width))
        together = restored.view(images, -1, channels, height, width).transpose(1, 2)
        joined = pixel_shuffle(together.reshape(images, -1, height, width), stride)
        return crop_to(joined, *x.shape[2:])
