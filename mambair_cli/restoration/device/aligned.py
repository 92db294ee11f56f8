"""Matrix products and convolutions in half precision whose rows begin at multiples of 16 bytes.

The fastest kernels of NVIDIA's libraries take no others, and the networks have 180, 60 or 30
channels. So weights lie in memory with zeros behind each row, made once, and results have as many
channels more, which nobody reads. Zeros change no result.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

MULTIPLE = 8  # values of two bytes
# Channels of images are left to the libraries.
FEWEST = 16


def on(device: torch.device) -> bool:
    """Tell whether it pays on a device: on NVIDIA's. Reckoned, measured on none."""
    return device.type == "cuda" and torch.version.hip is None


def align(twin: nn.Module) -> None:
    """Have a module that has half-precision weights of its own compute in aligned rows.

    Args:
        twin: Anything; what is no matrix product and no convolution stays as it is.
    """
    if isinstance(twin, nn.Linear):
        twin.__class__ = AlignedLinear
    elif isinstance(twin, nn.Conv2d) and twin.groups == 1:
        twin.__class__ = AlignedConv2d
    else:
        return
    weight, bias = twin.weight.detach(), twin.bias
    whole = _filled_up(weight)
    twin.__dict__ |= {"whole": whole, "whole_bias": bias if bias is None else _filled_up(bias)}
    # For readers of the weight alone.
    own = tuple(slice(side) for side in weight.shape)
    twin._parameters["weight"] = nn.Parameter(whole[own], requires_grad=False)  # noqa: SLF001


class AlignedLinear(nn.Linear):
    """A matrix product of any rows `(... i)`.

    Attributes:
        whole: Its weight with zeros, `(o' i')`.
        whole_bias: Its bias with zeros, or None.
    """

    whole: Tensor
    whole_bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Map `(... i)` to `(... o)`."""
        # Rows with gaps between them are one matrix only when they are flat.
        rows = x.flatten(0, -2)
        out = functional.linear(rows, self.whole[:, : self.in_features], self.whole_bias)
        return out.view(*x.shape[:-1], -1)[..., : self.out_features]


class AlignedConv2d(nn.Conv2d):
    """A convolution whose weight lies channels last.

    Attributes:
        whole: Its weight with zeros, `(o' i' h w)`.
        whole_bias: Its bias with zeros, or None.
    """

    whole: Tensor
    whole_bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b i h w)` to `(b o h w)`."""
        missing = self.whole.shape[1] - x.shape[1]
        if missing:
            # Cast first: autocast would do it afterwards, in a pass of its own.
            x = functional.pad(x.to(self.whole.dtype), (0, 0, 0, 0, 0, missing))
        out: Tensor = self._conv_forward(x, self.whole, self.whole_bias)
        return out[:, : self.out_channels]


def _filled_up(weight: Tensor) -> Tensor:
    """Add zeros so that the first two axes are multiples; lay filters out channels last."""
    shape = [
        side + -side % MULTIPLE if side >= FEWEST and axis < 2 else side
        for axis, side in enumerate(weight.shape)
    ]
    whole = weight.new_zeros(shape)
    whole[tuple(slice(side) for side in weight.shape)] = weight.detach()
    return whole.contiguous(memory_format=torch.channels_last) if whole.dim() == 4 else whole
