"""Correcting what describes the pixels as they lie in the file: they are turned upright."""

from __future__ import annotations

import math
from dataclasses import replace

from mambair_cli.imaging.metadata.exif import (
    exif_resolution,
    has_thumbnail,
    upright_exif,
    with_resolution,
)
from mambair_cli.imaging.metadata.image_metadata import ContentReport, Metadata
from mambair_cli.imaging.metadata.iptc import without_previews
from mambair_cli.imaging.metadata.xmp import upright_xmp, utf8_xmp, without_thumbnails

_ROWS_AND_COLUMNS_SWAPPED = 5  # in this orientation and those above


def upright_metadata(metadata: Metadata, turned: int | None = None) -> Metadata:
    """Correct what describes the pixels as they lie in the file.

    Args:
        metadata: As the file says.
        turned: The orientation that the decoder applied, if it did.
    """
    orientation = turned or metadata.stored_orientation
    exif, exif_dropped = _upright_exif(metadata.exif)
    xmp, iptc, dropped = metadata.xmp, metadata.iptc, [*exif_dropped]
    if xmp:
        whole = utf8_xmp(xmp)
        xmp = without_thumbnails(whole)
        if xmp != whole:
            dropped.append("thumbnail")
        xmp = upright_xmp(xmp)
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
        stored_orientation=1 if turned else metadata.stored_orientation,
        reading=metadata.reading.joined(ContentReport(changed=changed, dropped=tuple(dropped))),
    )


def _upright_exif(exif: bytes | None) -> tuple[bytes | None, list[str]]:
    if not exif:
        return None, []
    dropped = ["thumbnail"] if has_thumbnail(exif) else []
    upright = upright_exif(exif)
    return upright, dropped if upright else ["EXIF (damaged)"]


def _plausible(dpi: object) -> tuple[float, float] | None:
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    x, y = (float(value) for value in dpi)
    # JPEG stores 16 bits; a resolution of 0, infinity or NaN comes from a damaged fraction.
    plausible = all(math.isfinite(value) and 1 <= value <= 65535 for value in (x, y))
    return (x, y) if plausible else None
