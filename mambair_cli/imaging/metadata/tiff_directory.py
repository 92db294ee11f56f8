"""Directories of TIFF files and EXIF blocks, value by value as bytes.

Libraries decode values and write what they think of them: text that is not ASCII and types that
they do not know are lost. Bytes that nobody interprets are kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Literal, Self

EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY_DIRECTORY = 0x8769, 0x8825, 0xA005
MAKER_NOTE = 0x927C

# How structures begin: byte order, and whether it is BigTIFF.
_LAYOUTS: Mapping[bytes, tuple[Literal["<", ">"], bool]] = {
    b"II*\0": ("<", False),
    b"MM\0*": (">", False),
    b"II+\0": ("<", True),
    b"MM\0+": (">", True),
}
_HEADER = 8  # bytes of a classic structure before anything else
_LONG, _LONG8 = 4, 16
# Bytes of one value and of the numbers that it is made of, by type; 129 is the UTF-8 of EXIF 3.
VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
VALUE_BYTES |= {16: 8, 17: 8, 18: 8, 129: 1}
NUMBER_BYTES = VALUE_BYTES | {5: 4, 10: 4}


@dataclass(frozen=True)
class Layout:
    """How a TIFF structure lays out its directories: a count, records, where the next one is.

    A record is a tag, its type, how many values, and a field: the values, or where they lie if they
    do not fit.

    Attributes:
        order: `<` for little-endian, `>` for big-endian, as `struct` says it.
        big: Whether it is BigTIFF, with numbers of 64 bits.
    """

    order: Literal["<", ">"] = "<"
    big: bool = False

    @classmethod
    def of(cls, start: bytes) -> Self:
        """Return the layout of a structure that begins with these four bytes.

        Raises:
            ValueError: It is no such structure.
        """
        if start not in _LAYOUTS:
            raise ValueError("not a TIFF structure")
        return cls(*_LAYOUTS[start])

    @property
    def count(self) -> str:
        """The number of a directory's records, as `struct` says it."""
        return self.order + ("Q" if self.big else "H")

    @property
    def offset(self) -> str:
        """A place in the file, or the number of a tag's values, as `struct` says it."""
        return self.order + ("Q" if self.big else "I")

    @property
    def offset_bytes(self) -> int:
        """Bytes of an offset, and of a record's field."""
        return struct.calcsize(self.offset)

    @property
    def record_bytes(self) -> int:
        """Bytes of a record."""
        return 4 + 2 * self.offset_bytes

    @property
    def first_pointer(self) -> int:
        """Where the place of the first directory is given."""
        return 8 if self.big else 4

    def record_places(self, directory: int, count: int) -> range:
        """Where the records of a directory begin."""
        first = directory + struct.calcsize(self.count)
        return range(first, first + count * self.record_bytes, self.record_bytes)

    def next_pointer(self, directory: int, count: int) -> int:
        """Where a directory says where the next one is: behind its records."""
        return self.record_places(directory, count).stop

    def field_place(self, record: int) -> int:
        """Where the field of a record begins."""
        return record + self.record_bytes - self.offset_bytes

    def record(self, tag: int, kind: int, count: int, field: bytes) -> bytes:
        """Return a record; a field that is too short is filled up."""
        head = struct.pack(self.order + "HH", tag, kind) + struct.pack(self.offset, count)
        return head + field.ljust(self.offset_bytes, b"\0")

    def directory(self, records: Sequence[bytes], following: int = 0) -> bytes:
        """Return a whole directory, and where the next one is."""
        end = struct.pack(self.offset, following)
        return struct.pack(self.count, len(records)) + b"".join(records) + end


@dataclass(frozen=True)
class Entry:
    """A tag with its value.

    Attributes:
        tag: Number.
        type: Number of the type, as in the TIFF specification and EXIF 3.
        data: All values in little-endian order; nothing for a directory.
        directory: The entries that the tag points to.
        offsets: Where in `data` there are 32-bit numbers that count from the start of `data`, and
            from the start of the file once they are written.
        fixed: Whether `data` is valid only where it was read; it is not written then.
    """

    tag: int
    type: int
    data: bytes = b""
    directory: tuple[Entry, ...] = ()
    offsets: tuple[int, ...] = ()
    fixed: bool = False

    def data_at(self, position: int) -> bytes:
        """Return the value as it is to stand at a position of a file."""
        data = bytearray(self.data)
        for place in self.offsets:
            (offset,) = struct.unpack_from("<I", data, place)
            struct.pack_into("<I", data, place, offset + position)
        return bytes(data)


def movable(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Leave out what is valid only where it was read, and directories that have nothing else."""
    found = []
    for entry in entries:
        inside = movable(entry.directory)
        if inside or (entry.data and not entry.fixed):
            found.append(replace(entry, directory=inside))
    return tuple(found)


def exif_block(entries: Iterable[Entry]) -> bytes:
    """Return the entries that are `movable` as an EXIF block without prefix, little-endian."""
    layout = Layout()
    records, values = _serialized(layout, movable(entries), _HEADER)
    start = b"II*\0" + struct.pack(layout.offset, _HEADER + len(values))
    return start + values + layout.directory(records)


def add_entries(file: IO[bytes], entries: Iterable[Entry], page: int = 0) -> None:
    """Add entries to a directory of a little-endian TIFF file, classic or big.

    The directory is written anew at the end of the file and what pointed to it points there;
    everything else stays where it is. A tag that the directory has already is left as it is.

    Args:
        file: Open for reading and writing.
        entries: What to add, in any order; of them those that are `movable`.
        page: Which of the file's images they describe, from 0.
    """
    file.seek(0)
    layout = Layout.of(file.read(4))

    def number(kind: str, position: int) -> int:
        file.seek(position)
        return int(struct.unpack(kind, file.read(struct.calcsize(kind)))[0])

    pointer = layout.first_pointer
    for _ in range(page):
        directory = number(layout.offset, pointer)
        pointer = layout.next_pointer(directory, number(layout.count, directory))
    directory = number(layout.offset, pointer)
    places = layout.record_places(directory, number(layout.count, directory))
    following = number(layout.offset, places.stop)
    file.seek(places.start)
    records = [file.read(layout.record_bytes) for _ in places]
    present = {_tag(record) for record in records}
    end = file.seek(0, 2)
    file.write(bytes(end % 2))
    added = [entry for entry in movable(entries) if entry.tag not in present]
    new, values = _serialized(layout, added, end + end % 2)
    file.write(values)
    start = file.tell()
    file.write(layout.directory(sorted(records + new, key=_tag), following))
    file.seek(pointer)
    file.write(struct.pack(layout.offset, start))
    file.seek(0, 2)


def _tag(record: bytes) -> int:
    return int.from_bytes(record[:2], "little")


def _serialized(
    layout: Layout, entries: Iterable[Entry], position: int
) -> tuple[list[bytes], bytes]:
    """Return the records of a directory, and the values beside it that begin at `position`."""
    records, values = [], b""
    for entry in sorted(entries, key=lambda entry: entry.tag):
        kind, data = entry.type, entry.data
        if entry.directory:
            kind = _LONG8 if layout.big else _LONG
            inside, beside = _serialized(layout, entry.directory, position + len(values))
            values += beside
            data = struct.pack(layout.offset, position + len(values))
            values += layout.directory(inside)
        field = data
        if len(data) > layout.offset_bytes:
            place = position + len(values)
            field = struct.pack(layout.offset, place)
            values += (entry.data_at(place) if entry.offsets else data) + bytes(len(data) % 2)
        records.append(layout.record(entry.tag, kind, len(data) // VALUE_BYTES[kind], field))
    return records, values
