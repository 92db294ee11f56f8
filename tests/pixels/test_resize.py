"""The bicubic resize against a loop over its definition, and against files made by MATLAB."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mambair_cli.pixels import resize
from mambair_cli.pixels.resize import contributions, imresize, is_binary, resize_alpha_rows

SCALES = (1 / 2, 1 / 3, 1 / 4, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0)


def naive_imresize(image, scale, border):
    """One output value at a time, one channel, rows first, rounding after each pass."""
    rows = [naive_line(column, scale, border) for column in image.T]
    return np.array([naive_line(line, scale, border) for line in np.array(rows).T])


def naive_line(line, scale, border):
    shrink = min(scale, 1.0)
    resized = []
    for x in range(1, math.ceil(len(line) * scale) + 1):
        centre = x / scale + 0.5 * (1 - 1 / scale)
        total = weights = 0.0
        for position in range(math.floor(centre - 2 / shrink), math.ceil(centre + 2 / shrink) + 1):
            weight = keys_kernel(shrink * (centre - position))
            weights += weight
            total += weight * float(line[beyond_edge(position, len(line), border) - 1])
        resized.append(min(max(math.floor(total / weights + 0.5), 0), 255))
    return resized


def keys_kernel(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def beyond_edge(position, side, border):
    if border == "replicate":
        return min(max(position, 1), side)
    mirror = [*range(1, side + 1), *range(side, 0, -1)]
    return mirror[(position - 1) % (2 * side)]


def random_pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("border", ["symmetric", "replicate"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("shape", [(24, 36), (7, 5), (1, 1), (1, 13), (2, 3)])
def test_equals_a_loop_over_the_definition(shape, scale, border):
    image = random_pixels(*shape)
    expected = naive_imresize(image, scale, border)
    # Where the exact sum is a tie, another order of summation may fall on the other side of it.
    difference = np.abs(imresize(image, scale, border=border).astype(int) - expected)
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= 0.01 * difference.size


@pytest.mark.parametrize("scale", [1 / 2, 1 / 4, 2.0, 4.0])
def test_powers_of_two_are_exact_since_their_weights_are(scale):
    image = random_pixels(24, 36, seed=1)
    np.testing.assert_array_equal(imresize(image, scale), naive_imresize(image, scale, "symmetric"))


def test_values_worked_out_by_hand():
    """Halving 0 0 0 0 255 255 255 255 mixes the edge with the weights (-3 -9 29 111 ...)/256."""
    step = np.repeat(np.array([0, 255], np.uint8), 4)[None, :]
    # Third value: (111 + 111 + 29 - 9 - 3) / 256 of 255 lies right of the step: 238.07.
    np.testing.assert_array_equal(imresize(step, 0.5), [[0, 17, 238, 255]])


@pytest.mark.parametrize("scale", SCALES)
def test_weights_sum_to_one_everywhere(scale):
    weights, indices = contributions(17, math.ceil(17 * scale), scale, "symmetric")
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-12)
    assert indices.min() >= 0
    assert indices.max() < 17


@pytest.mark.parametrize("scale", SCALES)
def test_a_constant_image_stays_constant_and_sides_round_up(scale):
    resized = imresize(np.full((7, 11, 3), 201, np.uint8), scale)
    assert resized.shape == (math.ceil(7 * scale), math.ceil(11 * scale), 3)
    assert (resized == 201).all()


def test_a_ramp_stays_a_ramp_inside():
    """Cubic convolution reproduces straight lines; pixel centres move by half a pixel."""
    ramp = np.tile(np.arange(40.0), (6, 1))
    np.testing.assert_allclose(imresize(ramp, 0.5)[0, 4:-4], np.arange(0.5, 40, 2)[4:-4])


def test_channels_are_independent():
    image = random_pixels(9, 14, 3)
    planes = [imresize(image[..., c], 1 / 3) for c in range(3)]
    np.testing.assert_array_equal(imresize(image, 1 / 3), np.stack(planes, axis=2))


@pytest.mark.parametrize("scale", [0.25, 3.0])
def test_bands_do_not_show(monkeypatch, scale):
    image = random_pixels(40, 61, 3)
    whole = imresize(image, scale)
    for values in (1, 500):
        monkeypatch.setattr(resize, "_BAND_VALUES", values)
        np.testing.assert_array_equal(imresize(image, scale), whole)


def test_floating_point_is_neither_rounded_nor_clipped():
    image = np.zeros((6, 8), np.float32)
    image[2:, 4:] = 1
    resized = imresize(image, 2.0)
    assert resized.dtype == np.float32
    assert resized.min() < 0
    assert resized.max() > 1
    assert not np.isin(resized, (0, 1)).all()


def test_integers_are_clipped_to_their_own_range():
    image = np.zeros((6, 8), np.uint16)
    image[2:, 4:] = 65535
    resized = imresize(image, 2.0)
    assert resized.dtype == np.uint16
    assert (resized.min(), resized.max()) == (0, 65535)


def test_rows_come_first_and_are_rounded_before_columns():
    image = random_pixels(12, 20)
    rounded_between = imresize(image, 0.5)
    rounded_once = np.clip(np.floor(imresize(image.astype(float), 0.5) + 0.5), 0, 255)
    assert (rounded_between != rounded_once).any()
    assert (rounded_between != imresize(image.T, 0.5).T).any()


def resize_alpha(alpha, scale):
    height = len(alpha)
    rows = slice(0, height * scale)
    return resize_alpha_rows(alpha, 0, height, rows, scale, binary=is_binary(alpha))


@pytest.mark.parametrize("value", [0, 77, 255])
def test_constant_opacity_stays_constant(value):
    assert (resize_alpha(np.full((5, 8), value, np.uint8), 4) == value).all()


def test_a_binary_mask_stays_binary_and_soft_opacity_stays_soft():
    mask = np.zeros((6, 9), np.uint8)
    mask[:, 4:] = 255
    resized = resize_alpha(mask, 3)
    assert resized.shape == (18, 27)
    np.testing.assert_array_equal(resized, np.repeat(np.repeat(mask, 3, 0), 3, 1))
    mask[0, 0] = 128
    assert len(np.unique(resize_alpha(mask, 3))) > 3


@pytest.mark.parametrize(("dtype", "white"), [(np.uint16, 65535), (np.float32, 1)])
def test_opacity_of_deeper_images(dtype, white):
    mask = np.zeros((6, 9), dtype)
    mask[:, 4:] = white
    resized = resize_alpha(mask, 3)
    assert resized.dtype == dtype
    np.testing.assert_array_equal(resized, np.repeat(np.repeat(mask, 3, 0), 3, 1))
    mask[0, 0] = white / 2
    soft = resize_alpha(mask, 3)
    assert len(np.unique(soft)) > 3
    assert (soft.min(), soft.max()) == (0, white)


@pytest.mark.slow
@pytest.mark.skipif("MAMBAIR_DATASETS" not in os.environ, reason="MAMBAIR_DATASETS is not set")
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("name", "border"), [("Set5", "symmetric"), ("Set14", "replicate")])
def test_every_pixel_of_the_published_low_resolution_files(name, border, scale):
    folder = Path(os.environ["MAMBAIR_DATASETS"]) / name
    truths = sorted((folder / "HR").glob("*.png"))
    assert truths
    for truth in truths:
        pixels = np.asarray(Image.open(truth))
        height, width = (side - side % scale for side in pixels.shape[:2])
        published = folder / "LR_bicubic" / f"X{scale}" / f"{truth.stem}x{scale}.png"
        np.testing.assert_array_equal(
            imresize(pixels[:height, :width], 1 / scale, border=border),
            np.asarray(Image.open(published)),
        )
