"""Blur of a lens, of motion and of defocus: Gaussian, as wide in all directions or stretched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.writing.depth import to_8_bits
from mambair_cli.training.parsing import Span

_REACH = 4  # standard deviations after which a Gaussian has ended
_QUICK = 32  # Fourier transforms of multiples of it are quick


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur.

    Attributes:
        kind: `blur`.
        sigma: Standard deviation across the narrow direction, in pixels.
        stretch: Standard deviation along the wide direction, which may be any, over that across it.
        chance: Share of the samples that it happens to.
    """

    kind: Literal["blur"]
    sigma: Span
    stretch: Span | None = None
    chance: float = 1.0

    def __call__(
        self, pixels: NDArray[np.uint8], generator: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Blur `(h w c)` uint8."""
        sigma = self.sigma.draw(generator)
        wide = sigma if self.stretch is None else sigma * self.stretch.draw_log(generator)
        angle = generator.uniform(0, math.pi)
        picture: NDArray[np.float32] = pixels.astype(np.float32) / np.float32(255)
        return to_8_bits(gaussian(picture, (wide, sigma), angle))


def gaussian(
    pixels: NDArray[np.float32], sigmas: tuple[float, float], angle: float = 0.0
) -> NDArray[np.float32]:
    """Convolve with a Gaussian by its Fourier transform, which has a closed form.

    Args:
        pixels: `(h w c)` float32; mirrored beyond its edges.
        sigmas: Standard deviations in pixels, first along the angle, then across it.
        angle: From the horizontal, in radians.

    Returns:
        `(h w c)` float32.
    """
    height, width = pixels.shape[:2]
    reach = min(math.ceil(_REACH * max(sigmas)), height, width)
    around = ((0, 0), *((reach, _after(side, reach)) for side in (height, width)))
    padded = np.pad(np.moveaxis(pixels, 2, 0), around, "symmetric")
    y = np.fft.fftfreq(padded.shape[1]).astype(np.float32)[:, None]
    x = np.fft.rfftfreq(padded.shape[2]).astype(np.float32)[None]
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    exponent = (sigmas[0] * along) ** 2 + (sigmas[1] * across) ** 2
    transfer = np.exp(-2 * np.float32(math.pi**2) * exponent)
    blurred = np.fft.irfft2(np.fft.rfft2(padded) * transfer, s=padded.shape[1:])
    inner = blurred[:, reach : reach + height, reach : reach + width]
    return np.ascontiguousarray(np.moveaxis(inner, 0, 2), dtype=np.float32)


def _after(side: int, reach: int) -> int:
    """Return how much to add after a side for a length whose transform is quick."""
    return reach + -(side + 2 * reach) % _QUICK
