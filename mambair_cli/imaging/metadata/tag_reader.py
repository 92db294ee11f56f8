"""Reading the tags of TIFF files and EXIF blocks as raw bytes, whatever their offsets claim."""

from __future__ import annotations

import io
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO

import numpy as np

from mambair_cli.imaging.metadata.maker_notes import offsets_in
from mambair_cli.imaging.metadata.tiff_directory import (
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    INTEROPERABILITY_DIRECTORY,
    MAKER_NOTE,
    NUMBER_BYTES,
    VALUE_BYTES,
    Entry,
    Layout,
)

PREFIX = b"Exif\x00\x00"

_INSIDE: Mapping[int, Collection[int]] = {
    EXIF_DIRECTORY: (INTEROPERABILITY_DIRECTORY,),
    GPS_DIRECTORY: (),
    INTEROPERABILITY_DIRECTORY: (),
}
_SHORT, _LONG, _RATIONAL = 3, 4, 5
# Offsets of directories that are not followed, and numbers that only BigTIFF can hold.
_NOT_TAKEN = (13, 16, 17, 18)
_LARGEST_VALUE = 64 * 2**20


@dataclass(frozen=True)
class Place:
    """Where the values of a tag lie: type, how many, position of the first."""

    type: int
    count: int
    position: int


class _Visited:
    """Directories of a file that were come by.

    Args:
        size: Of the file.
    """

    def __init__(self, size: int) -> None:
        self.positions: set[int] = set()
        self._room = size

    def add(self, position: int, records: range) -> None:
        """Remember a directory; any number could lie over one another, each as long as the file.

        Raises:
            ValueError: They do.
        """
        self.positions.add(position)
        self._room -= records.stop - records.start
        if self._room < 0:
            raise ValueError("its directories lie over one another")


