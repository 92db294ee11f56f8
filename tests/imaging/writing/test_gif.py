"""GIF files: exact where 256 colours are enough, with every frame and its time."""

import io

import numpy as np
import pytest
import pyvips
from PIL import Image
from skimage import data

from mambair_cli.imaging.image import Timing
from mambair_cli.imaging.writing.gif import write_gif


@pytest.fixture(scope="module")
def photo():
    """Part of NASA's portrait of Eileen Collins (public domain, from scikit-image)."""
    return data.astronaut()[30:97, 180:270].copy()


def gif(*frames, **options):
    file = io.BytesIO()
    changes = write_gif(file, frames, **options)
    return file.getvalue(), changes


def frames_of(content, mode):
    with Image.open(io.BytesIO(content)) as image:
        for index in range(image.n_frames):
            image.seek(index)
            yield np.asarray(image.convert(mode)), image.info.get("duration", 0)


def test_gray_is_exact(photo):
    content, changes = gif(photo[..., :1])
    ((shown, _),) = frames_of(content, "L")
    np.testing.assert_array_equal(shown, photo[..., 0])
    assert changes == ()


@pytest.mark.parametrize("colors", [1, 2, 3, 255, 256])
def test_up_to_256_colours_are_exact(colors):
    palette = np.random.default_rng(colors).integers(0, 256, (colors, 3), dtype=np.uint8)
    pixels = palette[np.arange(67 * 31).reshape(67, 31) % colors]
    content, changes = gif(pixels)
    ((shown, _),) = frames_of(content, "RGB")
    np.testing.assert_array_equal(shown, pixels)
    vips = pyvips.Image.new_from_buffer(content, "").numpy()
    np.testing.assert_array_equal(vips[..., :3], pixels)
    assert changes == ()


def test_every_frame_is_exact_where_one_has_a_whole_palette(photo):
    ramp = np.arange(67 * 90, dtype=np.uint16).reshape(67, 90, 1).astype(np.uint8)
    frames = [ramp, photo[..., :1], ramp, ramp[::-1]]
    content, changes = gif(*frames, timing=Timing((40, 100, 30, 70), loops=0), comment=b"ramps")
    assert [duration for _, duration in frames_of(content, "L")] == [40, 100, 30, 70]
    for page, frame in enumerate(frames):  # Pillow shows a frame behind one with gray palette wrong
        shown = pyvips.Image.new_from_buffer(content, "", page=page).numpy().reshape(67, 90, -1)
        np.testing.assert_array_equal(shown[..., :1], frame)
    assert changes == ()
    with Image.open(io.BytesIO(content)) as image:
        assert (image.info["loop"], image.info["comment"]) == (0, b"ramps")


@pytest.mark.parametrize(("colors", "reduced"), [(254, False), (255, True)])
def test_transparency_takes_some_of_the_palette(colors, reduced):
    generator = np.random.default_rng(colors)
    palette = generator.integers(0, 256, (colors, 3), dtype=np.uint8)
    pixels = palette[np.arange(67 * 31).reshape(67, 31) % colors]
    alpha = np.full((67, 31, 1), 255, np.uint8)
    alpha[40:] = 0
    pixels[40:] = generator.integers(0, 256, (27, 31, 3))  # not seen
    content, changes = gif(np.dstack([pixels, alpha]))
    ((shown, _),) = frames_of(content, "RGBA")
    np.testing.assert_array_equal(shown[..., 3:], alpha)
    assert changes == (("colours reduced to 256",) if reduced else ())
    if not reduced:
        np.testing.assert_array_equal(shown[:40, :, :3], pixels[:40])


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_number_of_threads_changes_no_byte(photo, count):
    frames, timing = [photo, photo[::-1], photo[:, ::-1]], Timing((100, 100, 100))
    expected = gif(*frames, timing=timing)
    before = pyvips.concurrency_get()
    pyvips.concurrency_set(count)
    try:
        assert gif(*frames, timing=timing) == expected
    finally:
        pyvips.concurrency_set(before)


