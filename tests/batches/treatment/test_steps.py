"""How networks are fitted to what an image has."""

from __future__ import annotations

import pytest

from mambair_cli.batches.treatment.steps import fitted_to_noise
from mambair_cli.restoration.fitting import AS_TRAINED


def test_noise_between_levels_takes_contrast_and_strength():
    assert fitted_to_noise(25, 25) is AS_TRAINED
    assert fitted_to_noise(40, 50).contrast == 1.25
    weak, strong = fitted_to_noise(4, 15), fitted_to_noise(72, 50)
    assert (weak.contrast, weak.strength) == (pytest.approx((15 / 4) ** 0.5), pytest.approx(0.4))
    assert (strong.contrast, strong.strength) == (pytest.approx((50 / 72) ** 0.5), 1)
