"""Training samples: aligned random patches of reference images and of their degraded partners."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambair_cli.errors import ImageError, RecipeError
from mambair_cli.evaluation.degrade import (
    add_gaussian_noise,
    crop_to_multiple,
    downscale,
    jpeg_compress,
)
from mambair_cli.imaging.orientation import turn
from mambair_cli.imaging.writing.depth import to_8_bits
from mambair_cli.training.config import DataTable
from mambair_cli.training.degradations.chain import run_steps
from mambair_cli.training.images import (
    Pixels,
    list_images,
    none_readable,
    read_all,
    read_pixels,
    read_size,
)
from mambair_cli.training.kept_results import KeptResults
from mambair_cli.training.parsing import Span

JPEG_BLOCK = 8
# What is degraded around a patch, in input pixels: the borders of pictures are rare in pictures.
MARGIN = 8
# By how many quarter turns to the left, then as seen in a mirror.
ORIENTATIONS = ((1, 8, 3, 6), (2, 7, 4, 5))


@dataclass(frozen=True)
class Batch:
    """Samples, float32, black 0 and white 1.

    Attributes:
        low: Network inputs `(b c h w)`.
        high: References `(b c h*s w*s)`.
        taught: What a teacher made of the inputs, where its results are kept.
    """

    low: Tensor
    high: Tensor
    taught: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Copy to a device, without waiting where that is possible."""
        return Batch(*(side.to(device, non_blocking=True) for side in self._sides()))

    def pin_memory(self) -> Batch:
        """Copy to where a GPU can fetch it while it computes."""
        return Batch(*(side.pin_memory() for side in self._sides()))

    def __len__(self) -> int:
        return len(self.low)

    def parts(self, count: int) -> list[Batch]:
        """Cut into as many parts of about one length, in their order."""
        sides = [side.tensor_split(count) for side in self._sides()]
        return [Batch(*part) for part in zip(*sides, strict=True)]

    def _sides(self) -> Iterator[Tensor]:
        return (side for side in (self.low, self.high, self.taught) if side is not None)


@dataclass(frozen=True)
class Pair:
    """An image, or a patch of it, uint8.

    Attributes:
        low: The reference downscaled, `(h w c)`.
        high: The reference, `(h*s w*s c)`.
        taught: What a teacher made of the first, where its results are kept.
    """

    low: Pixels
    high: Pixels
    taught: Pixels | None = None

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        kept = 0 if self.taught is None else self.taught.nbytes
        return self.low.nbytes + self.high.nbytes + kept

    def cut(self, y: int, x: int, height: int, width: int) -> Pair:
        """Cut a patch out, in pixels of the downscaled image."""
        scale = self.high.shape[0] // self.low.shape[0]
        inner = tuple(
            slice(start * scale, (start + side) * scale)
            for start, side in ((y, height), (x, width))
        )
        return Pair(
            self.low[y : y + height, x : x + width],
            self.high[inner],
            None if self.taught is None else self.taught[inner],
        )

    def turned(self, turns: int, *, mirrored: bool) -> Pair:
        """Turn by quarters to the left, then mirror."""
        orientation = ORIENTATIONS[mirrored][turns]
        return Pair(
            turn(self.low, orientation),
            turn(self.high, orientation),
            None if self.taught is None else turn(self.taught, orientation),
        )


class PairCache:
    """Reads images and downscales them on first use, keeping the latest in memory.

    A patch is cut from the downscaled whole image, because downscaling the patch alone would give
    it borders that no real input has.

    Args:
        channels: 3 or 1.
        scale: Reference side over input side.
        limit: Bytes that may be kept.
        results: A teacher's results, to be read with the images.
    """

    def __init__(
        self, channels: int, scale: int, limit: int, results: KeptResults | None = None
    ) -> None:
        self._channels = channels
        self._scale = scale
        self._limit = limit
        self._results = results
        self._kept: OrderedDict[Path, Pair] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __getitem__(self, path: Path) -> Pair:
        with self._lock:
            pair = self._kept.pop(path, None)
            if pair is None:
                pair = self._read(path)
                self._bytes += pair.nbytes
            self._kept[path] = pair
            while self._bytes > self._limit and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes
            return pair

    def _read(self, path: Path) -> Pair:
        high = crop_to_multiple(read_pixels(path, self._channels), self._scale)
        low = high if self._scale == 1 else downscale(high, self._scale)
        if self._results is None:
            return Pair(low, high)
        return Pair(low, high, self._results.read(path, self._channels))


