"""Damaged files are refused, and restored as far as they are there where that is asked for."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import InputFile

PHOTO = data.astronaut()[30:230, 100:260].copy()  # NASA's portrait of Eileen Collins


def encoded(kind):
    file = io.BytesIO()
    if kind == "tif":
        # The tags stand in front, as in files that were written as a stream.
        Image.fromarray(PHOTO).save(file, "TIFF", compression="tiff_lzw")
        pages = io.BytesIO()
        file.seek(0)
        pixels = tifffile.imread(file)
        tifffile.imwrite(pages, pixels, photometric="rgb", rowsperstrip=20)
        return pages.getvalue()
    options = {"jpg": {"quality": 95}, "progressive.jpg": {"progressive": True}}.get(kind, {})
    Image.fromarray(PHOTO).save(file, "PNG" if kind == "png" else "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
@pytest.mark.parametrize("in_bands", [False, True])
def test_half_a_file(tmp_path, kind, in_bands):
    content = encoded(kind)
    whole, half = tmp_path / f"whole.{kind}", tmp_path / f"half.{kind}"
    whole.write_bytes(content)
    half.write_bytes(content[: len(content) // 2])
    with InputFile(half) as file, pytest.raises(ImageError, match="damaged or cut short") as error:
        file.read()
    assert "--accept-damaged" in error.value.hint
    with InputFile(whole, accept_damaged=True) as file:
        sound = file.read().images[0]
    assert sound.changes == ()
    with InputFile(half, accept_damaged=True) as file:
        if in_bands:
            bands = file.bands()
            pixels, (phrase,) = bands.read(0, 200).pixels, bands.changes
        else:
            image = file.read().images[0]
            pixels, (phrase,) = image.pixels, image.changes
    assert phrase.startswith("damaged from about row ")
    row = int(phrase.split()[4])
    assert 40 <= row <= 120
    assert phrase.endswith(" of 200 on, restored as far as it is there")
    assert pixels.shape == PHOTO.shape
    np.testing.assert_array_equal(pixels[: row - 16], sound.pixels[: row - 16])
    assert (pixels[190:] != sound.pixels[190:]).any()


def test_a_progressive_file_is_there_in_coarse(tmp_path):
    content = encoded("progressive.jpg")
    path = tmp_path / "cut.jpg"
    path.write_bytes(content[: len(content) * 2 // 3])
    with InputFile(path, accept_damaged=True) as file:
        image = file.read().images[0]
    assert "restored as far as it is there" in image.changes[0]
    assert np.abs(image.pixels.astype(int) - PHOTO).mean() < 12


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n" + bytes(30)])
def test_what_has_nothing_left_is_refused_all_the_same(tmp_path, content):
    path = tmp_path / "nothing"
    path.write_bytes(content)
    with InputFile(path, accept_damaged=True) as file, pytest.raises(ImageError):
        file.read()
