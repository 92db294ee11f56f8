"""How a network that was trained for one degradation is used for what one image has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mambair_cli.pixels.color import change_to_rgb, change_to_ycbcr
from mambair_cli.pixels.jpeg_cells import Change, JpegCells

# Levels of an 8-bit file between what a network takes for black and for white.
_LEVELS = 255
_GRAY = 0.5


@dataclass(frozen=True, eq=False)
class Fitting:
    """How a network for one degradation is used for what an image has.

    Attributes:
        contrast: What values are multiplied with around middle gray before they are shown, and
            divided by afterwards, so that noise becomes as strong as the network knows it.
        strength: Share of the network's change that is taken, 0 to 1.
        cells: How far the result may leave the JPEG file that the image comes from; None: anywhere.
        clipped: How far beyond black and white values are shown that are exactly that, where the
            range is 1: files cut off noise that networks know whole.
    """

    contrast: float = 1.0
    strength: float = 1.0
    cells: JpegCells | None = None
    clipped: float = 0.0

    @property
    def rows(self) -> int:
        """Rows of the image that have to be converted together."""
        return 1 if self.cells is None else self.cells.rows

    def whole(self, stop: int) -> int:
        """Return the last row, at `stop` or before, up to which rows can be converted."""
        return stop if self.cells is None else self.cells.whole(stop)

    def shown(self, x: Tensor) -> Tensor:
        """Make what a network is shown of an image."""
        if self.clipped:
            x = x + self.clipped * ((x == 1).to(x) - (x == 0).to(x))
        return x if self.contrast == 1 else _GRAY + (x - _GRAY) * self.contrast

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """Return what a network's answer lies between for an image between these values."""
        return (
            _GRAY + (low - _GRAY) * self.contrast,
            _GRAY + (high - _GRAY) * self.contrast,
        )

    def applied(self, answer: Tensor, x: Tensor, first: int) -> Tensor:
        """Make the result of a network's answer.

        Args:
            answer: `(1 c rows w)`, to what `shown` made of `x`.
            x: Rows of the image, at scale 1.
            first: Row of the image that they begin with.
        """
        if self.contrast != 1:
            answer = _GRAY + (answer - _GRAY) / self.contrast
        if self.strength != 1:
            answer = x + (answer - x) * self.strength
        if self.cells is not None:
            change, picture = (_levels(each) for each in (answer - x, x))
            limited = self.cells.limited(change, first, picture)
            answer = x + _tensor(limited).to(x)
        return answer


def _levels(values: Tensor) -> Change:
    """Convert `(1 c h w)` into gray or YCbCr `(h w c)` of 255 levels, around whatever is 0."""
    levels = values[0].permute(1, 2, 0).cpu().numpy() * np.float32(_LEVELS)
    return change_to_ycbcr(levels) if levels.shape[2] > 1 else levels


def _tensor(levels: Change) -> Tensor:
    values = change_to_rgb(levels) if levels.shape[2] > 1 else levels
    return torch.from_numpy(values / np.float32(_LEVELS)).permute(2, 0, 1)[None]


AS_TRAINED = Fitting()
