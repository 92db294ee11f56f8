"""Changing the few EXIF values that a restored image makes wrong, and leaving every other byte.

Writing the block anew would move the maker notes, whose inner offsets count from the start of the
block, and cameras' own tags would be lost. So values are replaced where they stand. Only where
something must not be found again, in `private_exif`, is the block written anew.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from PIL.ExifTags import Base

from mambair_cli.imaging.metadata.placement import Placement
from mambair_cli.imaging.metadata.tag_reader import (
    PREFIX,
    exif_entries,
    numbers,
    without_prefix,
)
from mambair_cli.imaging.metadata.tiff_directory import (
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    INTEROPERABILITY_DIRECTORY,
    MAKER_NOTE,
    Entry,
    Layout,
    exif_block,
)

_SHORT, _LONG, _RATIONAL = 3, 4, 5

_IMAGE_WIDTH, _IMAGE_LENGTH = 0x0100, 0x0101
_ORIENTATION = 0x0112
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_INCH, _CENTIMETRE = 2, 3
_THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_PIXEL_X_DIMENSION, _PIXEL_Y_DIMENSION = 0xA002, 0xA003
_SUBJECTS = (0x9214, 0xA214)  # area, location
_COLOR_SPACE, _SRGB = 0xA001, 1
_INTEROPERABILITY_INDEX = 1
_FOCAL_PLANE = (0xA20E, 0xA20F)  # resolution across and down

# What `private` drops, with the phrase that says so.
_PRIVATE_TAGS = {
    GPS_DIRECTORY: "GPS position",
    MAKER_NOTE: "maker notes",
    0xC634: "maker notes",  # DNG's copy of them
    **dict.fromkeys(
        # of the body, the lens and the image; the last three as DNG and Photoshop write them
        (0xA431, 0xA435, 0xA420, 0xC62F, 0xC65D, 0xFDE9),
        "serial numbers",
    ),
    **dict.fromkeys(
        # the camera's owner, the author's account, the computer's name, Photoshop's owner
        (0xA430, 0x9C9D, 0x013C, 0xFDE8),
        "owner name",
    ),
}
# Whole other blocks (XMP, IPTC, Photoshop, thumbnails of Windows) that some programs put inside.
_NESTED_TAGS = (0x02BC, 0x83BB, 0x8649, 0x014A, 0x8773, 0x501B, 0x0201, 0x0202)
_STANDARD_TAGS = frozenset(int(tag) for tag in Base) - frozenset(_NESTED_TAGS)


def upright_exif(exif: bytes) -> bytes | None:
    """Return the block as it is for upright pixels: orientation 1, no thumbnail.

    Args:
        exif: EXIF block, with or without its `Exif` prefix.

    Returns:
        The block with the prefix, or None if it is damaged.
    """
    try:
        block = _Block(exif)
        directory = block.number("I", 4)
        entries = block.entries(directory)
        if _ORIENTATION in entries:
            block.put_number(entries[_ORIENTATION], _ORIENTATION, _SHORT, 1)
        block.drop_thumbnail(block.end(directory))
    except (struct.error, ValueError):
        return None
    return block.tobytes()


def sized_exif(exif: bytes, width: int, height: int) -> bytes:
    """Return the block of `upright_exif` with its size tags, where it has them, set in pixels."""
    block = _Block(exif)
    entries = block.entries(block.number("I", 4))
    block.set_lengths(entries, {_IMAGE_WIDTH: width, _IMAGE_LENGTH: height})
    if EXIF_DIRECTORY in entries:
        with contextlib.suppress(struct.error):  # a damaged sub-directory stays as it is
            details = block.entries(block.value(entries[EXIF_DIRECTORY]))
            block.set_lengths(details, {_PIXEL_X_DIMENSION: width, _PIXEL_Y_DIMENSION: height})
    return block.tobytes()


def srgb_exif(exif: bytes) -> bytes:
    """Return the block of `upright_exif` saying that the image is in sRGB, if it names a space."""
    block = _Block(exif)
    with contextlib.suppress(struct.error, KeyError):
        details = block.entries(block.value(block.entries(block.number("I", 4))[EXIF_DIRECTORY]))
        if _COLOR_SPACE in details:
            block.put_number(details[_COLOR_SPACE], _COLOR_SPACE, _SHORT, _SRGB)
        names = block.entries(block.value(details[INTEROPERABILITY_DIRECTORY]))
        place = block.layout.field_place(names[_INTEROPERABILITY_INDEX])
        struct.pack_into("4s", block.data, place, b"R98")
    return block.tobytes()


def placed_exif(exif: bytes, placement: Placement) -> tuple[bytes, tuple[str, ...]]:
    """Make places and resolutions in pixels true for a picture that was turned and scaled.

    Args:
        exif: From `upright_exif`.
        placement: How the picture changes.

    Returns:
        The block, and phrases for what of them could not be told and went.
    """
    if placement.changes_nothing:
        return exif, ()
    block, dropped = _Block(exif), dict[str, None]()
    entries = block.entries(block.number("I", 4))
    with contextlib.suppress(struct.error, KeyError):  # a damaged sub-directory stays as it is
        details = block.value(entries[EXIF_DIRECTORY])
        for tag in (*_SUBJECTS, *_FOCAL_PLANE):
            if tag in block.entries(details) and not block.place(details, tag, placement):
                block.remove(details, tag)
                dropped["subject area" if tag in _SUBJECTS else "focal plane resolution"] = None
        if placement.extent(0, 1)[0]:
            block.swap(details, *_FOCAL_PLANE)
    return block.tobytes(), tuple(dropped)


def has_thumbnail(exif: bytes) -> bool:
    """Whether the block has a second directory, which describes a smaller copy of the image."""
    try:
        block = _Block(exif)
        return block.number("I", block.end(block.number("I", 4))) != 0
    except (struct.error, ValueError):
        return False


def exif_orientation(exif: bytes) -> int | None:
    """Return the orientation that the block gives, 1 to 8, or None if it gives none."""
    values = next((numbers(one) for one in _main_entries(exif) if one.tag == _ORIENTATION), ())
    return int(values[0]) if values and 1 <= values[0] <= 8 else None


def exif_resolution(exif: bytes) -> tuple[float, float] | None:
    """Horizontal and vertical pixels per inch, or None if the block does not give them."""
    return resolution(_main_entries(exif))


def resolution(entries: tuple[Entry, ...]) -> tuple[float, float] | None:
    """Pixels per inch that the tags of a TIFF directory give, as `exif_resolution`."""
    tags = {entry.tag: numbers(entry) for entry in entries}
    x, y = tags.get(_X_RESOLUTION), tags.get(_Y_RESOLUTION)
    unit = (tags.get(_RESOLUTION_UNIT) or (_INCH,))[0]
    if not x or not y or unit not in (_INCH, _CENTIMETRE):
        return None
    inch = 2.54 if unit == _CENTIMETRE else 1
    return x[0] * inch, y[0] * inch


def with_resolution(exif: bytes | None, dpi: tuple[float, float]) -> bytes:
    """Return the block with its resolution tags set; a block of nothing else if there is none."""
    added = [
        Entry(tag, _RATIONAL, struct.pack("<II", fraction.numerator, fraction.denominator))
        for tag, value in zip((_X_RESOLUTION, _Y_RESOLUTION), dpi, strict=True)
        for fraction in [Fraction(value).limit_denominator(10000)]
    ]
    added.append(Entry(_RESOLUTION_UNIT, _SHORT, struct.pack("<H", _INCH)))
    if exif is None:
        return PREFIX + exif_block(added)
    block = _Block(exif)
    block.add(added)
    return block.tobytes()


def without_orientation(exif: bytes) -> bytes:
    """Return the block without its orientation tag, every other value where it was."""
    block = _Block(exif)
    block.remove(block.number("I", 4), _ORIENTATION)
    return block.tobytes()


def without_maker_notes(exif: bytes) -> bytes:
    """Return the block written anew without the camera's own tags, or as it is if it has none."""
    entries = tuple(_main_entries(exif))
    kept = tuple(_filtered(entry, {MAKER_NOTE}) for entry in entries)
    return exif if kept == entries else PREFIX + exif_block(kept)


