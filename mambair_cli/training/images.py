"""The images of a recipe's folders: listed, measured and read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mambair_cli.errors import ImageError, RecipeError
from mambair_cli.imaging.files import SUPPORTED_SUFFIXES, read_header, read_image
from mambair_cli.imaging.writing.depth import to_8_bits
from mambair_cli.pixels.color import rgb_to_ycbcr

Pixels = NDArray[np.uint8]

Item = TypeVar("Item")


def list_images(folder: Path) -> list[Path]:
    """List the image files directly inside a folder, sorted by name.

    Raises:
        RecipeError: The folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise RecipeError(
            f"the data folder {folder} does not exist",
            "folders in a recipe are relative to --data DIR, by default the recipe's own directory",
        )
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUPPORTED_SUFFIXES)
    if not files:
        raise RecipeError(
            f"the data folder {folder} holds no images",
            "folders inside of it are not looked into: name each",
        )
    return files


def read_pixels(path: Path, channels: int) -> Pixels:
    """Read an image as `(h w channels)` uint8; one channel is luma as the engine restores it.

    Deeper images are reduced to 8 bits.

    Raises:
        ImageError: The file cannot be read as an image.
    """
    pixels = to_8_bits(read_image(path).pixels)
    if pixels.shape[2] == channels:
        return pixels
    return np.repeat(pixels, 3, axis=2) if channels == 3 else _luma(pixels)


def _luma(pixels: Pixels) -> Pixels:
    rounded: Pixels = np.rint(rgb_to_ycbcr(pixels)[..., :1]).astype(np.uint8)
    return rounded


def read_size(path: Path) -> tuple[int, int]:
    """Read height and width of the upright image from the file's header alone.

    Raises:
        ImageError: The file cannot be read as an image, or holds several.
    """
    header = read_header(path)
    if header.images > 1:
        raise ImageError(
            f"{path} has {header.images} frames or pages", "split it into one file for each"
        )
    return header.height, header.width


def read_all(
    files: Iterable[Path], read: Callable[[Path], Item], unreadable: dict[Path, ImageError]
) -> list[tuple[Path, Item]]:
    """Read something of every image that can be read.

    Args:
        files: The images.
        read: Reads one, or raises `ImageError`.
        unreadable: Takes the files that cannot be read, with the reason.

    Raises:
        RecipeError: There are images, and none can be read.
    """
    found: list[tuple[Path, Item]] = []
    failed: dict[Path, ImageError] = {}
    for path in files:
        try:
            found.append((path, read(path)))
        except ImageError as error:
            failed[path] = error
    if failed and not found:
        raise none_readable(failed)
    unreadable.update(failed)
    return found


def none_readable(unreadable: dict[Path, ImageError]) -> RecipeError:
    """Make the error for images of which none can be read."""
    first = next(iter(unreadable.values()))
    return RecipeError(
        f"none of the {len(unreadable)} images can be read; the first: {first.message}",
        first.hint,
    )
