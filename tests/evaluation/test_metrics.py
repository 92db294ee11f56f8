"""PSNR and SSIM against closed forms, scikit-image, and published bicubic scores."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from mambair_cli.errors import ImageError
from mambair_cli.evaluation.degrade import crop_to_multiple
from mambair_cli.evaluation.metrics import psnr, ssim, y_psnr, y_ssim
from mambair_cli.pixels.resize import imresize

BICUBIC = {
    ("Set5", 2): (33.67, 0.9303),
    ("Set5", 3): (30.40, 0.8689),
    ("Set5", 4): (28.43, 0.8111),
    ("Set14", 2): (30.33, 0.8699),
    ("Set14", 3): (27.63, 0.7759),
    ("Set14", 4): (26.09, 0.7048),
}


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 256, (31, 44, 3), dtype=np.uint8)
    noise = generator.normal(0, 20, truth.shape)
    return np.clip(truth + noise, 0, 255).astype(np.uint8), truth


def test_psnr_of_a_known_error():
    truth = np.full((5, 7, 3), 100, np.uint8)
    assert psnr(truth + np.uint8(5), truth) == pytest.approx(20 * math.log10(255 / 5))
    assert psnr(truth, truth) == math.inf


def test_unsigned_differences_do_not_wrap_around():
    dark, light = np.zeros((2, 3), np.uint8), np.full((2, 3), 255, np.uint8)
    assert psnr(dark, light) == psnr(light, dark) == 0


def test_peak_names_the_scale(pair):
    restored, truth = pair
    assert psnr(restored / 255, truth / 255, peak=1.0) == pytest.approx(psnr(restored, truth))
    assert ssim(restored / 255, truth / 255, peak=1.0) == pytest.approx(ssim(restored, truth))


def test_the_border_is_left_out():
    truth = np.zeros((8, 9), np.uint8)
    restored = truth.copy()
    restored[:2], restored[-2:], restored[:, :2], restored[:, -2:] = 255, 255, 255, 255
    assert psnr(restored, truth, border=2) == math.inf
    assert psnr(restored, truth, border=1) < 10


def test_ssim_agrees_with_scikit_image(pair):
    restored, truth = pair
    full = structural_similarity(
        restored,
        truth,
        data_range=255,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )[1]
    assert ssim(restored, truth) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-12)
    assert ssim(truth, truth) == pytest.approx(1)


def test_luma_weighs_the_channels_as_matlab_does(pair):
    _, truth = pair
    brighter = truth.astype(float)
    brighter[..., 1] += 10
    # Green carries 128.553/255 of Y.
    assert y_psnr(brighter, truth) == pytest.approx(20 * math.log10(255 / (10 * 128.553 / 255)))
    assert y_ssim(truth, truth, 2) == pytest.approx(1)


def test_gray_is_its_own_luma(pair):
    restored, truth = pair[0][..., :1], pair[1][..., :1]
    assert y_psnr(restored, truth, 3) == psnr(restored, truth, border=3)
    assert y_ssim(restored, truth, 3) == ssim(restored, truth, border=3)


def test_images_that_cannot_be_compared():
    with pytest.raises(
        ImageError,
        match=r"^cannot compare 20x10 pixels with 3 channel\(s\) with 10x20 pixels with 1 ch",
    ):
        psnr(np.zeros((10, 20, 3)), np.zeros((20, 10)))
    with pytest.raises(ImageError, match=r"^a border of 3 leaves nothing of 9x6 pixels with 1 ch"):
        psnr(np.zeros((6, 9)), np.zeros((6, 9)), border=3)
    with pytest.raises(
        ImageError, match=r"^SSIM needs at least 11x11 pixels, got 22x10 inside a border of 1$"
    ):
        ssim(np.zeros((12, 24)), np.zeros((12, 24)), border=1)


@pytest.mark.slow
@pytest.mark.skipif("MAMBAIR_DATASETS" not in os.environ, reason="MAMBAIR_DATASETS is not set")
@pytest.mark.parametrize(("name", "scale"), BICUBIC)
def test_published_scores_of_bicubic(name, scale):
    folder = Path(os.environ["MAMBAIR_DATASETS"]) / name
    scores = []
    for truth in sorted((folder / "HR").glob("*.png")):
        published = folder / "LR_bicubic" / f"X{scale}" / f"{truth.stem}x{scale}.png"
        restored = imresize(np.asarray(Image.open(published).convert("RGB")), scale)
        expected = crop_to_multiple(np.asarray(Image.open(truth).convert("RGB")), scale)
        scores.append((y_psnr(restored, expected, scale), y_ssim(restored, expected, scale)))
    mean_psnr, mean_ssim = np.mean(scores, axis=0)
    assert mean_psnr == pytest.approx(BICUBIC[name, scale][0], abs=0.005)
    assert mean_ssim == pytest.approx(BICUBIC[name, scale][1], abs=0.0001)
