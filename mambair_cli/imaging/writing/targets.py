"""Where results are written: what a file's format can hold, and opening the file."""

from __future__ import annotations

import contextlib
import errno
import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import numpy as np

from mambair_cli.disk import AppearedError, UnfitError, whole_file
from mambair_cli.errors import OutputError
from mambair_cli.imaging import formats
from mambair_cli.imaging.color.carrying import refusal
from mambair_cli.imaging.color.encoding import ColorEncoding
from mambair_cli.imaging.image import ImageHeader, ImageSequence, RestorableImage, ValueRange


def header_of(image: RestorableImage) -> ImageHeader:
    """Return what the header of a file with this image would announce."""
    height, width, channels = image.pixels.shape
    return ImageHeader(width, height, channels, image.pixels.dtype, image.alpha is not None)


def check_images(path: Path, sequence: ImageSequence) -> None:
    """Refuse images that their format cannot hold: before they are restored, or as they are.

    Args:
        path: Where they are to be written.
        sequence: What was read, or what is to be written.

    Raises:
        OutputError: A side, several images, pages, transparency, or the meaning of the values are
            more than the format has.
    """
    images = sequence.images
    for image in images:
        check_target(path, replace(header_of(image), images=len(images)))
        check_color(path, image.metadata.color, image.pixels.dtype)
    entry = formats.BY_SUFFIX[path.suffix.lower()]
    if len(images) > 1 and entry is not formats.TIFF:
        sizes = {image.pixels.shape[:2] for image in images}
        if sequence.timing is None or len(sizes) > 1:
            kind = "pages" if sequence.timing is None else "frames of different sizes"
            raise OutputError(
                f"cannot write {path}: {entry.label} holds animations, not {kind}",
                "write TIFF instead: --format tif",
            )
    if not entry.alpha and any(_is_transparent(image) for image in images):
        raise OutputError(
            f"cannot write {path}: {entry.label} has no transparency, the image has",
            "write PNG instead: --format png",
        )


def check_color(path: Path, encoding: ColorEncoding, dtype: np.dtype[Any]) -> None:
    """Refuse values whose meaning the format of a target cannot say.

    Args:
        path: Where they are to be written.
        encoding: What they mean.
        dtype: Of the values.

    Raises:
        OutputError: It cannot.
    """
    reason = refusal(encoding, formats.BY_SUFFIX[path.suffix.lower()], dtype)
    if reason:
        raise OutputError(
            f"cannot write {path}: {reason}",
            "write PNG instead, which keeps them, as AVIF does with PQ and HLG: --format png; or "
            "convert the image to sRGB first, with a program that maps its tones",
        )


def _is_transparent(image: RestorableImage) -> bool:
    alpha = image.alpha
    return alpha is not None and bool(alpha.min() < ValueRange.of(alpha.dtype).white)


def check_target(path: Path, header: ImageHeader) -> None:
    """Refuse a result that its format cannot hold, before it is made.

    What the header does not tell is left to `check_images`: whether there really is transparency,
    whether several images are an animation or pages.

    Args:
        path: Where it is to be written.
        header: What is to be written.

    Raises:
        OutputError: The suffix names no format, or one that cannot hold it.
    """
    entry = formats.format_of(path)
    if entry is None:
        raise OutputError(
            f"cannot write {path}: no supported format has the suffix '{path.suffix}'",
            f"use one of {', '.join(formats.BY_SUFFIX)}",
        )
    if not formats.is_writable(entry):
        raise OutputError(
            f"cannot write {path}: {entry.label} needs a package that is not installed",
            formats.install_hint(entry),
        )
    several = [other.label for other in formats.FORMATS if other.several]
    if header.images > 1 and not entry.several:
        raise OutputError(
            f"cannot write {path}: {entry.label} holds one image, the source has {header.images}",
            f"write one of {', '.join(several)} instead, for example: --format png",
        )
    if max(header.width, header.height) > entry.max_side:
        raise OutputError(
            f"cannot write {path}: {entry.label} holds at most {entry.max_side} pixels on a side, "
            f"the result has {header.width}x{header.height}",
            "write PNG or TIFF instead: --format png",
        )
    if header.width * header.height > entry.max_pixels:
        raise OutputError(
            f"cannot write {path}: {entry.label} holds at most {entry.max_pixels} pixels, "
            f"the result has {header.width}x{header.height}",
            "write PNG or TIFF instead: --format png",
        )


# What writing a file raises; all but the first where a field is too small for a value.
_FAILURES = (OSError, ValueError, OverflowError, struct.error)

_T = TypeVar("_T")


class Supply(Generic[_T]):
    """What somebody else makes while it is written, and what went wrong with that.

    Args:
        items: What is written.
    """

    def __init__(self, items: Iterable[_T]) -> None:
        self._items = items
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[_T]:
        try:
            yield from self._items
        except _FAILURES as error:
            self.failure = error
            raise


@contextlib.contextmanager
def target_file(
    path: Path, supply: Supply[Any] | None = None, *, replaces: bool = True
) -> Iterator[IO[bytes]]:
    """Open a file for writing, as `disk.whole_file`, in directories that are made where missing.

    Args:
        path: The name that it takes.
        supply: What is written; its failures are not those of the file, and go through.
        replaces: Whether a file that has the name by then is replaced.

    Raises:
        OutputError: There is such a file and it is not replaced, the file cannot be written here,
            or the format that is written into it has a field too small for a value: whatever the
            body raises of `OSError`, `ValueError`, `OverflowError` and `struct.error`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, replaces=replaces) as file:
            yield file
    except _FAILURES as error:
        if supply is not None and error is supply.failure:
            raise
        raise _failed(path, error) from error


def exists_already(path: object) -> OutputError:
    """Refuse a result in whose place there is something."""
    return OutputError(
        f"{path} exists already",
        "use --overwrite to replace it, or --resume to go on with an interrupted run",
    )


def _failed(path: Path, error: Exception) -> OutputError:
    if isinstance(error, AppearedError):
        return exists_already(path)
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        reason, hint = f"{path.parent} is not a directory", "choose another place with -o/--output"
    elif isinstance(error, OSError):
        reason, hint = error.strerror or str(error), _remedy(path, error)
    else:
        reason, hint = str(error), "write PNG instead: --format png"
    return OutputError(f"cannot write {path}: {reason}", hint)


def _remedy(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some disk space, or choose another place with -o/--output"
    if isinstance(error, UnfitError):
        return (
            "choose a folder of an ordinary disk with -o/--output, and copy the results from there"
        )
    return f"check the permissions of {path.parent}, or choose another place with -o/--output"
