"""Inks without a profile, and with one that is none."""

import numpy as np
import pytest
from PIL import Image

from mambair_cli.imaging.files import open_bands, read_image


@pytest.fixture(scope="module")
def inks():
    """Cyan over columns and black over rows; `(h w 4)`, 255 is full ink."""
    values = np.zeros((30, 50, 4), np.uint8)
    values[..., 0] = np.linspace(0, 255, 50).astype(np.uint8)
    values[..., 3] = np.linspace(0, 255, 30).astype(np.uint8)[:, None]
    values[..., 1] = 60
    return values


def by_formula(inks):
    paper = 255.0 - inks
    return np.rint(paper[..., :3] * paper[..., 3:] / 255)


def save(path, inks, **options):
    Image.frombytes("CMYK", inks.shape[1::-1], inks.tobytes()).save(path, **options)
    return path


def test_without_a_profile_the_plain_formula_is_used_and_said(tmp_path, inks):
    image = read_image(save(tmp_path / "print.tif", inks))
    assert np.abs(image.pixels - by_formula(inks)).max() == 0
    assert image.metadata.icc_profile is None
    assert image.changes == ("CMYK without a profile converted by the plain formula",)


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_a_damaged_profile_is_dropped_and_said(tmp_path, inks, suffix):
    profile = (bytes(16) + b"CMYK" + bytes(16) + b"acsp").ljust(400, b"\x07")
    path = save(tmp_path / f"print.{suffix}", inks, icc_profile=profile, quality=100)
    image = read_image(path)
    assert np.abs(image.pixels - by_formula(inks)).mean() < 1
    assert image.metadata.icc_profile is None
    assert image.changes == ("CMYK with a damaged profile converted by the plain formula",)
    with open_bands(path) as reader:
        assert reader.changes == image.changes
        np.testing.assert_array_equal(reader.read(0, 30).pixels, image.pixels)
