"""Between what the values of a floating-point image lie, whatever a few of them are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.image import NEAR, Pixels, ValueRange

# Hot pixels and reflections of the sun say nothing of where white is: this share of all values, and
# at least the colours of one pixel.
_FEW = 1 / 1000
_ONE_PIXEL = 3
# An extreme so little beyond all but a few of the values is taken for white itself.
_STILL_WHITE = 1.05


def measured(parts: Iterable[Pixels], values: int) -> ValueRange | None:
    """Measure between what the values of an image lie.

    Args:
        parts: All of its finite values, in arrays of any shape.
        values: How many there are.

    Returns:
        Black at most 0 and white at least 1. Values near to [0, 1] (`NEAR`) are inside; of those
        far outside, all but a few. None where all values lie in [0, 1].
    """
    few = min(max(_ONE_PIXEL, int(values * _FEW)), (values - 1) // 2)
    above, below = _Extremes(NEAR.white, few), _Extremes(-NEAR.black, few)
    for part in parts:
        above.add(part)
        below.add(-part)
    white, black = max(above.limit, 1.0), 0.0 - max(below.limit, 0.0)
    return (
        None
        if max(above.most, 1.0) == 1 and max(below.most, 0.0) == 0
        else ValueRange(black, white)
    )


def told(span: ValueRange | None) -> tuple[str, ...]:
    """Say what a network is shown of values that are far outside [0, 1]."""
    if span is None or ValueRange.shown(np.dtype(np.float32), span) is not span:
        return ()
    return (f"values from {span.black:g} to {span.white:g} shown to the network as 0 to 1",)


@dataclass
class _Extremes:
    """The largest values of an image.

    Attributes:
        near: Up to what a value counts as near.
        few: How many values may lie beyond the limit.
        most: The largest of all.
    """

    near: float
    few: int
    most: float = -np.inf
    _beyond: NDArray[Any] = field(default_factory=lambda: np.empty(0, np.float32))

    def add(self, part: Pixels) -> None:
        """Take some of the values into account."""
        self.most = max(self.most, float(part.max()))
        if self.most > self.near:
            beyond = np.concatenate([self._beyond, part[part > self.near]])
            kept = self.few + 1
            self._beyond = np.partition(beyond, -kept)[-kept:] if len(beyond) > kept else beyond

    @property
    def limit(self) -> float:
        """The largest value, but for a few that are far beyond all others."""
        if len(self._beyond) <= self.few:
            return min(self.most, self.near)
        usual = float(self._beyond.min())
        return self.most if self.most <= _STILL_WHITE * usual else usual
