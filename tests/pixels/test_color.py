"""Colour conversions against known values and Pillow; colour under transparency."""

import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.color import rgb2ycbcr

from mambair_cli.pixels.color import rgb_to_y, rgb_to_ycbcr, spread_under_alpha, ycbcr_to_rgb


@pytest.fixture(scope="module")
def photo():
    """Part of NASA's portrait of Eileen Collins (public domain, from scikit-image)."""
    return data.astronaut()[20:121, 130:280]


def test_luma_of_known_colours():
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]])
    expected = [[16, 235, 81.481, 144.553, 40.966]]
    np.testing.assert_allclose(rgb_to_y(colours.astype(np.uint8)), expected, atol=1e-9)


def test_luma_agrees_with_scikit_image(photo):
    np.testing.assert_allclose(rgb_to_y(photo), rgb2ycbcr(photo)[..., 0], atol=1e-9)


def test_ycbcr_agrees_with_the_one_inside_jpeg_files(photo):
    pillow = np.asarray(Image.fromarray(photo).convert("YCbCr"))
    # Pillow's fixed-point tables round chroma half a step down.
    assert np.abs(rgb_to_ycbcr(photo) - pillow).max() < 1.01


def test_ycbcr_and_back_loses_nothing():
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(18, -1, 3)
    np.testing.assert_allclose(ycbcr_to_rgb(rgb_to_ycbcr(cube)), cube, atol=1e-3)


def test_gray_has_neutral_chroma():
    gray = np.full((2, 3, 3), 77, np.uint8)
    np.testing.assert_allclose(rgb_to_ycbcr(gray), np.broadcast_to([77, 128, 128], (2, 3, 3)))


def test_spreading_keeps_what_is_visible_and_removes_the_hidden_edge(photo):
    rows, columns = np.mgrid[:101, :150]
    alpha = (np.hypot(rows - 50, columns - 75) < 40).astype(np.uint8) * 255
    alpha[50, 20:40] = 3
    cut_out = np.where(alpha[..., None] > 0, photo, 0).astype(np.uint8)
    spread = spread_under_alpha(cut_out, alpha)
    np.testing.assert_array_equal(spread[alpha > 0], photo[alpha > 0])
    edge = np.abs(np.diff(cut_out.astype(int), axis=1)).max()
    assert edge > 150
    beside = (alpha[:, 1:] > 0) != (alpha[:, :-1] > 0)
    steps = np.abs(np.diff(spread.astype(int), axis=1))[beside]
    assert steps.mean() < 12
    assert (spread[alpha == 0] > 0).all()


@pytest.mark.parametrize("shape", [(1, 2), (1, 9), (13, 1), (7, 10), (64, 33)])
def test_one_visible_pixel_fills_the_image(shape):
    alpha = np.zeros(shape, np.uint8)
    alpha[-1, 0] = 1
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[-1, 0] = (200, 100, 50)
    assert (spread_under_alpha(pixels, alpha) == [200, 100, 50]).all()


def test_nothing_to_spread():
    pixels = np.zeros((3, 4, 1), np.uint8)
    for value in (0, 1, 255):
        assert spread_under_alpha(pixels, np.full((3, 4), value, np.uint8)) is pixels


@pytest.mark.parametrize(("dtype", "white"), [(np.uint16, 65535), (np.float32, 1)])
def test_deeper_pixels_have_the_same_luma_and_chroma(photo, dtype, white):
    deep = (photo.astype(np.float64) / 255 * white).astype(dtype)
    ycbcr = rgb_to_ycbcr(deep, white)
    np.testing.assert_allclose(ycbcr / white, rgb_to_ycbcr(photo) / 255, atol=1e-4)
    np.testing.assert_allclose(ycbcr_to_rgb(ycbcr, white), deep, atol=1e-5 * white)


def test_spreading_in_sixteen_bits_and_in_floating_point(photo):
    alpha = np.zeros(photo.shape[:2], np.uint8)
    alpha[20:60, 30:90] = 255
    shallow = spread_under_alpha(photo, alpha)
    deep = spread_under_alpha(photo.astype(np.uint16) * 257, alpha.astype(np.uint16) * 257)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - shallow).max() < 2
    real = spread_under_alpha(photo / np.float32(255), alpha / np.float32(255))
    assert real.dtype == np.float32
    np.testing.assert_allclose(real, deep / 65535, atol=2e-5)