def private_exif(exif: bytes) -> tuple[bytes | None, tuple[str, ...]]:
    """Write the block anew without places, serial numbers, owners and what cannot be judged.

    Returns:
        The block, or None if nothing is left or it is damaged, and phrases for what was dropped.
    """
    entries = _main_entries(exif)
    phrases = []
    for tag in _all_tags(entries):
        if tag in _PRIVATE_TAGS:
            phrases.append(_PRIVATE_TAGS[tag])
        elif tag not in _STANDARD_TAGS:
            phrases.append("unknown EXIF tags")
    tags = set(_all_tags(entries))
    unwanted = (tags - _STANDARD_TAGS) | _PRIVATE_TAGS.keys()
    left = [_filtered(entry, unwanted) for entry in entries if entry.tag not in unwanted]
    block = PREFIX + exif_block(left) if left else None
    return block, tuple(dict.fromkeys(phrases))


def _main_entries(exif: bytes) -> tuple[Entry, ...]:
    try:
        return exif_entries(exif)
    except ValueError:
        return ()


def _all_tags(entries: tuple[Entry, ...]) -> Iterator[int]:
    """Tags of a directory and of the one for EXIF; those for GPS and so on count as one tag."""
    for entry in entries:
        yield entry.tag
        if entry.tag == EXIF_DIRECTORY:
            yield from _all_tags(entry.directory)


