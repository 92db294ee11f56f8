"""How an image is run: which tiles, how many together, and what to try when memory runs out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal
from weakref import WeakKeyDictionary

from torch import nn

from mambair_cli.errors import MemoryLimitError, UsageError
from mambair_cli.networks.selective_scan import SelectiveScan
from mambair_cli.networks.spec import MambaIRConfig, ModelSpec
from mambair_cli.restoration.device.precision import Precision
from mambair_cli.restoration.device.workers import workers_for
from mambair_cli.restoration.ensemble import MEMBERS
from mambair_cli.restoration.memory import available as memory
from mambair_cli.restoration.memory.footprint import bytes_per_pixel, widest
from mambair_cli.restoration.memory.tile_size import (
    LARGEST_AUTO_TILE,
    LARGEST_WHOLE,
    PLANNED_SHARE,
    SMALLEST_AUTO_TILE,
    auto_tile,
    fitting,
    smallest_need,
)
from mambair_cli.restoration.tiling import Grid, plan_grid, validate_tiling

DEFAULT_OVERLAP = 32
# Tiles together take no more pixels than this, however much memory there is: a GPU is full by then,
# and progress, interruption and a retry after a failure all wait for a whole batch.
LARGEST_BATCH = LARGEST_AUTO_TILE**2
# A GPU's libraries count the values of a tensor in 32 bits, or take slow ways and far more memory.
LARGEST_TENSOR = 2**31 - 1
# A recorded run saves what a CPU takes to launch its kernels, some 0.2 ms for a block, and keeps
# its working memory. A GPU like an H200 is busy about that long with a block that has so much of
# it; with more it is the slower one. Reckoned as in docs/gpu.md, measured on no GPU.
RECORDED_BYTES = 64 * memory.MEBIBYTE
# The share of the memory there is that a recorded run may keep from others.
RECORDED_SHARE = 0.2
# Weights that are best with tiles about as large as the patches they were trained on, and the side
# of those tiles: what a scan remembers of more pixels than it has ever seen costs them 0.1 to 0.3
# dB (docs/models.md).
SMALL_TILES = {
    "mambair-tiny-denoise-s15": 64,
    "mambair-tiny-denoise-s25": 64,
    "mambair-tiny-denoise-s50": 64,
    "mambair-tiny-denoise-real": 64,
    "mambair-tiny-dejpeg-color": 64,
    "mambair-tiny-dejpeg-q10": 64,
    "mambair-tiny-dejpeg-q30": 64,
    "mambair-tiny-dejpeg-q40": 64,
}
# Planned for a module without a configuration: the most that a published network needs.
UNKNOWN_NETWORK = MambaIRConfig(
    embed_dim=180, d_state=16, depths=(6,) * 6, mlp_ratio=2.0, upsampler="pixelshuffle"
)


@dataclass(frozen=True)
class RestoreOptions:
    """How images are restored.

    Attributes:
        tile: Largest side of a tile in input pixels, `auto` to plan it from memory, 0 for the whole
            image.
        overlap: Input pixels that neighbouring tiles share; None for 32, or a quarter of tiles
            under 128.
        ensemble: Average over the eight flips and turns (MambaIR+).
        precision: `fp32`, `tf32`, `bf16` or `fp16`, one that the device computes in.
        max_memory: Bytes of main memory that the process stays below; None for what is free.
        strength: How much of the change is kept, from 0 (the image as it is, or its bicubic
            enlargement) to 1.
        largest: Largest side of a tile that is planned; None for as large as memory allows.

    Raises:
        UsageError: The tile, the overlap or the strength cannot work.
    """

    tile: int | Literal["auto"] = "auto"
    overlap: int | None = None
    ensemble: bool = False
    precision: Precision = "fp32"
    max_memory: int | None = None
    strength: float = 1.0
    largest: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError(
                f"strength {self.strength} lies not between 0 and 1",
                "0 keeps the image as it is, 1 all of the change, 0.5 half of it",
            )
        validate_tiling(0 if self.tile == "auto" else self.tile, self.overlap or 0)

    def suited_to(self, spec: ModelSpec) -> RestoreOptions:
        """Have tiles that are planned no larger than weights are best with."""
        return replace(self, largest=SMALL_TILES.get(spec.id))

    def overlap_of(self, tile: int) -> int:
        """Choose the pixels that neighbours share in a grid of the given tile size."""
        if self.overlap is not None and tile == self.tile:
            return self.overlap
        # The tile was not the user's choice, or the overlap was not: it may give way.
        return min(DEFAULT_OVERLAP if self.overlap is None else self.overlap, tile // 4)

    def grid(self, height: int, width: int, tile: int) -> Grid:
        """Divide an image into tiles of at most the given side; 0 for the whole image."""
        return plan_grid(height, width, tile, self.overlap_of(tile))


@dataclass(frozen=True)
class Plan:
    """How an image is run.

    Attributes:
        grid: Its tiles.
        tiles: Tiles in one run of the network.
        members: Orientations of each in one run; 1 without self-ensemble.
        graphs: Whether shapes that come again and again are recorded.
        workers: Runs of the network side by side, each on threads of its own.
    """

    grid: Grid
    tiles: int = 1
    members: int = 1
    graphs: bool = False
    workers: int = 1

    @property
    def pixels(self) -> int:
        """Input pixels in the network at the same time."""
        return self.grid.tile_pixels * self.tiles * self.members * self.workers

    def __str__(self) -> str:
        height, width = self.grid.rows.size, self.grid.columns.size
        count = len(self.grid)
        text = (
            f"{width}x{height} pixels whole" if count == 1 else f"{count} tiles of {width}x{height}"
        )
        if self.tiles > 1:
            text += f", {self.tiles} together"
        if self.workers > 1:
            text += f", {self.workers} side by side"
        if self.members > 1:
            text += f", {self.members} orientations together"
        return text + (", CUDA graphs" if self.graphs else "")


@dataclass(frozen=True)
class Limits:
    """What a plan depends on beside the image and the options.

    Attributes:
        per_pixel: Bytes of working memory for each input pixel.
        available: Bytes that the network may use.
        batches: Whether several tiles at once are faster than one: on a GPU.
        graphs: Whether runs can be recorded.
        most: Most pixels in one run, whatever the memory; None for no limit.
        known: Bytes that turned out to work after memory had run out, or None.
        rows: Most rows of a tile that is planned; None for no limit.
        strict: Whether tiles that the user chose must fit too.
        threads: How many threads share the work, inside of a run or one run each.
    """

    per_pixel: int
    available: int
    batches: bool = False
    graphs: bool = False
    most: int | None = None
    known: int | None = None
    rows: int | None = None
    strict: bool = False
    threads: int = 1

    def plan(self, height: int, width: int, options: RestoreOptions, images: int = 1) -> Plan:
        """Plan an image, or several of one size.

        Args:
            height: Pixels of the input image.
            width: Pixels of the input image.
            options: Tiles and self-ensemble.
            images: How many are run together.

        Returns:
            The plan.

        Raises:
            MemoryLimitError: Not even the smallest tile fits, or not the one that the user chose.
        """
        available = self.available
        tile = options.tile
        if tile == "auto":
            tile = self._auto(height, width, available, options.largest)
        grid = options.grid(height, width, tile)
        self._check(grid)
        if self.known is not None:
            limited = int(self.known / PLANNED_SHARE) + 1
            least = smallest_need(height, width, self.per_pixel)
            available = min(available, max(limited, least))
            if grid.tile_pixels * self.per_pixel > self.known:
                smaller = self._auto(height, width, available, options.largest)
                grid = options.grid(height, width, smaller)
        together = fitting(grid.tile_pixels, self.per_pixel, available)
        if self.most is not None:
            together = max(1, min(together, self.most // grid.tile_pixels))
        members = next(n for n in (4, 2, 1) if n <= together) if options.ensemble else 1
        tiles = 1
        if self.batches:
            tiles = min(together // members, LARGEST_BATCH // grid.tile_pixels, len(grid) * images)
        # Of a single tile, its orientations.
        runs = MEMBERS // members if options.ensemble and len(grid) == 1 else len(grid) * images
        workers = workers_for(min(together // members, runs), self.threads)
        plan = Plan(grid, max(1, tiles), members, workers=workers)
        return replace(plan, graphs=self._pays_recorded(plan))

    def _pays_recorded(self, plan: Plan) -> bool:
        # Not where memory ran out once.
        if not self.graphs or self.known is not None:
            return False
        kept = plan.pixels * self.per_pixel
        return kept <= min(RECORDED_BYTES, RECORDED_SHARE * self.available)

    def _auto(self, height: int, width: int, available: int, largest: int | None) -> int:
        most = self.most if self.most is None else min(self.most, LARGEST_WHOLE)
        tile = auto_tile(height, width, self.per_pixel, available, most, self.threads)
        if largest is not None and (tile or max(height, width)) > largest:
            tile = largest
        if self.rows is None or self.rows >= (tile or height):
            return tile
        return self.rows

    def _check(self, grid: Grid) -> None:
        if self.most is not None and grid.tile_pixels > self.most:
            raise MemoryLimitError(
                f"a tile of {grid.columns.size}x{grid.rows.size} pixels makes tensors of more "
                "values than a GPU's libraries can count",
                f"use --tile auto, or --tile {math.isqrt(self.most) // 8 * 8}",
            )
        if self.strict and (needed := grid.tile_pixels * self.per_pixel) > self.available:
            raise MemoryLimitError(
                f"a tile of {grid.columns.size}x{grid.rows.size} pixels needs "
                f"{memory.in_mebibytes(needed)} of memory, "
                f"{memory.in_mebibytes(self.available)} are available",
                "use --tile auto, or raise --max-memory",
            )


def attempts(first: Plan, options: RestoreOptions, release: Callable[[], bool]) -> Iterator[Plan]:
    """Yield the plan, then what to try when memory runs out; each needs less than the one before.

    The tiles stay the same as long as possible, so that finished ones can be kept. There is no
    attempt with the result moved to the CPU: it is never on the GPU unless the caller's image is.

    Args:
        first: The plan.
        options: What the user wanted of the tiles.
        release: Frees what is kept for later runs and returns whether graphs were, in which case
            the plan itself is tried again; called after each failure.

    Yields:
        A plan for each time that the one before failed; a few dozen at most.
    """
    yield first
    plan = replace(first, graphs=False)
    if release():
        yield plan
        release()
    for smaller in _smaller(plan, options):
        yield smaller
        release()


def _smaller(plan: Plan, options: RestoreOptions) -> Iterator[Plan]:
    while plan.workers > 1:
        plan = replace(plan, workers=plan.workers // 2)
        yield plan
    while plan.tiles > 1:
        plan = replace(plan, tiles=plan.tiles // 2)
        yield plan
    while plan.members > 1:
        plan = replace(plan, members=plan.members // 2)
        yield plan
    rows, columns = plan.grid.rows, plan.grid.columns
    side = max(rows.size, columns.size)
    while side > SMALLEST_AUTO_TILE:
        side = max(side // 2, SMALLEST_AUTO_TILE)
        yield Plan(options.grid(rows.side, columns.side, side))


# What a network turned out to fit into after it ran out of memory, in bytes, for the rest of the
# run: a batch of a thousand images should not fail and retry a thousand times.
_WORKED: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def remember(network: nn.Module, plan: Plan, per_pixel: int) -> None:
    """Plan the network's next images with no more memory than what just worked."""
    _WORKED[network] = plan.pixels * per_pixel


