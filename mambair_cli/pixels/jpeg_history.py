"""What pixels tell of a JPEG file that they once came from: where its blocks lie, its quality.

The DCT coefficients of a block that was decoded and kept are multiples of their quantisation steps,
but for rounding. Where many are multiples of the same steps, that is no accident.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.metadata.jpeg_quality import tables_by_quality
from mambair_cli.pixels.jpeg_cells import BLOCK, DCT
from mambair_cli.pixels.traces import Luma, kinks

# Frequencies that are looked at: of higher ones little is left.
_LOW = [(u, v) for u in range(4) for v in range(4)]
# Likely offsets of the blocks in each direction.
_CANDIDATES = 2
_LARGEST_SIDE = 512
# How far coefficients lie from the multiples: rounded once, or compressed again more finely.
_SPREADS = (0.45, 1.2)
_OUTLIERS = 0.05
# Mean of the logarithm of how much likelier steps make a coefficient, and how many it takes.
_LIKELY, _ENOUGH = 0.25, 60


@dataclass(frozen=True)
class JpegHistory:
    """Blocks that were found.

    Attributes:
        quality: libjpeg's, 1 to 100, whose table of luminance fits best.
        top: Row, 0 to 7, at which blocks begin.
        left: Likewise of columns.
    """

    quality: int
    top: int
    left: int


def find_history(luma: Luma) -> JpegHistory | None:
    """Look for the blocks of a JPEG file.

    Args:
        luma: `(h w)` in levels of 255; its middle is looked at.

    Returns:
        What was found; None where there is nothing.
    """
    top, left = (max(0, side - _LARGEST_SIDE) // 2 // BLOCK * BLOCK for side in luma.shape)
    middle = luma[top : top + _LARGEST_SIDE, left : left + _LARGEST_SIDE]
    if min(middle.shape) < 4 * BLOCK:
        return None
    found = max(_histories(middle), key=lambda scored: scored[0], default=None)
    return None if found is None else found[1]


def _histories(luma: Luma) -> Iterator[tuple[float, JpegHistory]]:
    for top, left in product(_offsets(luma), _offsets(luma.T)):
        coefficients = _low_coefficients(luma[top:, left:])
        # Few blocks again and again, as of a drawing, are no more evidence than once.
        if np.unique(coefficients.round(), axis=1).shape[1] < _ENOUGH:
            continue
        for spread in _SPREADS:
            score, quality = _best_quality(coefficients, spread)
            if quality is not None:
                yield score, JpegHistory(quality, top, left)


def _offsets(luma: Luma) -> list[int]:
    strongest = np.argsort(kinks(luma))[::-1][:_CANDIDATES]
    return [(int(phase) + 2) % BLOCK for phase in strongest]


def _low_coefficients(luma: Luma) -> NDArray[np.float32]:
    """`(16 blocks)` without their signs."""
    rows, columns = (side // BLOCK for side in luma.shape)
    whole = luma[: rows * BLOCK, : columns * BLOCK] - np.float32(128)
    blocks = whole.reshape(rows, BLOCK, columns, BLOCK).transpose(0, 2, 1, 3)
    low = DCT[:4] @ blocks @ DCT[:4].T
    return np.abs(low.reshape(rows * columns, 16).T)


def _best_quality(coefficients: NDArray[np.float32], spread: float) -> tuple[float, int | None]:
    tables = tables_by_quality().reshape(-1, BLOCK, BLOCK)
    scores, counts = np.zeros(len(tables)), np.zeros(len(tables))
    for values, (u, v) in zip(coefficients, _LOW, strict=True):
        steps, where = np.unique(tables[:, u, v], return_inverse=True)
        each = np.array([_evidence(values, float(step), spread) for step in steps])
        scores += each[where, 0]
        counts += each[where, 1]
    scores[(counts < _ENOUGH) | (scores < _LIKELY * counts)] = 0
    best = int(scores.argmax())
    return float(scores[best]), best + 1 if scores[best] > 0 else None


def _evidence(values: NDArray[np.float32], step: float, spread: float) -> tuple[float, int]:
    """How much likelier a step makes values, as a logarithm, and how many speak at all."""
    if step < 3 * spread:
        return 0.0, 0
    # Every step explains values near 0.
    values = values[values > step / 2]
    off = values - step * np.rint(values / step)
    density = step / (spread * np.sqrt(2 * np.pi)) * np.exp(-0.5 * (off / spread) ** 2)
    return float(np.log((1 - _OUTLIERS) * density + _OUTLIERS).sum()), len(values)
