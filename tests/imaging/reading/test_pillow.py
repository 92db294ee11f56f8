"""Animations frame by frame, their timing, and formats of up to 8 bits."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import GifImagePlugin, Image
from skimage import data

from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import read_header, read_image, read_images
from mambair_cli.imaging.image import Timing


@pytest.fixture(scope="module")
def photo():
    """Part of NASA's portrait of Eileen Collins (public domain, from scikit-image)."""
    return data.astronaut()[30:97, 180:270].copy()


@pytest.fixture(scope="module")
def frames(photo):
    return [np.roll(photo, shift, axis=1) for shift in (0, 9, 31)]


def animate(path, frames, **options):
    first, *others = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=others, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "avif"])
def test_timing_of_every_frame(tmp_path, frames, suffix):
    durations = [40, 100, 250]
    path = animate(tmp_path / f"moving.{suffix}", frames, duration=durations, loop=0)
    assert read_images(path).timing == Timing(tuple(durations), 0)


@pytest.mark.parametrize(
    ("suffix", "options", "loops"),
    [
        ("png", {"loop": 3}, 3),
        ("webp", {"loop": 3}, 3),
        ("gif", {}, 1),
        ("gif", {"loop": 2}, 3),  # run once, then repeated twice
        ("gif", {"loop": 0}, 0),
    ],
)
def test_how_often_an_animation_runs(tmp_path, frames, suffix, options, loops):
    path = animate(tmp_path / f"moving.{suffix}", frames, duration=50, **options)
    timing = read_images(path).timing
    assert timing is not None
    assert timing.loops == loops


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_frames_are_composed(tmp_path, photo, suffix):
    patch = photo.copy()
    patch[10:20, 30:50] = (250, 10, 20)
    options = {"lossless": True} if suffix == "webp" else {}
    path = animate(tmp_path / f"moving.{suffix}", [photo, patch, photo], duration=50, **options)
    images = read_images(path).images
    assert [image.alpha for image in images] == [None] * 3
    for image, expected in zip(images, [photo, patch, photo], strict=True):
        np.testing.assert_array_equal(image.pixels, expected)


def gif_block(size, index):
    """One image block of a GIF file with a palette of black, red, green and blue."""
    picture = Image.new("P", size, index)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    buffer = io.BytesIO()
    picture.save(buffer, "GIF", optimize=False)
    content = buffer.getvalue()
    colours = 3 << (content[10] & 7) + 1
    start = content.index(b"\x2c", 13 + colours)
    return content[: 13 + colours], content[start:-1]


@pytest.mark.parametrize(
    ("disposal", "before"), [(0, "red"), (1, "red"), (2, "nothing"), (3, "black")]
)
def test_frames_of_gif_are_composed_by_their_disposal(tmp_path, disposal, before):
    """A black ground, a red area that is disposed of, then a blue one beside it."""
    path = tmp_path / "moving.gif"
    head, ground = gif_block((45, 28), 0)
    content = head
    for index, (size, place) in enumerate(
        [((45, 28), (0, 0)), ((8, 9), (5, 4)), ((8, 9), (30, 4))]
    ):
        _, block = (head, ground) if index == 0 else gif_block(size, index)
        way = disposal if index == 1 else 1
        content += b"\x21\xf9\x04" + struct.pack("<BHBB", way << 2, 5, 0, 0)
        content += block[:1] + struct.pack("<HH", *place) + block[5:]
    path.write_bytes(content + b"\x3b")
    images = read_images(path).images
    assert len(images) == 3
    np.testing.assert_array_equal(images[1].pixels[6, 7], (255, 0, 0))
    last = images[2]
    np.testing.assert_array_equal(last.pixels[20, 20], (0, 0, 0))
    expected = (255, 0, 0) if before == "red" else (0, 0, 0)
    np.testing.assert_array_equal(last.pixels[6, 7], expected)
    assert last.pixels[6, 32].any()