def test_what_stays_from_frame_to_frame_takes_little():
    frames = [np.full((120, 160, 3), 40, np.uint8) for _ in range(5)]
    for index, frame in enumerate(frames):
        frame[50:90, 20 * index : 20 * index + 30] = 200
    one, _ = gif(frames[0])
    five, _ = gif(*frames, timing=Timing((100,) * 5))
    assert len(five) < 3 * len(one)


def test_more_colours_are_reduced_and_said(photo):
    content, changes = gif(photo)
    ((shown, _),) = frames_of(content, "RGB")
    assert np.abs(shown.astype(int) - photo).mean() < 3
    assert changes == ("colours reduced to 256",)


def test_every_frame_has_its_own_palette_and_time(photo):
    frames = [photo // 32 * 32, photo // 32 * 32 + 7, photo // 32 * 32 + 7, photo // 64 * 64]
    timing = Timing((40, 100, 30, 0), loops=3)
    content, changes = gif(*frames, timing=timing)
    shown = list(frames_of(content, "RGB"))
    assert len(shown) == 4
    assert [duration for _, duration in shown] == [40, 100, 30, 0]
    for (pixels, _), frame in zip(shown, frames, strict=True):
        np.testing.assert_array_equal(pixels, frame)
    assert changes == ()
    with Image.open(io.BytesIO(content)) as image:
        assert image.info["loop"] == 2  # again after the first time


@pytest.mark.parametrize(("loops", "said"), [(0, 0), (1, None), (2, 1)])
def test_how_often_it_runs(photo, loops, said):
    content, _ = gif(photo, photo[::-1], timing=Timing((100, 100), loops=loops))
    with Image.open(io.BytesIO(content)) as image:
        assert image.info.get("loop") == said


def test_times_are_rounded_to_what_gif_has(photo):
    gray = photo[..., :1]
    content, changes = gif(gray, gray[::-1], timing=Timing((33, 47)))
    assert [duration for _, duration in frames_of(content, "L")] == [30, 50]
    assert changes == ("durations rounded to hundredths of a second",)


def test_what_is_transparent_in_a_frame_shows_nothing_of_the_one_before(photo):
    frames = []
    for shift in (0, 30):
        alpha = np.zeros((67, 90, 1), np.uint8)
        alpha[:, shift : shift + 40] = 255
        frames.append(np.dstack([photo // 64 * 64, alpha]))
    content, changes = gif(*frames, timing=Timing((100, 100)))
    for (shown, _), frame in zip(frames_of(content, "RGBA"), frames, strict=True):
        np.testing.assert_array_equal(shown[..., 3], frame[..., 3])
        opaque = frame[..., 3] == 255
        np.testing.assert_array_equal(shown[opaque], frame[opaque])
    assert changes == ()
    vips = pyvips.Image.new_from_buffer(content, "", page=1).numpy()
    np.testing.assert_array_equal(vips[..., 3], frames[1][..., 3])


def test_half_transparent_pixels_are_said(photo):
    alpha = np.tile(np.arange(90, dtype=np.uint8) * 2, (67, 1))
    content, changes = gif(np.dstack([photo[..., :1], alpha]))
    ((shown, _),) = frames_of(content, "RGBA")
    np.testing.assert_array_equal(shown[..., 3], np.where(alpha < 128, 0, 255))
    assert "transparency reduced to on and off" in changes


def test_nothing_but_transparency():
    content, changes = gif(np.zeros((5, 7, 4), np.uint8))
    ((shown, _),) = frames_of(content, "RGBA")
    assert shown[..., 3].max() == 0
    assert changes == ()


def test_a_comment_of_any_length(photo):
    content, _ = gif(photo[..., :1], comment=b"words " * 100)
    with Image.open(io.BytesIO(content)) as image:
        assert image.info["comment"] == b"words " * 100


def test_the_callers_pixels_are_not_touched(photo):
    frame = np.dstack([photo, np.zeros((67, 90, 1), np.uint8)])
    before = frame.copy()
    assert gif(frame) == gif(frame)
    np.testing.assert_array_equal(frame, before)
