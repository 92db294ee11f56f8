"""Ways in which photographs come to people: files made of clean pictures, for `fix.py`."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mambair_cli.imaging.writing.depth import to_8_bits
from mambair_cli.training.degradations.blur import gaussian
from mambair_cli.training.degradations.camera import Camera
from mambair_cli.training.degradations.noise import Noise
from mambair_cli.training.degradations.resizing import resized
from mambair_cli.training.parsing import Span

Pixels = NDArray[np.uint8]
# What is cut off at the top and on the left between two compressions.
SHIFT = (3, 5)


def unchanged(picture: Pixels, _: np.random.Generator) -> Pixels:
    """Do nothing."""
    return picture


def noise(sigma: float) -> Callable[[Pixels, np.random.Generator], Pixels]:
    """Gaussian noise, clipped and rounded."""
    return Noise("noise", Span(sigma, sigma))


def camera(shot: float, grain: float = 0.0) -> Callable[[Pixels, np.random.Generator], Pixels]:
    """Noise of a sensor, developed."""
    return Camera("camera", Span(shot, shot), Span(grain, grain), Span(2 * grain, 2 * grain))


def blur(sigma: float) -> Callable[[Pixels, np.random.Generator], Pixels]:
    """Blur of a lens."""

    def blurred(picture: Pixels, _: np.random.Generator) -> Pixels:
        values = picture.astype(np.float32) / np.float32(255)
        return to_8_bits(gaussian(values, (sigma, sigma)))

    return blurred


@dataclass(frozen=True)
class Way:
    """How a file was made.

    Attributes:
        harm: What happened to the picture before it was saved.
        quality: Of the JPEG file; None for PNG.
        subsampling: Of the JPEG file.
        first: Quality of an earlier JPEG file, which `SHIFT` was cut off.
        scale: Times that the picture was reduced at first.
    """

    harm: Callable[[Pixels, np.random.Generator], Pixels] = unchanged
    quality: int | None = None
    subsampling: str = "4:2:0"
    first: int | None = None
    scale: int = 1

    def write(self, truth: Pixels, path: Path, generator: np.random.Generator) -> Path:
        """Write a file of a clean picture.

        Args:
            truth: `(h w c)`, gray or RGB; its sides are multiples of the scale.
            path: The file, without suffix.
            generator: Draws the noise.

        Returns:
            The file.
        """
        height, width = truth.shape[:2]
        small = resized(truth, (height // self.scale, width // self.scale), "bicubic")
        picture = Image.fromarray(self._harmed(small, generator))
        if self.first is not None:
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=self.first)
            picture = Image.open(buffer).crop((SHIFT[1], SHIFT[0], *picture.size))
        if self.quality is None:
            made = path.with_suffix(".png")
            picture.save(made)
        else:
            made = path.with_suffix(".jpg")
            picture.save(made, quality=self.quality, subsampling=self.subsampling)
        return made

    def _harmed(self, picture: Pixels, generator: np.random.Generator) -> Pixels:
        """Harm a picture; of a gray one the green of one whose colours are all the same."""
        if picture.shape[2] == 3:
            return self.harm(picture, generator)
        return self.harm(picture.repeat(3, axis=2), generator)[..., 1]

    def seen(self, truth: Pixels) -> Pixels:
        """Return the part of a clean picture that the file shows."""
        return truth if self.first is None else truth[SHIFT[0] :, SHIFT[1] :]


WAYS: dict[str, Way] = {
    "undegraded": Way(),
    "JPEG 20": Way(quality=20),
    "JPEG 50": Way(quality=50),
    "JPEG 80": Way(quality=80),
    "JPEG 92": Way(quality=92),
    "JPEG 60, 4:4:4": Way(quality=60, subsampling="4:4:4"),
    "noise 8": Way(noise(8)),
    "noise 25": Way(noise(25)),
    "camera noise": Way(camera(1e-3)),
    "camera noise, JPEG 92": Way(camera(2e-3, 0.5), quality=92),
    "noise 10, JPEG 60": Way(noise(10), quality=60),
    "blur 1.2, JPEG 70": Way(blur(1.2), quality=70),
    "JPEG 40, cropped, JPEG 90": Way(first=40, quality=90),
    "PNG of a cropped JPEG 50": Way(first=50),
    "blur 1.2": Way(blur(1.2)),
}
# Those of which something against noise alone can be asked.
NOISY = ("noise 8", "noise 25", "camera noise", "camera noise, JPEG 92", "noise 10, JPEG 60")
ENLARGED: dict[str, Way] = {
    "reduced 2 times": Way(scale=2),
    "reduced 4 times": Way(scale=4),
    "reduced 2 times, JPEG 75": Way(scale=2, quality=75),
    "reduced 4 times, JPEG 50": Way(scale=4, quality=50),
    "blurred, reduced 4 times, noise 5, JPEG 40": Way(
        lambda picture, generator: noise(5)(blur(0.5)(picture, generator), generator),
        scale=4,
        quality=40,
    ),
}
