"""A few kinds of pixels from a command line to the result: depth, opacity, profile, frames."""

from __future__ import annotations

import numpy as np
import pytest
from image_files import image_files

from mambair_cli.imaging.files import read_images

FILES = {file.id: file for file in image_files()}
KINDS = (
    "RGB 16 bits, no value above 255.png",
    "RGB 16 bits, wide gamut.tif",
    "RGB with alpha 16 bits.png",
    "gray with alpha 8 bits.png",
    "palette 4 bits, transparent.png",
    "gray float 32 bits, below 0 and above 1.tif",
    "CMYK inverted by Adobe.jpg",
    "orientation 6.jpg",
    "animated, transparent.gif",
    "gray 16 bits, two pages.tif",
)


@pytest.mark.parametrize("name", KINDS)
def test_the_result_is_of_the_kind_of_its_source(mambair, weights, tmp_path, name):
    file = FILES[name]
    source = tmp_path / f"source{file.suffix}"
    source.write_bytes(file.make())
    target = tmp_path / f"target{file.suffix}"
    weights_file = weights / "denoise-s25.safetensors"
    outcome = mambair("denoise", source, "-o", target, "-v", "--weights", weights_file)
    assert (outcome.status, outcome.lines) == (0, [str(target)]), outcome.err
    before, after = read_images(source).images, read_images(target).images
    assert len(after) == len(before) == len(file.frames)
    for old, new in zip(before, after, strict=True):
        assert new.pixels.dtype == old.pixels.dtype
        assert new.pixels.shape == old.pixels.shape
        assert (new.alpha is None) == (old.alpha is None)
        if old.alpha is not None and old.alpha.max() > old.alpha.min():
            np.testing.assert_array_equal(new.alpha, old.alpha)
        if file.profile is not None:
            assert new.metadata.icc_profile == file.profile
