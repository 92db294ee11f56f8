"""The directories of a TIFF file: one for each page, and those inside of pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO

from mambair_cli.imaging.metadata.tag_reader import Place, TagFile

_INSIDE = 330
MOST_PAGES = 65536
_MOST_LEVELS = 4


@dataclass(frozen=True)
class Directory:
    """The tags of an image, or of what lies inside of it.

    Attributes:
        index: Place in the file's chain, or among those inside of another, from 0.
        position: In the file.
        places: Where the values of its tags lie.
        is_sorted: Whether its tags ascend, each once.
        data: Values at a place, in little-endian order; raises ValueError for damage.
        inside: Directories of copies, previews and parts, those inside of them too.
    """

    index: int
    position: int
    places: Mapping[int, Place]
    is_sorted: bool
    data: Callable[[Place], bytes]
    inside: tuple[Directory, ...] = ()

    def values(self, tag: int, default: int | None = None) -> tuple[int, ...]:
        """Return the integers of a tag.

        Raises:
            ValueError: They are damaged, or missing where there is no default.
        """
        place = self.places.get(tag)
        if place is None or not place.count:
            if default is None:
                raise ValueError(f"its tag {tag} is missing")
            return (default,)
        data = self.data(place)
        width = len(data) // place.count
        return tuple(
            int.from_bytes(data[i : i + width], "little") for i in range(0, len(data), width)
        )

    def value(self, tag: int, default: int | None = None) -> int:
        """Return the first integer of a tag, as `values`."""
        return self.values(tag, default)[0]


def read_directories(file: IO[bytes]) -> list[Directory]:
    """Read the directories that follow one another, and what lies inside of each.

    Raises:
        ValueError: They are damaged; damaged ones inside of others are left out.
    """
    tags = TagFile(file)
    found = []
    for index, position in enumerate(tags.directories()):
        if index == MOST_PAGES:  # a chain of damaged directories can be very long
            raise ValueError(f"it has more than {MOST_PAGES} pages")
        found.append(_directory(tags, index, position, _MOST_LEVELS))
    return found


def _directory(tags: TagFile, index: int, position: int, levels: int) -> Directory:
    places = tags.places(position)
    inside: list[Directory] = []
    if levels and _INSIDE in places:
        try:
            for number, place in enumerate(tags.inside(places[_INSIDE])):
                one = _directory(tags, number, place, levels - 1)
                inside += (one, *one.inside)
        except ValueError:
            pass  # what is there is no page, and pages are read all the same
    return Directory(index, position, places, tags.is_sorted(position), tags.data, tuple(inside))
