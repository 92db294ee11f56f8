"""Every format and kind of pixel: read, read in bands, restored, and written to every format."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from image_files import image_files

from mambair_cli.imaging.files import (
    can_band,
    open_bands,
    read_header,
    read_image,
    read_images,
)

FILES = {file.id: file for file in image_files()}


@pytest.fixture
def written(tmp_path):
    """Writes a file of the table."""

    def write(name):
        file = FILES[name]
        if file.plugin and importlib.util.find_spec(file.plugin) is None:
            pytest.skip(f"{file.plugin} is not installed")
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
def test_what_is_read_is_what_the_file_holds(written, name):
    file, path = FILES[name], written(name)
    sequence = read_images(path)
    assert len(sequence.images) == len(file.frames)
    for index, (image, pixels) in enumerate(zip(sequence.images, file.frames, strict=True)):
        assert_close(image.pixels, pixels, file.tolerance)
        assert (image.alpha is not None) == bool(file.alpha)
        if file.alpha:
            assert_close(image.alpha, file.alpha[index], file.tolerance)
        if file.profile is not None:
            assert image.metadata.icc_profile == file.profile


@pytest.mark.parametrize("name", FILES)
def test_the_header_says_what_is_read(written, name):
    file, path = FILES[name], written(name)
    header = read_header(path)
    image = read_images(path).images[0]
    assert (header.height, header.width, header.channels) == image.pixels.shape
    assert header.dtype == image.pixels.dtype
    if header.images == 1:  # composing frames may show that their opacity hides nothing
        assert header.has_alpha == (image.alpha is not None)
    assert header.images == len(file.frames)


SINGLE = [name for name, file in FILES.items() if len(file.frames) == 1]


@pytest.mark.parametrize("name", SINGLE)
def test_bands_are_the_image(written, name):
    path = written(name)
    if not can_band(path):
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
