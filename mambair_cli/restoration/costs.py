"""What restoring images takes: tiles and memory as planned, time as one tile took it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from mambair_cli.imaging.image import ImageHeader
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.engine import Engine
from mambair_cli.restoration.memory import available as memory
from mambair_cli.restoration.plan import Plan, RestoreOptions
from mambair_cli.restoration.restorer import LEAST_SIDE, plan_whole, restore_tensor
from mambair_cli.restoration.streaming import memory_budget, needs_bands, plan_bands

_FLOAT = 4
# The time of a tile is measured on one of at most this side: time grows with its pixels.
MEASURED_SIDE = 128
# The first run of a shape is slower, and the least of some is what nothing else disturbed.
MEASURED_RUNS = 3


@dataclass(frozen=True)
class Cost:
    """What restoring a file takes.

    Attributes:
        plan: How each of its images is run.
        images: Frames or pages.
        working: Bytes that the network works with on its device.
        buffers: Bytes of main memory for an image, what the network sees of it, and its result.
    """

    plan: Plan
    images: int
    working: int
    buffers: int

    @property
    def tiles(self) -> int:
        """Tiles of all images."""
        return len(self.plan.grid) * self.images

    @property
    def tile_pixels(self) -> int:
        """Input pixels of all tiles: more than the images have, because tiles overlap."""
        return self.plan.grid.tile_pixels * self.tiles


@dataclass(frozen=True)
class Effort:
    """What the network's work on a batch takes.

    Attributes:
        tiles: Tiles of all images.
        seconds: Reckoned from one tile that was run.
        memory: Bytes of main memory for the largest image, this process included.
        device_memory: Bytes on the network's device for the largest tiles; None where that is main
            memory.
    """

    tiles: int
    seconds: float
    memory: int
    device_memory: int | None

    def joined(self, other: Effort) -> Effort:
        """Add the work of another network, after this one."""
        on_device = [each.device_memory for each in (self, other) if each.device_memory is not None]
        return Effort(
            self.tiles + other.tiles,
            self.seconds + other.seconds,
            max(self.memory, other.memory),
            max(on_device, default=None),
        )


def cost_of(
    network: nn.Module, header: ImageHeader, spec: ModelSpec, options: RestoreOptions
) -> Cost:
    """Plan a file as `restore_image` or `restore_bands` would, and reckon its memory.

    Raises:
        MemoryLimitError: Memory is short even with the smallest tiles.
    """
    options = options.suited_to(spec)
    device = next(network.parameters()).device
    engine = Engine(network, options.precision, ensemble=options.ensemble, notify=lambda _: None)
    pixels, area = header.width * header.height, spec.scale**2
    results = 2 * pixels * area * spec.channels * _FLOAT
    held = pixels * (header.channels + header.has_alpha) * header.dtype.itemsize
    buffers = held * (header.images + area) + pixels * spec.channels * _FLOAT + results
    budget = memory_budget(options)
    if needs_bands(header, spec.scale, budget):
        plan, limits = plan_bands(network, engine, header, spec, options)
        buffers = budget - plan.pixels * limits.per_pixel
    else:
        sides = max(header.height, LEAST_SIDE), max(header.width, LEAST_SIDE)
        reserved = results if device.type == "cpu" else 0
        plan, limits = plan_whole(network, engine, sides, options, reserved)
    return Cost(plan, header.images, plan.pixels * limits.per_pixel, buffers)


def effort_of(
    network: nn.Module,
    costs: Sequence[Cost],
    spec: ModelSpec,
    options: RestoreOptions,
    devices: int,
) -> Effort:
    """Reckon what a batch takes; run one tile, of the size of the first image's, for the time.

    Args:
        network: What would restore it, on its device.
        costs: Of its files, at least one.
        spec: Of the network.
        options: How they would be restored.
        devices: How many devices would share the work.
    """
    grid = costs[0].plan.grid
    rows, columns = (min(axis.size, MEASURED_SIDE) for axis in (grid.rows, grid.columns))
    on_cpu = next(network.parameters()).device.type == "cpu"
    buffers = max(cost.buffers + (cost.working if on_cpu else 0) for cost in costs)
    pixels = sum(cost.tile_pixels for cost in costs)
    return Effort(
        tiles=sum(cost.tiles for cost in costs),
        seconds=_seconds_per_pixel(network, spec, options, rows, columns) * pixels / devices,
        memory=memory.resident_memory() + buffers,
        device_memory=None if on_cpu else max(cost.working for cost in costs),
    )


def _seconds_per_pixel(
    network: nn.Module, spec: ModelSpec, options: RestoreOptions, rows: int, columns: int
) -> float:
    """Run one tile of noise some times, and divide the shortest by its pixels."""
    whole = replace(options, tile=0, overlap=None)
    noise = torch.rand(1, spec.channels, rows, columns, dtype=torch.float32, device="cpu")
    seconds = []
    for _ in range(MEASURED_RUNS):
        start = time.perf_counter()
        restore_tensor(network, noise, spec, whole)
        seconds.append(time.perf_counter() - start)
    return min(seconds) / (rows * columns)
