"""What the paper measures for each task: how an input is made, and how a result is scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mambair_cli.evaluation.datasets import Dataset
from mambair_cli.evaluation.degrade import (
    add_benchmark_noise,
    crop_to_multiple,
    downscale,
    jpeg_compress,
)
from mambair_cli.evaluation.examples import Example
from mambair_cli.evaluation.metrics import psnr, ssim, y_psnr, y_ssim
from mambair_cli.evaluation.partition import restore_in_parts
from mambair_cli.imaging.writing.depth import to_8_bits
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.pixels.color import rgb_to_y
from mambair_cli.pixels.resize import imresize
from mambair_cli.restoration.restorer import RestoreOptions, restore_tensor

Array = NDArray[Any]
Progress = Callable[[int, int], None]

# `paper`: the authors' parts and hard stitch; `whole`: no cutting; `tiled`: our blended tiles.
Inference = Literal["paper", "whole", "tiled"]


@dataclass(frozen=True)
class Trial:
    """One image, ready to be restored.

    Attributes:
        low: `(h w c)` float32, [0, 1] but for noise, which is not clipped.
        truth: `(h*s w*s c)` uint8.
        made: Whether the input was made here; else it came with the set.
    """

    low: NDArray[np.float32]
    truth: NDArray[np.uint8]
    made: bool

    @property
    def x(self) -> Tensor:
        """The network's input `(1 c h w)`."""
        return torch.from_numpy(self.low.transpose(2, 0, 1).copy())[None]


@dataclass(frozen=True)
class Scores:
    """How near a result comes to its reference: PSNR in dB, SSIM."""

    psnr: float
    ssim: float


def prepare(example: Example, spec: ModelSpec, dataset: Dataset) -> Trial:
    """Make the input of an image as the paper does.

    Super-resolution: the reference cropped to a multiple of the scale, the input as it comes with
    the set or MATLAB's antialiased bicubic. Denoising: the authors' seeded noise. JPEG: libjpeg at
    the model's quality. Images take the channels of the network: gray ones are repeated, colour
    ones become luma (BT.601, studio range, rounded).

    Args:
        example: The image.
        spec: Task, scale, channels and level of the model.
        dataset: The set, for its edge rule.

    Returns:
        The input and its reference.

    Raises:
        ImageError: A file cannot be read.
    """
    truth = crop_to_multiple(_with_channels(example.truth(), spec.channels), spec.scale)
    given = None if example.given is None else _with_channels(example.given(), spec.channels)
    if given is not None:
        return Trial(_unit(given), truth, made=False)
    if spec.scale > 1:
        return Trial(_unit(downscale(truth, spec.scale, border=dataset.border)), truth, made=True)
    if spec.task == "dejpeg":
        assert spec.quality is not None
        return Trial(_unit(jpeg_compress(truth, spec.quality)), truth, made=True)
    assert spec.sigma is not None
    return Trial(add_benchmark_noise(truth, spec.sigma), truth, made=True)


def restore(
    network: nn.Module,
    trial: Trial,
    spec: ModelSpec,
    options: RestoreOptions,
    inference: Inference,
    on_progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Restore the input of a trial.

    Args:
        network: On its device.
        trial: The input.
        spec: Of the network.
        options: Self-ensemble and precision; the tile matters for `tiled` only.
        inference: How large images are cut.
        on_progress: Called with tiles or parts done and in all.

    Returns:
        `(h*s w*s c)` float32 in [0, 1].
    """
    if inference == "paper":
        restored = restore_in_parts(
            lambda part: restore_tensor(network, part, spec, options),
            trial.x,
            spec.scale,
            on_progress,
        )
    else:
        restored = restore_tensor(network, trial.x, spec, options, on_progress)
    return restored[0].permute(1, 2, 0).numpy()


def unrestored(trial: Trial, spec: ModelSpec) -> NDArray[np.float32]:
    """Make what there is without a network: the input, at a scale above 1 enlarged bicubically.

    Returns:
        `(h*s w*s c)` float32 in [0, 1].
    """
    if spec.scale == 1:
        return trial.low.clip(0, 1)
    enlarged = imresize(to_8_bits(trial.low), spec.scale)
    return _unit(enlarged)


def score(restored: NDArray[np.float32], truth: NDArray[np.uint8], spec: ModelSpec) -> Scores:
    """Score a result by the rules of its task.

    Super-resolution: luma, without a border of `scale` pixels. Everything else: all channels, no
    border. Values are rounded to 8 bits first, but for real denoising.

    Args:
        restored: `(h w c)` in [0, 1].
        truth: `(h w c)` uint8.
        spec: Task and scale.
    """
    values: Array = restored * 255 if spec.task == "denoise-real" else to_8_bits(restored)
    if spec.scale > 1 and spec.channels == 3:
        border = spec.scale
        return Scores(y_psnr(values, truth, border), y_ssim(values, truth, border))
    border = spec.scale if spec.scale > 1 else 0
    return Scores(psnr(values, truth, border=border), ssim(values, truth, border=border))


def _unit(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(pixels, np.float32) / np.float32(255)


def _with_channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return np.asarray(np.rint(rgb_to_y(pixels)), np.uint8)[..., None]