def limits_of(
    network: nn.Module,
    precision: Precision,
    reserved: int,
    *,
    batches: bool,
    graphs: bool,
    max_memory: int | None = None,
    rows: int | None = None,
    threads: int = 1,
) -> Limits:
    """Ask what the network and its device allow.

    Args:
        network: On its device.
        precision: What it runs in.
        reserved: Bytes on that device that the images will take.
        batches: Whether several tiles at once are faster than one.
        graphs: Whether runs can be recorded.
        max_memory: Bytes of main memory that the process stays below; None for what is free.
        rows: Most rows of a tile that is planned; None for no limit.
        threads: How many threads share the work.

    Returns:
        What plans are made from.
    """
    device = next(network.parameters()).device
    available = memory.available_memory(device)
    strict = max_memory is not None and device.type == "cpu"
    if strict:
        available = min(available, memory.available_main_memory(max_memory))
    scan = next((m.scan.name for m in network.modules() if isinstance(m, SelectiveScan)), "auto")
    config = getattr(network, "config", UNKNOWN_NETWORK)
    return Limits(
        bytes_per_pixel(config, precision, scan, device.type),
        available - reserved,
        batches,
        graphs,
        LARGEST_TENSOR // widest(config, scan) if batches else None,
        _WORKED.get(network),
        rows,
        strict,
        threads,
    )
