"""A task on images that a program holds as one tensor, as the nodes of ComfyUI do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambair_cli.batches.models import LocalWeights, ModelCache
from mambair_cli.batches.treatment.restorers import restorer_with
from mambair_cli.batches.treatment.steps import Finding
from mambair_cli.batches.work import Restore, batched
from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.obtain import obtain, resolve
from mambair_cli.checkpoints.reference import HubFile
from mambair_cli.checkpoints.request import Request
from mambair_cli.errors import ImageError
from mambair_cli.imaging import in_memory
from mambair_cli.pixels.resize import is_binary, resize_alpha_rows
from mambair_cli.restoration.device.compute import Compute
from mambair_cli.restoration.plan import RestoreOptions
from mambair_cli.restoration.sizing import Sizing

Notice = Callable[[str], None]
# Images done, the parts of one included, and images in all. What it raises ends the work.
Progress = Callable[[float, int], None]

CHANNELS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Watch:
    """Who is told of the work, and may end it; a `Listener` of downloads too.

    Attributes:
        progress: Told how far it is, often; what it raises ends the work.
        notice: Told what a user should know.
        images: How many there are.
    """

    progress: Progress
    notice: Notice
    images: int

    def waiting(self, name: str) -> None:
        """Hear that another process fetches the same."""
        self.notice(f"waiting for another process that fetches {name}")

    def started(self, file: HubFile) -> None:
        """Hear that a download begins."""
        self.notice(f"downloading {file}")

    def progressed(self, done: int, total: int | None) -> None:  # noqa: ARG002
        """Hear how many bytes are here; the work may be ended then."""
        self.progress(0, self.images)

    def troubled(self, reason: str) -> None:
        """Hear that the connection failed and is tried again."""
        self.notice(f"the connection failed and is tried again: {reason}")

    def finished(self) -> None:
        """Hear that the download has ended."""


def model_names() -> list[str]:
    """List what `Request.variant` takes, each name once, smallest models first."""
    rows = catalogue.entries()
    return list(dict.fromkeys([*(row.variant for row in rows), *(row.id for row in rows)]))


def restore_batch(
    images: Tensor,
    request: Request,
    options: RestoreOptions,
    compute: Compute,
    progress: Progress = lambda *_: None,
    notice: Notice = lambda _: None,
) -> Tensor:
    """Do a task to a batch of images, each with the weights that suit it.

    Args:
        images: `(b h w c)`, floating point, 0 black and 1 white; `c` is 1 for gray or 3 for RGB,
            and one more for opacity.
        request: What is done. Noise and JPEG blocks that it leaves open are measured.
        options: How.
        compute: Where; `options` has its precision.
        progress: Told how many images are done of how many; what it raises ends the work.
        notice: Told what a user should know, such as what was measured.

    Returns:
        `(b h*s w*s c)` float32 on the CPU, in [0, 1].

    Raises:
        ImageError: It is no such batch, or what has to be known of an image cannot be measured.
        UsageError: There are no such weights, or they cannot do the task.
        CheckpointError: The weights cannot be had or used.
        MemoryLimitError: Memory is short even with the smallest tiles.
    """
    # Programs that run nodes in inference mode would make weights tensors whose changes nobody
    # counts: nothing that is made of them could be kept, and no graph be recorded.
    with torch.inference_mode(mode=False):
        arrays = _arrays(images)
        watch = Watch(progress, notice, len(arrays))
        watch.progress(0, len(arrays))
        models = ModelCache(request, compute, lambda wanted: _weights(wanted, compute, watch))
        restore = restorer_with(models, options, Sizing())
        results: list[NDArray[np.float32]] = []
        height, width = arrays.shape[1:3]
        for part in batched(list(arrays), restore.together(width, height)):
            results += _restored(part, restore, watch, len(results))
            watch.progress(len(results), len(arrays))
        return torch.from_numpy(np.stack(results)).clamp(0, 1)


def resize_masks(masks: Tensor, images: Tensor, restored: Tensor) -> Tensor:
    """Resize masks as the images that they belong to were.

    Args:
        masks: `(b h w)` or `(h w)`, or of one value and any size, which stands for any mask of it.
        images: What was restored, `(b h w c)`.
        restored: The results, `(b h*s w*s c)`.

    Returns:
        `(b h*s w*s)` float32 on the CPU, in [0, 1]; one for each image.

    Raises:
        ImageError: The masks are of other sizes or of another number.
    """
    values = masks.detach().float().cpu().numpy().reshape(-1, *masks.shape[-2:])
    count, height, width = images.shape[:3]
    if len(values) not in (1, count):
        raise ImageError(
            f"there are {len(values)} masks for {count} images", "give one mask, or one for each"
        )
    if values.shape[1:] != (height, width):
        if values.min() != values.max():
            given = f"{values.shape[2]}x{values.shape[1]}"
            raise ImageError(
                f"the mask has {given} pixels, and the image {width}x{height}",
                "give the mask of this image, or none",
            )
        values = np.full((len(values), height, width), values.flat[0], np.float32)
    scale, rows = restored.shape[1] // height, slice(0, restored.shape[1])
    resized = [
        resize_alpha_rows(mask, 0, height, rows, scale, binary=is_binary(mask)) for mask in values
    ]
    return torch.from_numpy(np.stack(resized)).expand(count, -1, -1).contiguous()


def _arrays(images: object) -> NDArray[np.float32]:
    if not isinstance(images, Tensor) or images.ndim != 4 or 0 in images.shape:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ImageError(f"{shape} is no batch of images", "give a tensor (b h w c)")
    if images.shape[3] not in CHANNELS or not images.is_floating_point():
        raise ImageError(
            f"images of {images.shape[3]} channels of {images.dtype} are not supported",
            "give gray or RGB, with or without opacity, as floating point in [0, 1]",
        )
    values: NDArray[np.float32] = images.detach().float().cpu().numpy()
    return values


def _weights(request: Request, compute: Compute, watch: Watch) -> LocalWeights:
    if request.weights is not None:
        return LocalWeights(resolve(request.weights, watch))
    choice = request.choose(compute.device.type)
    path, stands_in = obtain(choice, watch)
    for told in (*choice.notices, *([stands_in] if stands_in else [])):
        watch.notice(told)
    return LocalWeights(path)


def _restored(
    arrays: Sequence[NDArray[np.float32]], restore: Restore, watch: Watch, done: int
) -> list[NDArray[np.float32]]:
    def progress(tiles: int, of: int) -> None:
        # Tiles start again where memory runs out.
        watch.progress(done + len(arrays) * tiles / of, watch.images)

    def note(each: str | Finding) -> None:
        watch.notice(str(each))

    taken = [in_memory.take(array) for array in arrays]
    for change in dict.fromkeys(change for each in taken for change in each.image.changes):
        watch.notice(change)
    made = restore.images([each.image for each in taken], progress, note)
    return [each.given_back(image) for each, image in zip(taken, made, strict=True)]
