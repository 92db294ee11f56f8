"""Whether noise is coarse, on images alone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mambair_cli.pixels.coarse_noise import NO_GRAIN, Grain, grain_of_noise

CAT = Image.open(Path(__file__).parents[2] / "examples" / "cat.png").convert("RGB")


def sharp():
    return np.tile(np.asarray(CAT), (2, 3, 1))


def soft(factor=3.2):
    width, height = (round(side * factor) for side in CAT.size)
    return np.asarray(CAT.resize((width, height), Image.Resampling.BICUBIC))


def noisy(picture, sigma, reach, mode="RGB"):
    """Add noise that pixels less than `reach` apart share."""
    height, width, _ = picture.shape
    generator = np.random.default_rng(0)
    white = generator.standard_normal((height + reach, width + reach, len(mode)))
    shifts = [(y, x) for y in range(reach) for x in range(reach)]
    noise = sum(white[y : y + height, x : x + width] for y, x in shifts) / reach
    return np.clip(picture + sigma * noise, 0, 255).round().astype(np.uint8)


def saved(picture, quality=75):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def blurred(picture):
    reduced = Image.fromarray(picture).reduce(2)
    return np.asarray(reduced.resize(picture.shape[1::-1], Image.Resampling.BICUBIC))


@pytest.mark.parametrize("reach", [2, 3])
@pytest.mark.parametrize("sigma", [4, 5])
def test_noise_that_neighbours_share_is_coarse(sigma, reach):
    assert grain_of_noise(saved(noisy(soft(), sigma, reach))).is_coarse
    gray = np.asarray(Image.fromarray(noisy(soft(), sigma, reach, "L")).convert("L"))
    assert grain_of_noise(saved(gray)[..., None]).is_coarse


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(sharp(), id="sharp"),
        pytest.param(saved(sharp()), id="a JPEG file"),
        pytest.param(noisy(sharp(), 6, 1), id="white noise"),
        pytest.param(noisy(soft(), 6, 1), id="white noise on a soft picture"),
        pytest.param(saved(noisy(sharp(), 6, 1)), id="white noise in a JPEG file"),
        pytest.param(blurred(sharp()), id="blur"),
        pytest.param(saved(blurred(sharp())), id="blur in a JPEG file"),
        pytest.param(soft(), id="enlarged"),
        pytest.param(saved(soft()), id="enlarged, in a JPEG file"),
        pytest.param(np.full((450, 500, 3), 90, np.uint8), id="flat"),
    ],
)
def test_what_else_pictures_show_is_not(picture):
    grain = grain_of_noise(picture)
    assert grain != NO_GRAIN
    assert not grain.is_coarse


def test_noise_reaches_as_far_as_it_was_made_to():
    flat = np.full((450, 500, 3), 120, np.uint8)
    # The smoothest patches share less than all.
    for reach, shared in ((1, -0.05), (2, -0.05), (3, 0.25), (4, 0.4)):
        measured = grain_of_noise(noisy(flat, 8, reach)).reach
        assert measured == pytest.approx(shared, abs=0.08)
    assert grain_of_noise(noisy(flat, 8, 1)).finest == pytest.approx(2, rel=0.1)
    assert grain_of_noise(noisy(flat, 8, 1)).evenness > 0.5


def test_few_pixels_and_hardly_any_light_tell_nothing():
    coarse = noisy(soft(), 4, 3)
    assert grain_of_noise(coarse[:300, :400]) == NO_GRAIN
    assert grain_of_noise(np.zeros((450, 500, 3), np.uint8)) == NO_GRAIN


@pytest.mark.parametrize(
    ("grain", "coarse"),
    [
        pytest.param(Grain(0.33, 0.31, 0.23, 0.16, 0.22), True, id="noise of a camera"),
        pytest.param(Grain(0.30, 0.19, 0.12, 0.31, 0.23), True, id="a camera that smooths"),
        pytest.param(Grain(0.33, 0.47, 0.17, 0.25, 0.29), True, id="noise beside many edges"),
        pytest.param(Grain(0.38, 0.29, 0.10, 0.33, 0.54), False, id="a field, blurred and saved"),
        pytest.param(Grain(0.34, 0.21, 0.08, 0.37, 0.50), False, id="houses, blurred and saved"),
        pytest.param(Grain(0.38, 0.24, 0.23, 0.31, 0.33), False, id="bricks, blurred and saved"),
        pytest.param(Grain(0.34, 0.39, 0.15, 0.29, 0.49), False, id="a lawn"),
    ],
)
def test_texture_of_photographs_is_not(grain, coarse):
    # As measured on photographs, of which texture has a direction.
    assert grain.is_coarse is coarse
