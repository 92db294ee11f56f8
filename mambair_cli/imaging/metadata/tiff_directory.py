"""Directories of TIFF files and EXIF blocks, value by value as bytes.

Libraries decode values and write what they think of them: text that is not ASCII and types that
they do not know are lost. Bytes that nobody interprets are kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import IO

EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY_DIRECTORY = 0x8769, 0x8825, 0xA005
MAKER_NOTE = 0x927C

_LONG, _LONG8 = 4, 16
# Bytes of one value and of the numbers that it is made of, by type; 129 is the UTF-8 of EXIF 3.
VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
VALUE_BYTES |= {16: 8, 17: 8, 18: 8, 129: 1}
NUMBER_BYTES = VALUE_BYTES | {5: 4, 10: 4}


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
        """The value as it is to stand at a position of a file."""
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
    """The entries that are `movable` as an EXIF block without prefix, little-endian."""
    header = 8
    records, values = _CLASSIC.serialized(movable(entries), header)
    start = struct.pack("<2sHI", b"II", 42, header + len(values))
    return start + values + struct.pack("<H", len(records)) + b"".join(records) + bytes(4)


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
    layout = _BIG if file.read(4)[2:] == b"+\0" else _CLASSIC
    pointer = layout.first_pointer
    for _ in range(page):
        pointer = layout.next_pointer(pointer, file)
    file.seek(pointer)
    (start,) = layout.unpack(layout.offset, file)
    file.seek(start)
    (count,) = layout.unpack(layout.count, file)
    records = [file.read(layout.entry_bytes) for _ in range(count)]
    following = file.read(layout.offset_bytes)
    present = {struct.unpack("<H", record[:2])[0] for record in records}
    end = file.seek(0, 2)
    file.write(bytes(end % 2))
    added = [entry for entry in movable(entries) if entry.tag not in present]
    new, values = layout.serialized(added, end + end % 2)
    file.write(values)
    start = file.tell()
    directory = sorted(records + new, key=lambda record: struct.unpack("<H", record[:2]))
    file.write(struct.pack(layout.count, len(directory)) + b"".join(directory) + following)
    file.seek(pointer)
    file.write(struct.pack(layout.offset, start))
    file.seek(0, 2)


@dataclass(frozen=True)
class _Layout:
    """Sizes of the fields of a directory, as `struct` names them."""

    first_pointer: int
    count: str
    offset: str
    pointer_type: int

    @property
    def offset_bytes(self) -> int:
        return struct.calcsize(self.offset)

    @property
    def entry_bytes(self) -> int:
        return 4 + 2 * self.offset_bytes

    def unpack(self, field: str, file: IO[bytes]) -> tuple[int]:
        (value,) = struct.unpack(field, file.read(struct.calcsize(field)))
        return (int(value),)

    def next_pointer(self, pointer: int, file: IO[bytes]) -> int:
        """Where the directory that is pointed to from a position points to the next one."""
        file.seek(pointer)
        (start,) = self.unpack(self.offset, file)
        file.seek(start)
        (count,) = self.unpack(self.count, file)
        return start + struct.calcsize(self.count) + count * self.entry_bytes

    def serialized(self, entries: Iterable[Entry], position: int) -> tuple[list[bytes], bytes]:
        """Return the records of a directory, and the values beside it that begin at `position`."""
        records, values = [], b""
        for entry in sorted(entries, key=lambda entry: entry.tag):
            kind, data = entry.type, entry.data
            if entry.directory:
                kind = self.pointer_type
                inside, beside = self.serialized(entry.directory, position + len(values))
                values += beside
                data = struct.pack(self.offset, position + len(values))
                values += struct.pack(self.count, len(inside)) + b"".join(inside)
                values += bytes(self.offset_bytes)
            field = data
            if len(data) > self.offset_bytes:
                place = position + len(values)
                field = struct.pack(self.offset, place)
                values += (entry.data_at(place) if entry.offsets else data) + bytes(len(data) % 2)
            number = len(data) // VALUE_BYTES[kind]
            head = struct.pack("<HH", entry.tag, kind) + struct.pack(self.offset, number)
            records.append(head + field.ljust(self.offset_bytes, b"\0"))
        return records, values


_CLASSIC = _Layout(first_pointer=4, count="<H", offset="<I", pointer_type=_LONG)
_BIG = _Layout(first_pointer=8, count="<Q", offset="<Q", pointer_type=_LONG8)
