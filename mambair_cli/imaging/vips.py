"""libvips, set up for files of strangers: nothing cached, nothing printed, damage always an error.

Pillow cannot hold 16 bits in colour or floating point in colour, and decodes images only as a
whole; libvips can do both. What this module says of it holds for version 8.18.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.image import Pixels

# Every warning that matters arrives as an error: libvips, which reads this as it starts, shall
# print none.
os.environ.setdefault("VIPS_WARNING", "none")

import pyvips

_MOST_THREADS = 4
_SPOOLED_BYTES = 2**24  # decoded at once

# A cached image would be given again after its file was changed, and would hold memory.
pyvips.cache_set_max(0)
# Files are decoded by one thread each; more of them only hold more rows in memory.
pyvips.concurrency_set(min(_MOST_THREADS, pyvips.concurrency_get()))
# Python must not be told of warnings while libvips works, as its garbage collector would end the
# process if it freed an image then.
pyvips._remove_log_handler()  # noqa: SLF001

VipsError: TypeAlias = pyvips.Error

# What every sequential read passes; a lower level gives gray areas where a file was cut.
_STRICT: dict[str, object] = {"access": "sequential", "fail_on": "warning"}
_TYPES: dict[str, Any] = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}
_FORMATS = {np.dtype(dtype): name for name, dtype in _TYPES.items()}


def load(loader: str, path: Path, **options: object) -> pyvips.Image:
    """Open a file for one pass from top to bottom.

    Args:
        loader: As libvips calls it, such as `tiffload`.
        path: The file.
        options: Of the loader; `fail_on` is `warning` unless given.

    Raises:
        VipsError: The header cannot be read.
    """
    pyvips.vips_lib.vips_error_clear()
    return pyvips.Operation.call(loader, os.fsencode(path), **{**_STRICT, **options})


def load_patched(file: IO[bytes], patches: Mapping[int, bytes], **options: object) -> pyvips.Image:
    """Open a file for one pass as if other bytes stood at a position in it.

    Args:
        file: The file, open.
        patches: What stands there instead, by position in the file.
        options: Of the loader; `fail_on` is `warning` unless given.

    Raises:
        VipsError: The header cannot be read.
    """
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    for position, patch in patches.items():
        content[position : position + len(patch)] = patch
    pyvips.vips_lib.vips_error_clear()
    source = pyvips.Source.new_from_memory(content)
    return pyvips.Image.new_from_source(source, "", **{**_STRICT, **options})


def from_array(pixels: Pixels) -> pyvips.Image:
    """Return an image that shares the memory of `(h w c)` uint8, uint16 or float32 pixels."""
    height, width, bands = pixels.shape
    values = np.ascontiguousarray(pixels)
    return pyvips.Image.new_from_memory(values, width, height, bands, _FORMATS[values.dtype])


def dtype_of(image: pyvips.Image) -> np.dtype[Any] | None:
    """Type of the pixels; None for one that is not restored."""
    dtype = _TYPES.get(image.format)
    return None if dtype is None else np.dtype(dtype)


def to_array(image: pyvips.Image) -> Pixels:
    """Decode a whole image to `(h w c)`.

    Raises:
        VipsError: The file is damaged.
    """
    return _shaped(image.write_to_memory(), image, image.height)


def rows(image: pyvips.Image) -> Callable[[int, int], Pixels]:
    """Return a function that decodes rows from `start` to `stop - 1` to `(rows w c)`, in order.

    It raises `VipsError` if the file is damaged.
    """
    region = pyvips.Region.new(image)

    def fetch(start: int, stop: int) -> Pixels:
        data = region.fetch(0, start, image.width, stop - start)
        return _shaped(data, image, stop - start)

    return fetch


def spooled(image: pyvips.Image) -> pyvips.Image:
    """Write the image to a temporary file, from which its rows can be read in any order.

    Raises:
        VipsError: The file is damaged.
        OSError: There is no room for the temporary file.
    """
    fetch, dtype = rows(image), np.dtype(_TYPES[image.format])
    step = max(1, _SPOOLED_BYTES // (image.width * image.bands * dtype.itemsize))
    with tempfile.TemporaryFile() as file:
        for start in range(0, image.height, step):
            file.write(fetch(start, min(start + step, image.height)).data)
        file.flush()
        shape = image.height, image.width, image.bands
        return from_array(np.memmap(file, dtype, "r", shape=shape))


def reasons(error: VipsError) -> list[str]:
    """Return what went wrong, a phrase each, the first cause first."""
    lines = [line.strip().split(": ", 1)[-1] for line in error.detail.splitlines()]
    # libheif tries to read beyond a file's end, and is refused, in the best of times.
    return [line for line in lines if line and not line.startswith("bad seek")]


def reason(error: VipsError) -> str:
    """Return the first cause of what went wrong."""
    return next(iter(reasons(error)), "it cannot be decoded")


def _shaped(data: Any, image: pyvips.Image, height: int) -> Pixels:
    values: NDArray[Any] = np.frombuffer(data, _TYPES[image.format])
    return values.reshape(height, image.width, image.bands)
