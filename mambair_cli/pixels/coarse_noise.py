"""Whether the noise of an image is coarse: neighbours share it.

Cameras leave such noise where they smooth or enlarge what they took, and strong compression takes
the finest part of what noise is left. It is told from texture by how evenly it lies and that it
has no direction, and from blur and from noise of single pixels by how far it reaches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambair_cli.pixels.color import rgb_to_ycbcr
from mambair_cli.pixels.noise import cells_of, direction_of, haar_variances, means_of_patches
from mambair_cli.pixels.traces import BRIGHTEST, DARKEST

Planes = NDArray[np.float32]

# Fewer show too little: of sharp pictures of half as many one in fifty is taken for noise.
_LEAST_PIXELS = 200_000
_PATCH, _SMOOTH, _BRIGHTNESSES = 16, 0.15, 4
_NEXT_TO_NOTHING = 0.01
# Between which values PolyU's pictures lie, most of them; sharp pictures, blurred ones and fine
# noise, saved as JPEG or not, lie beyond one of them (docs/choosing.md).
_LARGEST_FINEST, _LEAST_EVENNESS, _MOST_COLOUR = 0.42, 0.15, 0.28
_LEAST_REACH, _FARTHEST_REACH = 0.09, 0.46
# What is left of fine texture in pictures that were blurred or saved has a direction; where detail
# lies evenly it may have more of one, of noise beside edges.
_MOST_DIRECTION, _MORE_WHERE_EVEN = 0.2, 1 / 3


@dataclass(frozen=True)
class Grain:
    """What tells coarse noise.

    Attributes:
        finest: Detail of single pixels over detail twice as coarse, in luma: 2 for white noise,
            0.5 to 1 for sharp pictures, 0.3 for coarse noise and for blur.
        evenness: Variance of the coarser detail in smooth patches over that in all which are as
            bright: next to nothing where some are smooth and others have texture.
        colour: The coarser detail of ordinary patches in the planes of chroma, in levels of 255.
        reach: How much pixels at a distance of two share of what smooth patches hold, as a
            correlation: 0 for noise of single pixels, 0.5 and more for what is blurred.
        direction: How far the detail of luma has one, as `direction_of` tells it.
    """

    finest: float
    evenness: float
    colour: float
    reach: float
    direction: float

    @property
    def is_coarse(self) -> bool:
        """Whether that is coarse noise and hardly anything else."""
        return (
            self.finest < _LARGEST_FINEST
            and self.evenness > _LEAST_EVENNESS
            and self.colour < _MOST_COLOUR
            and _LEAST_REACH < self.reach < _FARTHEST_REACH
            and self.direction < _MOST_DIRECTION + _MORE_WHERE_EVEN * self.evenness
        )


NO_GRAIN = Grain(1.0, 0.0, 0.0, 0.0, 1.0)


def grain_of_noise(pixels: NDArray[np.uint8]) -> Grain:
    """Measure what tells coarse noise.

    Args:
        pixels: `(h w c)`, gray or RGB.

    Returns:
        What was measured; `NO_GRAIN` of an image of less than 200,000 pixels, or of hardly any
        light.
    """
    if pixels[..., 0].size < _LEAST_PIXELS:
        return NO_GRAIN
    gray = pixels.shape[2] == 1
    planes = pixels.astype(np.float32) if gray else rgb_to_ycbcr(pixels)
    sizes = planes, means_of_patches(planes, 2)
    full, half = (_by_brightness(cells_of(each)) for each in sizes)
    if not full or not half:
        return NO_GRAIN
    finest, coarser = (_ordinary(each, 0) for each in (full, half))
    smooth = sum(np.quantile(_variances(group, 0), _SMOOTH) for group in half)
    every = sum(_variances(group, 0).mean() + _NEXT_TO_NOTHING for group in half)
    return Grain(
        finest / (coarser + 2 * _NEXT_TO_NOTHING),
        float(smooth / every),
        max((_ordinary(half, plane) for plane in range(1, planes.shape[2])), default=0.0),
        _reach(planes[..., 0]),
        direction_of(planes[..., 0]),
    )


def _by_brightness(patches: Planes) -> list[Planes]:
    """Sort `(patches n n c)` into groups as bright as each other, without clipped ones."""
    light = patches[..., 0].mean(axis=(1, 2))
    told = np.flatnonzero((light > DARKEST) & (light < BRIGHTEST))
    if len(told) < _BRIGHTNESSES:
        return []
    alike = np.array_split(told[np.argsort(light[told])], _BRIGHTNESSES)
    return [patches[group] for group in alike]


def _variances(group: Planes, plane: int) -> Planes:
    return haar_variances(group[..., plane])


def _ordinary(groups: list[Planes], plane: int) -> float:
    return float(np.sqrt(np.mean([np.median(_variances(group, plane)) for group in groups])))


def _reach(luma: Planes) -> float:
    """Correlate pixels at a distance of two in smooth patches, whose slopes are taken away."""
    smooth = [_smooth(_level(group[..., 0])) for group in _by_brightness(_patches(luma))]
    if not smooth:
        return 0.0
    found = np.concatenate(smooth)
    pairs = (found[:, :, 2:] * found[:, :, :-2], found[:, 2:] * found[:, :-2])
    shared = np.mean([each.mean() for each in pairs])
    return float(shared / ((found**2).mean() + _NEXT_TO_NOTHING))


def _patches(luma: Planes) -> Planes:
    return cells_of(luma[..., None], _PATCH)


def _level(patches: Planes) -> Planes:
    ramp = np.linspace(-1, 1, _PATCH, dtype=np.float32)
    level = patches - patches.mean(axis=(1, 2), keepdims=True)
    for slope in (ramp[None, None, :], ramp[None, :, None]):
        share: Any = (level * slope).mean(axis=(1, 2), keepdims=True) / (ramp**2).mean()
        level = level - share * slope
    return np.asarray(level)


def _smooth(patches: Planes) -> Planes:
    variances = (patches**2).mean(axis=(1, 2))
    return patches[np.argsort(variances)[: max(2, int(_SMOOTH * len(patches)))]]
