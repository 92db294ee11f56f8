"""Resizing by a factor that nobody knows, and to the size that the network is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mambair_cli.training.parsing import Span

Method = Literal["area", "bilinear", "bicubic", "lanczos"]

_FILTERS: dict[Method, Image.Resampling] = {
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Resize:
    """A change of size, as on the way through editors and messengers; antialiased downwards.

    Attributes:
        kind: `resize`.
        factor: New side over old side, of either side alike.
        methods: One of these is drawn.
        chance: Share of the samples that it happens to.
    """

    kind: Literal["resize"]
    factor: Span
    methods: tuple[Method, ...] = ("area", "bilinear", "bicubic")
    chance: float = 1.0

    def __call__(
        self, pixels: NDArray[np.uint8], generator: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Resize `(h w c)` uint8."""
        factor = self.factor.draw_log(generator)
        height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
        return resized(pixels, (height, width), _drawn(self.methods, generator))


@dataclass(frozen=True)
class Fit:
    """The resizing to the network's input: the reference's size over the scale.

    Attributes:
        kind: `fit`.
        methods: One of these is drawn.
    """

    kind: Literal["fit"]
    methods: tuple[Method, ...] = ("area", "bilinear", "bicubic")

    def __call__(
        self, pixels: NDArray[np.uint8], size: tuple[int, int], generator: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Resize `(h w c)` uint8 to a height and a width."""
        return resized(pixels, size, _drawn(self.methods, generator))


def _drawn(methods: tuple[Method, ...], generator: np.random.Generator) -> Method:
    return methods[int(generator.integers(len(methods)))]


def resized(pixels: NDArray[np.uint8], size: tuple[int, int], method: Method) -> NDArray[np.uint8]:
    """Resize `(h w c)` uint8 to a height and a width, the corners kept in place."""
    if pixels.shape[:2] == size:
        return pixels
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    result = image.resize((size[1], size[0]), _FILTERS[method])
    return np.asarray(result).reshape(*size, pixels.shape[2])
