"""MATLAB's antialiased bicubic `imresize`, which every super-resolution benchmark is made with."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.image import ValueRange

Border = Literal["symmetric", "replicate"]
Array = NDArray[Any]

_KERNEL_WIDTH = 4.0
_BAND_VALUES = 2**17


def imresize(image: Array, scale: float, *, border: Border = "symmetric") -> Array:
    """Resize an image as MATLAB's `imresize(image, scale, 'bicubic')` does.

    Rows are resized first, then columns. Integer images are rounded, half away from zero, and
    clipped after each of the two passes; floating-point images are neither rounded nor clipped.

    Args:
        image: `(h w)` or `(h w c)`, integer or floating point, any range.
        scale: Output side over input side, above 0; below 1 the kernel is widened (antialiasing).
        border: What lies beyond the edge: the mirrored image (MATLAB since R2010) or, for data
            made by older releases, the repeated edge pixel.

    Returns:
        `(ceil(h*scale) ceil(w*scale))` or the same with channels, in the dtype of `image`.
    """
    resized = image
    for axis in (0, 1):
        resized = _resize_axis(resized, axis, scale, border)
    return resized


def imresize_rows(part: Array, first: int, side: int, rows: slice, scale: float) -> Array:
    """Resize some rows of an image to exactly what `imresize` makes of them.

    Args:
        part: Consecutive rows of the image, `(r w)` or `(r w c)`: all that the wanted ones depend
            on, which at a scale of 1 or more are within three rows of them.
        first: Row of the image that `part` begins with.
        side: Rows of the whole image.
        rows: Rows of the result that are wanted.
        scale: As for `imresize`.

    Returns:
        `(stop-start ceil(w*scale))` or the same with channels, in the dtype of `part`.
    """
    weights, indices = contributions(side, math.ceil(side * scale), scale, "symmetric")
    resized = combine(part, 0, weights[:, rows], indices[:, rows] - first)
    return _resize_axis(resized, 1, scale, "symmetric")


def resized_rows(part: Array, first: int, side: int, rows: slice, size: tuple[int, int]) -> Array:
    """Resize some rows of an image to a size of any proportions, as `imresize` does.

    Args:
        part: Consecutive rows of the image, `(r w)` or `(r w c)`: all that are `rows_needed`.
        first: Row of the image that `part` begins with.
        side: Rows of the whole image.
        rows: Rows of the result that are wanted.
        size: Height and width of the whole result.

    Returns:
        `(stop-start width)` or the same with channels, in the dtype of `part`.
    """
    height, width = size
    weights, indices = contributions(side, height, height / side, "symmetric")
    resized = combine(part, 0, weights[:, rows], indices[:, rows] - first)
    columns = part.shape[1]
    return combine(resized, 1, *contributions(columns, width, width / columns, "symmetric"))


def rows_needed(side: int, height: int, rows: slice) -> slice:
    """Tell which rows of an image `resized_rows` makes some rows of the result from.

    Args:
        side: Rows of the image.
        height: Rows of the result.
        rows: Rows of the result that are wanted.
    """
    _, indices = contributions(side, height, height / side, "symmetric")
    wanted = indices[:, rows]
    return slice(int(wanted.min()), int(wanted.max()) + 1)


def resize_alpha_rows(
    part: Array, first: int, side: int, rows: slice, scale: float, *, binary: bool
) -> Array:
    """Resize some rows of an opacity channel; constant opacity stays constant.

    Args:
        part: As for `imresize_rows`; `(r w)`, 0 transparent to the type's white opaque.
        first: As for `imresize_rows`.
        side: As for `imresize_rows`.
        rows: As for `imresize_rows`.
        scale: As for `imresize_rows`.
        binary: Whether the whole channel is (`is_binary`), and has to stay so.

    Returns:
        `(stop-start ceil(w*scale))` of the same type.
    """
    resized = imresize_rows(part, first, side, rows, scale)
    white = part.dtype.type(ValueRange.of(part.dtype).white)
    if binary:
        return np.asarray(np.where(resized >= white / 2, white, part.dtype.type(0)))
    return np.asarray(np.clip(resized, 0, white))  # floating point overshoots beside an edge


def is_binary(alpha: Array) -> bool:
    """Whether an opacity channel knows only transparent and opaque."""
    return bool(np.isin(alpha, (0, ValueRange.of(alpha.dtype).white)).all())


def _resize_axis(image: Array, axis: int, scale: float, border: Border) -> Array:
    side = image.shape[axis]
    return combine(image, axis, *contributions(side, math.ceil(side * scale), scale, border))


def combine(
    image: Array, axis: int, weights: NDArray[np.float64], indices: NDArray[np.intp]
) -> Array:
    """Resize one axis of an image, `(h w)` or `(h w c)`, with given `contributions`."""
    shape = list(image.shape)
    shape[axis] = weights.shape[1]
    resized = np.empty(shape, image.dtype)
    # Bands across the other axis keep the float64 sums in the cache, whatever the image's size.
    across = 1 - axis
    step = max(1, _BAND_VALUES * shape[across] // max(1, resized.size))
    band = [slice(None), slice(None)]
    for start in range(0, shape[across], step):
        band[across] = slice(start, start + step)
        part = tuple(band)
        resized[part] = _as_dtype(_weighted_sum(image[part], weights, indices, axis), image.dtype)
    return resized


# Few: each takes 16 bytes for every tap of every output position, and in a batch of photographs
# hardly a size comes twice.
@lru_cache(maxsize=8)
def contributions(
    in_side: int, out_side: int, scale: float, border: Border, shift: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Weights and source positions, both `(taps out_side)`, of every output position on one axis.

    Each column of weights sums to one. The arrays are shared by all callers, hence read-only.

    Args:
        in_side: Positions of the input.
        out_side: Positions of the output.
        scale: As for `imresize`.
        border: As for `imresize`.
        shift: Input positions by which the output lies further on than where both images cover the
            same area.
    """
    shrink = min(scale, 1.0)
    width = _KERNEL_WIDTH / shrink
    # Pixel centres of the output in the input's coordinates, both counted from 1 as in MATLAB:
    # the same floating-point operations in the same order decide ties of the rounding.
    centres = np.arange(1, out_side + 1) / scale + 0.5 * (1 - 1 / scale) + shift
    left = np.floor(centres - width / 2)
    positions = left + np.arange(math.ceil(width) + 2)[:, None]
    weights = shrink * _cubic(shrink * (centres - positions))
    weights /= weights.sum(axis=0)
    used = weights.any(axis=1)
    weights = weights[used]
    indices = _inside(positions[used].astype(np.intp) - 1, in_side, border)
    weights.flags.writeable = indices.flags.writeable = False
    return weights, indices


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5 (IEEE Trans. ASSP 1981)."""
    x1 = np.abs(x)
    x2 = x1 * x1
    x3 = x2 * x1
    near = 1.5 * x3 - 2.5 * x2 + 1
    far = -0.5 * x3 + 2.5 * x2 - 4 * x1 + 2
    return np.where(x1 <= 1, near, np.where(x1 <= 2, far, 0.0))


def _inside(positions: NDArray[np.intp], side: int, border: Border) -> NDArray[np.intp]:
    if border == "replicate":
        return np.clip(positions, 0, side - 1)
    folded = positions % (2 * side)
    return np.minimum(folded, 2 * side - 1 - folded)


def _weighted_sum(
    image: Array, weights: NDArray[np.float64], indices: NDArray[np.intp], axis: int
) -> NDArray[np.float64]:
    # One tap at a time: no (taps out ...) array, and a fixed order of summation in float64.
    column = [1] * image.ndim
    column[axis] = -1
    total: NDArray[np.float64] = np.multiply(
        image.take(indices[0], axis), weights[0].reshape(column), dtype=np.float64
    )
    for weight, index in zip(weights[1:], indices[1:], strict=True):
        total += np.multiply(image.take(index, axis), weight.reshape(column), dtype=np.float64)
    return total


def _as_dtype(values: NDArray[np.float64], dtype: np.dtype[Any]) -> Array:
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    # Half away from zero is floor(x + 0.5) for every value that survives clipping to unsigned.
    return np.clip(np.floor(values + 0.5), limits.min, limits.max).astype(dtype)
