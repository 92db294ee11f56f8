"""Gaussian noise as files hold it: clipped to black and white, rounded to 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.writing.depth import to_8_bits
from mambair_cli.training.parsing import Span


@dataclass(frozen=True)
class Noise:
    """White Gaussian noise.

    Attributes:
        kind: `noise`.
        sigma: Standard deviation on the 0-255 scale.
        gray: Share of its samples where all channels get the same noise.
        chance: Share of the samples that it happens to.
    """

    kind: Literal["noise"]
    sigma: Span
    gray: float = 0.0
    chance: float = 1.0

    def __call__(
        self, pixels: NDArray[np.uint8], generator: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Add noise to `(h w c)` uint8."""
        sigma = self.sigma.draw(generator)
        height, width, channels = pixels.shape
        kinds = 1 if generator.random() < self.gray else channels
        noise = generator.standard_normal((height, width, kinds), dtype=np.float32)
        return to_8_bits((pixels + noise * np.float32(sigma)) / np.float32(255))
