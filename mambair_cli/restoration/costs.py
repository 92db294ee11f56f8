"""What restoring an image takes: tiles and memory, planned as if it were run."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from mambair_cli.imaging.image import ImageHeader
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.device.precision import resolve_precision
from mambair_cli.restoration.engine import Engine
from mambair_cli.restoration.plan import Plan, RestoreOptions
from mambair_cli.restoration.restorer import LEAST_SIDE, plan_whole
from mambair_cli.restoration.streaming import memory_budget, needs_bands, plan_bands

_FLOAT = 4


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


def cost_of(
    network: nn.Module, header: ImageHeader, spec: ModelSpec, options: RestoreOptions
) -> Cost:
    """Plans a file as `restore_image` or `restore_bands` would, and reckons its memory.

    Raises:
        MemoryLimitError: Memory is short even with the smallest tiles.
    """
    device = next(network.parameters()).device
    precision = resolve_precision(options.precision, device)
    engine = Engine(network, precision, ensemble=options.ensemble, notify=lambda _: None)
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
