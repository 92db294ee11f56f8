"""What a network takes from other weights before it is trained."""

from __future__ import annotations

from math import isqrt

from torch import Tensor

from mambair_cli.checkpoints.obtain import resolve
from mambair_cli.checkpoints.state_dict import read_checkpoint
from mambair_cli.errors import CheckpointError
from mambair_cli.networks import RestorationNetwork
from mambair_cli.networks.frame import Frame, ResidualGroup

_DIRECT, _RECONSTRUCTION = "pixelshuffledirect", "upsample.0."


def initialise(network: RestorationNetwork, init: str | None) -> int:
    """Take the tensors of other weights that fit by name and shape; return how many did.

    Groups that the other weights have not begin by changing nothing. A network that shuffles its
    pixels directly begins with the mean of those of a scale that is a multiple of its own.

    Args:
        network: Which takes them, in place.
        init: Id or path of the weights; None takes nothing.

    Raises:
        CheckpointError: They cannot be had or read, or none of their tensors fits.
    """
    if init is None:
        return 0
    path = resolve(init)
    own = network.state_dict()
    others = _averaged(network, read_checkpoint(path).tensors)
    fitting = {
        name: tensor
        for name, tensor in others.items()
        if name in own and own[name].shape == tensor.shape
    }
    if not fitting:
        raise CheckpointError(
            f"no tensor of {path} fits the network of the recipe",
            "see what it holds with: mambair models inspect FILE",
        )
    network.load_state_dict(own | fitting)
    for name, group in network.named_modules():
        is_new = not any(key.startswith(f"{name}.") for key in fitting)
        if isinstance(group, ResidualGroup) and is_new:
            group.change_nothing()
    return len(fitting)


def _averaged(network: RestorationNetwork, others: dict[str, Tensor]) -> dict[str, Tensor]:
    if not isinstance(network, Frame) or network.config.upsampler != _DIRECT:
        return others
    scale, channels = network.scale, network.channels
    return {
        name: _mean_of_pixels(tensor, channels, scale)
        if name.startswith(_RECONSTRUCTION)
        else tensor
        for name, tensor in others.items()
    }


def _mean_of_pixels(tensor: Tensor, channels: int, scale: int) -> Tensor:
    """Average what makes the pixels of a larger scale, to those of one that divides it."""
    count = len(tensor) if tensor.ndim else 0
    larger = isqrt(count // channels)
    if not larger or count != channels * larger**2 or larger % scale:
        return tensor
    side, rest = larger // scale, tensor.shape[1:]
    pixels = tensor.reshape(channels, scale, side, scale, side, *rest)
    return pixels.mean(dim=(2, 4)).reshape(channels * scale**2, *rest)
