"""What is done about Gaussian noise."""

from __future__ import annotations

import pytest
from PIL import Image

from mambair_cli.checkpoints.request import Request
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.fitting import AS_TRAINED


@pytest.mark.parametrize(("sigma", "level"), [(8, 15), (20, 15), (33, 25), (45, 50)])
def test_noise_is_measured(treated, cat, noisy, sigma, level):
    found = treated(Request("denoise"), noisy(cat, sigma), "png")
    assert found.steps[0].sigma == pytest.approx(sigma, rel=0.15)
    assert found.steps[0].request.sigma == level
    assert found.found == f"noise {found.steps[0].sigma:g}"


@pytest.mark.parametrize(("sigma", "level"), [(8, 15), (15, 25), (33, 50)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_noise_of_gray_takes_weights_for_more(treated, cat, noisy, sigma, level, mode):
    green = noisy(cat.convert("L").convert("RGB"), sigma).split()[1]
    found = treated(Request("denoise"), green.convert(mode), "png")
    assert found.steps[0].sigma == pytest.approx(sigma, rel=0.3)
    assert found.steps[0].request.sigma == level


def test_a_clean_image_is_left_alone(treated, cat):
    found = treated(Request("denoise"), cat, "png")
    assert found.steps == ()
    assert found.found.endswith(": left alone, nothing to gain")
    assert treated(Request("denoise", sigma=0), cat, "png").steps == ()


def test_coarse_noise_is_not_measured_and_told_where_it_is_removed(treated, shots):
    scene, shot = shots
    told = "left alone, the noise is coarse: mambair denoise --real removes it"
    found = treated(Request("denoise"), shot, quality=75)
    assert (found.steps, found.found.partition(": ")[2]) == ((), told)
    soft = treated(Request("denoise"), Image.fromarray(scene), quality=75)
    assert soft.found.endswith("left alone, nothing to gain")


def test_a_given_sigma_is_taken_as_it_is(treated, cat):
    found = treated(Request("denoise", sigma=20), cat, "png")
    assert (found.steps[0].request.sigma, found.steps[0].sigma, found.found) == (20, 20, "")
    fitting = found.steps[0].fitting(ModelSpec("stub", "denoise", 1, 3, 15))
    assert (fitting.contrast, fitting.strength) == (0.75, 1)
    assert found.steps[0].fitting(ModelSpec("stub", "denoise", 1, 3)) is AS_TRAINED
