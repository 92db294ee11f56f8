"""What the tags of a TIFF page say beside its pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import IO

from mambair_cli.imaging.color.encoding import ColorEncoding
from mambair_cli.imaging.color.tags import (
    MOST_NUMBERS,
    PRIMARY_CHROMATICITIES,
    TRANSFER_FUNCTION,
    WHITE_POINT,
    space_of_tiff,
)
from mambair_cli.imaging.metadata.exif import resolution
from mambair_cli.imaging.metadata.iptc import (
    IPTC_RESOURCE,
    dropped_resources,
    read_photoshop_resources,
)
from mambair_cli.imaging.metadata.measures import MEASURES, density_of
from mambair_cli.imaging.metadata.microscopy import foreign, is_measured
from mambair_cli.imaging.metadata.tag_reader import PREFIX, Place, TagFile, numbers
from mambair_cli.imaging.metadata.tiff_directory import (
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    Entry,
    exif_block,
    movable,
)

# Tags that say something to people; all others describe the file's own layout, or nothing that a
# restored image still has.
DESCRIPTIVE_TAGS = frozenset(
    {
        *(0x010D, 0x010E, 0x010F, 0x0110, 0x011D),  # document, description, maker, model, page
        *(0x0131, 0x0132, 0x013B, 0x013C),  # software, date, artist, host computer
        *(0x4746, 0x4749, 0x8298),  # rating, rating in percent, copyright
        *(0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),  # title to subject as Windows writes them
        *(0xA431, 0xA434, 0xC614, 0xC62F),  # serial numbers, lens, camera
        *(EXIF_DIRECTORY, GPS_DIRECTORY),
    }
)
_WIDTH, _HEIGHT, _ORIENTATION, _DESCRIPTION = 256, 257, 274, 0x010E
# With what tifffile begins the description of an array that it wrote: sizes, wrong after a change.
_SHAPE = b'{"shape":'
_RESOLUTION = (282, 283, 296)
_XMP, _IPTC, _PHOTOSHOP, _PROFILE = 700, 33723, 34377, 34675
_COLOR = {WHITE_POINT, PRIMARY_CHROMATICITIES, TRANSFER_FUNCTION}
_BLOCKS = (_XMP, _IPTC, _PHOTOSHOP, _PROFILE)
LAYOUT_TAGS = frozenset(
    {
        *range(254, 260),  # kind of image, size, bits, compression
        *(262, 263, 264, 265, 266),  # meaning of values, halftoning, order of bits
        *(273, _ORIENTATION, 277, 278, 279, 280, 281, *_RESOLUTION, 284),  # strips
        *(288, 289, 290, 291, 292, 293, 297, 301),  # free space, fax, number of the page
        *(317, 318, 319, 320, 321, 322, 323, 324, 325, 326, 327, 328),  # colours, tiles
        *(332, 333, 334, 336, 337, 338, 339, 340, 341, 342, 347),  # inks, kinds of samples
        *range(512, 522),  # old JPEG
        *(529, 530, 531, 532),  # luma and chroma
        *(32995, 32996, 32997, 32998),
    }
)


@dataclass(frozen=True)
class TiffMetadata:
    """What was found.

    Attributes:
        color: Colour profile, or what other tags say of the values.
        exif: Descriptive tags, EXIF and GPS directories as a block with its prefix.
        xmp: XMP packet.
        iptc: IPTC records.
        dpi: Horizontal and vertical pixels per inch.
        orientation: 1 to 8.
        size: Width and height as stored.
        measures: Tags that say where the picture lies and how large its pixels are.
        dropped: Phrases for what is not taken.
    """

    color: ColorEncoding = field(default_factory=ColorEncoding)
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    orientation: int = 1
    size: tuple[int, int] | None = None
    measures: tuple[Entry, ...] = ()
    dropped: tuple[str, ...] = ()


def read_tiff_page(file: IO[bytes], page: int, directory: int | None = None) -> TiffMetadata:
    """Collect the metadata of a page of a TIFF or BigTIFF file.

    Args:
        file: Open for reading.
        page: From 0.
        directory: Position of its directory; None to look for it.

    Raises:
        ValueError: The directory is damaged, or there is no such page. A damaged value is left out.
    """
    tags = TagFile(file)
    if directory is None:
        directory = next(islice(tags.directories(), page, None), None)
    if directory is None:
        raise ValueError(f"there is no page {page}")
    places = tags.places(directory)
    described = tags.entries(_only(places, DESCRIPTIVE_TAGS))
    missing = places.keys() & DESCRIPTIVE_TAGS - {entry.tag for entry in described}
    layout = tags.entries(_only(places, {_WIDTH, _HEIGHT, _ORIENTATION, *_RESOLUTION}))
    blocks, dropped = _blocks(tags, places)
    color, impossible = _color(tags, places, blocks.get(_PROFILE))
    dropped += impossible
    resources = read_photoshop_resources(blocks.get(_PHOTOSHOP, b""))
    dropped += dropped_resources(resources)
    others = places.keys() - DESCRIPTIVE_TAGS - LAYOUT_TAGS - MEASURES - {*_BLOCKS}
    if others:
        dropped.append(f"TIFF tags {', '.join(str(tag) for tag in sorted(others))}")
    if missing:
        dropped.append("TIFF tags (damaged)")
    description = next((one.data for one in described if one.tag == _DESCRIPTION), b"")
    if useless := _useless(description):
        dropped.append(useless)
        described = tuple(entry for entry in described if entry.tag != _DESCRIPTION)
    if movable(described) != described:
        dropped.append("maker notes")
        described = movable(described)
    density = density_of(layout, is_measured=is_measured(description))
    said = {entry.tag: numbers(entry) for entry in layout}
    orientation = said.get(_ORIENTATION, ())
    # Damaged, they may be missing, or less than one.
    width, height = (int(next(iter(said.get(tag, ())), 0)) for tag in (_WIDTH, _HEIGHT))
    return TiffMetadata(
        color=color,
        exif=PREFIX + exif_block(described) if described else None,
        xmp=blocks.get(_XMP),
        iptc=blocks.get(_IPTC) or resources.get(IPTC_RESOURCE) or None,
        dpi=None if density else resolution(layout),
        orientation=int(orientation[0]) if orientation and 1 <= orientation[0] <= 8 else 1,
        size=(width, height) if width and height else None,
        measures=density + tags.entries(_only(places, MEASURES)),
        dropped=tuple(dropped),
    )


def _color(
    tags: TagFile, places: dict[int, Place], profile: bytes | None
) -> tuple[ColorEncoding, list[str]]:
    if profile:
        return ColorEncoding(profile), []
    taken = _only(places, _COLOR)
    impossible = ColorEncoding(), ["colour tags (impossible)"]
    if any(place.count > MOST_NUMBERS for place in taken.values()):
        return impossible
    said = {entry.tag: numbers(entry) for entry in tags.entries(taken)}
    try:
        return ColorEncoding(space=space_of_tiff(said)), []
    except ValueError:
        return impossible


def _useless(description: bytes) -> str | None:
    """Say which description it is if its numbers are wrong for a restored image."""
    if description.startswith(_SHAPE):
        return "description of the array's shape"
    maker = foreign(description)
    return f"description with sizes of pixels ({maker})" if maker else None


def _only(places: dict[int, Place], tags: frozenset[int] | set[int]) -> dict[int, Place]:
    return {tag: place for tag, place in places.items() if tag in tags}


def _blocks(tags: TagFile, places: dict[int, Place]) -> tuple[dict[int, bytes], list[str]]:
    """Tags that hold a format of their own, whatever the type they are given, as they lie."""
    blocks, dropped = {}, []
    labels = dict(
        zip(_BLOCKS, ("XMP", "IPTC", "Photoshop resources", "colour profile"), strict=True)
    )
    for tag, label in labels.items():
        if tag in places:
            try:
                blocks[tag] = tags.data(places[tag], swapped=False)
            except ValueError:
                dropped.append(f"{label} (damaged)")
    return blocks, dropped
