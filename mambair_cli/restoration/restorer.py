"""Restores images: tiles, self-ensemble, precision, gray and colour, alpha, short memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from mambair_cli.errors import UsageError
from mambair_cli.imaging.image import Band, ImageHeader, RestorableImage
from mambair_cli.networks.padding import crop_to, pad_to
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.pixels.resize import is_binary
from mambair_cli.restoration.conversion import Conversion, Prepared
from mambair_cli.restoration.engine import Engine
from mambair_cli.restoration.fitting import AS_TRAINED, Fitting
from mambair_cli.restoration.memory.allocator import give_back
from mambair_cli.restoration.plan import Limits, Plan, RestoreOptions, limits_of
from mambair_cli.restoration.tiled_run import Notice, Progress, Reports, TiledRun, new_canvas
from mambair_cli.restoration.tiling import Mosaic

__all__ = [
    "Notice",
    "Progress",
    "RestoreOptions",
    "restore_image",
    "restore_images",
    "restore_tensor",
]

# Under this side an image is mirrored outward first: a network cannot tell a border of zeros from a
# dark image when the border is most of what it sees.
LEAST_SIDE = 8


def restore_tensor(
    network: nn.Module,
    x: Tensor,
    spec: ModelSpec,
    options: RestoreOptions,
    on_progress: Progress | None = None,
    on_notice: Notice | None = None,
    *,
    bounds: Sequence[tuple[float, float]] | None = None,
) -> Tensor:
    """Restore one image, or several of one size in as few runs of the network as can be.

    When memory runs out, fewer tiles or self-ensemble members run at a time, and finished tiles are
    kept; then all is started again with smaller tiles. What worked limits the network's next
    images.

    Args:
        network: Maps `(b c h w)` to `(b c h*s w*s)`; its device is where it runs. One thread at a
            time may use it on a GPU, several on a CPU.
        x: `(b c h w)` float32, 0 black and 1 white. Only tiles of it are moved to the network's
            device.
        spec: Scale `s` and channels `c` of the network.
        options: Tiles, self-ensemble, precision, memory.
        on_progress: Called with tiles done and tiles in all, first with none done. Both numbers
            start again if memory runs out and the tiles become smaller.
        on_notice: Told how the image is run, and what did not go as planned.
        bounds: Between what the result of each image is clamped; None for 0 and 1.

    Returns:
        `(b c h*s w*s)` float32 within the bounds, on the device of `x`.

    Raises:
        UsageError: The image's channels are not the network's.
        BackendError: The precision overflowed.
        MemoryLimitError: Memory is short even with the smallest tiles.
    """
    if x.shape[1] != spec.channels:
        raise UsageError(
            f"the image has {x.shape[1]} channels, {spec.id} takes {spec.channels}",
            "choose a model for this kind of image: mambair models list",
        )
    reports = Reports.to(on_progress, on_notice)
    device = next(network.parameters()).device
    engine = Engine(network, options.precision, ensemble=options.ensemble, notify=reports.notice)
    padded = pad_to(x, LEAST_SIDE, LEAST_SIDE)
    # The result, and what a file is written from.
    results = 2 * x.element_size() * padded.numel() * spec.scale**2 if device == x.device else 0
    images, _, height, width = padded.shape
    planned, limits = plan_whole(network, engine, (height, width), options, results, images)
    shape = (images, spec.channels, height * spec.scale, width * spec.scale)
    mosaic = Mosaic(new_canvas(shape, x.device), planned.grid, spec.scale)
    limited = [(0, 1)] * images if bounds is None else bounds
    run = TiledRun(network, engine, limits, planned, options, mosaic, reports, limited)
    return crop_to(run.complete(padded), *(side * spec.scale for side in x.shape[2:]))


def plan_whole(
    network: nn.Module,
    engine: Engine,
    sides: tuple[int, int],
    options: RestoreOptions,
    results: int,
    images: int = 1,
) -> tuple[Plan, Limits]:
    """Plan images that are held in memory as a whole, with what the plan depends on.

    Args:
        network: As for `restore_tensor`.
        engine: What will run it.
        sides: Height and width of the input in pixels.
        options: As for `restore_tensor`.
        results: Bytes of the result, and of what is made of it, on the network's device.
        images: How many there are.

    Raises:
        MemoryLimitError: Memory is short even with the smallest tiles.
    """
    limits = limits_of(
        network,
        engine.precision,
        results,
        batches=engine.batches,
        graphs=engine.records,
        max_memory=options.max_memory,
        threads=engine.threads,
    )
    return limits.plan(*sides, options, images), limits


def restore_image(
    network: nn.Module,
    image: RestorableImage,
    spec: ModelSpec,
    options: RestoreOptions,
    on_progress: Progress | None = None,
    on_notice: Notice | None = None,
    *,
    fitting: Fitting = AS_TRAINED,
) -> RestorableImage:
    """Restore an image; arguments, result and errors as `restore_images`."""
    (restored,) = restore_images(
        network, [image], spec, options, on_progress, on_notice, fittings=[fitting]
    )
    return restored


def restore_images(
    network: nn.Module,
    images: Sequence[RestorableImage],
    spec: ModelSpec,
    options: RestoreOptions,
    on_progress: Progress | None = None,
    on_notice: Notice | None = None,
    *,
    fittings: Sequence[Fitting],
) -> list[RestorableImage]:
    """Restore images as read from files; gray stays gray, opacity is scaled and not restored.

    A gray image goes through a colour network as three equal channels, averaged afterwards. Of a
    colour image a gray network gets the luma; the chroma is kept (at a scale above 1, bicubic). The
    network computes in floating point, and its result is rounded once, to the type of the pixels.

    Args:
        network: As for `restore_tensor`.
        images: Of one size: pixels `(h w c)` uint8, uint16 or float32 with `c` 1 or 3, opacity
            `(h w)` or None, metadata.
        spec: As for `restore_tensor`.
        options: As for `restore_tensor`.
        on_progress: As for `restore_tensor`.
        on_notice: As for `restore_tensor`.
        fittings: How the network is used for each image.

    Returns:
        Pixels `(h*s w*s c)` and opacity `(h*s w*s)` or None of the same type, the same metadata.

    Raises:
        BackendError: As for `restore_tensor`.
        MemoryLimitError: As for `restore_tensor`.
    """
    conversions = [
        _conversion(image, spec, options, fitting)
        for image, fitting in zip(images, fittings, strict=True)
    ]
    parts = [
        conversion.prepared(Band(image.pixels, image.alpha))
        for conversion, image in zip(conversions, images, strict=True)
    ]
    restored = restore_tensor(
        network,
        _joined([each.shown(part) for each, part in zip(conversions, parts, strict=True)]),
        spec,
        options,
        on_progress,
        on_notice,
        bounds=[conversion.bounds for conversion in conversions],
    )
    results = [
        _with_answer(image, conversion, part, answer)
        for image, conversion, part, answer in zip(
            images, conversions, parts, torch.split(restored, 1), strict=True
        )
    ]
    del restored, parts
    if next(network.parameters()).device.type == "cpu":
        give_back()
    return results


def _conversion(
    image: RestorableImage, spec: ModelSpec, options: RestoreOptions, fitting: Fitting
) -> Conversion:
    height, width, channels = image.pixels.shape
    return Conversion(
        ImageHeader(width, height, channels, image.pixels.dtype, image.alpha is not None),
        image.span,
        spec.channels,
        spec.scale,
        binary_alpha=image.alpha is not None and is_binary(image.alpha),
        strength=options.strength,
        fitting=fitting,
    )


def _joined(images: Sequence[Tensor]) -> Tensor:
    return images[0] if len(images) == 1 else torch.cat(list(images))


def _with_answer(
    image: RestorableImage, conversion: Conversion, part: Prepared, answer: Tensor
) -> RestorableImage:
    """Make an image's result of the network's answer."""
    header = conversion.result
    pixels = np.empty((header.height, header.width, header.channels), header.dtype)
    alpha = None if image.alpha is None else np.empty(pixels.shape[:2], image.alpha.dtype)
    top = 0
    for band in conversion.rows(answer, 0, part, 0):
        rows = slice(top, top + len(band.pixels))
        pixels[rows] = band.pixels
        if alpha is not None:
            alpha[rows] = band.alpha
        top = rows.stop
    return replace(image, pixels=pixels, alpha=alpha)
