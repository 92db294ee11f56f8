"""Samples of few or odd bits in the whole range of 8 or 16."""

from __future__ import annotations

import numpy as np

from mambair_cli.imaging.image import Pixels


def widened(samples: Pixels, bits: int) -> Pixels:
    """Stretch samples to the range of the type that holds them, the brightest to its brightest.

    Args:
        samples: Integers of 0 to `2**bits - 1`.
        bits: 1 to 16; up to 8 make uint8, more uint16.
    """
    dtype, white = (np.uint8, 255) if bits <= 8 else (np.uint16, 65535)
    most = 2**bits - 1
    if most == white:
        return samples
    table = (np.arange(2**bits, dtype=np.uint32) * white + most // 2) // most
    return np.asarray(table.astype(dtype)[samples])
