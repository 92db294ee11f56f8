"""Image files of every supported kind in and out, and everything that can be wrong with them."""

import contextlib
import os
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from mambair_cli.errors import ImageError, OutputError, UsageError
from mambair_cli.imaging import files
from mambair_cli.imaging.files import (
    SUPPORTED_SUFFIXES,
    count_pixels,
    read_image,
    write_image,
)
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.imaging.metadata import Metadata

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
@pytest.mark.parametrize("suffix", sorted(SUPPORTED_SUFFIXES))
def test_thin_images_in_every_format(tmp_path, shape, suffix):
    path = tmp_path / f"thin{suffix}"
    write_image(path, RestorableImage(np.full(shape, 128, np.uint8)))
    again = read_image(path)
    assert again.pixels.shape[:2] == shape[:2]
    assert np.abs(again.pixels.astype(int) - 128).max() <= 1


def test_jpeg_is_written_at_high_quality_without_subsampling(tmp_path, photo):
    write_image(tmp_path / "out.jpg", RestorableImage(photo))
    with Image.open(tmp_path / "out.jpg") as image:
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3
    again = read_image(tmp_path / "out.jpg")
    assert again.metadata.jpeg_quality == 95
    assert np.abs(again.pixels.astype(int) - photo).mean() < 2.5


def test_quality_sets_the_size_of_jpeg_and_webp(tmp_path, photo):
    for suffix in ("jpg", "webp"):
        sizes = []
        for quality in (20, 60, 100):
            path = tmp_path / f"{quality}.{suffix}"
            write_image(path, RestorableImage(photo), quality=quality)
            sizes.append(path.stat().st_size)
        assert sizes == sorted(sizes)
    with pytest.raises(UsageError, match=r"^quality 101 is out of range$"):
        write_image(tmp_path / "out.jpg", RestorableImage(photo), quality=101)


@pytest.mark.parametrize("shape", [(17, 31, 3), (300, 500, 3)])
def test_the_largest_possible_jpeg_is_written(tmp_path, shape):
    """Noise at full quality takes more bytes than an encoder may expect."""
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_image(tmp_path / "out.jpg", RestorableImage(noise), quality=100)
    assert np.abs(read_image(tmp_path / "out.jpg").pixels.astype(int) - noise).max() < 6


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


@pytest.mark.parametrize(("color_type", "mode", "samples"), [(2, "RGB", 3), (6, "RGBA", 4)])
def test_sixteen_bits_are_refused_by_type_even_if_dark(tmp_path, color_type, mode, samples):
    dark = np.full((4, 5, samples), 3, ">u2")
    path = tmp_path / "dark.png"
    path.write_bytes(png_bytes(5, 4, 16, color_type, [row.tobytes() for row in dark]))
    assert message(path) == (
        f"PATH has 16-bit {mode} pixels; only 8-bit gray, RGB and palette images are supported"
    )


def test_other_pixels_are_refused_by_name(tmp_path, photo):
    refused = "only 8-bit gray, RGB and palette images are supported"
    tifffile.imwrite(tmp_path / "rgb16.tif", photo.astype(np.uint16), photometric="rgb")
    assert message(tmp_path / "rgb16.tif") == f"PATH has 16-bit RGB pixels; {refused}"
    deflated = tmp_path / "deflated.tif"
    tifffile.imwrite(deflated, photo.astype(np.uint16), photometric="rgb", compression="zlib")
    assert message(deflated) == f"PATH has 16-bit RGB pixels; {refused}"
    gray = save(tmp_path / "gray16.png", photo[..., 0].astype(np.uint16))
    assert message(gray) == f"PATH has 16-bit gray pixels; {refused}"
    real = save(tmp_path / "real.tif", photo[..., 0].astype(np.float32))
    assert message(real) == f"PATH has floating-point pixels; {refused}"
    Image.fromarray(photo).convert("CMYK").save(tmp_path / "print.jpg")
    assert message(tmp_path / "print.jpg") == f"PATH has CMYK pixels; {refused}"


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_several_frames_are_refused_with_their_number(tmp_path, photo, suffix):
    frames = [Image.fromarray(np.roll(photo, shift, axis=1)) for shift in range(3)]
    path = tmp_path / f"frames.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert message(path) == "PATH has 3 frames or pages; only single images are supported"


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
    refused = "PATH has 2 frames or pages; only single images are supported"
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


def test_empty_file(tmp_path):
    (tmp_path / "empty.png").touch()
    assert message(tmp_path / "empty.png") == "PATH is empty (0 bytes)"


@pytest.mark.parametrize("content", [b"hello, I am a text file\n", b"\0" * 500, b"<svg/>"])
def test_not_an_image(tmp_path, content):
    path = tmp_path / "note.png"
    path.write_bytes(content)
    assert message(path) == "PATH is not a PNG, JPEG, WebP, TIFF or BMP image"


def test_a_format_that_is_not_supported(tmp_path, photo):
    path = save(tmp_path / "picture.png", photo, format="GIF")
    assert message(path) == "PATH is not a PNG, JPEG, WebP, TIFF or BMP image"


