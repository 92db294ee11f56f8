"""The way from 8-bit pixels to network tensors and back."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Turn `(h w c)` uint8 pixels into a contiguous `(1 c h w)` float32 tensor in [0, 1]."""
    planes = np.array(pixels.transpose(2, 0, 1), dtype=np.float32, order="C")
    return torch.from_numpy(planes)[None].div_(255)


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """Turn a `(1 c h w)` tensor of any floating dtype and device into `(h w c)` uint8 pixels.

    Values are clamped to [0, 1], scaled by 255 and rounded, ties to even.
    """
    if image.ndim != 4 or image.shape[0] != 1:
        raise ValueError(f"expected one image (1 c h w), got shape {tuple(image.shape)}")
    scaled = image.detach()[0].float().clamp(0, 1).mul(255).round()
    return scaled.to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
