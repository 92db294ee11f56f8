"""What programs of microscopy write into the description of a TIFF file: sizes of its pixels."""

from __future__ import annotations

import re
from collections.abc import Callable

from mambair_cli.imaging.metadata.placement import Placement
from mambair_cli.imaging.metadata.tag_reader import PREFIX, exif_entries
from mambair_cli.imaging.metadata.tiff_directory import Entry, exif_block

DESCRIPTION = 0x010E
_ASCII = 2
_IMAGEJ = b"ImageJ="
_OME = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:\w+:)?OME[\s>]", re.DOTALL)
# Of scanners and microscopes, with sizes and places in pixels that nobody else can tell.
_FOREIGN = {
    b"Aperio": "Aperio",
    b"<MetaData": "MetaMorph",
    b"<scn": "Leica",
    b"<DataObject": "Philips",
    b"[Acquisition": "FluoView",
}
_COUNTS = re.compile(rb"^(images|slices|frames|channels|hyperstack)=.*\n?", re.MULTILINE)
_ORIGIN = re.compile(rb"^([xy])origin=([-+.\deE]+)[ \t]*$", re.MULTILINE)
_NUMBER = rb"""(?P<head>\s(?P<name>(?:PhysicalSize|Size)[XY])\s*=\s*["'])(?P<value>[\d.eE+-]+)"""
_SIZES = re.compile(_NUMBER)
_PIXELS = re.compile(rb"<(?:\w+:)?Pixels\b[^>]*>")
_UUID = re.compile(rb"<(?:\w+:)?UUID\b[^>]*>\s*([^<]*?)\s*</(?:\w+:)?UUID>")
_REGIONS = re.compile(rb"<(\w+:)?ROI\b.*?</(?:\w+:)?ROI>|<(?:\w+:)?ROIRef\b[^>]*/>", re.DOTALL)


def is_measured(description: bytes) -> bool:
    """Whether a description gives the tags of resolution their meaning."""
    return description.startswith(_IMAGEJ) or _OME.match(description) is not None


def foreign(description: bytes) -> str | None:
    """Return whose description it is if nobody else can tell what its numbers mean."""
    return next((name for start, name in _FOREIGN.items() if description.startswith(start)), None)


def counted(exif: bytes, images: int) -> tuple[bytes, tuple[str, ...]]:
    """Make a description true for a file of so many images, none of them in other files.

    Returns:
        The block, and phrases for what was left out.
    """

    def corrected(text: bytes) -> bytes | None:
        if text.startswith(_IMAGEJ):
            said = re.search(rb"^images=(\d+)\s*$", text, re.MULTILINE)
            if int(said[1] if said else 1) == images:
                return text
            head, _, rest = _COUNTS.sub(b"", text).partition(b"\n")
            return head + f"\nimages={images}\n".encode() + rest
        elsewhere = b"BinaryOnly" in text or len(set(_UUID.findall(text))) > 1
        return None if elsewhere else _UUID.sub(b"", text)

    return _changed(exif, corrected, "OME-XML of several files")


def placed_description(exif: bytes, placement: Placement) -> tuple[bytes, tuple[str, ...]]:
    """Make the sizes in a description true for a picture that was turned and scaled.

    Returns:
        The block, and phrases for what was left out.
    """
    if placement.changes_nothing:
        return exif, ()
    dropped: dict[str, None] = {}

    def of_ome(text: bytes) -> bytes | None:
        if placement.turns:
            return None
        if _REGIONS.search(text):
            dropped["regions of OME-XML"] = None
        return _PIXELS.sub(lambda tag: _SIZES.sub(sized, tag[0]), _REGIONS.sub(b"", text))

    def sized(match: re.Match[bytes]) -> bytes:
        factor = placement.across if match["name"].endswith(b"X") else placement.down
        value = float(match["value"])
        is_count = match["name"].startswith(b"Size")
        new = str(round(value * factor)) if is_count else f"{value / factor:.10g}"
        return match["head"] + new.encode()

    def moved(match: re.Match[bytes]) -> bytes:
        factor = placement.across if match[1] == b"x" else placement.down
        return b"%sorigin=%s" % (match[1], f"{float(match[2]) * factor:.10g}".encode())

    def placed(text: bytes) -> bytes | None:
        if not text.startswith(_IMAGEJ):
            return of_ome(text)
        if placement.turns and _ORIGIN.search(text):
            dropped["origin of ImageJ's coordinates"] = None
        return _ORIGIN.sub(b"" if placement.turns else moved, text)

    exif, phrases = _changed(exif, placed, "OME-XML")
    return exif, (*dropped, *phrases)


def without_description(exif: bytes) -> tuple[bytes | None, tuple[str, ...]]:
    """Leave out a description that gives tags their meaning which are not written."""
    return _changed(exif, lambda _: None, "description with sizes of pixels")


def _changed(
    exif: bytes, change: Callable[[bytes], bytes | None], lost: str
) -> tuple[bytes, tuple[str, ...]]:
    """Change the description of a block if it is measured; a number that is none drops it."""
    try:
        entries = exif_entries(exif)
    except ValueError:
        return exif, ()
    text = next((one.data for one in entries if one.tag == DESCRIPTION), b"").rstrip(b"\0")
    if not is_measured(text):
        return exif, ()
    try:
        new = change(text)
    except (ValueError, OverflowError):
        new = None
    if new == text:
        return exif, ()
    left = [one for one in entries if one.tag != DESCRIPTION]
    if new is not None:
        left.append(Entry(DESCRIPTION, _ASCII, new + b"\0"))
    return PREFIX + exif_block(left), () if new is not None else (lost,)