class Sampler:
    """Draws batches that depend on the seed and the iteration only: a resumed run needs no state.

    Images are drawn with a probability proportional to their area. Left out are images smaller than
    a patch, and those that cannot be read, which for some is known only when they are drawn.

    Args:
        table: The recipe's `data` table.
        root: Directory that the folders are relative to.
        channels: 3 or 1.
        scale: Reference side over input side.
        seed: Any non-negative number.
        pinned: Put the samples where a GPU can fetch them while it computes.
        results: A teacher's results, which come with the samples.

    Attributes:
        files: The images that are drawn.
        skipped: How many are smaller than a patch.
        unreadable: Those that cannot be read, with the reason.

    Raises:
        RecipeError: A folder is missing or empty, no image can be read or is as large as a patch,
            or a teacher's result is missing or has another size.
    """

    def __init__(
        self,
        table: DataTable,
        root: Path,
        channels: int,
        scale: int,
        seed: int,
        *,
        pinned: bool = False,
        results: KeptResults | None = None,
    ) -> None:
        self._table = table
        self._pinned = pinned
        self._scale = scale
        self._seed = seed
        self.unreadable: dict[Path, ImageError] = {}
        listed = [path for folder in table.folders for path in list_images(root / folder)]
        files, found = zip(*read_all(listed, read_size, self.unreadable), strict=True)
        sizes = np.array(found) // scale
        self._margin = MARGIN if table.steps else 0
        needed = table.patch + 2 * self._margin
        large: NDArray[np.bool_] = np.all(sizes >= needed, axis=1)
        if not large.any():
            side = needed * scale
            raise RecipeError(
                f"none of the {len(files)} training images is {side}x{side} pixels or larger",
                f"data.patch = {table.patch} input pixels is {side} reference pixels: lower it",
            )
        self.files = [path for path, fits in zip(files, large, strict=True) if fits]
        self.skipped = len(files) - len(self.files)
        if results is not None:
            results.require(
                pair
                for pair, fits in zip(zip(files, found, strict=True), large, strict=True)
                if fits
            )
        areas = sizes[large].prod(axis=1)
        self._cumulative = np.cumsum(areas) / areas.sum()
        # Steps make the input of each patch themselves, from the reference.
        self._downscaled = 1 if table.steps else scale
        self._pairs = PairCache(channels, self._downscaled, table.cache_mb * 10**6, results)

    def batch(self, iteration: int) -> Batch:
        """Draw the samples of one iteration."""
        generator = np.random.default_rng([self._seed, iteration])
        samples = [self._sample(generator) for _ in range(self._table.batch)]
        batch = Batch(*(_to_tensor(side) for side in zip(*samples, strict=True)))
        return batch.pin_memory() if self._pinned else batch

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Draw iterations `start` to `stop - 1`, each while the one before is used."""
        with ThreadPoolExecutor(max_workers=1) as thread:
            coming = thread.submit(self.batch, start)
            for iteration in range(start + 1, stop + 1):
                batch = coming.result()
                if iteration < stop:
                    coming = thread.submit(self.batch, iteration)
                yield batch

    def _sample(self, generator: np.random.Generator) -> tuple[NDArray[Any], ...]:
        """Draw an input and its reference, and after them what a teacher made of the input."""
        table, scale = self._table, self._scale
        cuts = [self._cut(generator) for _ in range(table.candidates)]
        cut = max(cuts, key=lambda cut: detail(cut.high))
        if table.augment:
            cut = cut.turned(int(generator.integers(4)), mirrored=bool(generator.integers(2)))
        if table.steps:
            return self._degraded(cut.high, generator)
        degraded = degrade(
            cut.low, table.noise_sigma, table.jpeg_quality, generator, clipped=table.clipped
        )
        side = table.patch
        large = [picture for picture in (cut.high, cut.taught) if picture is not None]
        return (
            degraded[-side:, -side:],
            *(picture[-side * scale :, -side * scale :] for picture in large),
        )

    def _degraded(self, high: Pixels, generator: np.random.Generator) -> tuple[Pixels, Pixels]:
        """Run the steps on a reference and cut both to the patch."""
        size = high.shape[0] // self._scale, high.shape[1] // self._scale
        low = run_steps(self._table.steps, high, size, generator)
        start, stop = self._margin, self._margin + self._table.patch
        inner = slice(start * self._scale, stop * self._scale)
        return low[start:stop, start:stop], high[inner, inner]

    def _cut(self, generator: np.random.Generator) -> Pair:
        """Cut a patch, and what is to be coded with it, from anywhere."""
        pair = self._drawn(generator)
        sides = [self._side(size, generator) for size in pair.low.shape[:2]]
        y, x = (
            int(generator.integers(size - side + 1))
            for size, side in zip(pair.low.shape[:2], sides, strict=True)
        )
        return pair.cut(y, x, *sides)

    def _drawn(self, generator: np.random.Generator) -> Pair:
        """Draw an image, and another in place of one that turns out to be damaged."""
        while True:
            index = int(np.searchsorted(self._cumulative, generator.random(), side="right"))
            path = self.files[min(index, len(self.files) - 1)]
            if path not in self.unreadable:
                try:
                    return self._pairs[path]
                except ImageError as error:
                    self.unreadable[path] = error
            if all(path in self.unreadable for path in self.files):
                raise none_readable(self.unreadable)

    def _side(self, size: int, generator: np.random.Generator) -> int:
        """Draw the side of a patch with what is degraded with it.

        For JPEG that is some pixels before the patch, so that blocks begin anywhere in it.
        """
        if self._table.steps:
            return (self._table.patch + 2 * self._margin) * self._scale
        if self._table.jpeg_quality is None:
            return self._table.patch
        return min(self._table.patch + int(generator.integers(JPEG_BLOCK)), size)


def detail(pixels: Pixels) -> float:
    """Compute the mean difference of neighbouring values of `(h w c)`, on the 0-255 scale."""
    signed = pixels.astype(np.int16)
    return float(sum(np.abs(np.diff(signed, axis=axis)).mean() for axis in (0, 1)) / 2)


def degrade(
    pixels: Pixels,
    noise: Span | None,
    quality: Span | None,
    generator: np.random.Generator,
    *,
    clipped: float = 0.0,
) -> NDArray[Any]:
    """Add noise, then JPEG artefacts, each if asked for and each as strong as the generator draws.

    Args:
        pixels: `(h w c)` uint8.
        noise: Standard deviation on the 0-255 scale.
        quality: JPEG quality, 1 to 100.
        generator: Source of randomness.
        clipped: Chance that noise is clipped and rounded to 8 bits, as it is in files.

    Returns:
        `(h w c)`: uint8, or float32 with white 1 where noise comes last (it is otherwise not
        clipped, as in the paper's denoising protocol).
    """
    result: NDArray[Any] = pixels
    if noise is not None:
        result = add_gaussian_noise(pixels, generator.uniform(noise.low, noise.high), generator)
        if clipped and generator.random() < clipped:
            result = to_8_bits(result).astype(np.float32) / 255
    if quality is not None:
        drawn = int(generator.integers(round(quality.low), round(quality.high), endpoint=True))
        if noise is not None:
            result = to_8_bits(result)
        result = jpeg_compress(np.ascontiguousarray(result), drawn)
    return result


def _to_tensor(patches: tuple[NDArray[Any], ...]) -> Tensor:
    stacked = torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).contiguous()
    return stacked.float().div_(255) if stacked.dtype == torch.uint8 else stacked
