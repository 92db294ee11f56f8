"""AVIF and HEIC files of more than 8 bits, and turned ones."""

from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image
from skimage import data

from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import read_header, read_image, read_images


@pytest.fixture(scope="module")
def deep():
    """Part of NASA's portrait of Eileen Collins (public domain, from scikit-image), 16 bits."""
    return (data.astronaut()[30:97, 180:270].astype(np.float64) * 257).round().astype(np.uint16)


def save_avif(path, pixels, bits):
    kind = "rgb16" if pixels.dtype == np.uint16 else "srgb"
    image = pyvips.Image.new_from_array(pixels).copy(interpretation=kind)
    image.heifsave(path, compression="av1", bitdepth=bits, lossless=True)
    return path


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_avif_becomes_16_bits(tmp_path, deep, bits):
    path = save_avif(tmp_path / "deep.avif", deep, bits)
    image = read_image(path)
    assert image.pixels.dtype == np.uint16
    step = 65535 / (2**bits - 1)
    assert np.abs(image.pixels.astype(float) - deep).max() <= 4 * step
    assert image.changes == (f"{bits} bits widened to 16",)
    header = read_header(path)
    assert (header.width, header.height, header.channels) == (90, 67, 3)
    assert header.dtype == np.uint16


@pytest.mark.parametrize("bits", [10, 12])
def test_white_is_white_and_black_is_black(tmp_path, bits):
    pixels = np.zeros((20, 30, 3), np.uint16)
    pixels[:, 15:] = 65535
    values = read_image(save_avif(tmp_path / "deep.avif", pixels, bits)).pixels
    assert (values.min(), values.max()) == (0, 65535)


def test_a_dark_deep_image_stays_deep(tmp_path, deep):
    path = save_avif(tmp_path / "dark.avif", deep // 256, 12)
    assert read_image(path).pixels.dtype == np.uint16


def test_opacity_of_deep_avif(tmp_path, deep):
    alpha = np.tile(np.linspace(0, 65535, 90).astype(np.uint16), (67, 1))
    image = read_image(save_avif(tmp_path / "deep.avif", np.dstack([deep, alpha]), 12))
    assert image.alpha is not None
    assert np.abs(image.alpha.astype(float) - alpha).max() <= 2 * 65535 / 4095


def test_deep_heic_becomes_16_bits(tmp_path, deep):
    pillow_heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "deep.heic"
    encoded = pillow_heif.from_bytes(mode="RGB;16", size=(90, 67), data=deep.tobytes())
    encoded.save(path, quality=-1, chroma=444)
    header, image = read_header(path), read_image(path)
    assert header.dtype == image.pixels.dtype == np.uint16
    assert np.abs(image.pixels.astype(float) - deep).mean() < 200
    assert image.changes == ("10 bits widened to 16",)


def test_another_codec_in_heic_is_no_damage(tmp_path, deep):
    path = tmp_path / "other.heic"
    Image.fromarray((deep >> 8).astype(np.uint8)).save(path, "AVIF")
    path.write_bytes(path.read_bytes().replace(b"avif", b"mif1").replace(b"avis", b"mif1"))
    with pytest.raises(ImageError, match=r"cannot be decoded here: .* has not been built in"):
        read_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["avif", "heic"])
def test_turned_once_and_not_twice(tmp_path, orientation, suffix):
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    # What is dark is at the top left of the upright image, and wide.
    upright = np.full((64, 96, 3), 220, np.uint8)
    upright[:16, :48] = 20
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif.tobytes(), quality=90)
    image, header = read_image(path), read_header(path)
    assert (header.height, header.width) == image.pixels.shape[:2] == (64, 96)
    assert np.abs(image.pixels.astype(int) - upright).mean() < 3
    assert image.metadata.stored_orientation in (1, orientation)


def test_a_turned_deep_avif(tmp_path, deep):
    """libheif turns it; the EXIF block's word is not taken a second time."""
    path = tmp_path / "turned.avif"
    image = pyvips.Image.new_from_array(np.rot90(deep).copy()).copy(interpretation="rgb16")
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    image.heifsave(path, compression="av1", bitdepth=12, lossless=True)
    shape = read_image(path).pixels.shape
    header = read_header(path)
    assert (header.height, header.width, 3) == shape


def test_several_frames_of_avif_have_their_timing(tmp_path, deep):
    frames = [Image.fromarray((np.roll(deep, s, axis=1) >> 8).astype(np.uint8)) for s in (0, 20)]
    path = tmp_path / "moving.avif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[40, 80])
    timing = read_images(path).timing
    assert timing is not None
    assert timing.durations == (40, 80)


def test_deep_gray_avif_stays_gray():
    """A file of 10 bits without chroma, which nothing that is installed here writes."""
    path = Path(__file__).parents[2] / "data" / "gray_10.avif"
    header, image = read_header(path), read_image(path)
    assert (header.width, header.height, header.channels) == (64, 48, 1)
    assert image.pixels.shape == (48, 64, 1)
    eight = np.asarray(Image.open(path))
    assert np.abs(image.pixels[..., 0] / 257 - eight).max() <= 1


def test_premultiplied_deep_avif_is_made_straight(tmp_path, deep):
    """Marked in the file by a reference from the picture to its opacity."""
    alpha = np.tile(np.linspace(9000, 65535, 90).astype(np.uint16), (67, 1))
    dark = (deep * (alpha[..., None] / 65535)).round().astype(np.uint16)
    image = pyvips.Image.new_from_array(np.dstack([dark, alpha])).copy(interpretation="rgb16")
    image.set_type(pyvips.GValue.blob_type, "exif-data", b"Exif\0\0II*\0\x08" + bytes(9))
    path = tmp_path / "premultiplied.avif"
    image.heifsave(path, compression="av1", bitdepth=12, lossless=True)
    content = path.read_bytes()
    of_exif, premultiplied = b"cdsc\0\3\0\1\0\1", b"prem\0\1\0\1\0\2"
    assert of_exif in content
    path.write_bytes(content.replace(of_exif, premultiplied))
    read = read_image(path)
    assert np.abs(read.pixels.astype(float) - deep).max() < 65535 * 0.01
    assert read.changes == ("12 bits widened to 16", "premultiplied alpha made straight")


def test_a_video_behind_the_picture_is_named(tmp_path, deep):
    path = tmp_path / "moving.avif"
    Image.fromarray((deep >> 8).astype(np.uint8)).save(path)
    assert read_image(path).metadata.reading.dropped == ()
    path.write_bytes(path.read_bytes() + b"\0\0\1\0mpvd" + bytes(248))
    assert read_image(path).metadata.reading.dropped == ("motion video",)


def test_pictures_of_different_sizes_in_one_file_stay_whole(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    file = pillow_heif.HeifFile()
    for size in ((16, 12), (24, 20)):
        file.add_from_pillow(Image.new("RGB", size, "red"))
    path = tmp_path / "two.heic"
    file.save(path)
    images = read_images(path).images
    assert sorted(image.pixels.shape[:2] for image in images) == [(12, 16), (20, 24)]
    assert not any("cut off" in change for image in images for change in image.changes)
