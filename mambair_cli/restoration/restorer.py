"""Restores one image: tiles, self-ensemble, precision, gray and colour, alpha, short memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mambair_cli.errors import BackendError, MemoryLimitError, UsageError
from mambair_cli.imaging.color import rgb_to_ycbcr, spread_under_alpha, ycbcr_to_rgb
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.imaging.resize import imresize, resize_alpha
from mambair_cli.imaging.tensors import to_pixels, to_tensor
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration import memory
from mambair_cli.restoration.engine import Engine
from mambair_cli.restoration.padding import crop_to, pad_to
from mambair_cli.restoration.plan import Plan, RestoreOptions, attempts, limits_of, remember
from mambair_cli.restoration.precision import resolve_precision
from mambair_cli.restoration.tiling import Mosaic

__all__ = ["Notice", "Progress", "RestoreOptions", "restore_image", "restore_tensor"]

Progress = Callable[[int, int], None]
Notice = Callable[[str], None]

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
) -> Tensor:
    """Restores one image.

    When memory runs out, fewer tiles or self-ensemble members run at a time, and finished tiles are
    kept; then the image is started again with smaller tiles. What worked limits the network's next
    images.

    Args:
        network: Maps `(b c h w)` to `(b c h*s w*s)`; its device is where it runs. One thread at a
            time may use it.
        x: `(1 c h w)` float32 in [0, 1]. Only tiles of it are moved to the network's device.
        spec: Scale `s` and channels `c` of the network.
        options: Tiles, self-ensemble, precision.
        on_progress: Called with tiles done and tiles in all, first with none done. Both numbers
            start again if memory runs out and the tiles become smaller.
        on_notice: Told how the image is run, and what did not go as planned.

    Returns:
        `(1 c h*s w*s)` float32 in [0, 1], on the device of `x`.

    Raises:
        UsageError: The image's channels are not the network's.
        BackendError: The precision cannot be used on the device, or overflowed.
        MemoryLimitError: Memory is short even with the smallest tiles.
    """
    if x.shape[1] != spec.channels:
        raise UsageError(
            f"the image has {x.shape[1]} channels, {spec.id} takes {spec.channels}",
            "choose a model for this kind of image: mambair models list",
        )
    notify, report = on_notice or _ignore, on_progress or _ignore
    device = next(network.parameters()).device
    precision = resolve_precision(options.precision, device)
    engine = Engine(network, precision, ensemble=options.ensemble, notify=notify)
    padded = pad_to(x, LEAST_SIDE, LEAST_SIDE)
    # The result, and the copies made of it afterwards.
    results = 3 * x.element_size() * padded.numel() * spec.scale**2 if device == x.device else 0
    limits = limits_of(network, precision, results, batches=engine.batches, graphs=engine.records)
    height, width = padded.shape[2:]
    planned = limits.plan(height, width, options)
    mosaic = Mosaic(_canvas(padded, spec.scale), planned.grid, spec.scale)
    report(0, len(planned.grid))
    for plan in attempts(planned, options, engine.release):
        if plan.grid != mosaic.grid:
            mosaic.restart(plan.grid)
            report(0, len(plan.grid))
        notify(f"{'running' if plan is planned else 'memory ran out; trying'} {plan}")
        if _complete(mosaic, padded, engine, plan, report):
            if plan != planned:
                remember(network, plan, limits.per_pixel)
            return crop_to(mosaic.canvas, *(side * spec.scale for side in x.shape[2:]))
    raise MemoryLimitError(
        f"memory ran out on {device} even with {plan}",
        "close other programs, use a smaller model, or another --device",
    )


def restore_image(
    network: nn.Module,
    image: RestorableImage,
    spec: ModelSpec,
    options: RestoreOptions,
    on_progress: Progress | None = None,
    on_notice: Notice | None = None,
) -> RestorableImage:
    """Restores an image as read from a file; gray stays gray, opacity is scaled and not restored.

    A gray image goes through a colour network as three equal channels, averaged afterwards. Of a
    colour image a gray network gets the luma; the chroma is kept (at a scale above 1, bicubic).

    Args:
        network: As for `restore_tensor`.
        image: Pixels `(h w c)` uint8 with `c` 1 or 3, opacity `(h w)` or None, metadata.
        spec: As for `restore_tensor`.
        options: As for `restore_tensor`.
        on_progress: As for `restore_tensor`.
        on_notice: As for `restore_tensor`.

    Returns:
        Pixels `(h*s w*s c)` uint8, opacity `(h*s w*s)` or None, the same metadata.

    Raises:
        BackendError: As for `restore_tensor`.
        MemoryLimitError: As for `restore_tensor`.
    """

    def restore(x: Tensor) -> Tensor:
        return restore_tensor(network, x, spec, options, on_progress, on_notice)

    pixels, alpha = image.pixels, image.alpha
    if alpha is not None:
        pixels = spread_under_alpha(pixels, alpha)
        alpha = resize_alpha(alpha, spec.scale)
    if pixels.shape[2] == 3 and spec.channels == 1:
        restored = _restore_luma(restore, pixels, spec.scale)
    elif pixels.shape[2] == 1 and spec.channels == 3:
        gray = to_tensor(pixels).expand(-1, 3, -1, -1)
        restored = to_pixels(restore(gray).mean(dim=1, keepdim=True))
    else:
        restored = to_pixels(restore(to_tensor(pixels)))
    return replace(image, pixels=restored, alpha=alpha)


def _restore_luma(
    restore: Callable[[Tensor], Tensor], pixels: NDArray[np.uint8], scale: int
) -> NDArray[np.uint8]:
    ycbcr = rgb_to_ycbcr(pixels)
    luma = restore(torch.from_numpy(ycbcr[..., 0] / 255)[None, None])
    enlarged = imresize(ycbcr, scale)
    enlarged[..., 0] = luma[0, 0].numpy() * 255
    return np.asarray(np.rint(ycbcr_to_rgb(enlarged)).clip(0, 255).astype(np.uint8))


def _canvas(x: Tensor, scale: int) -> Tensor:
    """Memory for a result; without it no plan can work."""
    b, c, height, width = x.shape
    shape = (b, c, height * scale, width * scale)
    try:
        return x.new_empty(shape)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not memory.is_out_of_memory(error):
            raise
    needed = 4 * b * c * shape[2] * shape[3] / memory.MEBIBYTE
    raise MemoryLimitError(
        f"the result, {shape[3]}x{shape[2]} pixels, needs {needed:.0f} MiB of memory on {x.device}",
        "close other programs, or cut the image into parts",
    )


def _ignore(*_: object) -> None:
    """Stands in for a callback that nobody gave."""


def _complete(mosaic: Mosaic, x: Tensor, engine: Engine, plan: Plan, report: Progress) -> bool:
    """Restores the tiles that are missing; False when memory ran out.

    Nothing of a failed attempt is alive afterwards but the finished tiles.
    """
    try:
        with engine.running():
            batches = mosaic.batches(x, plan.tiles)
            for restored in engine.stream(batches, plan, x.device):
                # Here it is on the side of the image already: asked for on a GPU, the answer would
                # have to be waited for. The extremes of all values take one pass, and are not
                # numbers if any of them is not.
                if not all(extreme.isfinite() for extreme in restored.aminmax()):
                    raise BackendError(
                        f"the network's output in {engine.precision} holds values that are not "
                        "numbers",
                        "use --precision fp32; if that fails too, the weights are damaged",
                    )
                mosaic.add(restored, lambda: report(mosaic.done, len(mosaic.grid)))
            mosaic.canvas.clamp_(0, 1)
    except MemoryError:
        return False
    except RuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        return False
    return True
