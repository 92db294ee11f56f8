"""Large images in tiles: even tiles of one shape, overlapping, blended where they meet.

Each axis is planned on its own, number of tiles first and their size second, so that none is a
sliver. Edge tiles are shifted inward instead of cut, so all tiles of an image have one shape. Where
two tiles overlap, the outer quarter next to each cut weighs nothing (the network saw a false border
there) and the half in between is a linear taper. Weights are normalised on each axis, hence their
products sum to one over the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from mambair_cli.errors import UsageError

SMALLEST_TILE = 16
# Tile sides are rounded up to this where the limit allows, or the U-Net would pad inside.
SIDE_MULTIPLE = 8


@dataclass(frozen=True)
class Axis:
    """Tiles along one axis of an image.

    Attributes:
        side: Pixels of the image along the axis.
        size: Pixels of every tile.
        starts: First pixel of each tile, ascending; the first is 0 and the last ends at `side`.
    """

    side: int
    size: int
    starts: tuple[int, ...]

    def weights(self, scale: int) -> list[Tensor]:
        """Blending weights of each tile at the output's resolution.

        Args:
            scale: Output side over input side.

        Returns:
            For each tile `(size*scale,)` float32 in [0, 1]; over the axis they sum to one at every
            pixel. At the image's own border a weight is one.
        """
        return _normalised(tuple(s * scale for s in self.starts), self.size * scale)


@dataclass(frozen=True)
class Grid:
    """Tiles of an image: every row of `rows` with every column of `columns`."""

    rows: Axis
    columns: Axis

    def __len__(self) -> int:
        return len(self.rows.starts) * len(self.columns.starts)


def validate_tiling(tile: int, overlap: int) -> None:
    """Refuses tile sizes and overlaps that cannot work.

    Args:
        tile: Largest side of a tile in input pixels; 0 for the whole image.
        overlap: Pixels that neighbouring tiles share, in input pixels.

    Raises:
        UsageError: The tile is negative or too small, or the overlap negative or over half of it.
    """
    if overlap < 0:
        raise UsageError(f"overlap {overlap} is negative", "use --overlap 0 or more")
    if tile == 0:
        return
    if tile < SMALLEST_TILE:
        raise UsageError(
            f"tile {tile} is too small: the least is {SMALLEST_TILE} pixels",
            "use --tile auto, or --tile 0 for the whole image",
        )
    if 2 * overlap > tile:
        raise UsageError(
            f"overlap {overlap} is more than half of tile {tile}",
            f"use --overlap {tile // 4}, or --tile {2 * overlap} or more",
        )


def plan_axis(side: int, tile: int, overlap: int) -> Axis:
    """Divides one axis evenly.

    Args:
        side: Pixels of the image along the axis.
        tile: Largest size of a tile; 0 for one tile.
        overlap: Least number of pixels that neighbours share, at most half of `tile`.

    Returns:
        The tiles. Their size is at most `tile` and, where `side` is larger, at least half of it.
    """
    if tile == 0 or side <= tile:
        return Axis(side, side, (0,))
    count = math.ceil((side - overlap) / (tile - overlap))
    even = math.ceil((side + (count - 1) * overlap) / count)
    size = min(math.ceil(even / SIDE_MULTIPLE) * SIDE_MULTIPLE, tile)
    return Axis(side, size, tuple(i * (side - size) // (count - 1) for i in range(count)))


def plan_grid(height: int, width: int, tile: int, overlap: int) -> Grid:
    """Divides an image into even tiles of one shape.

    Args:
        height: Pixels of the input image.
        width: Pixels of the input image.
        tile: Largest side of a tile; 0 for the whole image.
        overlap: Least number of pixels that neighbours share, at most half of `tile`.

    Returns:
        The grid.
    """
    return Grid(plan_axis(height, tile, overlap), plan_axis(width, tile, overlap))


def restore_tiles(
    x: Tensor,
    grid: Grid,
    scale: int,
    restore: Callable[[Tensor], Tensor],
    on_tile: Callable[[], None],
) -> Tensor:
    """Restores an image tile by tile and blends the results.

    Only tiles reach `restore`; the image and the result stay on the device of `x`.

    Args:
        x: `(b c h w)` float32.
        grid: Plan for `h` and `w`.
        scale: Output side over input side.
        restore: Maps a tile `(b c th tw)` to `(b c th*scale tw*scale)`, on any device.
        on_tile: Called after each tile.

    Returns:
        `(b c h*scale w*scale)` float32, on the device of `x`.
    """
    if len(grid) == 1:
        whole = restore(x).to(x.device, torch.float32)
        on_tile()
        return whole
    b, c = x.shape[:2]
    blended = x.new_zeros((b, c, grid.rows.side * scale, grid.columns.side * scale))
    for top, row_weights in _placed(grid.rows, scale):
        for left, column_weights in _placed(grid.columns, scale):
            tile = x[:, :, top : top + grid.rows.size, left : left + grid.columns.size]
            restored = restore(tile).to(x.device, torch.float32)
            restored = restored * row_weights[:, None].to(x.device) * column_weights.to(x.device)
            rows = slice(top * scale, (top + grid.rows.size) * scale)
            columns = slice(left * scale, (left + grid.columns.size) * scale)
            blended[:, :, rows, columns] += restored
            on_tile()
    return blended


def _placed(axis: Axis, scale: int) -> Iterator[tuple[int, Tensor]]:
    return zip(axis.starts, axis.weights(scale), strict=True)


@lru_cache(maxsize=32)
def _normalised(starts: tuple[int, ...], size: int) -> list[Tensor]:
    raw = [torch.ones(size, dtype=torch.float64) for _ in starts]
    for i, (start, following) in enumerate(pairwise(starts)):
        rising = _rise(start + size - following)
        raw[i + 1][: len(rising)] *= rising
        raw[i][size - len(rising) :] *= rising.flip(0)
    total = torch.zeros(starts[-1] + size, dtype=torch.float64)
    for start, weight in zip(starts, raw, strict=True):
        total[start : start + size] += weight
    return [
        (weight / total[start : start + size]).float()
        for start, weight in zip(starts, raw, strict=True)
    ]


def _rise(overlap: int) -> Tensor:
    """Weights over an overlap after a cut: nothing for a quarter, a taper for half, then one."""
    margin = overlap // 4
    taper = overlap - 2 * margin
    centres = torch.arange(overlap, dtype=torch.float64) - margin + 0.5
    return (centres / max(taper, 1)).clamp(0, 1)