def test_a_picture_for_viewers_without_animation_is_no_frame(tmp_path, frames):
    path = tmp_path / "moving.png"
    animate(path, frames, duration=50, default_image=True)
    sequence = read_images(path)
    assert read_header(path).images == len(sequence.images) == 2
    assert sequence.timing == Timing((50, 50), 0)
    np.testing.assert_array_equal(sequence.images[0].pixels, frames[1])
    assert sequence.images[0].changes == ("picture for viewers without animation left out",)


def test_gray_frames_among_coloured_ones(tmp_path):
    gray = Image.new("L", (30, 20), 90)
    colour = Image.new("RGB", (30, 20), (200, 10, 30))
    path = tmp_path / "moving.gif"
    gray.save(path, save_all=True, append_images=[colour], duration=50)
    first, second = read_images(path).images
    np.testing.assert_array_equal(first.pixels[5, 5], [90, 90, 90])
    np.testing.assert_array_equal(second.pixels[5, 5], [200, 10, 30])


def test_an_animation_in_16_bits_is_refused_and_not_reduced(tmp_path, frames):
    path = animate(tmp_path / "moving.png", frames, duration=50)
    content = bytearray(path.read_bytes())
    content[24] = 16
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"has 3 frames of 16 bits, which cannot be restored$"):
        read_images(path)


def test_a_gif_that_ends_between_frames_is_cut_short(tmp_path, frames):
    path = animate(tmp_path / "moving.gif", frames, duration=50)
    whole = path.read_bytes()
    second = whole.index(b"\x21\xf9\x04", whole.index(b"\x21\xf9\x04") + 1)
    for end in (second, len(whole) - 1, len(whole) - 40):
        path.write_bytes(whole[:end])
        with pytest.raises(ImageError) as error:
            read_images(path)
        assert error.value.message == (
            f"{path} is damaged or cut short: it ends before its last frame"
        )


def test_a_gif_with_something_behind_its_end(tmp_path, photo):
    path = tmp_path / "still.gif"
    Image.fromarray(photo).quantize(64).save(path)
    expected = read_image(path).pixels
    path.write_bytes(path.read_bytes() + b"appended by somebody")
    np.testing.assert_array_equal(read_image(path).pixels, expected)


@pytest.mark.parametrize("suffix", ["png", "webp", "avif"])
@pytest.mark.parametrize("kept", [0.4, 0.75, 0.95])
def test_a_cut_animation_is_not_read_in_part(tmp_path, frames, suffix, kept):
    path = animate(tmp_path / f"moving.{suffix}", frames, duration=50)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ImageError, match="is damaged or cut short: "):
        read_images(path)


def test_transparency_of_a_palette_in_gif(tmp_path):
    path = tmp_path / "hole.gif"
    picture = Image.new("P", (30, 20), 1)
    picture.putpalette([0, 0, 0, 200, 30, 10])
    picture.paste(0, (3, 4, 9, 15))
    picture.save(path, transparency=0)
    image = read_image(path)
    assert image.alpha is not None
    assert (image.alpha == 0).sum() == 6 * 11
    np.testing.assert_array_equal(image.pixels[0, 0], [200, 30, 10])


def test_parts_of_gif_frames_outside_of_the_screen_are_cut_off(tmp_path):
    first = Image.new("P", (12, 8), 0)
    second = Image.new("P", (10, 6), 1)
    first.putpalette([200, 10, 10, 10, 10, 200])
    header = b"".join(GifImagePlugin.getheader(first)[0])
    frames = b"".join([
        *GifImagePlugin.getdata(first, (0, 0)), *GifImagePlugin.getdata(second, (7, 5))
    ])  # fmt: skip
    path = tmp_path / "beyond.gif"
    path.write_bytes(header + frames + b";")
    sequence = read_images(path)
    assert [image.pixels.shape for image in sequence.images] == [(8, 12, 3)] * 2
    told = "parts of frames outside of the animation cut off"
    assert all(told in image.changes for image in sequence.images)
    assert (sequence.images[1].pixels[5:, 7:] == sequence.images[1].pixels[7, 11]).all()
    assert (sequence.images[1].pixels[0, 0] == sequence.images[0].pixels[0, 0]).all()
