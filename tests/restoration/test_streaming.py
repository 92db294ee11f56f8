import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mambair_cli.errors import MemoryLimitError
from mambair_cli.imaging.image import Band, ImageHeader, RestorableImage, ValueRange
from mambair_cli.imaging.metadata import Metadata
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration import memory
from mambair_cli.restoration.restorer import RestoreOptions, restore_image
from mambair_cli.restoration.streaming import has_binary_alpha, needs_bands, restore_bands

MEBIBYTE = 2**20


def spec(scale=1, channels=3):
    return ModelSpec("stub", "sr", scale, channels)


class Network(nn.Module):
    """Convolves and enlarges; not symmetric, so a tile in the wrong place shows."""

    def __init__(self, scale=1, channels=3):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        kernel = torch.rand(channels, 1, 5, 5, generator=generator) / 20
        self.kernel = nn.Parameter(kernel, requires_grad=False)
        self.scale, self.channels, self.shapes = scale, channels, []

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        filtered = functional.conv2d(x, self.kernel, padding=2, groups=self.channels)
        return functional.interpolate(torch.sin(3 * filtered), scale_factor=self.scale)


class Rows:
    """Reads an image in memory as a file is read: downward, rows again only where allowed."""

    def __init__(self, image):
        self.image, self.asked = image, []
        height, width, channels = image.pixels.shape
        self.header = ImageHeader(
            width, height, channels, image.pixels.dtype, image.alpha is not None
        )
        self.metadata, self.span, self.changes = Metadata(), image.span, ()

    def read(self, start, stop):
        assert 0 <= start < stop <= self.header.height
        assert not self.asked or start >= self.asked[-1][0]
        self.asked.append((start, stop))
        alpha = self.image.alpha
        return Band(self.image.pixels[start:stop], None if alpha is None else alpha[start:stop])


def picture(height, width, channels=3, dtype=np.uint8, alpha=None, span=None):
    generator = np.random.default_rng(0)
    if np.issubdtype(dtype, np.integer):
        pixels = generator.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, True)
        white = np.iinfo(dtype).max
    else:
        pixels = generator.random((height, width, channels), dtype)
        white = 1
        if span:
            pixels = pixels * (span.white - span.black) + span.black
    opacity = None
    if alpha == "soft":
        opacity = (generator.random((height, width)) * 0.9 * white + 0.1 * white).astype(dtype)
    elif alpha == "binary":
        opacity = np.where(generator.random((height, width)) > 0.4, white, 0).astype(dtype)
    return RestorableImage(np.asarray(pixels, dtype), opacity, span=span)


def joined(header, bands):
    bands = list(bands)
    assert all(band.pixels.dtype == header.dtype for band in bands)
    pixels = np.concatenate([band.pixels for band in bands])
    assert pixels.shape == (header.height, header.width, header.channels)
    assert header.has_alpha == (bands[0].alpha is not None)
    alpha = np.concatenate([band.alpha for band in bands]) if header.has_alpha else None
    return RestorableImage(pixels, alpha)


def both(image, options, scale=1, channels=3, **arguments):
    whole = restore_image(Network(scale, channels), image, spec(scale, channels), options)
    reader = Rows(image)
    network = Network(scale, channels)
    bands = joined(
        *restore_bands(network, reader, spec(scale, channels), options, **arguments)
    )
    return whole, bands


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("tile", [(32, 8), (40, 20), (17, 0)], ids=str)
@pytest.mark.parametrize("size", [(131, 77), (33, 200), (5, 90), (90, 3), (16, 17), (1, 1)])
def test_bands_are_the_whole(size, tile, scale):
    options = RestoreOptions(*tile)
    whole, bands = both(picture(*size), options, scale)
    np.testing.assert_array_equal(bands.pixels, whole.pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("alpha", [None, "soft", "binary"])
@pytest.mark.parametrize(("image_channels", "channels"), [(3, 3), (1, 3), (3, 1), (1, 1)])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_bands_are_the_whole_for_every_kind_of_image(dtype, alpha, image_channels, channels, scale):
    image = picture(171, 40, image_channels, dtype, alpha)
    options = RestoreOptions(40, 12)
    whole, bands = both(image, options, scale, channels, binary_alpha=alpha == "binary")
    np.testing.assert_array_equal(bands.pixels, whole.pixels)
    if alpha:
        np.testing.assert_array_equal(bands.alpha, whole.alpha)
        assert bands.alpha.dtype == dtype


@pytest.mark.parametrize("channels", [1, 3])
def test_bands_are_the_whole_beyond_zero_and_one(channels):
    image = picture(90, 50, dtype=np.float32, span=ValueRange(-0.5, 7))
    whole, bands = both(image, RestoreOptions(32, 8), 2, channels)
    np.testing.assert_array_equal(bands.pixels, whole.pixels)
    assert whole.pixels.max() > 1


def test_under_a_large_transparent_area_visible_colours_hardly_differ():
    image = picture(300, 60, alpha="binary")
    image.alpha[:] = 255
    image.alpha[20:280, 5:50] = 0
    whole, bands = both(image, RestoreOptions(48, 12), binary_alpha=True)
    visible = image.alpha > 0
    difference = np.abs(whole.pixels.astype(int) - bands.pixels)
    assert difference[visible].max() <= 8
    assert (difference[visible] > 0).mean() < 0.02
