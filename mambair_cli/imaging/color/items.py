"""What boxes say of colours in AVIF and HEIC files: code points, matrix, how opacity is meant.

Pillow reads and writes none. ISO/IEC 14496-12 says what a box is, ISO/IEC 23008-12 (HEIF) how
properties belong to pictures.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO

from mambair_cli.imaging.color.encoding import ColorSpace, space_of_code_points
from mambair_cli.imaging.file_boxes import file_boxes

_LARGEST = 2**24  # of what stands before the pixels
_MOST_BOXES = 2**16
# What is inside of what, and how much stands before it.
_META, _PROPERTIES = ((b"meta", 4),), ((b"meta", 4), (b"iprp", 0), (b"ipco", 0))
_REFERENCES = (*_META, (b"iref", 4))
_SAMPLES = (
    *((b"moov", 0), (b"trak", 0), (b"mdia", 0), (b"minf", 0), (b"stbl", 0), (b"stsd", 8)),
    (b"av01", 78),
)
_COLOR, _NUMBERS = b"colr", b"nclx"
_BT601, _FULL_RANGE = 6, 0x80

_Path = tuple[tuple[bytes, int], ...]
_Box = tuple[bytes, int, int]  # kind, where its content begins and ends


def read_code_points(file: IO[bytes]) -> ColorSpace | None:
    """Read the code points of the picture that is shown.

    Args:
        file: Open for reading; it is left at the position it had.

    Returns:
        What they stand for; None where there are none, or they say nothing.

    Raises:
        ValueError: They stand for nothing, or the boxes are damaged.
    """
    points = _points(_metadata_of(file))
    return None if points is None else space_of_code_points(*points[:2])


def is_rgb(file: IO[bytes]) -> bool:
    """Tell whether red, green and blue of the picture are coded as they are.

    Args:
        file: As for `read_code_points`; what its boxes do not say whole, they do not say.
    """
    try:
        points = _points(_metadata_of(file))
    except ValueError:
        return False
    return points is not None and points[2] == 0


def is_premultiplied(file: IO[bytes]) -> bool:
    """Tell whether colours were multiplied by an opacity; `file` as for `is_rgb`."""
    try:
        data = _metadata_of(file)
    except ValueError:
        return False
    return any(kind == b"prem" for kind, _, _ in _within(data, _REFERENCES, 0, len(data)))


def _points(data: bytes) -> tuple[int, ...] | None:
    """Read primaries, transfer and matrix of the picture."""
    try:
        place = next(_of_picture(data), None) or next(_colors(data, _SAMPLES), None)
        return None if place is None else struct.unpack_from(">HHH", data, place)
    except (struct.error, IndexError) as error:
        raise ValueError("its boxes are damaged") from error


def with_code_points(data: bytes, primaries: int, transfer: int) -> bytes:
    """Return an AVIF file that says other code points wherever it says any.

    The matrix that made luma and chroma of the colours is left, as is the range.
    """
    changed = bytearray(data)
    for path in (_PROPERTIES, _SAMPLES):
        for place in _colors(data, path):
            struct.pack_into(">HH", changed, place, primaries, transfer)
    return bytes(changed)


def with_numbers_for_profile(data: bytes, primaries: int, transfer: int) -> bytes:
    """Return an AVIF file that libheif made, with code points in the place of its first profile.

    The matrix is the one that libheif uses where it is told none, BT.601, and the range is full.

    Raises:
        ValueError: There is no profile, or a shorter one than code points.
    """
    boxes = list(_within(data, _PROPERTIES, 0, len(data)))
    place = next(((start, end) for kind, start, end in boxes if kind == _COLOR), None)
    if place is None:
        raise ValueError("libheif has written no colour profile")
    start, end, last = place[0] - 8, place[1], boxes[-1][2]
    numbers = _NUMBERS + struct.pack(">HHHB", primaries, transfer, _BT601, _FULL_RANGE)
    box = struct.pack(">I4s", 8 + len(numbers), _COLOR) + numbers
    # Free space behind the last property leaves the numbers of all others, and places in the file.
    free = end - start - len(box)
    if free < 8:
        raise ValueError("the profile is shorter than code points")
    filled = struct.pack(">I4s", free, b"free").ljust(free, b"\0")
    return data[:start] + box + data[end:last] + filled + data[last:]


def _metadata_of(file: IO[bytes]) -> bytes:
    """Return the boxes that say what is in the file, without its pixels; leave it where it was."""
    before, boxes, left = file.tell(), [], _LARGEST
    try:
        for kind, length in file_boxes(file):
            if kind not in (b"meta", b"moov"):
                continue
            if length > left:
                raise ValueError("it says more of its pictures than can be read")
            left -= length
            boxes.append(struct.pack(">I4s", 8 + length, kind) + file.read(length))
    finally:
        file.seek(before)
    return b"".join(boxes)


def _boxes(data: bytes, start: int, end: int) -> Iterator[_Box]:
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, content)
            content += 8
        stop = start + size if size else end
        if not content <= stop <= end:
            return
        yield kind, content, stop
        start = stop


def _within(data: bytes, path: _Path, start: int, end: int) -> Iterator[_Box]:
    """Boxes in a box in a box."""
    if not path:
        yield from _boxes(data, start, end)
        return
    (wanted, header), *rest = path
    for kind, content, stop in _boxes(data, start, end):
        if kind == wanted:
            yield from _within(data, tuple(rest), content + header, stop)


def _colors(data: bytes, path: _Path) -> Iterator[int]:
    """Where code points stand, among the boxes that a path leads to."""
    for kind, content, _ in _within(data, path, 0, len(data)):
        if kind == _COLOR and data[content : content + 4] == _NUMBERS:
            yield content + 4


def _of_picture(data: bytes) -> Iterator[int]:
    """Where the code points of the picture stand that is shown."""
    described = {kind: content for kind, content, _ in _within(data, _META, 0, len(data))}
    if b"pitm" not in described:
        return
    place = described[b"pitm"]
    picture = struct.unpack_from(">I" if data[place] else ">H", data, place + 4)[0]
    properties = list(_within(data, _PROPERTIES, 0, len(data)))
    for kind, content, _ in _within(data, (*_META, (b"iprp", 0)), 0, len(data)):
        if kind != b"ipma":
            continue
        for index in _associated(data, content, picture):
            if not 1 <= index <= len(properties):
                continue
            kind_of_property, start, _ = properties[index - 1]
            if kind_of_property == _COLOR and data[start : start + 4] == _NUMBERS:
                yield start + 4


def _associated(data: bytes, place: int, picture: int) -> Iterator[int]:
    """Numbers, from 1, of the properties that a picture has."""
    version, wide = data[place], data[place + 3] & 1
    (entries,) = struct.unpack_from(">I", data, place + 4)
    place += 8
    for _ in range(entries):
        (item,) = struct.unpack_from(">I" if version else ">H", data, place)
        place += 4 if version else 2
        count = data[place]
        place += 1
        for _ in range(count):
            number = (
                struct.unpack_from(">H", data, place)[0] & 0x7FFF if wide else data[place] & 127
            )
            place += 2 if wide else 1
            if item == picture:
                yield number
