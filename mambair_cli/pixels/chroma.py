"""Chroma of fewer samples than luma, brought to its size and back, wherever its samples lie."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.y4m import Sampling
from mambair_cli.pixels.resize import combine, contributions

Plane = NDArray[np.float32]
# Which samples of an axis some others are made from, and by which weights.
Blocks = list[tuple[slice, NDArray[np.float32]]]

# That are made together, and how many on either side are reckoned with.
_SAMPLES, _REACH = 64, 24
_LEAST_WEIGHT = 1e-9


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
    result = plane
    if down > 1:
        result = _applied(_projection(shape[0], down, top, plane.shape[0]), result)
    if across > 1:
        blocks = _projection(shape[1], across, left, plane.shape[1])
        result = _applied(blocks, result.T).T
    return result


def _applied(blocks: Blocks, plane: Plane) -> Plane:
    return np.concatenate([block @ plane[rows] for rows, block in blocks])


def _axes(sampling: Sampling) -> tuple[tuple[int, float], tuple[int, float]]:
    return (sampling.down, sampling.top), (sampling.across, sampling.left)


def _interpolation(side: int, factor: int, first: float, luma: int) -> Any:
    shift = ((factor - 1) / 2 - first) / factor
    return contributions(side, luma, float(factor), "replicate", shift)


# Rows and columns of the frames that come in and go out.
@lru_cache(maxsize=4)
def _projection(side: int, factor: int, first: float, luma: int) -> Blocks:
    """Return what the samples of one axis are made with, some of them at a time.

    A sample depends on all of luma, by weights that fall to a third with each sample of distance:
    those beyond what float32 can tell are left out.
    """
    weights, indices = _interpolation(side, factor, first, luma)
    blocks = []
    for start in range(0, side, _SAMPLES):
        near = range(max(0, start - _REACH), min(side, start + _SAMPLES + _REACH))
        inside = (indices >= near.start) & (indices < near.stop)
        (used,) = np.nonzero(inside.any(axis=0))
        rows = slice(int(used[0]), int(used[-1]) + 1)
        matrix = np.zeros((rows.stop - rows.start, len(near)))
        taps, places = np.nonzero(inside[:, rows])
        columns = indices[:, rows][taps, places] - near.start
        np.add.at(matrix, (places, columns), weights[:, rows][taps, places])
        projection = np.linalg.solve(matrix.T @ matrix, matrix.T)
        block = projection[start - near.start :][:_SAMPLES]
        block[np.abs(block) < _LEAST_WEIGHT] = 0
        blocks.append((rows, block.astype(np.float32)))
    return blocks