class TagFile:
    """A TIFF, BigTIFF or EXIF structure. All its methods raise ValueError for damage.

    Args:
        file: Open file, or a block in memory.

    Raises:
        ValueError: It is no such structure.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        # Values that overlap could make a small file claim any amount of memory.
        self._budget = self._size
        self._inside = _Visited(self._size)
        self._layout = Layout.of(self._bytes(0, 4))

    def directories(self) -> Iterator[int]:
        """Positions of the directories that follow one another: a TIFF file's pages."""
        offset = self._number(self._layout.offset, self._layout.first_pointer)
        seen = _Visited(self._size)
        while offset and offset not in seen.positions:
            records = self._record_places(offset)
            seen.add(offset, records)
            yield offset
            offset = self._number(self._layout.offset, records.stop)

    def inside(self, place: Place) -> Iterator[int]:
        """Positions of the directories that the values of a tag are, each once a file."""
        data, width = self.data(place), NUMBER_BYTES[place.type]
        for position in np.frombuffer(data, f"<u{width}").tolist():
            if position not in self._inside.positions:
                self._inside.add(position, self._record_places(position))
                yield position

    def places(self, directory: int) -> dict[int, Place]:
        """Tags of the directory at a position, of each the first; unknown types are left out."""
        places, layout, found = self._record_places(directory), self._layout, dict[int, Place]()
        # A damaged file may claim more of them than `len` can tell.
        table = self._bytes(places.start, places.stop - places.start)
        for record in places:
            start, position = record - places.start, layout.field_place(record)
            tag, kind = struct.unpack_from(layout.order + "HH", table, start)
            (values,) = struct.unpack_from(layout.offset, table, start + 4)
            if kind not in VALUE_BYTES:
                continue
            if values * VALUE_BYTES[kind] > layout.offset_bytes:
                (position,) = struct.unpack_from(layout.offset, table, layout.field_place(start))
            found.setdefault(tag, Place(kind, values, position))
        return found

    def is_sorted(self, directory: int) -> bool:
        """Whether the tags of the directory at a position ascend, each once, as they should."""
        records = self._record_places(directory)
        table = self._bytes(records.start, records.stop - records.start)
        starts = range(0, len(table), self._layout.record_bytes)
        tags = [struct.unpack_from(self._layout.order + "H", table, start)[0] for start in starts]
        return tags == sorted(set(tags))

    def data(self, place: Place, *, swapped: bool = True) -> bytes:
        """Values in little-endian order; as they lie in the file if not `swapped`."""
        length = place.count * VALUE_BYTES[place.type]
        self._budget -= length
        if length > _LARGEST_VALUE or self._budget < 0:
            raise ValueError("the values are larger than the file")
        data, width = self._bytes(place.position, length), NUMBER_BYTES[place.type]
        if swapped and self._layout.order == ">" and width > 1:
            return np.frombuffer(data, f">u{width}").astype(f"<u{width}").tobytes()
        return data

    def entries(
        self,
        places: Mapping[int, Place],
        directories: Collection[int] = (EXIF_DIRECTORY, GPS_DIRECTORY),
    ) -> tuple[Entry, ...]:
        """Return the values of tags, and of what they point to; damaged ones are left out.

        Args:
            places: From `places`.
            directories: Tags that point to another directory.
        """
        found = []
        for tag, place in sorted(places.items()):
            try:
                data = self.data(place)
                if tag in directories:
                    places_inside = self.places(int.from_bytes(data, "little"))
                    inside = self.entries(places_inside, _INSIDE[tag])
                    if inside:
                        found.append(Entry(tag, _LONG, directory=inside))
                elif data and place.type not in _NOT_TAKEN:
                    of_maker = tag == MAKER_NOTE
                    found.append(
                        self._maker_note(place, data) if of_maker else Entry(tag, place.type, data)
                    )
            except ValueError:
                continue
        return tuple(found)

    def _maker_note(self, place: Place, data: bytes) -> Entry:
        offsets = offsets_in(data, place.position, little_endian=self._layout.order == "<")
        if offsets is None:
            return Entry(MAKER_NOTE, place.type, data, fixed=True)
        from_its_start = Entry(MAKER_NOTE, place.type, data, offsets=offsets)
        return replace(from_its_start, data=from_its_start.data_at(-place.position))

    def _record_places(self, directory: int) -> range:
        return self._layout.record_places(directory, self._number(self._layout.count, directory))

    def _number(self, kind: str, position: int) -> int:
        return int(struct.unpack(kind, self._bytes(position, struct.calcsize(kind)))[0])

    def _bytes(self, position: int, length: int) -> bytes:
        if position + length > self._size:
            raise ValueError("the file ends before its tags")
        self._file.seek(position)
        return self._file.read(length)


def exif_entries(exif: bytes) -> tuple[Entry, ...]:
    """Return the first directory of an EXIF block, with those for EXIF and GPS inside.

    Args:
        exif: Block with or without its `Exif` prefix.

    Raises:
        ValueError: The directory is damaged; a damaged one inside is left out.
    """
    tags = TagFile(io.BytesIO(without_prefix(exif)))
    first = next(tags.directories(), None)
    return () if first is None else tags.entries(tags.places(first))


def without_prefix(exif: bytes) -> bytes:
    """Return the TIFF structure of an EXIF block; some writers put the prefix twice."""
    while exif.startswith(PREFIX):
        exif = exif[len(PREFIX) :]
    return exif


def numbers(entry: Entry) -> tuple[float, ...]:
    """Values of a SHORT, LONG or RATIONAL tag; nothing for another type or a divisor of zero."""
    if entry.type in (_SHORT, _LONG):
        return tuple(np.frombuffer(entry.data, f"<u{VALUE_BYTES[entry.type]}").tolist())
    if entry.type == _RATIONAL:
        above, below = np.frombuffer(entry.data, "<u4").reshape(-1, 2).T.tolist()
        return tuple(a / b for a, b in zip(above, below, strict=True)) if all(below) else ()
    return ()
