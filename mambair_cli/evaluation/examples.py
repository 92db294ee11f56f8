"""One image of a set: its reference, its degraded partner, and whether it can be scored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mambair_cli.disk import sha256_of
from mambair_cli.errors import ImageError, UsageError
from mambair_cli.evaluation.datasets import Dataset
from mambair_cli.evaluation.metrics import LEAST_SIDE
from mambair_cli.imaging.files import read_header, read_image

Pixels = NDArray[np.uint8]

# People crop references to multiples of 12 or so, the least that 2, 3 and 4 divide, at most this.
MOST_CROPPED = 24
# What is left of a whole set when every reference was cropped so.
LEAST_LEFT = 0.94


@dataclass(frozen=True)
class Example:
    """An image of a benchmark set.

    Attributes:
        name: Of the image, in reports.
        files: What it is read from.
        truth: Reads the reference, `(h w c)` uint8.
        given: Reads the degraded partner that comes with it, if one does.
        height: Pixels of the reference; 0 where they are not known before it is read.
        width: Pixels of the reference.
    """

    name: str
    files: tuple[Path, ...]
    truth: Callable[[], Pixels]
    given: Callable[[], Pixels] | None = None
    height: int = 0
    width: int = 0


def example_of(truth: Path, given: Path | None, scale: int) -> Example:
    """Describe an image by the headers of its files.

    Raises:
        ImageError: A file cannot be read.
        UsageError: The partner is not the reference made smaller by the scale.
    """
    height, width = size_of(truth)
    if given is None:
        return Example(truth.stem, (truth,), lambda: read_pixels(truth), None, height, width)
    low = size_of(given)
    cropped = cropped_like((height, width), low, scale)
    if cropped is None:
        raise UsageError(
            f"{given} has {low[1]}x{low[0]} pixels: it is not {truth}, of {width}x{height}, "
            + (f"made {scale} times smaller" if scale > 1 else "degraded"),
            "take partners that were made of these references, or remove their folder to have "
            "the images made",
        )
    rows, columns = cropped
    return Example(
        truth.stem,
        (truth, given),
        lambda: read_pixels(truth)[:rows, :columns],
        lambda: read_pixels(given),
        rows,
        columns,
    )


def size_of(path: Path) -> tuple[int, int]:
    """Read height and width of an image from its header.

    Raises:
        ImageError: It cannot be read.
    """
    header = read_header(path)
    return header.height, header.width


def cropped_like(
    truth: tuple[int, int], low: tuple[int, int], scale: int
) -> tuple[int, int] | None:
    """Find to what a reference was cropped before its partner was made of it.

    Args:
        truth: Height and width of the reference.
        low: Height and width of the partner.
        scale: Reference side over partner side.

    Returns:
        Height and width, of which both were cut to a multiple of the scale from the top left; None
        where no such multiple gives the partner.
    """
    wanted = low[0] * scale, low[1] * scale
    multiples = [1, *range(scale, MOST_CROPPED + 1, scale)] if scale > 1 else [1]
    fits = any(tuple(side - side % multiple for side in truth) == wanted for multiple in multiples)
    return wanted if fits else None


def require_scorable(examples: Sequence[Example], scale: int) -> None:
    """Check that all images of a set can be scored: without one, its mean is wrong.

    Raises:
        ImageError: One is too small.
    """
    border = scale if scale > 1 else 0
    for example in examples:
        sides = [side - side % scale - 2 * border for side in (example.height, example.width)]
        if example.height and min(sides) < LEAST_SIDE:
            least = -(-(LEAST_SIDE + 2 * border) // scale) * scale
            raise ImageError(
                f"{example.files[0]} has {example.width}x{example.height} pixels: SSIM needs "
                f"{least}x{least}",
                "leave it out",
            )


def is_published(dataset: Dataset, examples: Sequence[Example]) -> bool:
    """Tell whether images can be those of a set, going by their number and their pixels."""
    if dataset.own:
        return False
    if dataset.megapixels is None or len(examples) != dataset.images:
        return len(examples) <= dataset.images
    share = sum(example.height * example.width for example in examples) / dataset.megapixels / 1e6
    return LEAST_LEFT <= share <= 1.0001


def digest_of(examples: Iterable[Example]) -> str:
    """Identify the files of a set.

    Returns:
        sha256 in hexadecimal over names and contents, independent of where the set lies.
    """
    files = sorted({path for example in examples for path in example.files})
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.name}\0{sha256_of(path)}\n".encode())
    return whole.hexdigest()


def read_pixels(path: Path) -> Pixels:
    """Read a benchmark image.

    Returns:
        `(h w c)` uint8, 1 channel where the file is gray.

    Raises:
        ImageError: The file cannot be read, is deeper than 8 bits, or has transparent pixels.
    """
    image = read_image(path)
    if image.pixels.dtype != np.uint8:
        raise ImageError(
            f"{path} has {image.pixels.dtype} pixels; benchmark images have 8 bits",
            "convert it to 8 bits, or take the set as it was published",
        )
    if image.alpha is not None and image.alpha.min() < 255:
        raise ImageError(f"{path} has transparent pixels", "take the set as it was published")
    return image.pixels
