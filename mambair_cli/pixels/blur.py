"""How blurred an image is, measured on its edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mambair_cli.pixels.traces import Luma

_SMALLEST_SIDE = 32
# Standard deviation, in pixels, of the blur that is added for comparison.
_ADDED = 1.0
_REACH = 4
# Of all pixels, those that are taken for edges; of these, the share that is sharper than told.
_EDGES, _SHARPER = 0.03, 0.25
# Levels between neighbours under which there is no edge.
_LEAST_STEP = 4.0


def estimate_blur(luma: Luma) -> float:
    """Estimate the standard deviation of the blur, in pixels.

    A blurred edge loses less of its slope to another blur than a sharp one: where their ratio is r,
    it was blurred by a Gaussian of 1 / sqrt(r^2 - 1) of the other's width (Zhuo and Sim, Pattern
    Recognition 2011). Told is the blur of the sharper edges: what lies out of focus is no fault.

    Args:
        luma: `(h w)` in levels of 255.

    Returns:
        The estimate; 0 of an image that has no edges or a side below 32 pixels.
    """
    if min(luma.shape) < _SMALLEST_SIDE:
        return 0.0
    before, after = _slopes(luma), _slopes(_blurred(luma))
    is_edge = before >= max(_LEAST_STEP, float(np.quantile(before, 1 - _EDGES)))
    ratios = before[is_edge] / np.maximum(after[is_edge], 1e-3)
    ratios = ratios[ratios > 1]
    if not len(ratios):
        return 0.0
    ratio = float(np.quantile(ratios, 1 - _SHARPER))
    return _ADDED / float(np.sqrt(ratio**2 - 1))


def _slopes(luma: Luma) -> NDArray[np.float32]:
    down, across = np.gradient(luma)
    return np.asarray(np.hypot(down, across))[_REACH:-_REACH, _REACH:-_REACH]


def _blurred(luma: Luma) -> Luma:
    offsets = np.arange(-_REACH, _REACH + 1)
    weights = np.exp(-0.5 * (offsets / _ADDED) ** 2).astype(np.float32)
    weights /= weights.sum()
    for axis in (0, 1):
        around = [(0, 0), (0, 0)]
        around[axis] = (_REACH, _REACH)
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(luma, around, mode="edge"), len(weights), axis=axis
        )
        luma = windows @ weights
    return luma
