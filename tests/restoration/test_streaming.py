import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mambair_cli.errors import MemoryLimitError
from mambair_cli.imaging.image import Band, ImageHeader, RestorableImage, ValueRange
from mambair_cli.imaging.metadata.image_metadata import Metadata
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.pixels.jpeg_cells import JpegCells
from mambair_cli.restoration.fitting import AS_TRAINED, Fitting
from mambair_cli.restoration.memory import available as memory
from mambair_cli.restoration.memory.tile_size import PLANNED_SHARE
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


def both(image, options, scale=1, channels=3, fitting=AS_TRAINED, **arguments):
    task = spec(scale, channels)
    whole = restore_image(Network(scale, channels), image, task, options, fitting=fitting)
    reader = Rows(image)
    network = Network(scale, channels)
    bands = joined(*restore_bands(network, reader, task, options, fitting=fitting, **arguments))
    return whole, bands


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("tile", [(32, 8), (40, 20), (17, 0)], ids=str)
@pytest.mark.parametrize("size", [(131, 77), (33, 200), (5, 90), (90, 3), (16, 17), (1, 1)])
def test_bands_are_the_whole(size, tile, scale):
    options = RestoreOptions(*tile)
    whole, bands = both(picture(*size), options, scale)
    np.testing.assert_array_equal(bands.pixels, whole.pixels)


@pytest.mark.parametrize("top", [0, 5])
@pytest.mark.parametrize(("image_channels", "channels"), [(3, 3), (3, 1), (1, 3), (1, 1)])
@pytest.mark.parametrize("alpha", [None, "soft"])
def test_bands_are_the_whole_where_blocks_bind_rows(image_channels, channels, alpha, top):
    steps = np.full((8, 8), 6, np.float32)
    cells = JpegCells(steps, steps, factors=(2, 1), top=top, left=3)
    image = picture(171, 40, image_channels, alpha=alpha)
    fitting = Fitting(contrast=0.8, strength=0.7, cells=cells)
    whole, bands = both(image, RestoreOptions(40, 12), 1, channels, fitting)
    np.testing.assert_array_equal(bands.pixels, whole.pixels)
    plain = restore_image(Network(1, channels), image, spec(1, channels), RestoreOptions(40, 12))
    assert np.abs(whole.pixels - plain.pixels.astype(float)).mean() > 5


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


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("alpha", [None, "soft", "binary"])
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("strength", [0, 0.3])
def test_bands_of_a_blend_are_the_whole(dtype, alpha, channels, scale, strength):
    image, options = picture(131, 40, 3, dtype, alpha), RestoreOptions(40, 12, strength=strength)
    whole, bands = both(image, options, scale, channels, binary_alpha=alpha == "binary")
    np.testing.assert_array_equal(bands.pixels, whole.pixels)


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
    assert difference[visible].max() <= 2
    assert (difference[visible] > 0).mean() < 0.002


def test_rows_are_read_once_and_handed_on_before_the_next_are_read():
    image = picture(400, 30)
    reader = Rows(image)
    header, bands = restore_bands(Network(2), reader, spec(2), RestoreOptions(48, 12))
    assert header == ImageHeader(60, 800, 3, np.dtype(np.uint8))
    assert not reader.asked
    rows = 0
    for band in bands:
        rows += len(band.pixels)
        assert reader.asked[-1][1] <= rows // 2 + 48
    assert rows == 800
    assert all(stop - start <= 48 + 2 * 3 for start, stop in reader.asked)


def test_only_tiles_reach_the_network():
    network = Network()
    joined(*restore_bands(network, Rows(picture(200, 90)), spec(), RestoreOptions(40, 8)))
    assert {shape[:2] for shape in network.shapes} == {(1, 3)}
    assert len({shape[2:] for shape in network.shapes}) == 1


def test_progress_and_notices_are_those_of_the_whole_image():
    told = {"bands": [], "whole": []}
    options, image = RestoreOptions(40, 8), picture(200, 90)

    def callbacks(way):
        return lambda *tiles: told[way].append(tiles), told[way].append

    joined(*restore_bands(Network(), Rows(image), spec(), options, *callbacks("bands")))
    restore_image(Network(), image, spec(), options, *callbacks("whole"))
    assert told["bands"] == told["whole"]
    assert told["bands"][-1] == (18, 18)


def test_self_ensemble():
    whole, bands = both(picture(100, 60), RestoreOptions(40, 8, ensemble=True), 2)
    np.testing.assert_array_equal(bands.pixels, whole.pixels)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("ensemble", [False, True])
def test_a_gpu_gives_the_same_bands(monkeypatch, ensemble):
    monkeypatch.setattr(memory, "available_memory", lambda _: 10**9)
    image, network = picture(100, 90), Network(2)
    options = RestoreOptions(40, 8, ensemble=ensemble)
    whole = restore_image(Network(2), image, spec(2), options)
    bands = joined(*restore_bands(network, Rows(image), spec(2), options))
    np.testing.assert_array_equal(bands.pixels, whole.pixels)
    assert network.shapes[0][0] == (12 if ensemble else 3)


