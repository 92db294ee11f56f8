"""What a result must be for its file's format to hold it, as far as that is known beforehand."""

from __future__ import annotations

from pathlib import Path

from mambair_cli.errors import OutputError
from mambair_cli.imaging import formats
from mambair_cli.imaging.image import ImageHeader


def check_target(path: Path, header: ImageHeader) -> None:
    """Refuse a result that its format cannot hold, before it is made.

    Whether an image is really transparent is known only when it is read: that is left to the
    writer.

    Args:
        path: Where it is to be written.
        header: What is to be written.

    Raises:
        OutputError: As the writer would raise.
    """
    entry = formats.format_of(path)
    if entry is None:
        raise OutputError(
            f"cannot write {path}: no supported format has the suffix '{path.suffix}'",
            f"use one of {', '.join(formats.BY_SUFFIX)}",
        )
    if not formats.is_installed(entry):
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
