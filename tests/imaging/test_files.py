"""Image files of every supported kind in and out, and everything that can be wrong with them."""

import contextlib
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from skimage import data

from mambair_cli.errors import ImageError
from mambair_cli.imaging import formats
from mambair_cli.imaging.files import (
    SUPPORTED_SUFFIXES,
    open_bands,
    read_header,
    read_image,
    read_images,
    write_image,
)
from mambair_cli.imaging.image import RestorableImage

LOSSLESS = ("png", "tif", "bmp", "webp")


@pytest.fixture(scope="module")
def photo():
    """Part of NASA's portrait of Eileen Collins (public domain, from scikit-image)."""
    return data.astronaut()[30:97, 180:270].copy()


@pytest.fixture(scope="module")
def opacity():
    return np.tile(np.arange(90, dtype=np.uint8) * 2, (67, 1))


def save(path, pixels, **arguments):
    Image.fromarray(pixels).save(path, **arguments)
    return path


def png_bytes(width, height, depth, color_type, rows, *chunks):
    """A PNG of any bit depth, which Pillow does not write for all of them."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    lines = b"".join(b"\0" + row for row in rows)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def message(path):
    with pytest.raises(ImageError) as error:
        read_image(path)
    assert str(path) in error.value.message
    return error.value.message.replace(str(path), "PATH")


# Round trips


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", LOSSLESS)
def test_every_pixel_survives_lossless_formats(tmp_path, photo, suffix, channels):
    path = tmp_path / f"out.{suffix}"
    write_image(path, RestorableImage(photo[..., :channels]), quality=100)
    again = read_image(path)
    assert again.alpha is None
    if suffix == "webp" and channels == 1:  # WebP knows no gray
        channels = 3
        photo = photo[..., :1].repeat(3, axis=2)
    np.testing.assert_array_equal(again.pixels, photo[..., :channels])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_straight_alpha_survives_with_the_colour_below_it(
    tmp_path, photo, opacity, suffix, channels
):
    path = tmp_path / f"out.{suffix}"
    write_image(path, RestorableImage(photo[..., :channels], opacity), quality=100)
    again = read_image(path)
    np.testing.assert_array_equal(again.alpha, opacity)
    np.testing.assert_array_equal(again.pixels[..., :channels], photo[..., :channels])


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3000, 1), (3000, 1, 3)])
@pytest.mark.parametrize("suffix", sorted(SUPPORTED_SUFFIXES - {".gif"}))
def test_thin_images_in_every_format(tmp_path, shape, suffix):
    path = tmp_path / f"thin{suffix}"
    write_image(path, RestorableImage(np.full(shape, 128, np.uint8)))
    again = read_image(path)
    assert again.pixels.shape[:2] == shape[:2]
    assert np.abs(again.pixels.astype(int) - 128).max() <= 2


# Kinds of pixels


def test_gray_stays_gray_even_if_a_colour_image_has_equal_channels(tmp_path, photo):
    gray = save(tmp_path / "gray.png", photo[..., 0])
    colour = save(tmp_path / "colour.png", photo[..., :1].repeat(3, axis=2))
    assert read_image(gray).pixels.shape == (67, 90, 1)
    assert read_image(colour).pixels.shape == (67, 90, 3)


def test_one_bit_becomes_gray(tmp_path, photo):
    bilevel = Image.fromarray(photo).convert("1")
    for suffix in ("png", "tif", "bmp"):
        bilevel.save(tmp_path / f"bilevel.{suffix}")
        pixels = read_image(tmp_path / f"bilevel.{suffix}").pixels
        np.testing.assert_array_equal(pixels[..., 0], np.asarray(bilevel) * np.uint8(255))


def test_palettes_become_rgb_with_their_transparency(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / "opaque.png")
    image.save(tmp_path / "bytes.png", transparency=b"\xff\x80\x00")
    image.save(tmp_path / "index.png", transparency=1)
    red, green, blue = [255, 0, 0], [0, 255, 0], [0, 0, 255]
    for name in ("opaque", "bytes", "index"):
        pixels = read_image(tmp_path / f"{name}.png").pixels
        np.testing.assert_array_equal(pixels, [[red, green, blue], [blue, green, red]])
    assert read_image(tmp_path / "opaque.png").alpha is None
    alpha = read_image(tmp_path / "bytes.png").alpha
    np.testing.assert_array_equal(alpha, [[255, 128, 0], [0, 128, 255]])
    alpha = read_image(tmp_path / "index.png").alpha
    np.testing.assert_array_equal(alpha, [[255, 0, 255], [255, 0, 255]])


def test_one_transparent_colour_becomes_alpha(tmp_path):
    gray = np.array([[7, 8, 9]], np.uint8)
    save(tmp_path / "gray.png", gray, transparency=8)
    image = read_image(tmp_path / "gray.png")
    assert image.pixels.shape == (1, 3, 1)
    np.testing.assert_array_equal(image.alpha, [[255, 0, 255]])
    save(tmp_path / "rgb.png", np.dstack([gray, gray, gray]), transparency=(9, 9, 9))
    np.testing.assert_array_equal(read_image(tmp_path / "rgb.png").alpha, [[255, 255, 0]])


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_shallow_gray_is_scaled_and_keeps_its_transparent_level(tmp_path, depth):
    path = tmp_path / "shallow.png"
    top = 2**depth - 1
    levels = [0, top, 0, top]
    row = sum(level << (8 * 4 - depth * (i + 1)) for i, level in enumerate(levels))
    row = row.to_bytes(4, "big")[: (4 * depth + 7) // 8]
    path.write_bytes(png_bytes(4, 1, depth, 0, [row], (b"tRNS", struct.pack(">H", top))))
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels[..., 0], [[0, 255, 0, 255]])
    np.testing.assert_array_equal(image.alpha, [[255, 0, 255, 0]])


def multi_picture(path, photo, second, kind=0):
    """A JPEG with two pictures, as stereo cameras and phones write it; `kind` of the second."""
    Image.fromarray(photo).save(
        path, "MPO", save_all=True, append_images=[Image.fromarray(np.ascontiguousarray(second))]
    )
    content = bytearray(path.read_bytes())
    # The index: header of 8 bytes, directory of 42, then 16 bytes for each picture.
    struct.pack_into("<I", content, content.index(b"MPF\0") + 4 + 50 + 16, kind)
    path.write_bytes(content)
    return path


def test_a_phones_preview_or_gain_map_does_not_make_a_photo_unreadable(tmp_path, photo):
    image = read_image(multi_picture(tmp_path / "phone.jpg", photo, photo[::2, ::2]))
    assert image.metadata.source_format == "JPEG"
    assert image.pixels.shape == photo.shape
    assert np.abs(image.pixels.astype(int) - photo).mean() < 6


def test_pictures_of_equal_rank_are_refused(tmp_path, photo):
    refused = "PATH has 2 pictures of equal rank; only one is supported"
    assert message(multi_picture(tmp_path / "same.jpg", photo, photo[::-1])) == refused
    disparity = 0x020002
    stereo = multi_picture(tmp_path / "stereo.jpg", photo, photo[::2, ::2], disparity)
    assert message(stereo) == refused


# Names


def test_the_content_decides_and_not_the_suffix(tmp_path, photo):
    path = save(tmp_path / "really_a_bitmap.jpg", photo, format="BMP")
    assert read_image(path).metadata.source_format == "BMP"
    np.testing.assert_array_equal(read_image(path).pixels, photo)


def test_suffixes_in_capitals(tmp_path, photo):
    write_image(tmp_path / "OUT.PNG", RestorableImage(photo))
    assert read_image(tmp_path / "OUT.PNG").metadata.source_format == "PNG"


# Orientation


def stored(upright, orientation):
    """The pixels as a camera stores them, from the definition in the EXIF standard."""
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_orientation_is_applied_once_and_reset(tmp_path, photo, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    save(path, np.ascontiguousarray(stored(photo, orientation)), exif=exif, quality=100)
    image = read_image(path)
    assert image.pixels.shape == photo.shape
    assert np.abs(image.pixels.astype(int) - photo).mean() < 4
    write_image(tmp_path / "out.png", image)
    with Image.open(tmp_path / "out.png") as written:
        assert written.getexif().get(0x0112, 1) == 1
    np.testing.assert_array_equal(read_image(tmp_path / "out.png").pixels, image.pixels)


def test_orientation_given_only_by_xmp(tmp_path, photo):
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    )
    path = save(tmp_path / "turned.jpg", np.ascontiguousarray(np.rot90(photo)), xmp=packet)
    image = read_image(path)
    assert image.pixels.shape == photo.shape
    assert image.metadata.xmp == packet.replace(b'"6"', b'"1"')


def test_damaged_exif_does_not_make_an_image_unreadable(tmp_path, photo):
    path = save(tmp_path / "odd.jpg", photo, exif=b"Exif\0\0no TIFF structure at all")
    image = read_image(path)
    assert image.pixels.shape == photo.shape
    assert image.metadata.exif is None


# What is not an image


def test_missing_file(tmp_path):
    assert message(tmp_path / "none.png") == "PATH does not exist"


def test_directory(tmp_path):
    assert message(tmp_path) == "PATH is a directory, not an image"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert message(tmp_path / "pipe.png") == "PATH is not a regular file"
    with pytest.raises(ImageError) as error:
        read_image(tmp_path / "pipe.png")
    assert error.value.hint.endswith("standard input: < pipe.png mambair ... -")


def test_empty_file(tmp_path):
    (tmp_path / "empty.png").touch()
    assert message(tmp_path / "empty.png") == "PATH is empty (0 bytes)"


@pytest.mark.parametrize("content", [b"hello, I am a text file\n", b"\0" * 500, b"<svg/>"])
def test_not_an_image(tmp_path, content):
    path = tmp_path / "note.png"
    path.write_bytes(content)
    assert message(path) == (
        "PATH is not a PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, HEIC or JPEG XL image"
    )


def test_unreadable_file(tmp_path, photo, monkeypatch):
    path = save(tmp_path / "locked.png", photo)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    assert message(path) == "cannot read PATH: Permission denied"


def test_truncated_jpeg(tmp_path, photo):
    path = save(tmp_path / "cut.jpg", photo)
    path.write_bytes(path.read_bytes()[:-500])
    assert message(path) == "PATH is damaged or cut short: premature end of JPEG image"


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9])
def test_a_file_cut_anywhere_is_damaged_and_never_half_read(tmp_path, photo, suffix, kept):
    path = save(tmp_path / f"cut.{suffix}", photo)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert message(path).startswith("PATH is damaged or cut short: ")


def test_flipped_bytes_give_an_image_or_an_image_error(tmp_path, photo):
    """Decoders raise a dozen kinds of exception; all of them must arrive as one."""
    generator = np.random.default_rng(0)
    for suffix in ("jpg", "png", "webp", "tif", "bmp"):
        path = save(tmp_path / f"whole.{suffix}", photo[:20, :30])
        whole = path.read_bytes()
        for _ in range(60):
            content = np.frombuffer(whole, np.uint8).copy()
            places = generator.integers(0, min(len(content), 300), 3)
            content[places] = generator.integers(0, 256, 3)
            path.write_bytes(content.tobytes())
            with contextlib.suppress(ImageError):
                assert read_image(path).pixels.dtype == np.uint8


# Several images


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "gif", "avif"])
def test_one_image_is_not_taken_for_all(tmp_path, photo, suffix):
    frames = [Image.fromarray(np.roll(photo, shift, axis=1)) for shift in (0, 9, 31)]
    path = tmp_path / f"frames.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert message(path) == "PATH has 3 frames or pages; only single images are supported here"
    assert read_header(path).images == len(read_images(path).images) == 3
    if suffix in ("png", "tif"):
        with pytest.raises(ImageError, match="3 frames or pages"), open_bands(path):
            pass


# Limits


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_bytes(40000, 30000, 8, 2, []))
    refused = f"{path} has 1200000000 pixels, more than the limit of 178956970"
    for read in (read_header, read_image, read_images):
        with pytest.raises(ImageError) as error:
            read(path)
        assert error.value.message == refused
        assert (
            error.value.hint == "raise it with --max-pixels 1200000000 if the file can be trusted"
        )


@pytest.mark.parametrize("suffix", sorted(SUPPORTED_SUFFIXES))
def test_the_limit_is_the_callers(tmp_path, photo, suffix):
    path = tmp_path / f"photo{suffix}"
    write_image(path, RestorableImage(photo))
    pixels = 67 * 90
    assert read_header(path, max_pixels=pixels).pixels == pixels
    assert read_image(path, max_pixels=pixels).pixels.shape == photo.shape
    assert read_image(path, max_pixels=0).pixels.shape == photo.shape
    with pytest.raises(ImageError, match=r"has 6030 pixels, more than the limit of 6029$"):
        read_image(path, max_pixels=pixels - 1)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "gif", "avif"])
def test_all_frames_count(tmp_path, photo, suffix):
    frames = [Image.fromarray(np.roll(photo, shift, axis=1)) for shift in (0, 9, 31)]
    path = tmp_path / f"frames.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert len(read_images(path, max_pixels=3 * 6030).images) == 3
    with pytest.raises(ImageError, match=r"has 18090 pixels, more than the limit of 18089$"):
        read_images(path, max_pixels=3 * 6030 - 1)


# Headers


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp", "avif"])
def test_a_header_is_read_of_a_file_whose_pixels_are_lost(tmp_path, photo, suffix):
    path = save(tmp_path / f"cut.{suffix}", photo)
    whole = path.read_bytes()
    header = read_header(path)
    assert (header.width, header.height, header.channels) == (90, 67, 3)
    if suffix in ("png", "jpg"):
        path.write_bytes(whole[: len(whole) // 2])
        assert read_header(path) == header


def test_what_is_refused_is_refused_by_its_header(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    for path in (tmp_path / "text.png", tmp_path / "missing.png", tmp_path):
        with pytest.raises(ImageError):
            read_header(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_the_header_of_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="is not a regular file"):
        read_header(tmp_path / "pipe.png")


# Plugins


@pytest.mark.parametrize(
    ("start", "label", "extra"),
    [
        (b"\xff\x0a\0\0", "JPEG XL", "jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", "JPEG XL", "jxl"),
    ],
)
def test_a_missing_plugin_is_named(tmp_path, monkeypatch, start, label, extra):
    path = tmp_path / "photo.png"
    path.write_bytes(start)
    monkeypatch.setattr(formats, "is_readable", lambda entry: entry.reader is None)
    with pytest.raises(ImageError) as error:
        read_image(path)
    assert error.value.message == (
        f"{path} is a {label} image, which needs a package that is not installed"
    )
    assert error.value.hint == f"pip install 'mambair[{extra}]'"
