"""The tile size that follows from the memory there is and from what a network needs."""

from __future__ import annotations

import math

from mambair_cli.errors import MemoryLimitError
from mambair_cli.restoration.memory.available import in_mebibytes

# The rest is left to the allocator's fragments, to image files being read, and to other processes.
PLANNED_SHARE = 0.6
# Below this a tile is mostly overlap, and further from the training crops than the weights allow.
SMALLEST_AUTO_TILE = 64
# An image that fits runs whole. One that does not is no better in larger tiles than this: seams are
# few already, while progress, interruption and a retry after a failure all wait for a whole tile.
LARGEST_AUTO_TILE = 1024


# Tiles that run side by side share the memory, but smaller ones than this cost more in overlaps
# than running side by side gains.
SMALLEST_SHARED_TILE = 512
# On a GPU neither is one of more pixels than this that does fit: it is full long before.
LARGEST_WHOLE = 2**22


def auto_tile(
    height: int,
    width: int,
    per_pixel: int,
    available: int,
    most: int | None = None,
    threads: int = 1,
) -> int:
    """Choose the tile: the whole image if it fits, else the largest tile that does, within limits.

    Args:
        height: Pixels of the input image.
        width: Pixels of the input image.
        per_pixel: Bytes of working memory for each input pixel.
        available: Bytes that the network may use; memory of the images themselves not counted.
        most: Most pixels of a tile, at least those of the smallest; None for no limit.
        threads: How many tiles could run side by side.

    Returns:
        Largest side of a tile, a multiple of 8; 0 for the whole image.

    Raises:
        MemoryLimitError: Not even the smallest tile fits.
    """
    least = smallest_need(height, width, per_pixel)
    if least > available:
        raise MemoryLimitError(
            f"the smallest tile needs {in_mebibytes(least)} of memory, "
            f"{in_mebibytes(available)} are available",
            "close other programs, raise the container's limit or --max-memory, or use a smaller "
            "model",
        )
    pixels = int(PLANNED_SHARE * available) // per_pixel
    if most is not None:
        pixels = min(pixels, most)
    if height * width <= pixels:
        return 0
    side = math.isqrt(pixels) // 8 * 8
    if side > SMALLEST_SHARED_TILE:
        side = max(math.isqrt(pixels // threads) // 8 * 8, SMALLEST_SHARED_TILE)
    return min(max(side, SMALLEST_AUTO_TILE), LARGEST_AUTO_TILE)


def smallest_need(height: int, width: int, per_pixel: int) -> int:
    """Reckon the bytes of the smallest tile of an image; arguments as `auto_tile`."""
    return min(height, SMALLEST_AUTO_TILE) * min(width, SMALLEST_AUTO_TILE) * per_pixel


def fitting(pixels: int, per_pixel: int, available: int) -> int:
    """Reckon how many images of one size fit in memory together.

    Args:
        pixels: Input pixels of each.
        per_pixel: Bytes of working memory for each input pixel.
        available: Bytes that the network may use.

    Returns:
        Their number, at least 1.
    """
    return max(1, int(PLANNED_SHARE * available) // (pixels * per_pixel))
