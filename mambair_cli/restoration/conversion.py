"""What a network is shown of an image, and how its answer becomes rows of that image's own kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mambair_cli.imaging.image import Band, ImageHeader, Pixels, ValueRange
from mambair_cli.pixels.color import rgb_to_ycbcr, spread_under_alpha, ycbcr_to_rgb
from mambair_cli.pixels.resize import imresize_rows, resize_alpha_rows
from mambair_cli.pixels.tensors import to_pixels, to_tensor
from mambair_cli.restoration.fitting import AS_TRAINED, Fitting

# Rows of the source that enlarging opacity and chroma needs above and below.
_CONTEXT = 3
# Colours are continued from blocks of 2, 4, 8, ... pixels. Rows that begin at a multiple of this
# have the same blocks, up to this side, as the whole image.
_BLOCK = 32
# Values that are converted at a time, so that no step needs another image's worth of memory.
_VALUES = 2**22


@dataclass(frozen=True, eq=False)
class Prepared(Band):
    """Rows whose visible colours are continued under transparent areas.

    Attributes:
        source: Their pixels as they were read, where a part of them is kept; else None.
    """

    source: Pixels | None = None


@dataclass(frozen=True)
class Conversion:
    """Between an image's own pixels and what a network takes and gives.

    A colour network is shown a gray image as three equal channels, which are averaged afterwards. A
    gray network is shown the luma of a colour image; the chroma is kept, bicubic at a scale above
    1. Opacity is scaled and never shown.

    Attributes:
        source: Of the image.
        span: Between what its values lie, as `RestorableImage.span`. What few lie beyond is kept
            from the network, which would spread it, and put back.
        channels: Of the network, 1 or 3.
        scale: Output side over input side.
        binary_alpha: Whether opacity is nothing or full everywhere, and has to stay so.
        strength: How much of the change is kept: 1 for the network's answer, 0 for the image as it
            is, at a scale above 1 its bicubic enlargement, between them a blend.
        fitting: How the network is used for the image.
    """

    source: ImageHeader
    span: ValueRange | None
    channels: int
    scale: int
    binary_alpha: bool
    strength: float = 1.0
    fitting: Fitting = AS_TRAINED

    @property
    def value_range(self) -> ValueRange:
        """What a network is shown as 0 and 1."""
        return ValueRange.shown(self.source.dtype, self.span)

    @property
    def bounds(self) -> tuple[float, float]:
        """Between what a network's answer has to lie: 0 and 1, or what it is shown at the most."""
        return self.fitting.bounds(*self._limits)

    @property
    def result(self) -> ImageHeader:
        """What comes out."""
        return ImageHeader(
            self.source.width * self.scale,
            self.source.height * self.scale,
            self.source.channels,
            self.source.dtype,
            self.source.has_alpha,
        )

    def needed(self, rows: slice) -> slice:
        """Tell which rows of the source have to be read to restore some of them."""
        # What a window leaves over, less than the rows of a block, is converted with the next one.
        first = rows.start - self.fitting.rows + 1
        top, bottom = first - _CONTEXT, rows.stop + _CONTEXT
        if self.source.has_alpha:
            top = (first - _BLOCK // 2) // _BLOCK * _BLOCK
            bottom = -(-(rows.stop + _BLOCK // 2) // _BLOCK) * _BLOCK
        return slice(max(0, top), min(bottom, self.source.height))

    def prepared(self, part: Band) -> Prepared:
        """Continue the visible colours under transparent areas of some rows of the image."""
        source = None if self.strength == 1 else part.pixels
        if part.alpha is None:
            return Prepared(part.pixels, None, source)
        return Prepared(spread_under_alpha(part.pixels, part.alpha), part.alpha, source)

    def shown(self, part: Band) -> Tensor:
        """Make what the network is shown of some prepared rows.

        Returns:
            `(1 channels rows w)` float32, in [0, 1] or as far outside as the image's values are.
        """
        return self.fitting.shown(self._unfitted(part))

    def _unfitted(self, part: Band) -> Tensor:
        if self._luma_only:
            planes = [self._ycbcr(part.pixels[rows])[..., 0] for rows in self._chunks(part)]
            return torch.from_numpy(np.concatenate(planes) / self._white)[None, None]
        x = to_tensor(self._within(part.pixels), self.value_range)
        return x.expand(-1, self.channels, -1, -1)

    def rows(self, restored: Tensor, start: int, part: Prepared, first: int) -> Iterator[Band]:
        """Turn rows of the network's answer into rows of the result, a few at a time.

        Args:
            restored: `(1 channels rows w*scale)` float32 within the bounds.
            start: Row of the result that it begins with.
            part: Prepared rows of the source, all that are `needed`.
            first: Row of the source that `part` begins with.

        Yields:
            Consecutive rows.
        """
        for rows in self._cut(start, restored):
            answer = restored[:, :, rows.start - start : rows.stop - start]
            if self.fitting is not AS_TRAINED:
                seen = self._unfitted(Band(part.pixels[rows.start - first : rows.stop - first]))
                answer = self.fitting.applied(answer, seen, rows.start)
            pixels = self._pixels(answer, rows, part, first)
            if self.span is not None:
                pixels += self._beyond(rows, part, first)
            if part.source is not None:
                pixels = _blend(self._unrestored(rows, part, first), pixels, self.strength)
            yield Band(pixels, self._alpha(rows, part, first))

    def _cut(self, start: int, restored: Tensor) -> Iterator[slice]:
        step = max(2 * self.fitting.rows, _VALUES // (restored.shape[1] * restored.shape[3]))
        end = start + restored.shape[2]
        while start < end:
            stop = end if start + step >= end else self.fitting.whole(start + step)
            yield slice(start, stop)
            start = stop

    def _pixels(self, answer: Tensor, rows: slice, part: Band, first: int) -> Pixels:
        if self._luma_only:
            return self._with_chroma(answer, rows, part, first)
        if self.source.channels < self.channels:
            answer = answer.mean(dim=1, keepdim=True)
        return to_pixels(answer, self.source.dtype, self.value_range, self._limits)

    def _with_chroma(self, luma: Tensor, rows: slice, part: Band, first: int) -> Pixels:
        near = self._near(rows, first)
        ycbcr = self._ycbcr(part.pixels[near])
        enlarged = imresize_rows(ycbcr, first + near.start, self.source.height, rows, self.scale)
        enlarged[..., 0] = luma[0, 0].cpu().numpy() * self._white
        low, high = self._limits
        values = ycbcr_to_rgb(enlarged, self._white).clip(low * self._white, high * self._white)
        if np.issubdtype(self.source.dtype, np.integer):
            values = np.rint(values)
            return np.asarray(values.astype(self.source.dtype))
        return np.asarray(values + self.value_range.black, self.source.dtype)

    def _beyond(self, rows: slice, part: Band, first: int) -> Pixels | float:
        """Enlarge by how much some values lie beyond the span."""
        near = self._near(rows, first)
        pixels = part.pixels[near]
        beyond = pixels - self._within(pixels)
        if not beyond.any():
            return 0.0
        return imresize_rows(beyond, first + near.start, self.source.height, rows, self.scale)

    def _unrestored(self, rows: slice, part: Prepared, first: int) -> Pixels:
        """Return some rows of the result as they would be without a network."""
        if self.scale == 1:
            assert part.source is not None
            return part.source[rows.start - first : rows.stop - first]
        near = self._near(rows, first)
        pixels = part.pixels[near]
        return imresize_rows(pixels, first + near.start, self.source.height, rows, self.scale)

    def _within(self, pixels: Pixels) -> Pixels:
        if self.span is None:
            return pixels
        return np.asarray(pixels.clip(self.span.black, self.span.white), pixels.dtype)

    def _near(self, rows: slice, first: int) -> slice:
        """Tell which rows of a part the enlarging of some rows of the result depends on."""
        return slice(
            max(0, rows.start // self.scale - _CONTEXT - first),
            -(-rows.stop // self.scale) + _CONTEXT - first,
        )

    def _alpha(self, rows: slice, part: Band, first: int) -> Pixels | None:
        if part.alpha is None:
            return None
        return resize_alpha_rows(
            part.alpha, first, self.source.height, rows, self.scale, binary=self.binary_alpha
        )

    def _ycbcr(self, pixels: Pixels) -> Any:
        within, black = self._within(pixels), self.value_range.black
        above_black = within - black if black else within
        return rgb_to_ycbcr(above_black, self._white)

    def _chunks(self, part: Band) -> Iterator[slice]:
        height, width, channels = part.pixels.shape
        step = max(1, _VALUES // (width * channels))
        for top in range(0, height, step):
            yield slice(top, top + step)

    @property
    def _limits(self) -> tuple[float, float]:
        if self.span is None:
            return 0, 1
        black = self.value_range.black
        return (self.span.black - black) / self._white, (self.span.white - black) / self._white

    @property
    def _luma_only(self) -> bool:
        return self.channels < self.source.channels

    @property
    def _white(self) -> float:
        return self.value_range.white - self.value_range.black


def _blend(unrestored: Pixels, restored: Pixels, strength: float) -> Pixels:
    mixed = unrestored + strength * (restored.astype(np.float64) - unrestored)
    if np.issubdtype(restored.dtype, np.integer):
        np.rint(mixed, out=mixed)
    return mixed.astype(restored.dtype)
