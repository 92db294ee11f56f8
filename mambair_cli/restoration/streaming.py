"""Restores an image that is larger than memory: read, restored and handed on in bands of rows.

A window of rows moves down the image. Its tiles are restored and blended as those of a whole image
are; rows that no later tile reaches are handed on. On a CPU the result is the one that
`restorer.restore_image` gives with the same tiles, bit for bit, with one exception: under large
transparent areas colours are continued from the rows around a window, not from the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from mambair_cli.errors import MemoryLimitError
from mambair_cli.imaging.image import Band, BandReader, ImageHeader
from mambair_cli.networks.padding import pad_to
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.pixels.resize import is_binary
from mambair_cli.restoration.conversion import Conversion
from mambair_cli.restoration.engine import Engine
from mambair_cli.restoration.fitting import AS_TRAINED, Fitting
from mambair_cli.restoration.memory import available as memory
from mambair_cli.restoration.memory.tile_size import (
    LARGEST_AUTO_TILE,
    PLANNED_SHARE,
    SMALLEST_AUTO_TILE,
)
from mambair_cli.restoration.plan import Limits, Plan, RestoreOptions, limits_of
from mambair_cli.restoration.restorer import LEAST_SIDE, Notice, Progress
from mambair_cli.restoration.tiled_run import Reports, TiledRun, new_canvas
from mambair_cli.restoration.tiling import Mosaic

_FLOAT = 4
# Assumed where the network is not known yet.
_NETWORK_CHANNELS = 3
# Of the memory that an image may take; the network and the writer share the rest.
_WINDOW_SHARE = 0.5


def memory_budget(options: RestoreOptions) -> int:
    """Ask how many bytes of memory can still be taken: what is free, or less by `max_memory`."""
    return memory.available_main_memory(options.max_memory)


def needs_bands(header: ImageHeader, scale: int, budget_bytes: int) -> bool:
    """Tell whether an image is too large to be restored as a whole.

    Args:
        header: Of the image.
        scale: Output side over input side.
        budget_bytes: Main memory that can still be taken (`memory_budget`). A share of it is left
            to the network and to the file that is being written.

    Returns:
        Whether one image of this size, what the network is shown of it, the network's answer and
        the result take more than that.
    """
    canvas = header.width * _NETWORK_CHANNELS * scale**2 * _FLOAT
    result = header.width * scale**2 * _pixel_bytes(header)
    row = _bytes_of_a_row(header, _NETWORK_CHANNELS) + canvas + result
    return header.height * row > PLANNED_SHARE * budget_bytes


def has_binary_alpha(reader: BandReader) -> bool:
    """Tell whether an image's opacity is nothing or full everywhere; read the whole file.

    Args:
        reader: Open at the top; nothing else can be read from it afterwards.

    Returns:
        False for an image without opacity.

    Raises:
        ImageError: The file is damaged.
    """
    header = reader.header
    rows = max(1, 2**22 // header.width)
    if not header.has_alpha:
        return False
    return all(
        is_binary(band.alpha)
        for start in range(0, header.height, rows)
        for band in [reader.read(start, min(start + rows, header.height))]
        if band.alpha is not None
    )


def restore_bands(
    network: nn.Module,
    reader: BandReader,
    spec: ModelSpec,
    options: RestoreOptions,
    on_progress: Progress | None = None,
    on_notice: Notice | None = None,
    *,
    binary_alpha: bool = False,
    fitting: Fitting = AS_TRAINED,
) -> tuple[ImageHeader, Iterator[Band]]:
    """Restore an image while it is read and written.

    When memory runs out, fewer tiles or self-ensemble members run at a time. Smaller tiles are
    taken only while nothing was handed on, which is when it shows: all tiles have one shape.

    Args:
        network: As for `restorer.restore_tensor`.
        reader: The open file.
        spec: As for `restorer.restore_tensor`.
        options: As for `restorer.restore_tensor`; with a tile of 0 the image is one window.
        on_progress: As for `restorer.restore_tensor`.
        on_notice: As for `restorer.restore_tensor`.
        binary_alpha: Whether opacity is nothing or full everywhere (`has_binary_alpha`) and has to
            stay so; at scale 1 it makes no difference.
        fitting: As for `restorer.restore_image`.

    Returns:
        What the result is, and its rows from top to bottom. The work is done as they are asked for,
        in the thread that asks.

    Raises:
        BackendError: As for `restorer.restore_tensor`; also while rows are asked for.
        MemoryLimitError: Likewise.
        ImageError: The file is damaged; while rows are asked for.
    """
    header = reader.header
    conversion = Conversion(
        header,
        reader.span,
        spec.channels,
        spec.scale,
        binary_alpha,
        options.strength,
        fitting,
    )
    reports = Reports.to(on_progress, on_notice)
    run = _planned_run(network, conversion, spec, options, reports)
    return conversion.result, _restored(run, reader, conversion)


def plan_bands(
    network: nn.Module,
    engine: Engine,
    header: ImageHeader,
    spec: ModelSpec,
    options: RestoreOptions,
) -> tuple[Plan, Limits]:
    """Plan an image that is restored in bands, with what the plan depends on.

    Raises:
        MemoryLimitError: Memory is short even with the smallest tiles.
    """
    height, width = (max(side, LEAST_SIDE) for side in (header.height, header.width))
    canvas = header.width * spec.channels * spec.scale**2 * _FLOAT
    # Half of the canvas is there twice where rows move up; a reader keeps rows of its own.
    reading = header.width * _pixel_bytes(header)
    row = _bytes_of_a_row(header, spec.channels) + reading + canvas + canvas // 2
    most = _window_rows(height, row, options)
    limits = limits_of(
        network,
        engine.precision,
        most * row if engine.device.type == "cpu" else 0,
        batches=engine.batches,
        graphs=engine.records,
        max_memory=options.max_memory,
        threads=engine.threads,
        rows=most,
    )
    return limits.plan(height, width, options), limits


def _planned_run(
    network: nn.Module,
    conversion: Conversion,
    spec: ModelSpec,
    options: RestoreOptions,
    reports: Reports,
) -> TiledRun:
    engine = Engine(network, options.precision, ensemble=options.ensemble, notify=reports.notice)
    header = conversion.source
    planned, limits = plan_bands(network, engine, header, spec, options)
    window, width = planned.grid.rows.size, max(header.width, LEAST_SIDE)
    shape = (1, spec.channels, window * spec.scale, width * spec.scale)
    mosaic = Mosaic(new_canvas(shape, torch.device("cpu")), planned.grid, spec.scale)
    bounds = [conversion.bounds]
    return TiledRun(network, engine, limits, planned, options, mosaic, reports, bounds)


def _restored(run: TiledRun, reader: BandReader, conversion: Conversion) -> Iterator[Band]:
    scale, going_on = conversion.scale, True
    height, left_over = conversion.result.height, None
    while going_on:
        window = slice(run.mosaic.window.start, min(run.mosaic.window.stop, reader.header.height))
        needed = conversion.needed(window)
        part = conversion.prepared(reader.read(needed.start, needed.stop))
        inner = Band(part.pixels[window.start - needed.start : window.stop - needed.start])
        finished = run.complete(pad_to(conversion.shown(inner), LEAST_SIDE, LEAST_SIDE))
        start = window.start * scale
        visible = finished[:, :, : height - start, : conversion.result.width]
        stop = start + visible.shape[2]
        if left_over is not None:
            start -= left_over.shape[2]
            visible = torch.cat([left_over, visible], dim=2)
        ready = (stop if stop == height else conversion.fitting.whole(stop)) - start
        # The window moves up before these rows are converted.
        left_over = visible[:, :, ready:].clone()
        if ready > 0:
            yield from conversion.rows(visible[:, :, :ready], start, part, needed.start)
        going_on = run.mosaic.advance()


def _window_rows(height: int, row: int, options: RestoreOptions) -> int:
    """Choose the most rows of a window: the user's tile, or as many as memory has room for."""
    available = memory_budget(options)
    least = min(height, SMALLEST_AUTO_TILE)
    if options.tile == "auto":
        room = int(_WINDOW_SHARE * PLANNED_SHARE * available) // row
        wanted = min(max(room // 8 * 8, least), LARGEST_AUTO_TILE, height)
    else:
        wanted = min(options.tile or height, height)
    if wanted * row > available:
        raise MemoryLimitError(
            f"{wanted} rows of the image and of its result need "
            f"{memory.in_mebibytes(wanted * row)} of memory, "
            f"{memory.in_mebibytes(available)} are available",
            "close other programs, raise --max-memory, or use smaller tiles: --tile auto",
        )
    return wanted


def _bytes_of_a_row(header: ImageHeader, channels: int) -> int:
    """Reckon the bytes for each row of the source that a network of so many channels is shown."""
    spreading = _FLOAT * (1 + 4 * header.channels) if header.has_alpha else 0
    return header.width * (_pixel_bytes(header) + channels * _FLOAT + spreading)


def _pixel_bytes(header: ImageHeader) -> int:
    """Reckon the bytes of one pixel with its opacity."""
    return header.dtype.itemsize * (header.channels + header.has_alpha)
