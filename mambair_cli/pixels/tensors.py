"""The way from pixels of every type to network tensors and back."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from mambair_cli.imaging.image import Pixels, ValueRange


def to_tensor(pixels: Pixels, value_range: ValueRange | None = None) -> Tensor:
    """Turn `(h w c)` pixels into a contiguous `(1 c h w)` float32 tensor.

    Args:
        pixels: uint8, uint16 or float32.
        value_range: The values that become 0 and 1; by default those of the type.
    """
    limits = value_range or ValueRange.of(pixels.dtype)
    planes = np.array(pixels.transpose(2, 0, 1), dtype=np.float32, order="C")
    tensor = torch.from_numpy(planes)[None]
    if limits.black:
        tensor.sub_(limits.black)
    return tensor.div_(limits.white - limits.black)


def to_pixels(
    image: Tensor,
    dtype: DTypeLike = np.uint8,
    value_range: ValueRange | None = None,
    bounds: tuple[float, float] = (0, 1),
) -> Pixels:
    """Turn a `(1 c h w)` tensor of any floating dtype and device into `(h w c)` pixels.

    Values are clamped to the bounds and scaled to the range; for integers they are then rounded,
    ties to even.

    Args:
        image: The tensor.
        dtype: uint8, uint16 or float32.
        value_range: What 0 and 1 become; by default black and white of the type.
        bounds: Least and largest value of the tensor that is kept.
    """
    if image.ndim != 4 or image.shape[0] != 1:
        raise ValueError(f"expected one image (1 c h w), got shape {tuple(image.shape)}")
    target = np.dtype(dtype)
    limits = value_range or ValueRange.of(target)
    scaled = image.detach()[0].float().clamp(*bounds).mul(limits.white - limits.black)
    if limits.black:
        scaled = scaled.add_(limits.black)
    if np.issubdtype(target, np.integer):
        scaled = scaled.round()
    if target == np.uint8:
        scaled = scaled.to(torch.uint8)  # a quarter of the bytes to copy from a GPU
    pixels = scaled.permute(1, 2, 0).contiguous().cpu().numpy()
    return np.asarray(pixels.astype(target, copy=False))
