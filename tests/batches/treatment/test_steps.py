"""How networks are fitted to what an image has."""

from __future__ import annotations

import numpy as np
import pytest

from mambair_cli.batches.treatment.steps import Step, fitted_as_trained, fitted_to_noise
from mambair_cli.checkpoints.request import Request
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.fitting import AS_TRAINED


def test_noise_between_levels_takes_contrast_and_strength():
    assert fitted_to_noise(25, 25) is AS_TRAINED
    assert fitted_to_noise(40, 50).contrast == 1.25
    weak, strong = fitted_to_noise(4, 15), fitted_to_noise(72, 50)
    assert (weak.contrast, weak.strength) == (pytest.approx((15 / 4) ** 0.5), pytest.approx(0.4))
    assert (strong.contrast, strong.strength) == (pytest.approx(50 / 72), 1)


def test_noise_of_a_file_reaches_as_far_beyond_black_as_it_does_over_shadows():
    """By simulation: shadows of up to four deviations, noise, and what of it is below black."""
    generator = np.random.default_rng(5)
    shadows = 120 * generator.random(400_000) ** 0.5
    noisy = shadows + generator.normal(0, 30, shadows.shape)
    fitting = Step(Request("denoise"), 30).fitting(ModelSpec("stub", "denoise", 1, 3, 25))
    assert fitting.clipped * 255 == pytest.approx(-noisy[noisy < 0].mean(), rel=0.1)
    assert fitting.contrast == pytest.approx(25 / 30)


def test_noise_of_gray_is_stronger_to_a_network_for_colours():
    step, colour, gray = (
        Step(Request("denoise"), 20),
        ModelSpec("stub", "denoise", 1, 3, 25),
        ModelSpec("stub", "denoise", 1, 1, 25),
    )
    assert step.fitting(colour, gray=True).contrast == pytest.approx(25 / 20 / 3**0.5)
    assert step.fitting(colour).contrast == step.fitting(gray, gray=True).contrast == 1.25
    # What a file cuts off is as much as its own noise.
    assert step.fitting(colour, gray=True).clipped == step.fitting(colour).clipped
    untold = Step(Request("denoise", weights="w.pth")).fitting(colour, gray=True)
    for fitting in (fitted_as_trained(colour, gray=True), untold):
        assert fitting.contrast == pytest.approx(3**-0.5)
    assert fitted_as_trained(ModelSpec("stub", "denoise-real", 1, 3), gray=True) is AS_TRAINED
