"""The eight symmetries of a rectangle's pixels, numbered as EXIF numbers orientations.

By them an image as stored is turned upright, an ensemble restores it eight ways, and training sees
its patches from all sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mambair_cli.imaging.image import Pixels

if TYPE_CHECKING:
    import pyvips

# Whether rows and columns are swapped, then rows and then columns reversed.
STEPS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def turned_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Width and height of the upright image."""
    return (height, width) if STEPS[orientation][0] else (width, height)


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Turn `(h w ...)` pixels upright; a view of them."""
    swapped, rows, columns = STEPS[orientation]
    if swapped:
        pixels = np.swapaxes(pixels, 0, 1)
    return pixels[:: -1 if rows else 1, :: -1 if columns else 1]


def streams(orientation: int) -> bool:
    """Whether the upright rows come in the order of the stored ones."""
    return orientation in (1, 2)


def turn_lazily(image: pyvips.Image, orientation: int) -> pyvips.Image:
    """Turn an image of libvips upright; rows in any order must be readable unless it `streams`."""
    swapped, rows, columns = STEPS[orientation]
    if swapped:
        image = image.rot90().fliphor()
    if rows:
        image = image.flipver()
    return image.fliphor() if columns else image