def test_unreadable_file(tmp_path, photo, monkeypatch):
    path = save(tmp_path / "locked.png", photo)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    assert message(path) == "cannot read PATH: Permission denied"


def test_truncated_jpeg(tmp_path, photo):
    path = save(tmp_path / "cut.jpg", photo)
    path.write_bytes(path.read_bytes()[:-500])
    assert message(path).startswith("PATH is damaged or cut short: image file is truncated")


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


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_bytes(40000, 30000, 8, 2, []))
    assert message(path) == "PATH has more than 178956970 pixels, or is made to look so"


# Writing


def test_parent_directories_are_made_and_nothing_else_is_left(tmp_path, photo):
    write_image(tmp_path / "a" / "b" / "out.png", RestorableImage(photo))
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["out.png"]


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_the_file_has_the_permissions_of_any_new_file(tmp_path, photo):
    (tmp_path / "plain").touch()
    write_image(tmp_path / "out.png", RestorableImage(photo))
    assert (tmp_path / "out.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, MemoryError])
def test_an_interrupt_leaves_the_old_file_and_no_temporary(tmp_path, photo, monkeypatch, failure):
    path = tmp_path / "out.png"
    path.write_bytes(b"the old file")

    def interrupted(_self, file, *_, **__):
        file.write(b"half of it")
        raise failure

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(failure):
        write_image(path, RestorableImage(photo))
    assert path.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk(tmp_path, photo, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    path = tmp_path / "out.png"
    with pytest.raises(OutputError) as error:
        write_image(path, RestorableImage(photo))
    assert error.value.message == f"cannot write {path}: No space left on device"
    assert error.value.hint.startswith("free some disk space")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_directory_without_permission(tmp_path, photo):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    with pytest.raises(OutputError, match=r"Permission denied$"):
        write_image(locked / "out.png", RestorableImage(photo))


def test_a_directory_has_the_name(tmp_path, photo):
    path = tmp_path / "directory.png"
    path.mkdir()
    with pytest.raises(OutputError) as error:
        write_image(path, RestorableImage(photo))
    assert error.value.message == f"cannot write {path}: Is a directory"
    assert error.value.hint == (
        f"check the permissions of {tmp_path}, or choose another place with -o/--output"
    )
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_stands_where_a_directory_is_needed(tmp_path, photo):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "out.png", tmp_path / "file" / "deeper" / "out.png"):
        with pytest.raises(OutputError) as error:
            write_image(path, RestorableImage(photo))
        assert error.value.message == f"cannot write {path}: {path.parent} is not a directory"


def test_unknown_suffix(tmp_path, photo):
    for name, suffix in (("out.gif", ".gif"), ("out", "")):
        with pytest.raises(OutputError) as error:
            write_image(tmp_path / name, RestorableImage(photo))
        assert error.value.message == (
            f"cannot write {tmp_path / name}: no supported format has the suffix '{suffix}'"
        )
        assert ".png" in error.value.hint


@pytest.mark.parametrize(("suffix", "label"), [("jpg", "JPEG"), ("bmp", "BMP")])
def test_transparency_is_never_lost_silently(tmp_path, photo, opacity, suffix, label):
    path = tmp_path / f"out.{suffix}"
    with pytest.raises(OutputError) as error:
        write_image(path, RestorableImage(photo, opacity))
    assert error.value.message == (
        f"cannot write {path}: {label} has no transparency, the image has"
    )
    assert error.value.hint == "write PNG instead: --format png"
    write_image(path, RestorableImage(photo, np.full_like(opacity, 255)))
    assert read_image(path).alpha is None


def test_images_too_large_for_a_format(tmp_path):
    path = tmp_path / "out.webp"
    with pytest.raises(OutputError) as error:
        write_image(path, RestorableImage(np.zeros((2, 16384, 1), np.uint8)))
    assert error.value.message == (
        f"cannot write {path}: WebP holds at most 16383 pixels on a side, the image has 16384x2"
    )


def test_a_gray_profile_does_not_go_with_the_rgb_of_webp(tmp_path, photo):
    profile = bytes(16) + b"GRAY" + bytes(108)
    gray = RestorableImage(photo[..., :1], metadata=Metadata(icc_profile=profile))
    write_image(tmp_path / "out.webp", gray)
    assert read_image(tmp_path / "out.webp").metadata.icc_profile is None
    write_image(tmp_path / "out.png", gray)
    assert read_image(tmp_path / "out.png").metadata.icc_profile == profile


def test_pixels_are_counted_from_the_header_alone(tmp_path):
    whole, cut = tmp_path / "whole.png", tmp_path / "cut.png"
    Image.new("RGB", (70, 31)).save(whole)
    cut.write_bytes(whole.read_bytes()[:60])
    assert count_pixels(whole) == count_pixels(cut) == 70 * 31
    (tmp_path / "text.png").write_text("no image")
    assert count_pixels(tmp_path / "text.png") == 0
    assert count_pixels(tmp_path / "missing.png") == 0
    assert count_pixels(tmp_path) == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pixels_of_a_pipe_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert count_pixels(tmp_path / "pipe.png") == 0
