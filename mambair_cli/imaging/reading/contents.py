"""What a file holds, known from its header, before its pixels are decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mambair_cli.imaging.image import ImageHeader, ImageSequence
from mambair_cli.imaging.reading.raster import Raster


@dataclass(frozen=True)
class Contents:
    """A file's images; the file stays open while they are used.

    Attributes:
        header: Of the first image, with the number of all.
        read: Decodes all images; raises `ImageError` if the file is damaged.
        raster: The only image, where it can be decoded band by band.
    """

    header: ImageHeader
    read: Callable[[], ImageSequence]
    raster: Raster | None = None


def of_rasters(rasters: Sequence[Raster]) -> Contents:
    """The contents of a file that libvips decodes.

    Raises:
        ImageError: A header is damaged.
    """
    only = rasters[0] if len(rasters) == 1 else None
    header = replace(rasters[0].header, images=len(rasters), in_bands=only is not None)
    return Contents(header, lambda: ImageSequence(tuple(raster.read() for raster in rasters)), only)
