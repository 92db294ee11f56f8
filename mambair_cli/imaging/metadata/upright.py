"""Correcting what describes the pixels as they lie in the file: they are turned upright."""

from __future__ import annotations

import math
from dataclasses import replace

from mambair_cli.imaging.metadata.exif import (
    exif_resolution,
    has_thumbnail,
    placed_exif,
    upright_exif,
    with_resolution,
)
from mambair_cli.imaging.metadata.image_metadata import ContentReport, Metadata
from mambair_cli.imaging.metadata.iptc import without_previews
from mambair_cli.imaging.metadata.measures import placed_measures
from mambair_cli.imaging.metadata.microscopy import placed_description
from mambair_cli.imaging.metadata.placement import Placement
from mambair_cli.imaging.metadata.xmp import upright_xmp, utf8_xmp, without_thumbnails
from mambair_cli.imaging.metadata.xmp_places import placed_xmp
from mambair_cli.imaging.orientation import turned_size

_ROWS_AND_COLUMNS_SWAPPED = 5  # in this orientation and those above


def upright_metadata(metadata: Metadata, turned: int | None = None) -> Metadata:
    """Correct what describes the pixels as they lie in the file.

    Args:
        metadata: As the file says.
        turned: The orientation that the decoder applied, if it did; the metadata's size is then
            that of the upright pixels.
    """
    orientation = turned or metadata.stored_orientation
    size = metadata.size
    if size and not turned:
        size = turned_size(*size, orientation)
    stored = turned_size(*size, orientation) if size else (0, 0)
    placement = Placement(*stored, orientation)
    exif, dropped = _upright_exif(metadata.exif, placement)
    measures, phrases = placed_measures(metadata.measures, placement)
    dropped += phrases
    xmp, iptc = metadata.xmp, metadata.iptc
    if xmp:
        whole = utf8_xmp(xmp)
        xmp = without_thumbnails(whole)
        if xmp != whole:
            dropped.append("thumbnail")
        xmp, phrases = placed_xmp(upright_xmp(xmp), placement)
        dropped += phrases
    if iptc:
        iptc, phrases = without_previews(iptc)
        dropped += phrases
    stated = metadata.dpi or (exif_resolution(exif) if exif else None)
    dpi = _plausible(stated)
    if stated and not dpi:
        dropped.append("resolution (impossible)")
    if dpi and dpi[0] != dpi[1] and orientation >= _ROWS_AND_COLUMNS_SWAPPED:
        dpi = (dpi[1], dpi[0])
        if exif and exif_resolution(exif):
            exif = with_resolution(exif, dpi)
    changed = ("orientation applied",) if orientation != 1 else ()
    return replace(
        metadata,
        exif=exif,
        xmp=xmp or None,
        iptc=iptc or None,
        dpi=dpi,
        measures=measures,
        size=size,
        stored_orientation=1 if turned else metadata.stored_orientation,
        reading=metadata.reading.joined(ContentReport(changed=changed, dropped=tuple(dropped))),
    )


def _upright_exif(exif: bytes | None, placement: Placement) -> tuple[bytes | None, list[str]]:
    if not exif:
        return None, []
    dropped = ["thumbnail"] if has_thumbnail(exif) else []
    upright = upright_exif(exif)
    if not upright:
        return None, ["EXIF (damaged)"]
    placed, phrases = placed_exif(upright, placement)
    placed, further = placed_description(placed, placement)
    return placed, [*dropped, *phrases, *further]


def _plausible(dpi: object) -> tuple[float, float] | None:
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    x, y = (float(value) for value in dpi)
    # JPEG stores 16 bits; a resolution of 0, infinity or NaN comes from a damaged fraction.
    plausible = all(math.isfinite(value) and 1 <= value <= 65535 for value in (x, y))
    return (x, y) if plausible else None
