"""How strong noise is, on images alone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mambair_cli.pixels.noise import direction_of, estimate_sigma, grain_of, shown_noise

CAT = Path(__file__).parents[2] / "examples" / "cat.png"


def noisy(sigma, mode="RGB"):
    picture = np.asarray(Image.open(CAT).convert(mode))
    picture = picture.reshape(*picture.shape[:2], -1)
    noise = np.random.default_rng(0).normal(0, sigma, picture.shape)
    return np.clip(picture + noise, 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("sigma", [3, 8, 15, 30])
def test_of_colours(sigma):
    assert estimate_sigma(noisy(sigma), compressed=False) == pytest.approx(sigma, rel=0.15)


def test_of_a_clean_picture():
    assert estimate_sigma(noisy(0), compressed=False) < 2


@pytest.mark.parametrize("sigma", [8, 15, 30])
def test_of_gray_and_of_colours_that_are_gray(sigma):
    gray = noisy(sigma, "L")
    measured = estimate_sigma(gray, compressed=False)
    assert measured == pytest.approx(sigma, rel=0.3)
    assert estimate_sigma(gray.repeat(3, axis=2), compressed=False) == measured


def test_of_a_compressed_picture():
    buffer = io.BytesIO()
    Image.fromarray(noisy(15)).save(buffer, "JPEG", quality=92)
    measured = estimate_sigma(np.asarray(Image.open(buffer)), compressed=True)
    assert measured == pytest.approx(15, rel=0.3)


def test_where_all_light_is_clipped():
    assert estimate_sigma(np.full((64, 48, 1), 255, np.uint8), compressed=True) == 0


@pytest.mark.parametrize("sigma", [5, 15, 30])
def test_noise_that_colours_show(sigma):
    shown = shown_noise(noisy(sigma))
    assert shown.level == pytest.approx(sigma, rel=0.25)
    assert shown.evenness > 0.5
    assert shown.texture < 0.5 * sigma


def test_colours_of_a_clean_and_of_a_small_picture():
    clean = shown_noise(noisy(0))
    assert clean.level * clean.evenness < 0.5
    assert shown_noise(noisy(20)[:20, :50]).level == 0


@pytest.mark.parametrize("sigma", [8, 15, 30])
def test_noise_that_gray_shows(sigma):
    shown = shown_noise(noisy(sigma, "L"))
    assert shown.level == pytest.approx(sigma, rel=0.25)
    assert shown.evenness > 0.4
    assert shown_noise(noisy(sigma, "L").repeat(3, axis=2)) == shown
    assert shown_noise(noisy(0, "L")).evenness < 0.3


def test_grain_outlives_compression():
    def grain(sigma):
        coded = io.BytesIO()
        Image.fromarray(noisy(sigma)).save(coded, "JPEG", quality=75)
        return grain_of(np.asarray(Image.open(coded).convert("L")).astype(np.float32))

    grains = [grain(sigma) for sigma in (0, 8, 16)]
    assert grains[0] < 1.5 < grains[1] < grains[2]
    assert grain_of(noisy(16, "L")[:100, :200, 0].astype(np.float32)) == 0


def test_noise_has_no_direction_and_edges_have():
    noise = np.random.default_rng(0).normal(0, 5, (150, 225)).astype(np.float32)
    coarse = noise + np.roll(noise, 1, 0)
    coarse = coarse + np.roll(coarse, 1, 1)
    slope = np.add.outer(np.arange(150), 2 * np.arange(225)).astype(np.float32)
    stripes = 20 * np.sin(slope / 4)
    assert direction_of(noise) < direction_of(coarse) < 0.25
    assert direction_of(coarse + slope) == pytest.approx(direction_of(coarse), abs=0.01)
    assert direction_of(stripes) > 0.9
    assert direction_of(stripes + noise) < direction_of(stripes + noise / 10)
    assert direction_of(np.full((50, 70), 9, np.float32)) == 0
    assert direction_of(noise[:10, :70]) == 1
