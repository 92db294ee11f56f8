"""Maker notes, the camera's own tags: which may be written at another place of a file, and how.

Nobody documents them. Those of some makers count their offsets from their own start, or have none;
those of others are directories whose offsets count from the start of the EXIF block, and point
elsewhere once the note is moved. What is known of them is ExifTool's (lib/Image/ExifTool/
MakerNotes.pm). A note of which it is not known is not moved: it would be read as garbage.
"""

from __future__ import annotations

import struct

from mambair_cli.imaging.metadata.tiff_directory import VALUE_BYTES

# How notes begin that hold in every place and byte order.
_SELF_CONTAINED = (
    b"Nikon\0\x02",  # since 1999, a TIFF structure of its own; the kind before is none
    b"OLYMPUS\0II",
    b"OLYMPUS\0MM",
    b"OM SYSTEM\0",
    b"FUJIFILM",
    b"GENERALE",  # of Fujifilm's kind
    b"Apple iOS\0",
    b"PENTAX \0",  # since 2010; the kind before, `AOC`, is none
    b"RICOH\0II",
    b"RICOH\0MM",
    b"KDK",  # Kodak's, at fixed places
    b"HDRP",  # Google's, packed
)
# How notes begin, before their directory, whose offsets count from the start of the block.
_LABELS = (b"SONY DSC \0\0\0", b"SONY CAM \0\0\0", b"SONY MOBILE\0", b"Panasonic\0\0\0")
# How Canon's end, which have no label; the note's own place follows.
_CANON_END = b"II*\0"
_MOST_TAGS = 512
_MOST_PADDING = 64  # bytes between a directory and the first value


def offsets_in(note: bytes, position: int, *, little_endian: bool) -> tuple[int, ...] | None:
    """Tell where in a note there are offsets to be corrected when it is moved.

    Args:
        note: As it lies in the file.
        position: Its first byte, from the start of the TIFF structure that it is in.
        little_endian: That structure's byte order.

    Returns:
        Positions, from the start of the note, of 32-bit numbers that are offsets from the start of
        the structure; none of a note that holds everywhere. None for a note that cannot be moved.
    """
    if note.startswith(_SELF_CONTAINED):
        return ()
    # What is written is little-endian, and a directory would have to be as well.
    if not little_endian or position + len(note) >= 2**32:
        return None
    own_place: tuple[int, ...] = ()
    directory = next((len(label) for label in _LABELS if note.startswith(label)), 0)
    if not directory:
        if note[-8:] != _CANON_END + struct.pack("<I", position):
            return None
        own_place = (len(note) - 4,)
    offsets = _offsets_of_values(note, directory, position)
    return None if offsets is None else (*offsets, *own_place)


def _offsets_of_values(note: bytes, directory: int, position: int) -> tuple[int, ...] | None:
    """Return the places of a directory's offsets, if all of them point into the note behind it."""
    if len(note) < directory + 2:
        return None
    (count,) = struct.unpack_from("<H", note, directory)
    end = directory + 2 + 12 * count
    if not 1 <= count <= _MOST_TAGS or end > len(note):
        return None
    found, first = [], len(note)
    for entry in range(directory + 2, end, 12):
        _, kind, values, offset = struct.unpack_from("<HHII", note, entry)
        length = values * VALUE_BYTES.get(kind, 2**32)
        if length > 4:
            start = offset - position
            if start < end or start + length > len(note):
                return None
            first = min(first, start)
            found.append(entry + 8)
    # Offsets from elsewhere might all point into the note by chance, but not right behind the tags.
    return tuple(found) if not found or first - end <= _MOST_PADDING else None