class Hungry(Network):
    """Runs out of memory above a number of pixels, from one of its runs on."""

    def __init__(self, limit, after=0):
        super().__init__()
        self.limit, self.after = limit, after

    def forward(self, x):
        enlarged = super().forward(x)
        if len(self.shapes) > self.after and x.shape[0] * x.shape[2] * x.shape[3] > self.limit:
            raise MemoryError
        return enlarged


def test_short_memory_at_the_top_leads_to_smaller_tiles():
    image, told = picture(500, 300), []
    network = Hungry(100 * 100)
    bands = joined(
        *restore_bands(network, Rows(image), spec(), RestoreOptions(), on_notice=told.append)
    )
    tile = network.shapes[-1][2]
    assert tile <= 100
    whole = restore_image(Network(), image, spec(), RestoreOptions(tile=tile))
    assert bands.pixels.shape == whole.pixels.shape
    assert told[0] == "running 300x500 pixels whole"
    assert told[-1].startswith("memory ran out; trying")


def test_short_memory_further_down_is_an_error_that_names_smaller_tiles():
    network = Hungry(64 * 64, after=5)
    _, bands = restore_bands(network, Rows(picture(500, 200)), spec(), RestoreOptions(128, 16))
    message = r"^memory ran out on cpu in the middle of 10 tiles of 112x120$"
    with pytest.raises(MemoryLimitError, match=message) as caught:
        list(bands)
    assert caught.value.hint == "try again with smaller tiles: --tile 64"
    # The next image, or the same one again, starts with tiles that work.
    joined(*restore_bands(network, Rows(picture(500, 200)), spec(), RestoreOptions(128, 16)))


def test_orientations_give_way_anywhere():
    image, options = picture(200, 60), RestoreOptions(64, 16, ensemble=True)
    network = Hungry(2 * 64 * 64, after=5)
    bands = joined(*restore_bands(network, Rows(image), spec(), options))
    whole = restore_image(Network(), image, spec(), options)
    np.testing.assert_array_equal(bands.pixels, whole.pixels)
    assert {shape[0] for shape in network.shapes} == {4, 2}


def test_binary_opacity_is_found_by_reading_it_all():
    image = picture(300, 20, alpha="binary")
    assert has_binary_alpha(Rows(image))
    image.alpha[299, 19] = 7
    assert not has_binary_alpha(Rows(image))
    assert not has_binary_alpha(Rows(picture(30, 20)))


def header(width, height, dtype=np.uint8, channels=3):
    return ImageHeader(width, height, channels, np.dtype(dtype))


@pytest.mark.parametrize(
    ("dtype", "scale", "mebibytes"),
    # A million pixels: themselves, what the network is shown, its answer, the result.
    [(np.uint8, 1, 30), (np.uint8, 4, 255), (np.uint16, 1, 36), (np.float32, 2, 120)],
)
def test_bands_are_needed_above_the_budget(dtype, scale, mebibytes):
    image = header(1024, 1024, dtype)
    enough = round((mebibytes + 0.5) * MEBIBYTE / PLANNED_SHARE)
    assert not needs_bands(image, scale, enough)
    assert needs_bands(image, scale, enough - 2 * MEBIBYTE)


def test_the_window_fits_in_the_memory_that_there_is(monkeypatch):
    available = 200 * MEBIBYTE
    monkeypatch.setattr(memory, "available_system_memory", lambda: available)
    monkeypatch.setattr(memory, "available_memory", lambda _: available)
    shapes = []

    def new_canvas(shape, device):
        shapes.append(shape)
        return torch.empty(shape, device=device)

    monkeypatch.setattr("mambair_cli.restoration.streaming.new_canvas", new_canvas)
    wide = Rows(picture(900, 10_000))
    restore_bands(Network(), wide, spec(), RestoreOptions())
    canvas = 4 * np.prod(shapes[0])
    assert 0.02 * available < canvas < 0.3 * available


def test_an_image_too_wide_for_any_window_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(memory, "available_system_memory", lambda: MEBIBYTE)
    reader = Rows(picture(900, 2_000))
    message = "^64 rows of the image and of its result need 4 MiB of memory, 1 MiB are available$"
    with pytest.raises(MemoryLimitError, match=message) as caught:
        restore_bands(Network(), reader, spec(), RestoreOptions())
    assert caught.value.hint.startswith("close other programs, raise --max-memory")
    assert not reader.asked


def test_a_limit_on_memory_that_the_process_exceeds_already_is_an_error():
    options = RestoreOptions(max_memory=64 * MEBIBYTE)
    with pytest.raises(MemoryLimitError, match="0 MiB are available") as caught:
        restore_bands(Network(), Rows(picture(900, 200)), spec(), options)
    assert "--max-memory" in caught.value.hint
    with pytest.raises(MemoryLimitError, match="0 MiB are available") as caught:
        restore_image(Network(), picture(900, 200), spec(), options)
    assert "--max-memory" in caught.value.hint
