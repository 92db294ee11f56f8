from __future__ import annotations

import numpy as np

from mambair_cli.training.degradations.noise import Noise
from mambair_cli.training.parsing import Span


def test_noise_has_its_strength_and_is_clipped() -> None:
    generator = np.random.default_rng(0)
    step = Noise("noise", Span(20, 20))
    noisy = step(np.full((64, 80, 3), 128, np.uint8), generator)
    assert noisy.dtype == np.uint8
    assert 19 < noisy.std() < 21
    assert noisy.std(axis=2).mean() > 5
    black = step(np.zeros((64, 80, 3), np.uint8), generator)
    assert (black == 0).mean() > 0.45


def test_gray_noise_is_the_same_in_all_channels() -> None:
    noisy = Noise("noise", Span(10, 10), gray=1)(
        np.full((8, 12, 3), 99, np.uint8), np.random.default_rng(0)
    )
    assert np.ptp(noisy, axis=2).max() == 0
    assert noisy.std() > 5
