"""TIFF compressed or packed as libvips does not read it: read as tifffile wrote it, or named."""

import zlib

import numpy as np
import pytest
import tifffile
from skimage import data

from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import read_image
from mambair_cli.imaging.reading import tiff_codecs

NAMES = {
    "lzma": "LZMA",
    "zstd": "Zstandard",
    "jpeg2000": "JPEG 2000",
    "jpegxr": "JPEG XR",
    "jpegxl": "JPEG XL",
    "png": "PNG",
    "lerc": "LERC",
}
ODD_BITS = (3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15)


@pytest.fixture(scope="module")
def photo():
    """Part of NASA's portrait of Eileen Collins (public domain, from scikit-image)."""
    return data.astronaut()[30:97, 180:270].copy()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "page.tif"


def need(name):
    if name != "lzma":
        pytest.importorskip("imagecodecs")


@pytest.mark.parametrize("layout", [{}, {"tile": (32, 48)}, {"rowsperstrip": 20}])
@pytest.mark.parametrize("compression", NAMES)
def test_rare_compression_is_read(path, photo, compression, layout):
    need(compression)
    for pixels in (photo, photo[..., 0].astype(np.uint16) * 200):
        kind = "rgb" if pixels.ndim == 3 else "minisblack"

        tifffile.imwrite(path, pixels, photometric=kind, compression=compression, **layout)
        image = read_image(path)
        assert image.pixels.dtype == pixels.dtype
        np.testing.assert_array_equal(image.pixels.squeeze(), pixels)
        assert image.changes == ()


@pytest.mark.parametrize("compression", sorted(set(NAMES) - {"lzma"}))
def test_without_the_extra_the_kind_and_the_way_out_are_named(
    path, photo, monkeypatch, compression
):
    need(compression)
    tifffile.imwrite(path, photo, photometric="rgb", compression=compression)
    monkeypatch.setattr(tiff_codecs, "_has_imagecodecs", lambda: False)
    with pytest.raises(ImageError) as error:
        read_image(path)
    kind = f"{NAMES[compression]} in TIFF"
    assert error.value.message == f"{path} has {kind}, which cannot be restored"
    assert error.value.hint == "pip install 'mambair[codecs]', which reads it"


def test_compression_that_nothing_reads_is_named(path, photo):
    tifffile.imwrite(path, photo, photometric="rgb")
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["Compression"].overwrite(34661)
    with pytest.raises(ImageError) as error:
        read_image(path)
    assert error.value.message == f"{path} has compression 34661 in TIFF, which cannot be restored"


@pytest.mark.parametrize("bits", ODD_BITS)
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
def test_packed_samples_fill_the_range(path, photo, bits, photometric):
    pytest.importorskip("imagecodecs")
    white = 2**bits - 1
    deep = np.rint(photo / 255.0 * white).astype(np.uint8 if bits <= 8 else np.uint16)
    deep[0, 0], deep[0, 1] = 0, white
    stored = deep if photometric == "rgb" else deep[..., 0]
    tifffile.imwrite(path, stored, photometric=photometric, bitspersample=bits)
    image = read_image(path)
    most = 255 if bits <= 8 else 65535
    expected = np.rint(stored.astype(float) / white * most)
    if photometric == "miniswhite":
        expected = most - expected
    assert image.pixels.dtype == deep.dtype
    assert np.abs(image.pixels.squeeze() - expected).max() <= 1
    assert (image.pixels.min(), image.pixels.max()) == (0, most)
    assert image.changes == (f"{bits} bits {'converted to 8' if bits < 8 else 'widened to 16'}",)


def test_packed_samples_without_the_extra(path, photo, monkeypatch):
    pytest.importorskip("imagecodecs")
    deep = photo[..., 0].astype(np.uint16) << 4
    tifffile.imwrite(path, deep, photometric="minisblack", bitspersample=12)
    monkeypatch.setattr(tiff_codecs, "_has_imagecodecs", lambda: False)
    with pytest.raises(ImageError, match="has 12 bits a sample, which cannot be restored"):
        read_image(path)


def test_12_bit_jpeg_in_tiff(path, photo):
    pytest.importorskip("imagecodecs")
    deep = photo[..., 0].astype(np.uint16) << 4
    tifffile.imwrite(path, deep, photometric="minisblack", bitspersample=12, compression="jpeg")
    image = read_image(path)
    assert np.abs(image.pixels[..., 0] - deep * (65535 / 4095)).mean() < 600


def test_a_palette(path, photo):
    pytest.importorskip("imagecodecs")
    colours = np.random.default_rng(0).integers(0, 256, (3, 256), np.uint16)
    indices = photo[..., 0]
    tifffile.imwrite(
        path, indices, photometric="palette", colormap=colours * 257, compression="zstd"
    )
    np.testing.assert_array_equal(read_image(path).pixels, colours.T[indices])


def test_colours_that_are_not_converted_are_named(path, photo):
    tifffile.imwrite(path, photo, photometric="ycbcr", compression="lzma")
    with pytest.raises(ImageError, match="has luma and chroma with LZMA in TIFF, which cannot"):
        read_image(path)


def with_strip(path, content):
    """Put other content in place of the only strip."""
    with tifffile.TiffFile(path, mode="r+b") as file:
        tags, place = file.pages[0].tags, path.stat().st_size
        tags["StripOffsets"].overwrite((place,))
        tags["StripByteCounts"].overwrite((len(content),))
    path.write_bytes(path.read_bytes() + content)


@pytest.mark.parametrize("compression", sorted(set(NAMES) - {"jpegxr"}))
def test_what_unpacks_to_far_more_is_refused_before_it_does(path, compression):
    imagecodecs = pytest.importorskip("imagecodecs")
    pixels = np.zeros((12, 17), np.uint8)
    tifffile.imwrite(path, pixels, compression=compression, photometric="minisblack")
    large = np.zeros((4000, 3000), np.uint8)
    encode = getattr(imagecodecs, f"{compression.replace('jpeg2000', 'jpeg2k')}_encode")
    with_strip(path, encode(large))
    with pytest.raises(ImageError, match="unpacks to far more than its pixels"):
        read_image(path)


@pytest.mark.parametrize("compression", NAMES)
def test_damage_is_damage(path, photo, compression):
    need(compression)
    tifffile.imwrite(path, photo, photometric="rgb", compression=compression)
    with_strip(path, b"\x55" * 300)
    with pytest.raises(ImageError, match="is damaged or cut short"):
        read_image(path)


def test_a_cut_file_is_damaged(path, photo):
    content = zlib.compress(photo.tobytes())[:-200]
    tifffile.imwrite(path, photo.astype(np.float64), photometric="rgb", compression="deflate")
    with_strip(path, content)
    with pytest.raises(ImageError, match="is damaged or cut short"):
        read_image(path)
