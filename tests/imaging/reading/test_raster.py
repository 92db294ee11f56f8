"""Reading images from top to bottom: the rows, what is kept of them, and damage on the way."""

import gc
import io
import struct
import tempfile
import threading
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from mambair_cli.errors import ImageError, OutputError
from mambair_cli.imaging import vips
from mambair_cli.imaging.files import can_band, open_bands, read_header, read_image
from mambair_cli.imaging.image import ValueRange
from mambair_cli.imaging.reading import raster


@pytest.fixture(scope="module")
def photo():
    """Part of NASA's portrait of Eileen Collins (public domain, from scikit-image)."""
    return data.astronaut()[30:330, 100:310].copy()


def turned(path, photo, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo).save(path, exif=exif)
    return path


def test_which_formats_are_read_in_bands(tmp_path, photo):
    for suffix, read, write in (("png", True, True), ("TIF", True, True), ("jpg", True, False)):
        path = turned(tmp_path / f"photo.{suffix}", photo, 1)
        assert read_header(path).in_bands == read
        assert can_band(path) == write
    path = turned(tmp_path / "photo.webp", photo, 1)
    assert not read_header(path).in_bands
    assert not can_band(path)
    with pytest.raises(ImageError) as error, open_bands(path):
        pass
    assert error.value.message == f"{path} cannot be read in bands"
    assert error.value.hint == "convert it to PNG or TIFF first"


def test_no_room_to_unpack_what_has_to_be_turned(tmp_path, photo):
    resource = pytest.importorskip("resource")
    path = turned(tmp_path / "photo.png", photo, 6)
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    try:
        with pytest.raises(OutputError) as error, open_bands(path):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.message == (
        f"{path} cannot be unpacked in {tempfile.gettempdir()}: File too large"
    )
    assert error.value.hint == "set TMPDIR to a folder with more room"


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", [1, 2, 4, 7])
def test_overlapping_and_missing_rows(tmp_path, photo, suffix, orientation):
    path = turned(tmp_path / f"photo.{suffix}", photo, orientation)
    pixels = read_image(path).pixels
    height = len(pixels)
    with open_bands(path) as reader:
        for start, stop in (
            (0, 1),
            (0, 40),
            (39, 40),
            (39, 90),
            (60, 91),
            (120, 150),
            (150, height),
        ):
            np.testing.assert_array_equal(reader.read(start, stop).pixels, pixels[start:stop])
        np.testing.assert_array_equal(
            reader.read(height - 1, height).pixels, pixels[height - 1 : height]
        )


def test_rows_that_are_gone_or_do_not_exist(tmp_path, photo):
    path = turned(tmp_path / "photo.png", photo, 1)
    with open_bands(path) as reader:
        reader.read(20, 40)
        for start, stop in ((19, 30), (40, 40), (290, 301)):
            with pytest.raises(ValueError, match=r"^rows \d+ to \d+ cannot be read after row 20$"):
                reader.read(start, stop)


def test_a_band_is_the_callers_to_change(tmp_path, photo):
    path = turned(tmp_path / "photo.png", photo, 1)
    with open_bands(path) as reader:
        reader.read(0, 40).pixels[:] = 0
        np.testing.assert_array_equal(reader.read(10, 50).pixels, photo[10:50])


def test_a_whole_image_is_the_callers_to_change(tmp_path, photo):
    image = read_image(turned(tmp_path / "photo.png", photo, 1))
    image.pixels[:] = 0
    assert read_image(tmp_path / "photo.png").pixels.max() > 200


def test_a_changed_file_is_read_anew(tmp_path, photo):
    path = turned(tmp_path / "photo.png", photo, 1)
    read_image(path)
    turned(path, photo[:, ::-1].copy(), 1)
    np.testing.assert_array_equal(read_image(path).pixels, photo[:, ::-1])


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("png", {}),
        ("jpg", {}),
        ("jpg", {"progressive": True}),
        ("tif", {}),
        ("tif", {"compression": "tiff_lzw"}),
        ("tif", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_a_cut_file_is_damaged_when_its_end_is_reached(tmp_path, photo, suffix, options):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(photo).save(path, **options)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])

    def read_all():
        with open_bands(path) as reader:
            for start in range(0, 300, 20):
                reader.read(start, start + 20)

    with pytest.raises(ImageError, match="is damaged or cut short: "):
        read_all()


def png_with(photo, name, body):
    """A PNG file with one more chunk before its pixels."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    content = buffer.getvalue()
    chunk = struct.pack(">I", len(body)) + name + body
    chunk += struct.pack(">I", zlib.crc32(name + body))
    return content[:33] + chunk + content[33:]


def test_an_odd_colour_profile_is_no_damage(tmp_path, photo):
    path = tmp_path / "odd.png"
    path.write_bytes(png_with(photo, b"iCCP", b"odd\0\0" + zlib.compress(b"no profile" * 20)))
    np.testing.assert_array_equal(read_image(path).pixels, photo)


@pytest.mark.parametrize("progressive", [False, True])
def test_what_libjpeg_only_warns_of_is_no_damage(tmp_path, photo, progressive):
    path = tmp_path / "padded.jpg"
    Image.fromarray(photo).save(path, progressive=progressive)
    expected = read_image(path).pixels
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes(100) + content[-2:])
    np.testing.assert_array_equal(read_image(path).pixels, expected)
    with open_bands(path) as reader:
        for start in range(0, 300, 50):
            band = reader.read(max(0, start - 10), start + 50)
            np.testing.assert_array_equal(band.pixels, expected[max(0, start - 10) : start + 50])


def test_damage_inside_a_jpeg_file_is_found(tmp_path, photo):
    path = tmp_path / "photo.jpg"
    Image.fromarray(photo).save(path, restart_marker_rows=1)
    content = bytearray(path.read_bytes())
    marker = content.index(b"\xff\xd3")
    content[marker + 1] = 0xD6
    path.write_bytes(content)
    with pytest.raises(ImageError, match="is damaged or cut short: Corrupt JPEG data"):
        read_image(path)


def test_the_pass_for_black_and_white_is_made_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(raster, "_PASS_VALUES", 500)
    path = tmp_path / "real.tif"
    pixels = np.linspace(-3, 8, 70 * 90, dtype=np.float32).reshape(70, 90)
    tifffile.imwrite(path, pixels, rowsperstrip=4)
    with open_bands(path) as reader:
        assert reader.span == ValueRange(-3, 8)
        np.testing.assert_array_equal(reader.read(0, 70).pixels[..., 0], pixels)


def test_premultiplied_rows_outlive_the_garbage_collector(tmp_path, photo):
    path = tmp_path / "photo.tif"
    alpha = np.full(photo.shape[:2], 128, np.uint8)
    stored = np.dstack([photo // 2, alpha])
    tifffile.imwrite(path, stored, photometric="rgb", extrasamples=["assocalpha"], rowsperstrip=5)
    expected = read_image(path).pixels
    with open_bands(path) as reader:
        gc.collect()
        for start in range(0, 300, 20):
            np.testing.assert_array_equal(
                reader.read(start, start + 20).pixels, expected[start : start + 20]
            )


def test_threads_read_files_of_their_own(tmp_path, photo):
    paths = [turned(tmp_path / f"{i}.png", np.roll(photo, i, axis=0), 1) for i in range(4)]
    right = []

    def read(index):
        expected = np.roll(photo, index, axis=0)
        right.extend(np.array_equal(read_image(paths[index]).pixels, expected) for _ in range(5))

    threads = [threading.Thread(target=read, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 20


def test_nothing_is_cached():
    assert vips.pyvips.cache_get_size() == 0
