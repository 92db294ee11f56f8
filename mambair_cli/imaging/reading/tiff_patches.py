"""Bytes that stand in a TIFF file for a decoder which takes its tags too seriously."""

from __future__ import annotations

import struct
from typing import IO

from mambair_cli.imaging.metadata.tiff_directory import Layout
from mambair_cli.imaging.reading.tiff_directories import Directory

_EXTRA_SAMPLES, _UNASSOCIATED = 338, 2
_ORIENTATION, _ORIENTATIONS = 274, range(1, 9)
_TEXT = 2  # the type
# Tags without which a decoder makes other pixels, or none.
_OF_PIXELS = frozenset(
    {
        *(254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320),
        *(322, 323, 324, 325, 338, 339, 347, 530, *range(512, 522), 32997, 34675, 50674),
    }
)
# Tags that libtiff checks the length of, and warns of, though no pixel depends on them.
_CHECKED = frozenset({280, 281, 297, 301, 318, 319, 321, 333, 334, 336, 340, 341, 529, 532})
_TEXTS = frozenset({269, 270, 271, 272, 285, 305, 306, 315, 316, 337, 33432})


class Patches:
    """Bytes by their position in a file, which make a page plainer than it is.

    Args:
        file: Open.
        alone: Whether the file has one page only.
    """

    def __init__(self, file: IO[bytes], *, alone: bool) -> None:
        file.seek(0)
        self._layout = Layout.of(file.read(4))
        self._file, self._alone = file, alone
        self.byte_order = self._layout.order

    def of(self, directory: Directory, associated: int | None) -> dict[int, bytes]:
        """Say what makes a page the file's only one, with sound tags; nothing where it is so.

        Args:
            directory: Of the page.
            associated: Index of the extra sample that the colours are multiplied by; it becomes one
                that they are not multiplied by.
        """
        position, layout = directory.position, self._layout
        self._file.seek(position)
        (count,) = struct.unpack(layout.count, self._file.read(struct.calcsize(layout.count)))
        patches: dict[int, bytes] = {}
        if not self._alone:
            last = layout.next_pointer(position, count)
            patches[layout.first_pointer] = struct.pack(layout.offset, position)
            patches[last] = bytes(layout.offset_bytes)
        if associated is not None:
            place = directory.places[_EXTRA_SAMPLES].position + 2 * associated
            patches[place] = struct.pack(layout.order + "H", _UNASSOCIATED)
        if not _is_sound(directory, count):
            patches |= self._tidied(layout.record_places(position, count), position, patches)
        return patches

    def _tidied(self, records: range, position: int, patches: dict[int, bytes]) -> dict[int, bytes]:
        """Return a directory of the tags that make pixels, in order, each once, as the last one."""
        layout = self._layout
        self._file.seek(records.start)
        table = bytearray(self._file.read(records.stop - records.start))
        for place, patch in patches.items():
            if place in range(records.start, records.stop):
                start = place - records.start
                table[start : start + len(patch)] = patch
        starts = range(0, len(table), layout.record_bytes)
        kept = dict[int, bytes]()
        for record in (bytes(table[i : i + layout.record_bytes]) for i in starts):
            (tag,) = struct.unpack_from(layout.order + "H", record)
            if tag in _OF_PIXELS:
                kept.setdefault(tag, record)
        return {position: layout.directory([kept[tag] for tag in sorted(kept)])}


def _is_sound(directory: Directory, count: int) -> bool:
    """Whether the tags are in order, each once, and none is one that libtiff may warn of."""
    places = directory.places
    types = {places[tag].type for tag in _TEXTS & places.keys()}
    return (
        directory.is_sorted
        and len(places) == count  # others are of unknown types
        and all(place.count for place in places.values())
        and not _CHECKED & places.keys()
        and types <= {_TEXT}
        and directory.value(_ORIENTATION, 1) in _ORIENTATIONS
    )
