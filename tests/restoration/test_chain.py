"""Several networks after each other, on a whole image and in bands."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mambair_cli.imaging.image import Band, ImageHeader, RestorableImage
from mambair_cli.imaging.metadata.image_metadata import Metadata
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.pixels.jpeg_cells import JpegCells
from mambair_cli.restoration.chain import Link, restore_bands_in_turn, restore_in_turn
from mambair_cli.restoration.fitting import AS_TRAINED, Fitting
from mambair_cli.restoration.restorer import RestoreOptions, restore_image


class Network(nn.Module):
    """Blurs a little, not alike to all sides, and enlarges."""

    def __init__(self, scale):
        super().__init__()
        kernel = torch.tensor([[0.0, 1, 2], [1, 8, 1], [0, 3, 1]]) / 17
        self.kernel = nn.Parameter(kernel.repeat(3, 1, 1, 1), requires_grad=False)
        self.scale = scale

    def forward(self, x):
        padded = functional.pad(x, (1, 1, 1, 1), "replicate")
        blurred = functional.conv2d(padded, self.kernel, groups=3)
        return functional.interpolate(blurred, scale_factor=self.scale)


def link(scale=1, fitting=AS_TRAINED):
    return Link(Network(scale), ModelSpec("stub", "sr", scale, 3), fitting)


class Rows:
    """Reads an image in memory as a file is read."""

    def __init__(self, image):
        self.image = image
        height, width, channels = image.pixels.shape
        self.header = ImageHeader(
            width, height, channels, image.pixels.dtype, image.alpha is not None
        )
        self.metadata, self.span, self.changes = Metadata(), image.span, ()

    def read(self, start, stop):
        alpha = self.image.alpha
        return Band(self.image.pixels[start:stop], None if alpha is None else alpha[start:stop])


def picture(height, width, dtype=np.uint8, alpha=False):
    generator = np.random.default_rng(0)
    white = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    pixels = (generator.random((height, width, 3)) * white).astype(dtype)
    opacity = (generator.random((height, width)) * white).astype(dtype) if alpha else None
    return RestorableImage(pixels, opacity)


def whole(links, image, options, told=None):
    on_progress = (lambda *_: None) if told is None else lambda *tiles: told.append(tiles)
    (restored,) = restore_in_turn([links], [image], options, on_progress, lambda _: None)
    return restored


def in_bands(links, image, options, told=None):
    on_progress = (lambda *_: None) if told is None else lambda *tiles: told.append(tiles)
    header, bands = restore_bands_in_turn(
        links, Rows(image), options, on_progress, lambda _: None, binary_alpha=False
    )
    bands = list(bands)
    pixels = np.concatenate([band.pixels for band in bands])
    assert (*pixels.shape, pixels.dtype) == (
        header.height,
        header.width,
        header.channels,
        header.dtype,
    )
    alpha = np.concatenate([band.alpha for band in bands]) if header.has_alpha else None
    return RestorableImage(pixels, alpha)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_one_network_alone_is_what_it_is_without_a_chain(dtype):
    image, options = picture(37, 52, dtype), RestoreOptions(tile=0)
    only = link(2)
    expected = restore_image(only.network, image, only.spec, options)
    np.testing.assert_array_equal(whole([only], image, options).pixels, expected.pixels)


def test_values_are_rounded_once():
    image, options = picture(37, 52), RestoreOptions(tile=0)
    exact = RestorableImage(image.pixels.astype(np.float32) / np.float32(255))
    for each in (link(), link()):
        exact = restore_image(each.network, exact, each.spec, options)
    expected = np.rint(exact.pixels * np.float32(255)).astype(np.uint8)
    result = whole([link(), link()], image, options)
    np.testing.assert_array_equal(result.pixels, expected)
    rounded = image
    for each in (link(), link()):
        rounded = restore_image(each.network, rounded, each.spec, options)
    assert (rounded.pixels != expected).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("alpha", [False, True])
def test_bands_are_the_whole(dtype, alpha):
    steps = np.full((8, 8), 6, np.float32)
    cells = Fitting(cells=JpegCells(steps, steps, factors=(2, 2), top=3, left=5))
    links = [link(1, cells), link(1, Fitting(strength=0.5)), link(2)]
    image, options = picture(171, 40, dtype, alpha), RestoreOptions(40, 12)
    expected, result = whole(links, image, options), in_bands(links, image, options)
    np.testing.assert_array_equal(result.pixels, expected.pixels)
    if alpha:
        np.testing.assert_array_equal(result.alpha, expected.alpha)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_at_strength_0_nothing_changes(dtype):
    image = picture(41, 30, dtype, alpha=True)
    result = whole([link(), link()], image, RestoreOptions(tile=0, strength=0))
    np.testing.assert_array_equal(result.pixels, image.pixels)
    np.testing.assert_array_equal(result.alpha, image.alpha)


@pytest.mark.parametrize("restore", [whole, in_bands])
def test_tiles_of_all_networks_are_counted_together(restore):
    told = []
    restore([link(), link(2)], picture(90, 40), RestoreOptions(40, 8), told)
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
