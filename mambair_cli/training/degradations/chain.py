"""The steps in a row: a reference becomes what a network is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mambair_cli.training.degradations.blur import Blur
from mambair_cli.training.degradations.camera import Camera
from mambair_cli.training.degradations.compression import Jpeg
from mambair_cli.training.degradations.noise import Noise
from mambair_cli.training.degradations.resizing import Fit, Resize
from mambair_cli.training.parsing import Number, Span

Degradation: TypeAlias = Blur | Resize | Fit | Camera | Noise | Jpeg

# By the names of the steps' fields.
_LIMITS: dict[str, tuple[Number, Number]] = {
    "chance": (0, 1),
    "colour_grain": (0, 50),
    "factor": (0.05, 20),
    "grain": (0, 50),
    "gray": (0, 1),
    "quality": (1, 100),
    "shot": (1e-9, 1),
    "sigma": (0, 255),
    "stretch": (1, 50),
}


def run_steps(
    steps: Sequence[Degradation],
    pixels: NDArray[np.uint8],
    size: tuple[int, int],
    generator: np.random.Generator,
) -> NDArray[np.uint8]:
    """Degrade a picture step by step, each as strong as the generator draws.

    Args:
        steps: In their order.
        pixels: `(h w c)` uint8.
        size: Height and width that `fit` gives.
        generator: Source of randomness.

    Returns:
        `(h w c)` uint8.
    """
    for step in steps:
        if isinstance(step, Fit):
            pixels = step(pixels, size, generator)
        elif generator.random() < step.chance:
            pixels = step(pixels, generator)
    return pixels


def step_limits(step: Degradation) -> Iterator[tuple[str, Number, Number, Number]]:
    """List a step's numbers by the names of their keys, with the smallest and largest allowed."""
    for item in fields(step):
        value = getattr(step, item.name)
        if item.name in _LIMITS and value is not None:
            ends: tuple[Number, ...] = (value,)
            if isinstance(value, Span):
                ends = value.low, value.high
            yield from ((item.name, end, *_LIMITS[item.name]) for end in ends)
