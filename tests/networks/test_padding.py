"""Padding mirrors, and is undone exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mambair_cli.networks.padding import crop_to, pad_to, pad_to_multiple

sides = st.integers(1, 20)


@given(sides, sides, sides, sides)
def test_padding_is_undone_exactly(height, width, wanted_height, wanted_width):
    x = torch.rand(1, 3, height, width)
    padded = pad_to(x, wanted_height, wanted_width)
    assert padded.shape[2:] == (max(height, wanted_height), max(width, wanted_width))
    assert torch.equal(crop_to(padded, height, width), x)


def test_reflects_up_to_side_minus_one_then_replicates():
    x = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    assert pad_to(x, 1, 8).flatten().tolist() == [1, 2, 3, 2, 1, 1, 1, 1]


def test_one_pixel_is_replicated():
    assert torch.equal(pad_to(torch.full((1, 1, 1, 1), 0.25), 8, 5), torch.full((1, 1, 8, 5), 0.25))


def test_a_large_image_is_not_copied():
    x = torch.rand(1, 3, 9, 10)
    assert pad_to(x, 8, 8) is x


@pytest.mark.parametrize(("h", "w"), [(5, 7), (8, 16), (15, 9), (6, 11)])
def test_padding_reflects(h, w):
    image = torch.rand(2, 3, h, w)
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), (0, -h % 8), (0, -w % 8)), mode="reflect")
    np.testing.assert_array_equal(pad_to_multiple(image, 8).numpy(), expected)


def test_padding_of_a_side_too_short_to_reflect_goes_on_with_its_first_pixel():
    image = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
    padded = pad_to_multiple(image, 8)
    assert padded.shape == (1, 1, 8, 8)
    assert padded[0, 0].tolist() == [[1, 2, 3, 2, 1, 1, 1, 1]] * 8


def test_what_needs_no_padding_is_not_copied():
    image = torch.rand(1, 3, 8, 16)
    assert pad_to_multiple(image, 8) is image
