"""The degradations: sizes, statistics, reproducibility, and the paper's seeded noise."""

import numpy as np
import pytest
from skimage import data

from mambair_cli.evaluation.degrade import (
    add_benchmark_noise,
    add_gaussian_noise,
    crop_to_multiple,
    downscale,
    jpeg_compress,
)
from mambair_cli.evaluation.metrics import psnr
from mambair_cli.pixels.resize import imresize


@pytest.fixture(scope="module")
def photo():
    """Part of NASA's portrait of Eileen Collins (public domain, from scikit-image)."""
    return data.astronaut()[40:141, 150:300]


def test_downscale_crops_from_the_top_left_to_a_multiple(photo):
    small = downscale(photo, 4)
    assert small.shape == (25, 37, 3)
    np.testing.assert_array_equal(small, imresize(photo[:100, :148], 0.25))
    assert crop_to_multiple(photo, 3).shape == (99, 150, 3)


def test_the_border_rule_only_matters_near_the_edge(photo):
    symmetric, replicate = downscale(photo, 4), downscale(photo, 4, border="replicate")
    assert (symmetric != replicate).any()
    np.testing.assert_array_equal(symmetric[2:-2, 2:-2], replicate[2:-2, 2:-2])


def test_gaussian_noise_has_its_level_and_is_not_clipped(photo):
    noisy = add_gaussian_noise(photo, 25, np.random.default_rng(1))
    noise = noisy - photo.astype(np.float32) / 255
    assert noisy.dtype == np.float32
    assert noise.std() * 255 == pytest.approx(25, rel=0.01)
    assert abs(noise.mean()) * 255 < 0.5
    assert noisy.min() < 0
    again = add_gaussian_noise(photo, 25, np.random.default_rng(1))
    np.testing.assert_array_equal(noisy, again)


def test_benchmark_noise_is_the_seeded_draw_in_bgr_order(photo):
    rng = np.random.RandomState(0)
    expected = photo[..., ::-1] / 255 + rng.normal(0, 15 / 255, photo.shape)
    np.testing.assert_allclose(add_benchmark_noise(photo, 15)[..., ::-1], expected, atol=1e-6)
    # The first standard normal value of seed 0 is 1.764052...: it belongs to blue.
    first = add_benchmark_noise(np.zeros((3, 4, 3), np.uint8), 255)[0, 0]
    assert first[2] == pytest.approx(1.764052346)
    gray = add_benchmark_noise(np.zeros((3, 4, 1), np.uint8), 255)
    assert gray[0, 0, 0] == pytest.approx(1.764052346)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_keeps_the_shape_and_loses_more_at_lower_quality(photo, channels):
    pixels = photo[..., :channels]
    scores = [psnr(jpeg_compress(pixels, quality), pixels) for quality in (10, 40, 90)]
    assert jpeg_compress(pixels, 10).shape == pixels.shape
    assert scores == sorted(scores)
    assert 22 < scores[0] < 32
