"""Pixels to tensors and back, exactly."""

import numpy as np
import pytest
import torch

from mambair_cli.imaging.image import ValueRange
from mambair_cli.pixels.tensors import to_pixels, to_tensor


@pytest.fixture
def every_level():
    return np.arange(256, dtype=np.uint8).reshape(8, 32, 1)


def test_shape_range_and_layout(every_level):
    pixels = np.concatenate([every_level, 255 - every_level, every_level], axis=2)
    tensor = to_tensor(pixels)
    assert tensor.shape == (1, 3, 8, 32)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert (tensor.min(), tensor.max()) == (0, 1)
    assert tensor[0, 1, 2, 3] == pytest.approx(pixels[2, 3, 1] / 255)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_level_comes_back(every_level, channels):
    pixels = every_level.repeat(channels, axis=2)
    np.testing.assert_array_equal(to_pixels(to_tensor(pixels)), pixels)


@pytest.mark.filterwarnings("error")
def test_read_only_pixels_are_taken_and_stay_as_they_are(every_level):
    every_level.flags.writeable = False
    to_tensor(every_level).zero_()
    assert every_level.max() == 255


def test_values_beyond_the_range_are_clamped_and_ties_go_to_even():
    values = torch.tensor([-1.0, 2.0, 0.5 / 255, 1.5 / 255, 2.5 / 255], dtype=torch.float64)
    assert to_pixels(values.reshape(1, 1, 1, 5)).tolist() == [[[0], [255], [0], [2], [2]]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    assert to_pixels(torch.full((1, 3, 2, 5), 0.5, dtype=dtype)).shape == (2, 5, 3)


def test_only_one_image_at_a_time():
    with pytest.raises(ValueError, match=r"^expected one image \(1 c h w\), got shape \(2, 3"):
        to_pixels(torch.zeros(2, 3, 4, 5))


def test_every_level_of_sixteen_bits_comes_back():
    pixels = np.arange(65536, dtype=np.uint16).reshape(256, 64, 4)[..., :3]
    tensor = to_tensor(pixels)
    assert (tensor.min(), tensor.max()) == (0, pixels.max() / np.float32(65535))
    again = to_pixels(tensor, np.uint16)
    assert again.dtype == np.uint16
    np.testing.assert_array_equal(again, pixels)


def test_floating_point_is_mapped_to_the_networks_range_and_back():
    pixels = np.array([-0.5, 0.25, 1.0, 3.5], np.float32).reshape(1, 4, 1)
    span = ValueRange(-0.5, 3.5)
    tensor = to_tensor(pixels, span)
    assert tensor.flatten().tolist() == [0, 0.1875, 0.375, 1]
    np.testing.assert_array_equal(to_pixels(tensor, np.float32, span), pixels)
    assert to_pixels(tensor, np.float32).flatten().tolist() == [0, 0.1875, 0.375, 1]


def test_restored_floating_point_stays_between_its_black_and_white():
    values = torch.tensor([-0.1, 1.1]).reshape(1, 1, 1, 2)
    assert to_pixels(values, np.float32, ValueRange(-2, 6)).flatten().tolist() == [-2, 6]
