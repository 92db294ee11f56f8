"""Which size results get where that is asked for in another way than by the network's scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from mambair_cli.errors import ImageError


@dataclass(frozen=True)
class Sizing:
    """The size that results are asked to have; at most one of the first four is given.

    Attributes:
        factor: Output side over input side.
        long_side: Pixels of the longer side.
        box: Width and height that the result fits inside.
        pixels: Pixels in all.
        only_below: Images of at least so many pixels are left alone.
    """

    factor: Fraction | None = None
    long_side: int | None = None
    box: tuple[int, int] | None = None
    pixels: int | None = None
    only_below: int | None = None

    @property
    def is_free(self) -> bool:
        """Whether the size is another than the network's scale makes it."""
        return any((self.factor, self.long_side, self.box, self.pixels))

    @property
    def suffix(self) -> str:
        """What results are called by, such as `_x1.5`, `_4000px`, `_3840x2160` or `_12MP`."""
        if self.factor is not None:
            return f"_x{float(self.factor):g}"
        if self.long_side is not None:
            return f"_{self.long_side}px"
        if self.box is not None:
            return f"_{self.box[0]}x{self.box[1]}"
        return f"_{(self.pixels or 0) / 1e6:g}MP"

    def left_alone(self, width: int, height: int) -> str | None:
        """Say why an image is left alone; None if it is not."""
        if self.only_below is None or width * height < self.only_below:
            return None
        return f"left alone: {width}x{height} pixels are not below {self.only_below / 1e6:g} MP"

    def size_of(self, width: int, height: int, scale: int) -> tuple[int, int]:
        """Tell the size of a result.

        Args:
            width: Of the image.
            height: Of the image.
            scale: Of the network.

        Returns:
            Width and height.

        Raises:
            ImageError: It would not be larger than the image, or larger than the network makes it.
        """
        if not self.is_free:
            return width * scale, height * scale
        ratio = self._ratio(width, height)
        size = (_rounded(width * ratio), _rounded(height * ratio))
        wanted = f"an image of {width}x{height} pixels was to become {size[0]}x{size[1]}"
        if ratio <= 1:
            raise ImageError(
                f"{wanted}: that is no enlargement",
                "ask for a larger size, or leave large images alone: --only-below 2MP",
            )
        if ratio > scale:
            raise ImageError(
                f"{wanted}: the model enlarges {scale} times at most",
                "ask for a smaller size, or enlarge the result once more",
            )
        return size

    def _ratio(self, width: int, height: int) -> Fraction:
        if self.factor is not None:
            return self.factor
        if self.long_side is not None:
            return Fraction(self.long_side, max(width, height))
        if self.box is not None:
            return min(Fraction(self.box[0], width), Fraction(self.box[1], height))
        return Fraction(math.sqrt((self.pixels or 0) / (width * height)))


def _rounded(side: Fraction) -> int:
    return max(1, math.floor(side + Fraction(1, 2)))
