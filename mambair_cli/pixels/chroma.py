"""Chroma of fewer samples than luma, brought to its size and back, wherever its samples lie."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.y4m import Sampling
from mambair_cli.pixels.resize import combine, contributions

Plane = NDArray[np.float32]


def interpolated(plane: Plane, sampling: Sampling, shape: tuple[int, int]) -> Plane:
    """Bring chroma to the size of luma, by bicubic interpolation between where its samples lie.

    Args:
        plane: `(h w)`, chroma.
        sampling: Where its samples lie.
        shape: Rows and columns of luma.
    """
    result = plane
    for axis, (factor, first) in enumerate(_axes(sampling)):
        if factor > 1:
            weights = _interpolation(plane.shape[axis], factor, first, shape[axis])
            result = combine(result, axis, *weights)
    return result


def projected(plane: Plane, sampling: Sampling, shape: tuple[int, int]) -> Plane:
    """Bring chroma of the size of luma to its own: the samples whose interpolation comes nearest.

    Nearest by the sum of squares, so that what was interpolated comes back as it was.

    Args:
        plane: `(h w)`, chroma of the size of luma.
        sampling: Where its samples are to lie.
        shape: Rows and columns of the result.
    """
    (down, top), (across, left) = _axes(sampling)
    rows, columns = plane.shape
    result = plane
    if down > 1:
        result = _projection(shape[0], down, top, rows) @ result
    if across > 1:
        result = result @ _projection(shape[1], across, left, columns).T
    return result


def _axes(sampling: Sampling) -> tuple[tuple[int, float], tuple[int, float]]:
    return (sampling.down, sampling.top), (sampling.across, sampling.left)


def _interpolation(side: int, factor: int, first: float, luma: int) -> Any:
    shift = ((factor - 1) / 2 - first) / factor
    return contributions(side, luma, float(factor), "replicate", shift)


# Rows and columns of the frames that come in and go out.
@lru_cache(maxsize=4)
def _projection(side: int, factor: int, first: float, luma: int) -> NDArray[np.float32]:
    weights, indices = _interpolation(side, factor, first, luma)
    matrix = np.zeros((luma, side))
    for weight, index in zip(weights, indices, strict=True):
        np.add.at(matrix, (np.arange(luma), index), weight)
    projection = np.linalg.solve(matrix.T @ matrix, matrix.T)
    return projection.astype(np.float32)
