"""What is taken for a photograph's traces, and what is not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mambair_cli.pixels.traces import Traces, measure_traces

CAT = Path(__file__).parents[2] / "examples" / "cat.png"


@pytest.fixture(scope="module")
def clean():
    return np.asarray(Image.open(CAT).convert("RGB"))


def compressed(pixels, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def noisy(pixels, sigma):
    noise = np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return np.clip(pixels + noise, 0, 255).round().astype(np.uint8)


def test_a_clean_image_has_none(clean):
    assert measure_traces(clean).found is None
    half = Image.fromarray(clean).resize((111, 75), Image.Resampling.BICUBIC)
    assert measure_traces(np.asarray(half)).found is None


@pytest.mark.parametrize("quality", [30, 75, 85])
def test_jpeg_blocks(clean, quality):
    assert measure_traces(compressed(clean, quality)).found == "JPEG blocks"


def test_blocks_grow_with_compression(clean):
    measured = [measure_traces(compressed(clean, quality)).blocking for quality in (95, 75, 30)]
    assert measured == sorted(measured)


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_the_grid_is_found_wherever_it_begins(clean, turn):
    cut = np.rot90(compressed(clean, 60)[3:, 5:], turn)
    assert measure_traces(cut).found == "JPEG blocks"


@pytest.mark.parametrize("sigma", [10, 25])
def test_noise(clean, sigma):
    assert measure_traces(noisy(clean, sigma)).found == "noise"


def test_both(clean):
    assert measure_traces(noisy(compressed(clean, 10), 7)).found == "JPEG blocks and noise"


def test_gray(clean):
    gray = clean[..., 1:2]
    assert measure_traces(gray).found is None
    assert measure_traces(compressed(gray[..., 0], 50)[..., None]).found == "JPEG blocks"


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_an_even_area_has_none(level):
    assert measure_traces(np.full((70, 90, 3), level, np.uint8)) == Traces(1.0, 0.0)


def test_an_image_of_few_pixels_has_none(clean):
    assert measure_traces(noisy(clean, 25)[:31]) == Traces(1.0, 0.0)


def test_sharp_edges_are_no_traces():
    stripes = np.zeros((96, 160, 3), np.uint8)
    stripes[:, 48:80] = 200
    stripes[40:52] = 90
    assert measure_traces(stripes).found is None


def test_only_the_middle_of_a_large_image_is_looked_at(clean):
    large = np.zeros((1500, 1300, 3), np.uint8)
    large[:200, :200] = noisy(clean, 25)[:200, :200].mean()
    assert measure_traces(large) == Traces(1.0, 0.0)