def _filtered(entry: Entry, unwanted: set[int]) -> Entry:
    inside = tuple(_filtered(one, unwanted) for one in entry.directory if one.tag not in unwanted)
    return replace(entry, directory=inside)


class _Block:
    """A TIFF structure in memory; reading or writing beyond its end raises `struct.error`."""

    def __init__(self, exif: bytes) -> None:
        exif = without_prefix(exif)
        self.layout = Layout.of(exif[:4])
        if self.layout.big:
            raise ValueError("no EXIF block has numbers of 64 bits")
        self.data = bytearray(exif)
        self.order = self.layout.order

    def number(self, kind: str, position: int) -> int:
        return int(struct.unpack_from(self.order + kind, self.data, position)[0])

    def put(self, kinds: str, position: int, *values: int) -> None:
        struct.pack_into(self.order + kinds, self.data, position, *values)

    def entries(self, directory: int) -> dict[int, int]:
        """Tag -> position of its record."""
        places = self.layout.record_places(directory, self.number("H", directory))
        return {self.number("H", place): place for place in places}

    def end(self, directory: int) -> int:
        """Position behind the records, where that of the next directory is given."""
        return self.layout.next_pointer(directory, self.number("H", directory))

    def value(self, record: int) -> int:
        """Return the one number of a LONG tag, or where its values lie."""
        return self.number("I", self.layout.field_place(record))

    def put_number(self, record: int, tag: int, kind: int, value: int) -> None:
        """Replace a record by that of a SHORT or LONG tag with one value."""
        field = struct.pack(self.order + {_SHORT: "H", _LONG: "I"}[kind], value)
        written = self.layout.record(tag, kind, 1, field)
        struct.pack_into(f"{len(written)}s", self.data, record, written)

    def set_lengths(self, entries: dict[int, int], lengths: dict[int, int]) -> None:
        for tag, length in lengths.items():
            if tag in entries:
                self.put_number(entries[tag], tag, _LONG, length)

    def place(self, directory: int, tag: int, placement: Placement) -> bool:
        """Write the numbers of a tag anew, where they stand; False where they do not fit."""
        record = self.entries(directory)[tag]
        kind, count = self.number("H", record + 2), self.number("I", record + 4)
        field = self.layout.field_place(record)
        if tag in _FOCAL_PLANE:
            ratio = placement.across if tag == _FOCAL_PLANE[0] else placement.down
            return kind == _RATIONAL and count == 1 and self._multiply(self.value(record), ratio)
        kinds = {_SHORT: "H", _LONG: "I"}.get(kind, "") * (count if 2 <= count <= 4 else 0)
        if not kinds or (placement.turns and not placement.width):
            return False
        position = field if struct.calcsize(self.order + kinds) <= 4 else self.value(record)
        values = placement.subject(struct.unpack_from(self.order + kinds, self.data, position))
        if not all(0 <= value < 1 << 8 * struct.calcsize(kinds[0]) for value in values):
            return False
        self.put(kinds, position, *values)
        return True

    def _multiply(self, position: int, ratio: float) -> bool:
        above, below = struct.unpack_from(self.order + "II", self.data, position)
        if not below:
            return False
        product = Fraction(above, below) * Fraction(ratio).limit_denominator(10000)
        product = product.limit_denominator(100_000)
        if product.numerator >> 32:
            return False
        self.put("II", position, product.numerator, product.denominator)
        return True

    def swap(self, directory: int, first: int, second: int) -> None:
        """Let two tags of the same kind have each other's value."""
        entries = self.entries(directory)
        if first in entries and second in entries:
            start, bytes_after_tag = entries[first] + 2, self.layout.record_bytes - 2
            other = entries[second] + 2
            here, there = (
                slice(start, start + bytes_after_tag),
                slice(other, other + bytes_after_tag),
            )
            self.data[here], self.data[there] = self.data[there], self.data[here]

    def remove(self, directory: int, tag: int) -> None:
        """Close the gap among the entries; what they point to stays where it is."""
        position = self.entries(directory).get(tag)
        if position is None:
            return
        end, removed = self.end(directory) + self.layout.offset_bytes, self.layout.record_bytes
        self.data[position:end] = self.data[position + removed : end] + bytes(removed)
        self.put("H", directory, self.number("H", directory) - 1)

    def add(self, added: list[Entry]) -> None:
        """Write the first directory anew behind everything else, with more tags or other values."""
        directory = self.number("I", 4)
        records = {
            tag: bytes(self.data[place : place + self.layout.record_bytes])
            for tag, place in self.entries(directory).items()
        }
        following = self.number("I", self.end(directory))
        self.data += bytes(len(self.data) % 2)
        for entry in added:
            kinds = {_SHORT: "H", _RATIONAL: "II"}[entry.type]
            value = struct.pack(self.order + kinds, *struct.unpack("<" + kinds, entry.data))
            field = value
            if len(value) > self.layout.offset_bytes:
                field = struct.pack(self.order + "I", len(self.data))
                self.data += value
            records[entry.tag] = self.layout.record(entry.tag, entry.type, 1, field)
        self.put("I", self.layout.first_pointer, len(self.data))
        self.data += self.layout.directory([records[tag] for tag in sorted(records)], following)

    def drop_thumbnail(self, pointer: int) -> None:
        """Unlink the second directory and erase the JPEG it points to."""
        directory = self.number("I", pointer)
        self.put("I", pointer, 0)
        if not directory:
            return
        with contextlib.suppress(struct.error, KeyError):
            entries = self.entries(directory)
            start = self.value(entries[_THUMBNAIL_OFFSET])
            end = start + self.value(entries[_THUMBNAIL_LENGTH])
            if self.data[start : start + 2] != b"\xff\xd8":
                return
            if end >= len(self.data):
                del self.data[start:]
            else:
                self.data[start:end] = bytes(end - start)

    def tobytes(self) -> bytes:
        return PREFIX + bytes(self.data)
