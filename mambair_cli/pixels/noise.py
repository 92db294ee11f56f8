"""How strong the noise of an image is, measured on the image alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambair_cli.pixels.color import rgb_to_ycbcr
from mambair_cli.pixels.traces import BRIGHTEST, DARKEST, LUMA, Luma, detail_in_patches

_SMALLEST_SIDE = 32
_PATCH = 5
_STEP = 2
# Of the levels in the smoothest patches: their share, what texture adds to them, and by how much
# less than the noise of a whole image they vary. Fitted to BSD68, Kodak24 and McMaster.
_SMOOTHEST = 0.05
_TEXTURE, _SELECTED = 1.2, 0.77
_LUMA_OF_RGB = float(np.sqrt(np.sum(LUMA**2)))
# Planes that show noise, and how strong independent noise of the colours is in them; by how much
# less it varies in the smoothest of small patches.
_CHROMA, _GRAY = ((1, 0.62), (2, 0.65)), ((0, 1.0),)
_CELL, _SELECTED_OF_CELLS = 8, 0.7
# Noise of a camera depends on brightness: patches are compared with those as bright as they are.
_BRIGHTNESSES, _SMOOTH = 4, 0.15
_NEXT_TO_NOTHING = 0.0025
# Share of the patches that tell the grain of a compressed image.
_GRAIN = 0.02
_LEAST_PIXELS = 30_000
# Side of the patches whose detail may have a direction, in pixels.
_DIRECTED = 12


def estimate_sigma(pixels: NDArray[np.uint8], *, compressed: bool) -> float:
    """Estimate the standard deviation of the noise in each channel, in levels of 255.

    What three colours and their neighbours share is picture; the directions in which patches vary
    least show the noise alone (Chen, Zhu and Heng, ICCV 2015, here with the colours taken
    together). Compression removes exactly these. Where it was at work, and in gray images, the
    finest detail of the smoothest patches is taken instead, which is less certain.

    Args:
        pixels: `(h w c)`, gray or RGB.
        compressed: Whether the image was once compressed with losses.

    Returns:
        The estimate; 0 of an image with a side below 32 pixels.
    """
    if min(pixels.shape[:2]) < _SMALLEST_SIDE:
        return 0.0
    values = pixels.astype(np.float32)
    if is_gray(pixels):
        return _in_smooth_patches(values[..., 0])
    if compressed:
        return _in_smooth_patches(values @ LUMA) / _LUMA_OF_RGB
    return _in_least_directions(values)


def is_gray(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether `(h w c)` has one colour only, or three that are equal everywhere."""
    return pixels.shape[2] == 1 or bool((pixels == pixels[..., :1]).all())


@dataclass(frozen=True)
class ShownNoise:
    """What smooth places of an image show.

    Attributes:
        level: Standard deviation of the white noise in each colour that shows as much as the
            smoothest patches, in levels of 255.
        evenness: Variance of the smooth patches over that of all which are as bright: 0.6 where
            noise lies over all of them, small where some are smooth and others have detail.
        texture: As `level`, what all patches have beyond it.
    """

    level: float
    evenness: float
    texture: float


def shown_noise(pixels: NDArray[np.uint8]) -> ShownNoise:
    """Tell how much noise an image shows that was never compressed with losses.

    Of colour the chroma is looked at. Texture is mostly of one colour: in the smoothest patches
    both planes of chroma hold noise, of whatever kind, and hardly anything else. Chroma that is
    held at a lower resolution or was quantised has lost it. Of gray it is the picture itself, in
    which texture cannot be told from noise but by how evenly it lies.

    Args:
        pixels: `(h w c)`, gray or RGB.

    Returns:
        What was measured; nothing of an image with a side below 32 pixels, or of hardly any light.
    """
    if min(pixels.shape[:2]) < _SMALLEST_SIDE:
        return ShownNoise(0.0, 0.0, 0.0)
    gray = is_gray(pixels)
    cells = cells_of(pixels[..., :1].astype(np.float32) if gray else rgb_to_ycbcr(pixels))
    light = cells[..., 0].mean(axis=(1, 2))
    is_told = (light > DARKEST) & (light < BRIGHTEST)
    if is_told.sum() < _BRIGHTNESSES:
        return ShownNoise(0.0, 0.0, 0.0)
    alike = np.array_split(np.argsort(light[is_told]), _BRIGHTNESSES)
    levels, evenness, textures = [], [], []
    for plane, norm in _GRAY if gray else _CHROMA:
        variances = haar_variances(cells[is_told, ..., plane])
        smoothest = np.quantile(variances, _SMOOTHEST)
        smooth = sum(np.quantile(variances[group], _SMOOTH) for group in alike)
        ordinary = sum(variances[group].mean() + _NEXT_TO_NOTHING for group in alike)
        noise = smoothest / _SELECTED_OF_CELLS**2
        levels.append(float(np.sqrt(noise)) / norm)
        evenness.append(float(smooth / ordinary))
        textures.append(float(np.sqrt(max(variances.mean() - noise, 0))) / norm)
    return ShownNoise(min(levels), min(evenness), min(textures))


