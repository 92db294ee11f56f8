"""What is done about an image, step by step, and how people are told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import NamedTuple

import numpy as np

from mambair_cli.checkpoints.request import Request
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.pixels.jpeg_cells import JpegCells
from mambair_cli.restoration.fitting import AS_TRAINED, Fitting

# Quality of a lossy result that keeps what little may be gained from a coarse and a fine file.
KEEPS_COARSE, KEEPS_FINE = 98, 100
# Share of a network's change that gained most, by the noise of the image.
_STRENGTH = {2: 0.0, 3: 0.25, 4: 0.4, 6: 0.72, 8: 0.88, 12: 1.0}
# How far noise reaches beyond black where it does, by its deviation: 0.63 in the mean over all
# brightnesses, less over shadows that are not black.
CUT_OFF = 0.5
# A network for colours is shown gray three times. Noise that the channels share is so much stronger
# along gray than where each has its own, on which the network was trained.
_SHARED = sqrt(3)
# Weaker noise is not removed.
LEAST_NOISE = min(_STRENGTH)


class ToldStep(NamedTuple):
    """A step as programs are told of it.

    Attributes:
        task: What is done.
        scale: Output side over input side, where it enlarges.
        sigma: Noise that is removed, where that is measured.
        quality: JPEG quality of the blocks that are removed.
        share: Of the change that is taken.
    """

    task: str
    scale: int | None
    sigma: float | None
    quality: int | None
    share: float


class Finding(NamedTuple):
    """What was found in an image and follows, for people, and what is done, for programs."""

    text: str
    steps: tuple[ToldStep, ...]

    def __str__(self) -> str:
        """Give the note on the image."""
        return f"found: {self.text}"


@dataclass(frozen=True, eq=False)
class Step:
    """One network, and how it is used for an image.

    Attributes:
        request: What weights are chosen for.
        sigma: Strength of the noise that is removed.
        cells: How far the result may leave the file.
        strength: Share of the change that is taken.
    """

    request: Request
    sigma: float | None = None
    cells: JpegCells | None = None
    strength: float = 1.0

    def fitting(self, spec: ModelSpec, *, gray: bool = False) -> Fitting:
        """Fit weights to the image.

        Args:
            spec: Of the weights.
            gray: Whether the image is.
        """
        if spec.sigma is not None:
            sigma = spec.sigma if self.sigma is None else self.sigma
            fitted = _fitted_to_noise_of(sigma, spec, gray=gray)
            return replace(fitted, strength=fitted.strength * self.strength)
        if self.cells is None and self.strength == 1:
            return AS_TRAINED
        return Fitting(strength=self.strength, cells=self.cells)

    @property
    def command(self) -> str:
        """What people are told of it: what they would type."""
        request = self.request
        share = "" if self.strength == 1 else f" at {self.strength:.0%}"
        if request.task == "denoise":
            return f"denoise {self.sigma:g}{share}"
        if request.task == "denoise-real":
            return f"denoise --real{share}"
        return request.task if request.scale is None else f"{request.task} x{request.scale}"

    @property
    def told(self) -> ToldStep:
        """What programs are told of it: noise as it was measured."""
        request = self.request
        sigma = request.sigma if self.sigma is None else self.sigma
        return ToldStep(
            request.task, request.scale, sigma, request.quality, round(self.strength, 3)
        )


@dataclass(frozen=True, eq=False)
class Treatment:
    """What is done about an image.

    Attributes:
        steps: In their order; none where the image is left alone.
        found: What was found and what follows, for people; empty where the user said it all.
        least_quality: As `RestorableImage.least_quality`.
    """

    steps: tuple[Step, ...]
    found: str = ""
    least_quality: int = 0

    @property
    def finding(self) -> Finding:
        """What to tell of it."""
        return Finding(self.found, tuple(step.told for step in self.steps))


def left_alone(found: str, why: str = "nothing to gain") -> Treatment:
    """Do nothing about an image."""
    return Treatment((), f"{found}: left alone, {why}", KEEPS_FINE)


def fitted_as_trained(spec: ModelSpec, *, gray: bool) -> Fitting:
    """Fit weights to an image that has what they were trained for, in a file."""
    return AS_TRAINED if spec.sigma is None else _fitted_to_noise_of(spec.sigma, spec, gray=gray)


def as_shown(sigma: float, *, gray: bool) -> float:
    """Return how strong noise is to a network for colours."""
    return _SHARED * sigma if gray else sigma


def _fitted_to_noise_of(sigma: float, spec: ModelSpec, *, gray: bool) -> Fitting:
    """Fit weights for noise; beyond black and white it reaches again, half a deviation."""
    assert spec.sigma is not None
    shown = as_shown(sigma, gray=gray and spec.channels > 1)
    return replace(fitted_to_noise(shown, spec.sigma), clipped=CUT_OFF * sigma / 255)


def fitted_to_noise(sigma: float, trained: float) -> Fitting:
    """Fit weights for one strength of noise to another.

    Less contrast makes noise weaker, more makes it stronger. Below what the weakest weights know,
    half of the way measured best (benchmarks/any_noise.py).

    Args:
        sigma: Of the image, in levels of 255.
        trained: Of the weights.
    """
    if sigma == trained:
        return AS_TRAINED
    half_way = sigma < trained <= 15
    contrast = (trained / sigma) ** (0.5 if half_way else 1)
    strength = float(np.interp(sigma, list(_STRENGTH), list(_STRENGTH.values())))
    return Fitting(contrast, strength if sigma < trained else 1.0)
