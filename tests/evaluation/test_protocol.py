"""What is measured: inputs and scores, against values computed in another way."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data, metrics

from mambair_cli.evaluation.datasets import DATASETS
from mambair_cli.evaluation.examples import Example
from mambair_cli.evaluation.protocol import prepare, restore, score, unrestored
from mambair_cli.imaging.writing.depth import to_8_bits
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.restorer import RestoreOptions

SR = ModelSpec("sr", "sr", 4, 3)
NOISE = ModelSpec("denoise", "denoise", 1, 3, sigma=25)
JPEG = ModelSpec("dejpeg", "dejpeg", 1, 1, quality=10)
REAL = ModelSpec("real", "denoise-real", 1, 3)


@pytest.fixture(scope="module")
def photo():
    """Part of NASA's portrait of Eileen Collins (public domain, from scikit-image)."""
    return data.astronaut()[40:171, 150:300]


def example(truth, given=None):
    return Example("a", (), lambda: truth, None if given is None else lambda: given)


def luma(rgb):
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    return 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255


def test_super_resolution_is_scored_on_luma_without_its_border(photo):
    trial = prepare(example(photo), SR, DATASETS[0])
    assert trial.low.shape == (32, 37, 3)
    assert trial.truth.shape == (128, 148, 3)
    assert trial.made
    enlarged = unrestored(trial, SR)
    found = score(enlarged, trial.truth, SR)
    a, b = (luma(image)[4:-4, 4:-4] for image in (to_8_bits(enlarged), trial.truth))
    assert found.psnr == pytest.approx(
        metrics.peak_signal_noise_ratio(b, a, data_range=255), abs=1e-6
    )
    by_window = metrics.structural_similarity(
        b,
        a,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )[1][5:-5, 5:-5].mean()
    assert found.ssim == pytest.approx(by_window, abs=1e-6)


def test_a_partner_that_comes_with_the_set_is_taken_as_it_is(photo):
    given = np.zeros((32, 37, 3), np.uint8)
    trial = prepare(example(photo, given), SR, DATASETS[0])
    assert not trial.made
    assert not trial.low.any()


def test_gray_references_are_repeated_for_a_colour_network(photo):
    trial = prepare(example(photo[..., :1]), SR, DATASETS[0])
    assert (trial.truth == photo[:128, :148, :1]).all()
    assert trial.low.shape[2] == 3


def test_noise_is_the_authors(photo):
    trial = prepare(example(photo), NOISE, DATASETS[5])
    np.random.seed(0)  # noqa: NPY002 - the authors'
    blue_first = photo[..., ::-1] / 255 + np.random.normal(0, 25 / 255, photo.shape)  # noqa: NPY002
    np.testing.assert_allclose(trial.low, blue_first[..., ::-1], atol=1e-6)
    assert trial.low.min() < 0
    assert trial.low.max() > 1


def test_jpeg_is_made_of_rounded_studio_luma(photo):
    trial = prepare(example(photo), JPEG, DATASETS[8])
    np.testing.assert_array_equal(trial.truth[..., 0], np.rint(luma(photo)))
    encoded = io.BytesIO()
    Image.fromarray(trial.truth[..., 0]).save(encoded, "JPEG", quality=10)
    np.testing.assert_array_equal(to_8_bits(trial.low)[..., 0], np.asarray(Image.open(encoded)))


def test_all_channels_count_where_nothing_is_enlarged(photo):
    noisy = np.clip(photo.astype(int) + 3, 0, 255)
    found = score((noisy / 255).astype(np.float32), photo, NOISE)
    error = np.mean((noisy - photo) ** 2.0)
    assert found.psnr == pytest.approx(10 * np.log10(255**2 / error), abs=1e-9)


def test_real_denoising_is_scored_before_rounding():
    shifted = np.full((16, 16, 3), 0.4, np.float32)
    truth = np.full((16, 16, 3), 102, np.uint8)
    off = shifted + np.float32(0.3 / 255)
    assert score(off, truth, NOISE).psnr == np.inf
    assert score(off, truth, REAL).psnr == pytest.approx(10 * np.log10(255**2 / 0.09), abs=1e-2)


@pytest.mark.parametrize("inference", ["paper", "whole", "tiled"])
def test_a_network_that_changes_nothing_gives_the_input_back(photo, inference):
    class Same(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.nothing = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return x

    large = np.tile(photo, (2, 2, 1))
    trial = prepare(example(large), NOISE, DATASETS[5])
    tile = 64 if inference == "tiled" else 0
    restored = restore(Same(), trial, NOISE, RestoreOptions(tile=tile, precision="fp32"), inference)
    np.testing.assert_allclose(restored, trial.low.clip(0, 1), atol=1e-6)