def cells_of(planes: NDArray[np.float32], side: int = _CELL) -> NDArray[np.float32]:
    """Cut `(h w c)` into `(patches side side c)`; what is left at the lower right is left out."""
    rows, columns = (length // side for length in planes.shape[:2])
    whole = planes[: rows * side, : columns * side]
    cut = whole.reshape(rows, side, columns, side, -1).swapaxes(1, 2)
    return cut.reshape(rows * columns, side, side, -1)


def means_of_patches(planes: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Average `(h w ...)` in patches of a side, which also makes it smaller by that factor."""
    rows, columns = (length // side for length in planes.shape[:2])
    whole = planes[: rows * side, : columns * side]
    cut = whole.reshape(rows, side, columns, side, *planes.shape[2:])
    return np.asarray(cut.mean(axis=(1, 3)))


def haar_variances(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the variance of the diagonal detail of a Haar transform in each of `(patches n n)`."""
    a, b, c, d = (cells[:, y::2, x::2] for y in (0, 1) for x in (0, 1))
    return np.asarray((((a - b - c + d) / 2) ** 2).mean(axis=(1, 2)))


def grain_of(luma: Luma) -> float:
    """Measure what is left of noise, and what looks like it, in an image that was compressed.

    Args:
        luma: `(h w)` in levels of 255.

    Returns:
        The mean of the finest detail in the smoothest patches, at full and at half resolution; 0 of
        an image of less than 30 000 pixels, which has too few patches to tell.
    """
    if luma.size < _LEAST_PIXELS:
        return 0.0
    sizes = (luma, means_of_patches(luma, 2))
    return float(np.mean([_quantiles(each, (_GRAIN,))[0] for each in sizes]))


def direction_of(luma: Luma) -> float:
    """Measure how far detail in the smoother half of an image has a direction.

    Noise has none, whatever smoothed it; what blur and compression left of edges and texture has.

    Args:
        luma: `(h w)` in levels of 255.

    Returns:
        The mean coherence of the gradients in patches, without what a slope adds: 0 where none is
        likelier than others, 1 where all are one; 1 of an image that is too small to tell.
    """
    down, across = luma[2:, 1:-1] - luma[:-2, 1:-1], luma[1:-1, 2:] - luma[1:-1, :-2]
    if min(down.shape) < _DIRECTED:
        return 1.0
    means = partial(means_of_patches, side=_DIRECTED)
    across_across = means(across * across) - means(across) ** 2
    down_down = means(down * down) - means(down) ** 2
    both = means(across * down) - means(across) * means(down)
    energy = across_across + down_down
    coherence = np.hypot(across_across - down_down, 2 * both) / (energy + 1e-6)
    smoother = np.argsort(energy, axis=None)[: max(1, energy.size // 2)]
    return float(coherence.ravel()[smoother].mean())


def _quantiles(plane: Luma, shares: tuple[float, ...]) -> list[float]:
    detail = detail_in_patches(plane)
    if not len(detail):
        return [0.0 for _ in shares]
    return [float(each) for each in np.quantile(np.sqrt((detail**2).mean(axis=1)), shares)]


def _in_smooth_patches(luma: Luma) -> float:
    (measured,) = _quantiles(luma, (_SMOOTHEST,))
    return max(0.0, (measured - _TEXTURE) / _SELECTED)


def _in_least_directions(values: NDArray[np.float32]) -> float:
    windows = np.lib.stride_tricks.sliding_window_view(values, (_PATCH, _PATCH), axis=(0, 1))
    patches = windows[::_STEP, ::_STEP].reshape(-1, _PATCH * _PATCH * values.shape[2])
    variances: NDArray[Any] = np.linalg.eigvalsh(np.cov(patches, rowvar=False))
    # The largest ones are picture; without it, mean and median of what is left are equal.
    for count in range(len(variances), 1, -1):
        mean = variances[:count].mean()
        if np.median(variances[:count]) >= mean:
            return float(np.sqrt(max(mean, 0)))
    return float(np.sqrt(max(variances[0], 0)))
