"""The networks as spandrel knows them: how they are recognised, loaded, described and run."""

from __future__ import annotations

from typing import Any

import torch
from spandrel import (
    Architecture,
    ArchSupport,
    ImageModelDescriptor,
    ModelTiling,
    SizeRequirements,
    UnsupportedDtypeError,
)
from torch import Tensor, nn

from mambair_cli.checkpoints.header import NETWORKS
from mambair_cli.checkpoints.load import holds_network, network_of
from mambair_cli.networks import RestorationNetwork
from mambair_cli.networks.mambair_unet import SIDE_MULTIPLE
from mambair_cli.networks.spec import MambaIRUNetConfig, NetworkConfig
from mambair_cli.restoration.device.half_weights import frozen_state, with_half_weights
from mambair_cli.restoration.device.precision import HALF_TYPES, computing_in
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.restorer import LEAST_SIDE

PRECISIONS = {torch.float32: "fp32", **{dtype: name for name, dtype in HALF_TYPES.items()}}


class KernelsOfDevice:
    """Has a network's kernels follow it to every device that a program moves it to."""

    def __init__(self) -> None:
        self._device: torch.device | None = None

    def __call__(self, network: nn.Module, _inputs: object = None) -> None:
        """Choose the kernels for the device where the network is, if it is not the last one."""
        device = next(network.parameters()).device
        if device != self._device:
            set_scan_backend(network, "auto")
            self._device = device


class Descriptor(ImageModelDescriptor):  # type: ignore[misc]
    """A loaded network with what spandrel tells of it.

    The weights stay float32 on every device: in half precision the matrix products and convolutions
    are computed in it, and the state of the scan is not, which overflows.

    Args:
        network: The network with its weights.
        architecture: What recognised it.
    """

    def __init__(self, network: RestorationNetwork, architecture: Architecture) -> None:
        config = network.config
        given, multiple = config.channels, 1
        # MambaIRv2 extends its images to whole windows itself, otherwise than spandrel would.
        if isinstance(config, MambaIRUNetConfig):
            given, multiple = config.out_channels, SIDE_MULTIPLE
        super().__init__(
            network,
            network.state_dict(),
            architecture=architecture,
            purpose="SR" if config.scale > 1 else "Restoration",
            tags=_tags(config),
            supports_half=True,
            supports_bfloat16=True,
            scale=config.scale,
            input_channels=config.channels,
            output_channels=given,
            size_requirements=SizeRequirements(LEAST_SIDE, multiple),
            tiling=ModelTiling.SUPPORTED,
            call_fn=self._run,
        )
        self._dtype = torch.float32
        self._kernels = KernelsOfDevice()
        network.register_forward_pre_hook(self._kernels)

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in, and its images are of."""
        return self._dtype

    def to(
        self,
        device: torch.device | torch.dtype | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Descriptor:
        """Move the network to a device, and choose what it computes in; either may come first.

        Raises:
            UnsupportedDtypeError: It computes in float32, float16 and bfloat16 alone.
        """
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        if dtype is not None and dtype not in PRECISIONS:
            raise UnsupportedDtypeError(f"{self.architecture.name} does not support {dtype}")
        self._dtype = dtype or self._dtype
        with torch.inference_mode(mode=False):
            super().to(device)
        return self

    def _run(self, network: nn.Module, image: Tensor) -> Tensor:
        self._kernels(network)
        if image.dtype in HALF_TYPES.values():
            network = with_half_weights(network, image.dtype, frozen_state(network))
        with computing_in(PRECISIONS.get(image.dtype, "fp32"), image.device):
            restored: Tensor = network(image.float())
        return restored.to(image.dtype)


class MambaArchitecture(Architecture):  # type: ignore[misc]
    """One of the networks.

    Args:
        name: Its name, which is its id too.
        kind: Its configuration.
    """

    def __init__(self, name: str, kind: type[NetworkConfig]) -> None:
        super().__init__(id=name, name=name, detect=lambda state: holds_network(state, kind))

    def load(self, state_dict: dict[str, Any]) -> Descriptor:
        """Load a state dict.

        Raises:
            CheckpointError: One of its tensors is missing, of a wrong shape or not finite.
        """
        # Programs load in inference mode, which counts no changes of the tensors made in it:
        # nothing that kernels make of such weights could be kept.
        with torch.inference_mode(mode=False):
            counted = {
                key: value.clone() if isinstance(value, Tensor) and value.is_inference() else value
                for key, value in state_dict.items()
            }
            return Descriptor(network_of(counted), self)


def _tags(config: NetworkConfig) -> list[str]:
    if isinstance(config, MambaIRUNetConfig):
        width, blocks = config.dim, [*config.num_blocks, config.num_refinement_blocks]
    else:
        width, blocks = config.embed_dim, [*config.depths]
    return [f"{width}dim", f"{config.d_state}state", "-".join(map(str, blocks))]


SUPPORTED = tuple(
    ArchSupport.from_architecture(MambaArchitecture(name, kind)) for name, kind in NETWORKS.items()
)
