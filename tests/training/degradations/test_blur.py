from __future__ import annotations

import math

import numpy as np
import pytest

from mambair_cli.training.degradations.blur import Blur, gaussian
from mambair_cli.training.parsing import Span


def spread(image: np.ndarray, axis: int) -> float:
    """Standard deviation of the mass of `(h w)` along an axis."""
    weights = image.sum(1 - axis)
    places = np.arange(len(weights))
    mean = (places * weights).sum() / weights.sum()
    return float(np.sqrt((weights * (places - mean) ** 2).sum() / weights.sum()))


@pytest.mark.parametrize(
    ("angle", "expected"), [(0.0, (1.5, 4.0)), (math.pi / 2, (4.0, 1.5))], ids=["wide", "tall"]
)
def test_a_point_is_spread_as_asked(angle: float, expected: tuple[float, float]) -> None:
    point = np.zeros((61, 75, 1), np.float32)
    point[30, 37] = 1
    blurred = gaussian(point, (4.0, 1.5), angle)[..., 0]
    assert blurred.shape == (61, 75)
    assert blurred.sum() == pytest.approx(1, abs=1e-4)
    assert (spread(blurred, 0), spread(blurred, 1)) == pytest.approx(expected, abs=0.05)


def test_brightness_stays_at_the_edges() -> None:
    flat = np.full((20, 33, 3), 0.4, np.float32)
    assert np.allclose(gaussian(flat, (3, 3)), 0.4, atol=1e-5)


def test_the_step_blurs_within_its_range() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
    weak, strong = (
        Blur("blur", Span(sigma, sigma), Span(1, 2))(pixels, np.random.default_rng(1))
        for sigma in (0.4, 2.0)
    )
    assert weak.dtype == np.uint8
    assert weak.shape == pixels.shape
    assert pixels.std() > weak.std() > strong.std()
