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
        """Make the blending weights of each tile at the output's resolution.

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

    @property
    def tile_pixels(self) -> int:
        """Input pixels of each tile."""
        return self.rows.size * self.columns.size


def validate_tiling(tile: int, overlap: int) -> None:
    """Refuse tile sizes and overlaps that cannot work.

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
    """Divide one axis evenly.

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
    """Divide an image into even tiles of one shape.

    Args:
        height: Pixels of the input image.
        width: Pixels of the input image.
        tile: Largest side of a tile; 0 for the whole image.
        overlap: Least number of pixels that neighbours share, at most half of `tile`.

    Returns:
        The grid.
    """
    return Grid(plan_axis(height, tile, overlap), plan_axis(width, tile, overlap))


class Mosaic:
    """An image that grows tile by tile, blended where tiles overlap, or several of one size.

    Its canvas holds the whole image, or a window of rows that is at least as high as a tile. Such a
    window begins at the top of the image; when its tiles are done it moves on (`advance`). Several
    images are whole; the tiles of one come after those of the one before.

    Args:
        canvas: `(b c rows*scale w*scale)` float32, overwritten; `rows` is the window's height.
        grid: Plan for `h` and `w`.
        scale: Output side over input side.

    Attributes:
        canvas: As given.
        grid: As given.
        tiles: Tiles of all images.
        done: Tiles that are in the canvas or have left it; they are never needed again.
        top: Input row at which the window begins.
    """

    def __init__(self, canvas: Tensor, grid: Grid, scale: int) -> None:
        self.canvas = canvas
        self._scale = scale
        self.restart(grid)

    def restart(self, grid: Grid) -> None:
        """Forget all tiles and go on with another grid for the same image."""
        self.grid = grid
        self.tiles = len(grid) * len(self.canvas)
        self.done = self.top = 0
        self.canvas.zero_()
        self._rows = _placed(grid.rows, self._scale)
        self._columns = _placed(grid.columns, self._scale)

    @property
    def window(self) -> slice:
        """Input rows that the tiles of the window are cut from."""
        bottom = self.top + self.canvas.shape[2] // self._scale
        return slice(self.top, min(bottom, self.grid.rows.side))

    @property
    def finished(self) -> Tensor:
        """`(b c rows w*scale)`: all rows above the next tile, a view of the canvas."""
        return self.canvas[:, :, : (self._next_top - self.top) * self._scale]

    def advance(self) -> bool:
        """Move the window down to the next tile; return False if none is left."""
        finished = self.finished.shape[2]
        kept = self.canvas.shape[2] - finished
        # The two may overlap in memory.
        self.canvas[:, :, :kept] = self.canvas[:, :, finished:].clone()
        self.canvas[:, :, kept:].zero_()
        self.top = self._next_top
        return self.done < self.tiles

    def batches(self, x: Tensor, size: int) -> Iterator[Tensor]:
        """Cut the window's tiles that are not done, in as few batches of about one size as can be.

        Args:
            x: `(b c rows w)`, the images' rows in the window.
            size: Most tiles in a batch.

        Yields:
            `(g c th tw)`; a view of `x` where `g` is 1.
        """
        remaining = range(self.done, self._due)
        if not remaining:
            return
        count = math.ceil(len(remaining) / size)
        even = math.ceil(len(remaining) / count)
        height, width = self.grid.rows.size, self.grid.columns.size
        for start in range(0, len(remaining), even):
            tiles = []
            for index in remaining[start : start + even]:
                image, (top, _), (left, _) = self._place(index)
                tiles.append(x[image, :, top - self.top :, left : left + width][:, :, :height])
            yield tiles[0] if len(tiles) == 1 else torch.cat(tiles)

    def add(self, restored: Tensor, on_tile: Callable[[], None]) -> None:
        """Blend the next batch in.

        Args:
            restored: `(g c th*scale tw*scale)` float32, in the order of `batches`.
            on_tile: Called after each tile.
        """
        for tile in torch.split(restored, 1):
            image, (top, row_weights), (left, column_weights) = self._place(self.done)
            first = (top - self.top) * self._scale
            rows = slice(first, first + self.grid.rows.size * self._scale)
            columns = slice(left * self._scale, (left + self.grid.columns.size) * self._scale)
            place = self.canvas[image, :, rows, columns]
            if len(self.grid) == 1:
                place.copy_(tile)
            else:
                vertical = row_weights[:, None].to(tile.device)
                place += tile * vertical * column_weights.to(tile.device)
            # Counted only now: when memory runs out before, the tile is not in yet.
            self.done += 1
            on_tile()

    def _place(self, index: int) -> tuple[slice, _Placed, _Placed]:
        """Tell the image of a tile, and where in it the tile is."""
        image, tile = divmod(index, len(self.grid))
        row, column = divmod(tile, len(self._columns))
        return slice(image, image + 1), self._rows[row], self._columns[column]

    @property
    def _due(self) -> int:
        """How many tiles, from the first on, lie above the window's end."""
        end: int = self.window.stop - self.grid.rows.size
        rows = sum(start <= end for start in self.grid.rows.starts)
        return rows * len(self._columns) * len(self.canvas)

    @property
    def _next_top(self) -> int:
        row = self.done // (len(self._columns) * len(self.canvas))
        return self._rows[row][0] if row < len(self._rows) else self.grid.rows.side


# The first input pixel of a tile on one axis, and its weights.
_Placed = tuple[int, Tensor]


def _placed(axis: Axis, scale: int) -> list[_Placed]:
    return list(zip(axis.starts, axis.weights(scale), strict=True))


@lru_cache(maxsize=32)
def _normalised(starts: tuple[int, ...], size: int) -> list[Tensor]:
    raw = [torch.ones(size, dtype=torch.float64, device="cpu") for _ in starts]
    for i, (start, following) in enumerate(pairwise(starts)):
        rising = _rise(start + size - following)
        raw[i + 1][: len(rising)] *= rising
        raw[i][size - len(rising) :] *= rising.flip(0)
    total = torch.zeros(starts[-1] + size, dtype=torch.float64, device="cpu")
    for start, weight in zip(starts, raw, strict=True):
        total[start : start + size] += weight
    return [
        (weight / total[start : start + size]).float()
        for start, weight in zip(starts, raw, strict=True)
    ]


def _rise(overlap: int) -> Tensor:
    """Weight an overlap after a cut: nothing for a quarter, a taper for half, then one."""
    margin = overlap // 4
    taper = overlap - 2 * margin
    centres = torch.arange(overlap, dtype=torch.float64, device="cpu") - margin + 0.5
    return (centres / max(taper, 1)).clamp(0, 1)
