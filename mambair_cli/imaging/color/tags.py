"""What tags say of an image's values: those of TIFF, and EXIF's name of a colour space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mambair_cli.imaging.color.encoding import (
    ADOBE_RGB,
    BT709,
    SRGB_CURVE,
    ColorSpace,
    Primaries,
    Transfer,
)
from mambair_cli.imaging.metadata.tag_reader import exif_entries
from mambair_cli.imaging.metadata.tiff_directory import (
    EXIF_DIRECTORY,
    INTEROPERABILITY_DIRECTORY,
    Entry,
)

WHITE_POINT, PRIMARY_CHROMATICITIES, TRANSFER_FUNCTION = 318, 319, 301
MOST_NUMBERS = 3 * 2**16  # a light of every colour for each value of 16 bits
_COLOR_SPACE, _INTEROPERABILITY_INDEX = 0xA001, 1
_SRGB, _ADOBE_RGB = 1, 2  # the second by no standard, but written by many cameras
_OPTION = b"R03"  # DCF's name for images in Adobe RGB


def space_of_tiff(said: Mapping[int, Sequence[float]]) -> ColorSpace | None:
    """Read what a TIFF page's tags say of its values.

    Args:
        said: Numbers of the three tags above, as far as there are any.

    Returns:
        The colour space; None where nothing is said, or sRGB.

    Raises:
        ValueError: There are no such colours.
    """
    primaries, transfer = BT709, SRGB_CURVE
    if WHITE_POINT in said or PRIMARY_CHROMATICITIES in said:
        white = said.get(WHITE_POINT, BT709.white)
        others = said.get(PRIMARY_CHROMATICITIES, [x for point in BT709[1:] for x in point])
        if (len(white), len(others)) != (2, 6):
            raise ValueError("a colour has two numbers")
        values = [float(value) for value in (*white, *others)]
        primaries = Primaries(*zip(values[::2], values[1::2], strict=True))
        if not primaries.are_possible:
            raise ValueError("there are no such colours")
    if TRANSFER_FUNCTION in said:
        transfer = _of_table([int(value) for value in said[TRANSFER_FUNCTION]])
    space = ColorSpace(primaries, transfer)
    return None if space.is_srgb else space


def space_of_exif(exif: bytes | None) -> ColorSpace | None:
    """Return the colour space that an EXIF block names, if that is not sRGB."""
    try:
        entries = exif_entries(exif) if exif else ()
    except ValueError:
        return None
    details = _inside(entries, EXIF_DIRECTORY)
    named = next((entry for entry in details if entry.tag == _COLOR_SPACE), None)
    code = None if named is None else int.from_bytes(named.data[:2], "little")
    indices = _inside(details, INTEROPERABILITY_DIRECTORY)
    option = any(
        entry.tag == _INTEROPERABILITY_INDEX and entry.data.startswith(_OPTION) for entry in indices
    )
    return ADOBE_RGB if code == _ADOBE_RGB or (option and code != _SRGB) else None


def _inside(entries: Sequence[Entry], tag: int) -> tuple[Entry, ...]:
    return next((entry.directory for entry in entries if entry.tag == tag), ())


def _of_table(values: Sequence[int]) -> Transfer:
    """Return the curve that a table is, one for all colours or one for each."""
    length = len(values) if (len(values) & (len(values) - 1)) == 0 else len(values) // 3
    if length < 2 or len(values) % length or max(values) == 0:
        raise ValueError("a table has 2, 4, 8, ... values for each colour")
    tables = tuple(tuple(values[i : i + length]) for i in range(0, len(values), length))
    return Transfer("its own curve", tables=tables[:1] if len(set(tables)) == 1 else tables)
