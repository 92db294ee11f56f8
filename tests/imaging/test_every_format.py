"""Every format and kind of pixel: read, read in bands, restored, and written to every format."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
import pytest
import torch
from image_files import image_files
from torch import nn

from mambair_cli.errors import OutputError
from mambair_cli.imaging.files import (
    open_bands,
    read_header,
    read_image,
    read_images,
    write_image,
    write_images,
)
from mambair_cli.imaging.image import ImageSequence, ValueRange
from mambair_cli.networks.spec import ModelSpec
from mambair_cli.restoration.restorer import RestoreOptions, restore_image

FILES = {file.id: file for file in image_files()}


PLUGINS = {".heic": "pillow_heif", ".jxl": "pillow_jxl"}


def require(suffix):
    plugin = PLUGINS.get(suffix)
    if plugin is not None and importlib.util.find_spec(plugin) is None:
        pytest.skip(f"{plugin} is not installed")


@pytest.fixture
def written(tmp_path):
    """Writes a file of the table."""

    def write(name):
        file = FILES[name]
        require(file.suffix)
        path = tmp_path / f"source{file.suffix}"
        path.write_bytes(file.make())
        return path

    return write


def assert_close(actual, expected, tolerance):
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    # Differences of integers in int64: of floating point in float64.
    wide = np.float64 if actual.dtype == np.float32 else np.int64
    difference = np.abs(actual.astype(wide) - expected.astype(wide)).max()
    assert difference <= tolerance


@pytest.mark.parametrize("name", FILES)
def test_what_is_read_is_what_the_file_holds_and_its_header_says(written, name):
    file, path = FILES[name], written(name)
    header, sequence = read_header(path), read_images(path)
    assert header.images == len(sequence.images) == len(file.frames)
    first = sequence.images[0]
    assert (header.height, header.width, header.channels) == first.pixels.shape
    assert header.dtype == first.pixels.dtype
    # Composing frames may show that their opacity hides nothing.
    assert header.images > 1 or header.has_alpha == (first.alpha is not None)
    for index, (image, pixels) in enumerate(zip(sequence.images, file.frames, strict=True)):
        assert_close(image.pixels, pixels, file.tolerance)
        assert (image.alpha is not None) == bool(file.alpha)
        if file.alpha:
            assert_close(image.alpha, file.alpha[index], file.tolerance)
        if file.profile is not None:
            assert image.metadata.icc_profile == file.profile


SINGLE = [name for name, file in FILES.items() if len(file.frames) == 1]


@pytest.mark.parametrize("name", SINGLE)
def test_bands_are_the_image(written, name):
    path = written(name)
    if not read_header(path).in_bands:
        pytest.skip("the format is read as a whole")
    image = read_image(path)
    height = len(image.pixels)
    with open_bands(path) as reader:
        assert reader.header == read_header(path)
        assert reader.span == image.span
        assert reader.changes == image.changes
        assert reader.metadata == image.metadata
        for start, stop in ((0, 7), (5, 12), (12, 13), (13, height)):
            band = reader.read(start, stop)
            np.testing.assert_array_equal(band.pixels, image.pixels[start:stop])
            if image.alpha is None:
                assert band.alpha is None
            else:
                np.testing.assert_array_equal(band.alpha, image.alpha[start:stop])


# What is written


class Identity(nn.Module):
    """A network that changes nothing."""

    def __init__(self):
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x


UNCHANGED = ModelSpec("identity", "denoise", 1, 3)


def restored(path):
    """Reads a file and sends every image of it through a network that changes nothing."""
    sequence = read_images(path)
    options = RestoreOptions(tile=32)
    images = [restore_image(Identity(), image, UNCHANGED, options) for image in sequence.images]
    return ImageSequence(tuple(images), sequence.timing)


# What each format makes of a sample at quality 100, in steps of 8 bits: nothing, unless it loses.
LOSSES = {".jpg": 8, ".avif": 12, ".heic": 12}
ANIMATIONS = {".png", ".webp", ".gif", ".avif"}
OPAQUE = {".jpg", ".bmp"}
WITHOUT_PROFILE = {".bmp", ".gif", ".jxl"}
TARGETS = (".png", ".tif", ".jpg", ".webp", ".gif", ".bmp", ".avif", ".heic", ".jxl")


def refusal(sequence, suffix):
    """Part of the message with which a format refuses the images; None if it holds them."""
    if len(sequence.images) > 1 and suffix not in {*ANIMATIONS, ".tif"}:
        return "holds one image"
    if len(sequence.images) > 1 and sequence.timing is None and suffix != ".tif":
        return "pages"
    if suffix in OPAQUE:
        for image in sequence.images:
            if image.alpha is not None and (image.alpha < image.value_range.white).any():
                return "has no transparency"
    return None


def stored(values, suffix):
    """Samples as deep as the format has them."""
    if values.dtype == np.uint8 or (values.dtype == np.uint16 and suffix in (".png", ".tif")):
        return values
    if values.dtype == np.float32 and suffix == ".tif":
        return values
    white = 65535 if suffix in (".png", ".tif") else 255
    scaled = values / 65535 if values.dtype == np.uint16 else np.clip(values, 0, 1)
    return np.round(scaled.astype(np.float64) * white).astype(
        np.uint16 if white > 255 else np.uint8
    )


def kind_of(file):
    """What decides how it can be written; one file of each kind is tried by default."""
    pixels = file.frames[0]
    opaque = bool(file.alpha) and file.alpha[0].min() == ValueRange.of(pixels.dtype).white
    timed = len(file.frames) > 1 and file.suffix != ".tif"
    beyond = pixels.dtype == np.float32 and pixels.max() > 1
    return (
        *(pixels.dtype.name, pixels.shape[2], bool(file.alpha), opaque, len(file.frames) > 1),
        *(timed, beyond, file.profile is not None),
    )


KINDS = {kind_of(file): name for name, file in reversed(FILES.items())}
EACH = [
    pytest.param(name, marks=() if name in KINDS.values() else pytest.mark.slow) for name in FILES
]


@pytest.mark.parametrize("suffix", TARGETS)
@pytest.mark.parametrize("name", EACH)
def test_what_is_restored_is_written_to_every_format(written, tmp_path, name, suffix):
    source = written(name)
    require(suffix)
    sequence, target = restored(source), tmp_path / f"target{suffix}"
    reason = refusal(sequence, suffix)
    if reason is not None:
        with pytest.raises(OutputError, match=reason) as caught:
            write_images(target, sequence, quality=100)
        assert caught.value.hint
        assert sorted(path.name for path in tmp_path.iterdir()) == [source.name]
        return
    report = write_images(target, sequence, quality=100)
    again = read_images(target)
    assert_written(again, sequence, suffix)
    first = sequence.images[0]
    profile = first.metadata.icc_profile or b""
    # WebP stores gray as RGB, which a profile for gray does not fit.
    if suffix not in WITHOUT_PROFILE and (suffix != ".webp" or profile[16:20] != b"GRAY"):
        assert again.images[0].metadata.icc_profile == first.metadata.icc_profile
    shallower = stored(first.pixels, suffix).dtype != first.pixels.dtype
    told = [phrase for phrase in report.changed if re.search("(bits|point) reduced to", phrase)]
    assert len(told) == shallower


def assert_written(again, sequence, suffix):
    assert len(again.images) == len(sequence.images)
    if suffix in ANIMATIONS and sequence.timing is not None:
        assert again.timing.durations == sequence.timing.durations
    for image, written_image in zip(sequence.images, again.images, strict=True):
        expected = stored(image.pixels, suffix)
        assert written_image.pixels.dtype == expected.dtype
        assert written_image.pixels.shape[:2] == expected.shape[:2]
        if image.alpha is not None and suffix not in OPAQUE and suffix != ".gif":
            assert_alpha(written_image.alpha, stored(image.alpha, suffix), suffix)
        if image.metadata.icc_profile and suffix in WITHOUT_PROFILE:
            continue
        difference = np.abs(
            written_image.pixels.astype(np.float64) - expected.astype(np.float64)
        ).max(axis=2)
        if suffix == ".gif":  # 256 colours, dithered
            clear = None if image.alpha is None else stored(image.alpha, suffix) < 128
            assert difference[~clear if clear is not None else ...].mean() < 20
            continue
        seen = image.alpha is None or image.alpha > 0
        rounding = image.pixels.dtype == np.float32 and suffix != ".tif"
        assert (difference * np.asarray(seen)).max() <= LOSSES.get(suffix, 0) + rounding


def assert_alpha(actual, expected, suffix):
    if actual is None:
        assert (expected == ValueRange.of(expected.dtype).white).all()
        return
    rounding = expected.dtype == np.uint16
    assert np.abs(actual.astype(float) - expected).max() <= LOSSES.get(suffix, 0) + rounding


def test_network_and_writing_keep_a_dark_16_bit_image_in_16_bits(written, tmp_path):
    path = written("RGB 16 bits, no value above 255.png")
    for suffix in (".png", ".tif"):
        target = tmp_path / f"target{suffix}"
        report = write_images(target, restored(path))
        assert "16 bits" in report.kept
        again = read_image(target).pixels
        assert again.dtype == np.uint16
        np.testing.assert_array_equal(again, read_image(path).pixels)


def test_an_opaque_16_bit_image_with_alpha_fits_formats_without(written, tmp_path):
    path = written("RGB with alpha 16 bits, opaque.png")
    write_images(tmp_path / "target.jpg", restored(path))
    again = read_image(tmp_path / "target.jpg")
    assert (again.pixels.dtype, again.alpha) == (np.uint8, None)


@pytest.mark.parametrize(
    "suffix",
    [pytest.param(s, marks=() if s in (".jpg", ".tif") else pytest.mark.slow) for s in TARGETS],
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_applied_once(written, tmp_path, orientation, suffix):
    """What is written is upright and says so, whichever format it came from and goes to."""
    require(suffix)
    name = f"orientation {orientation}.jpg"
    source = read_image(written(name))
    write_image(tmp_path / f"target{suffix}", source, quality=100)
    again = read_image(tmp_path / f"target{suffix}")
    assert again.pixels.shape[:2] == FILES[name].frames[0].shape[:2]
    assert again.metadata.stored_orientation == 1
    difference = np.abs(again.pixels.astype(int) - source.pixels)
    assert difference.mean() < 20 if suffix == ".gif" else difference.max() <= LOSSES.get(suffix, 0)
