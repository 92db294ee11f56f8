"""Reduces what a network enlarged to the size that was asked for, whole or in bands.

The reduction is the antialiased bicubic one that networks are trained with, on the values as they
are. Colours are weighted by their opacity, and values are rounded once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mambair_cli.imaging.image import Band, ImageHeader, Pixels, RestorableImage, ValueRange
from mambair_cli.pixels.resize import is_binary, resized_rows, rows_needed

# Values of the enlarged image that are reduced at a time.
_VALUES = 2**22


@dataclass(frozen=True)
class Reduction:
    """From an enlarged image to a smaller one.

    Attributes:
        source: Of the enlarged image.
        width: Of the result.
        height: Of the result.
        binary_alpha: Whether opacity is nothing or full everywhere, and has to stay so.
    """

    source: ImageHeader
    width: int
    height: int
    binary_alpha: bool

    @property
    def result(self) -> ImageHeader:
        """What comes out."""
        return replace(self.source, width=self.width, height=self.height)

    def bands(self, bands: Iterator[Band]) -> Iterator[Band]:
        """Reduce an image while it comes, from top to bottom; only rows that are needed are kept.

        Args:
            bands: The enlarged image.
        """
        window = Window(bands)
        row = self.source.width * self.source.channels * self.source.height // self.height + 1
        step = max(1, _VALUES // row)
        for top in range(0, self.height, step):
            rows = slice(top, min(top + step, self.height))
            needed = rows_needed(self.source.height, self.height, rows)
            yield self._reduced(window.rows(needed), needed.start, rows)

    def _reduced(self, part: Band, first: int, rows: slice) -> Band:
        def resized(values: Pixels) -> Pixels:
            size = (self.height, self.width)
            return resized_rows(values, first, self.source.height, rows, size)

        dtype = part.pixels.dtype
        if part.alpha is None:
            return Band(_as_type(resized(part.pixels.astype(np.float32)), dtype))
        white = ValueRange.of(dtype).white
        opacity = part.alpha.astype(np.float32) / np.float32(white)
        alpha = resized(opacity).clip(0, 1)
        pixels = resized(part.pixels.astype(np.float32))
        if not (opacity == opacity.flat[0]).all():
            weighted = resized(part.pixels * opacity[..., None])
            visible = alpha > 1 / 65535
            pixels[visible] = weighted[visible] / alpha[visible, None]
        if self.binary_alpha:
            alpha = np.where(alpha >= 0.5, np.float32(1), np.float32(0))
        return Band(_as_type(pixels, dtype), _as_type(alpha * np.float32(white), dtype))


def reduced(image: RestorableImage, width: int, height: int) -> RestorableImage:
    """Reduce an enlarged image.

    Args:
        image: As a network enlarged it.
        width: Of the result, at most the image's.
        height: Of the result, at most the image's.
    """
    rows, columns, channels = image.pixels.shape
    header = ImageHeader(columns, rows, channels, image.pixels.dtype, image.alpha is not None)
    binary = image.alpha is not None and is_binary(image.alpha)
    pixels = np.empty((height, width, channels), image.pixels.dtype)
    alpha = None if image.alpha is None else np.empty((height, width), image.alpha.dtype)
    top = 0
    whole = iter([Band(image.pixels, image.alpha)])
    for band in Reduction(header, width, height, binary).bands(whole):
        part = slice(top, top + len(band.pixels))
        pixels[part] = band.pixels
        if alpha is not None:
            alpha[part] = band.alpha
        top = part.stop
    return replace(image, pixels=pixels, alpha=alpha)


class Window:
    """The rows of an image that came and may still be asked for.

    Args:
        bands: The image, from top to bottom.
    """

    def __init__(self, bands: Iterator[Band]) -> None:
        self._bands = bands
        self._kept: list[Band] = []
        self._first = self._stop = 0

    def rows(self, wanted: slice) -> Band:
        """Return rows that begin at no earlier one than those before."""
        while self._stop < wanted.stop:
            band = next(self._bands)
            self._kept.append(band)
            self._stop += len(band.pixels)
        while self._first + len(self._kept[0].pixels) <= wanted.start:
            self._first += len(self._kept.pop(0).pixels)
        near = slice(wanted.start - self._first, wanted.stop - self._first)
        pixels = _joined([band.pixels for band in self._kept])[near]
        alphas = [band.alpha for band in self._kept if band.alpha is not None]
        return Band(pixels, _joined(alphas)[near] if alphas else None)


def _joined(parts: list[Pixels]) -> Pixels:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _as_type(values: Pixels, dtype: np.dtype[Any]) -> Pixels:
    if np.issubdtype(dtype, np.integer):
        values = np.rint(values).clip(0, np.iinfo(dtype).max)
    return np.asarray(values.astype(dtype))
