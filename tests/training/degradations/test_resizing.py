from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from mambair_cli.training.degradations.resizing import Fit, Method, Resize, resized
from mambair_cli.training.parsing import Span

RAMP = np.repeat(np.linspace(0, 255, 48)[None, :, None], 32, axis=0).astype(np.uint8)


@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_stays_where_it_is(method: Method, channels: int) -> None:
    pixels = np.repeat(RAMP, channels, axis=2)
    small = resized(pixels, (16, 24), method)
    assert small.shape == (16, 24, channels)
    expected = pixels.astype(float).reshape(16, 2, 24, 2, channels).mean((1, 3))
    assert np.abs(small - expected)[:, 2:-2].max() < 1.5


def test_a_factor_is_drawn_and_fit_gives_the_size() -> None:
    generator = np.random.default_rng(0)
    shapes = {Resize("resize", Span(0.5, 2))(RAMP, generator).shape for _ in range(20)}
    assert len(shapes) > 10
    assert all(16 <= height <= 64 and 24 <= width <= 96 for height, width, _ in shapes)
    assert Fit("fit")(RAMP, (8, 12), generator).shape == (8, 12, 1)
