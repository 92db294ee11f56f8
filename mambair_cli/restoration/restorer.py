"""Restores one image: tiles, self-ensemble, precision, gray and colour, alpha, short memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mambair_cli.errors import BackendError, MemoryLimitError, UsageError
from mambair_cli.imaging.color import rgb_to_ycbcr, spread_under_alpha, ycbcr_to_rgb
from mambair_cli.imaging.files import RestorableImage
from mambair_cli.imaging.resize import imresize, resize_alpha
from mambair_cli.imaging.tensors import to_pixels, to_tensor
from mambair_cli.networks.spec import MambaIRConfig, ModelSpec
from mambair_cli.networks.ss2d import SS2D
from mambair_cli.restoration import memory
from mambair_cli.restoration.ensemble import self_ensemble
from mambair_cli.restoration.padding import crop_to, pad_to
from mambair_cli.restoration.precision import (
    Precision,
    PrecisionRequest,
    computing_in,
    resolve_precision,
)
from mambair_cli.restoration.tiling import Grid, plan_grid, restore_tiles, validate_tiling

Progress = Callable[[int, int], None]

# Under this side an image is mirrored outward first: a network cannot tell a border of zeros from a
# dark image when the border is most of what it sees.
LEAST_SIDE = 8
DEFAULT_OVERLAP = 32
# Planned for a module without a configuration: the most that a published network needs.
_UNKNOWN_NETWORK = MambaIRConfig(
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
        precision: `auto`, `fp32`, `bf16` or `fp16`.

    Raises:
        UsageError: The tile or the overlap cannot work.
    """

    tile: int | Literal["auto"] = "auto"
    overlap: int | None = None
    ensemble: bool = False
    precision: PrecisionRequest = "auto"

    def __post_init__(self) -> None:
        validate_tiling(0 if self.tile == "auto" else self.tile, self.overlap or 0)

    def overlap_of(self, tile: int) -> int:
        """Pixels that neighbours share in a grid of the given tile size."""
        if self.overlap is not None and tile == self.tile:
            return self.overlap
        # The tile was not the user's choice, or the overlap was not: it may give way.
        return min(DEFAULT_OVERLAP if self.overlap is None else self.overlap, tile // 4)


@dataclass(frozen=True)
class _Plan:
    """Largest tile side (0: whole image) and how many self-ensemble members run together."""

    tile: int
    batch: int


# What a network turned out to fit into after it ran out of memory, for the rest of the run: a batch
# of a thousand images should not fail and retry a thousand times.
_WORKING_PLANS: WeakKeyDictionary[nn.Module, _Plan] = WeakKeyDictionary()


def restore_tensor(
    network: nn.Module,
    x: Tensor,
    spec: ModelSpec,
    options: RestoreOptions,
    on_progress: Progress | None = None,
) -> Tensor:
    """Restores one image.

    When memory runs out the image is started again with fewer self-ensemble members at a time, then
    with smaller tiles; what worked is kept for the network's next images.

    Args:
        network: Maps `(b c h w)` to `(b c h*s w*s)`; its device is where it runs.
        x: `(1 c h w)` float32 in [0, 1]. Only tiles of it are moved to the network's device.
        spec: Scale `s` and channels `c` of the network.
        options: Tiles, self-ensemble, precision.
        on_progress: Called with tiles done and tiles in all, first with none done. Both numbers
            start again if memory runs out.

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
    device = next(network.parameters()).device
    precision = resolve_precision(options.precision, device)
    padded = pad_to(x, LEAST_SIDE, LEAST_SIDE)
    height, width = padded.shape[2:]
    planned = _plan(network, padded, spec, options, precision)
    for plan in _attempts(planned, max(height, width)):
        grid = plan_grid(height, width, plan.tile, options.overlap_of(plan.tile))
        run = _runner(network, device, precision, plan.batch if options.ensemble else 0)
        restored = _try_tiles(padded, grid, spec.scale, run, on_progress)
        if restored is not None:
            if plan != planned:
                _WORKING_PLANS[network] = plan
            return crop_to(restored, *(side * spec.scale for side in x.shape[2:])).clamp(0, 1)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    raise MemoryLimitError(
        f"memory ran out on {device} even with tiles of {plan.tile or max(height, width)} pixels",
        "close other programs, use a smaller model, or another --device",
    )


def restore_image(
    network: nn.Module,
    image: RestorableImage,
    spec: ModelSpec,
    options: RestoreOptions,
    on_progress: Progress | None = None,
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

    Returns:
        Pixels `(h*s w*s c)` uint8, opacity `(h*s w*s)` or None, the same metadata.

    Raises:
        BackendError: As for `restore_tensor`.
        MemoryLimitError: As for `restore_tensor`.
    """

    def restore(x: Tensor) -> Tensor:
        return restore_tensor(network, x, spec, options, on_progress)

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


def _plan(
    network: nn.Module, x: Tensor, spec: ModelSpec, options: RestoreOptions, precision: Precision
) -> _Plan:
    height, width = x.shape[2:]
    device = next(network.parameters()).device
    scan = next((m.scan.name for m in network.modules() if isinstance(m, SS2D)), "auto")
    config = getattr(network, "config", _UNKNOWN_NETWORK)
    per_pixel = memory.bytes_per_pixel(config, precision, scan)
    available = memory.available_memory(device)
    if device == x.device:
        # The result, and the copies made while it is cropped and clamped.
        available -= 3 * x.element_size() * x.numel() * spec.scale**2
    if options.tile == "auto":
        tile = memory.auto_tile(height, width, per_pixel, available)
    else:
        tile = options.tile
    tile_pixels = min(height, tile or height) * min(width, tile or width)
    batch = memory.fitting_batch(tile_pixels, per_pixel, available) if options.ensemble else 1
    planned = _Plan(tile, batch)
    known = _WORKING_PLANS.get(network, planned)
    tile = min((side for side in (planned.tile, known.tile) if side), default=0)
    return _Plan(tile, min(planned.batch, known.batch))


def _attempts(planned: _Plan, longest_side: int) -> Iterator[_Plan]:
    """The plan, then what to try when memory runs out; each needs less than the one before."""
    yield planned
    if planned.batch > 1:
        yield _Plan(planned.tile, 1)
    side = min(planned.tile or longest_side, longest_side)
    while side > memory.SMALLEST_AUTO_TILE:
        side = max(side // 2, memory.SMALLEST_AUTO_TILE)
        yield _Plan(side, 1)


def _runner(
    network: nn.Module, device: torch.device, precision: Precision, ensemble_batch: int
) -> Callable[[Tensor], Tensor]:
    """Returns what restores one tile; `ensemble_batch` 0 means without self-ensemble."""

    def run(x: Tensor) -> Tensor:
        with computing_in(precision, device):
            restored: Tensor = network(x.to(device))
        if not restored.isfinite().all():
            raise BackendError(
                f"the network's output in {precision} holds values that are not numbers",
                "use --precision fp32; if that fails too, the weights are damaged",
            )
        return restored

    if ensemble_batch:
        return lambda x: self_ensemble(run, x, ensemble_batch)
    return run


def _try_tiles(
    x: Tensor,
    grid: Grid,
    scale: int,
    run: Callable[[Tensor], Tensor],
    on_progress: Progress | None,
) -> Tensor | None:
    """Restores all tiles; None when memory ran out, with nothing of the attempt kept alive."""
    done = 0

    def report() -> None:
        if on_progress is not None:
            on_progress(done, len(grid))

    def on_tile() -> None:
        nonlocal done
        done += 1
        report()

    report()
    try:
        with torch.inference_mode():
            return restore_tiles(x, grid, scale, run, on_tile)
    except MemoryError:
        return None
    except RuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        return None
