"""Images of a TIFF file that lie one behind the other, with one directory for all of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Literal

import numpy as np

from mambair_cli.errors import ImageError
from mambair_cli.imaging.image import Pixels
from mambair_cli.imaging.reading.opening import damaged
from mambair_cli.imaging.reading.tiff_directories import MOST_PAGES, Directory
from mambair_cli.imaging.reading.tiff_pages import (
    BLACK_IS_ZERO,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    TiffPage,
)

_DESCRIPTION, _OFFSETS, _LENGTHS = 270, 273, 279
_PLANES_OF_METAMORPH, _DEPTH, _NIH_IMAGE = 33629, 32997, 43314
_NIH_BYTES, _NIH_SLICES = 256, 260  # of its header the least, and where their number stands
_IMAGEJ = re.compile(rb"ImageJ=.*?^images=(\d{1,9})\s*$", re.DOTALL | re.MULTILINE)
_WHOLE_BITS = (8, 16, 32)


def slices_of(path: Path, file: IO[bytes], directory: Directory, page: TiffPage) -> list[TiffPage]:
    """Return the images behind the only directory of a file: the page, or each slice of a stack.

    ImageJ writes stacks of more than 4 GB so, tifffile with `truncate`, and MetaMorph and NIH Image
    all of them.

    Args:
        path: The file's name, for errors.
        file: The same file, open.
        directory: The file's only one.
        page: The image that it describes.

    Raises:
        ImageError: There are slices that cannot be read, or the file ends among them.
        ValueError: A tag is damaged.
    """
    count = _count(file, directory, page)
    if count < 2:
        return [page]
    starts, lengths = directory.values(_OFFSETS, 0), directory.values(_LENGTHS, 0)
    each = page.width * page.height * page.samples * page.bits // 8
    follows = starts[0] + each
    size = file.seek(0, 2)
    one_behind_the_other = (
        page.compression == 1
        and not page.tiled
        and not page.planar
        and page.bits in _WHOLE_BITS
        and page.photometric in (BLACK_IS_ZERO, WHITE_IS_ZERO, RGB, PALETTE)
    )
    plain = one_behind_the_other and page.photometric != PALETTE
    # A slice that somebody took out keeps the description of its stack, but nothing follows it.
    if not _is_volume(directory) and (not one_behind_the_other or follows + each > size):
        return [page]
    if not plain or not _is_in_one_piece(starts, lengths, (each, count * each)):
        raise ImageError(
            f"{path} has {count} slices in one image, which cannot be restored",
            "save each slice as a page first, with ImageJ or tifffile for example",
        )
    if count > MOST_PAGES or starts[0] + count * each > size:
        raise damaged(path, f"it has no room for its {count} slices")
    return [replace(page, pixels_at=starts[0] + each * number) for number in range(count)]


def read_slice(file: IO[bytes], page: TiffPage) -> Pixels:
    """Read the `(h w s)` pixels of an image that lies at `pixels_at`."""
    kind = "f" if page.floats else "u"
    stored = np.dtype(f"{page.byte_order}{kind}{page.bits // 8}")
    shape = page.height, page.width, page.samples
    pixels: Pixels = np.memmap(file, stored, "r", page.pixels_at or 0, shape)
    pixels = pixels.astype(stored.newbyteorder("="), copy=False)
    if page.photometric == WHITE_IS_ZERO and not page.floats:
        pixels = pixels.copy()
        pixels[..., 0] = np.iinfo(pixels.dtype).max - pixels[..., 0]
    return pixels


def _count(file: IO[bytes], directory: Directory, page: TiffPage) -> int:
    """How many images there are, as what wrote the file says in its own way."""
    if _PLANES_OF_METAMORPH in directory.places:
        return directory.places[_PLANES_OF_METAMORPH].count
    if _is_volume(directory):
        return directory.value(_DEPTH)
    if _NIH_IMAGE in directory.places:
        return _of_nih_image(file, directory, page)
    return _of_description(directory, page)


def _of_description(directory: Directory, page: TiffPage) -> int:
    if _DESCRIPTION not in directory.places:
        return 1
    description = directory.data(directory.places[_DESCRIPTION]).rstrip(b"\0")
    if match := _IMAGEJ.match(description):
        return int(match[1])
    if description.startswith(b'{"shape":'):
        return _of_shape(description, page)
    return 1


def _of_nih_image(file: IO[bytes], directory: Directory, page: TiffPage) -> int:
    place = directory.places[_NIH_IMAGE]
    if place.count < _NIH_BYTES:
        return 1
    file.seek(place.position + _NIH_SLICES)
    order: Literal["little", "big"] = "big" if page.byte_order == ">" else "little"
    return int.from_bytes(file.read(2), order, signed=True)


def _of_shape(description: bytes, page: TiffPage) -> int:
    try:
        values = math.prod(int(side) for side in json.loads(description)["shape"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return 1
    return values // (page.width * page.height * page.samples)


def _is_volume(directory: Directory) -> bool:
    return directory.value(_DEPTH, 1) > 1


def _is_in_one_piece(starts: Sequence[int], lengths: Sequence[int], sizes: Sequence[int]) -> bool:
    """Whether strips follow one another, as long as one image or as all of them."""
    ends = [start + length for start, length in zip(starts, lengths, strict=False)]
    return len(starts) == 1 or (ends[:-1] == [*starts[1:]] and ends[-1] - starts[0] in sizes)
