"""Where a place in a picture lies once the picture is turned and scaled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mambair_cli.imaging.orientation import STEPS


@dataclass(frozen=True)
class Placement:
    """How a picture becomes another: turned upright first, then scaled.

    Places are given as distances from the left and upper edges, so that the last pixel of a row
    ends at `width`.

    Attributes:
        width: Of the first picture, in the units of its places: pixels, or 1 for fractions.
        height: Likewise.
        orientation: How the first picture lies, 1 to 8 as EXIF numbers it.
        across: Columns of the second picture for each of the upright one.
        down: Rows of the second picture for each of the upright one.
    """

    width: float
    height: float
    orientation: int = 1
    across: float = 1
    down: float = 1

    @classmethod
    def scaled(cls, size: tuple[int, int] | None, width: int, height: int) -> Placement:
        """From an upright picture to one of another size; of one of unknown size nothing moves."""
        before = size or (width, height)
        return cls(*before, across=width / before[0], down=height / before[1])

    @property
    def in_fractions(self) -> Placement:
        """The same for places that are given as fractions of the width and the height."""
        return Placement(1, 1, self.orientation)

    @property
    def turns(self) -> bool:
        """Whether the picture is turned or mirrored."""
        return self.orientation != 1

    @property
    def changes_nothing(self) -> bool:
        """Whether every place stays where it is."""
        return not self.turns and self.across == self.down == 1

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Move a place."""
        swapped, rows, columns = STEPS[self.orientation]
        width, height = self.extent(self.width, self.height)
        x, y = (y, x) if swapped else (x, y)
        x, y = x * self.across, y * self.down
        return width - x if columns else x, height - y if rows else y

    def extent(self, width: float, height: float) -> tuple[float, float]:
        """Turn and scale the sides of an upright rectangle."""
        swapped = STEPS[self.orientation][0]
        width, height = (height, width) if swapped else (width, height)
        return width * self.across, height * self.down

    def box(self, x: float, y: float, width: float, height: float) -> tuple[float, ...]:
        """Move a rectangle: its left and upper edge, its width and height."""
        left, top = self.point(x, y)
        right, bottom = self.point(x + width, y + height)
        return min(left, right), min(top, bottom), abs(right - left), abs(bottom - top)

    def subject(self, values: Iterable[float]) -> list[int]:
        """Move the middle of a subject in pixels, and its diameter or its sides, where given.

        Raises:
            ValueError: There are more or fewer numbers than these.
        """
        x, y, *sides = values
        moved = [*self.point(x, y)]
        if len(sides) == 1:
            moved.append(sides[0] * max(self.across, self.down))
        elif len(sides) == 2:
            moved += self.extent(*sides)
        elif sides:
            raise ValueError("a subject area has two to four numbers")
        return [round(value) for value in moved]
