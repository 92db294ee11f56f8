"""Frames as images: the colours of known codes, and frames that come back as they were."""

from __future__ import annotations

import numpy as np
import pytest

from mambair_cli.imaging.image import NEAR
from mambair_cli.imaging.y4m import Frame, StreamHeader
from mambair_cli.pixels.video import BT601, BT709, Matrix, frame_of, image_of

RED, GREEN, BLUE = (1, 0, 0), (0, 1, 0), (0, 0, 1)
WHITE, BLACK, GRAY = (1, 1, 1), (0, 0, 0), (0.5, 0.5, 0.5)


def header(fields: str, width: int = 6, height: int = 4) -> StreamHeader:
    return StreamHeader.parse(f"YUV4MPEG2 W{width} H{height} {fields}\n".encode(), "it")


@pytest.mark.parametrize(
    ("fields", "matrix", "code", "rgb"),
    [
        # ITU-R BT.601 and BT.709, studio range; JFIF; as tables of colour bars have them.
        ("C444", BT601, (81, 90, 240), RED),
        ("C444", BT601, (145, 54, 34), GREEN),
        ("C444", BT601, (41, 240, 110), BLUE),
        ("C444", BT709, (63, 102, 240), RED),
        ("C444", BT709, (173, 42, 26), GREEN),
        ("C444", BT709, (32, 240, 118), BLUE),
        ("C444", BT709, (235, 128, 128), WHITE),
        ("C444", BT709, (16, 128, 128), BLACK),
        ("C420jpeg", BT709, (63, 102, 240), RED),
        ("C444p10", BT709, (250, 409, 960), RED),
        ("C444p10", BT709, (940, 512, 512), WHITE),
        ("C420p10", BT601, (64, 512, 512), BLACK),
        ("C444 XCOLORRANGE=FULL", BT601, (76, 85, 255), RED),
        ("C444 XCOLORRANGE=FULL", BT601, (255, 128, 128), WHITE),
        ("C444p10 XCOLORRANGE=FULL", BT601, (1023, 512, 512), WHITE),
        ("Cmono", BT601, (235,), (1,)),
        ("Cmono10 XCOLORRANGE=FULL", BT601, (1023,), (1,)),
    ],
)
def test_codes_are_these_colours(fields, matrix, code, rgb):
    told = header(fields)
    pixels = np.broadcast_to(np.float32(rgb), (4, 6, len(rgb)))
    frame = frame_of(pixels, told, matrix, b"")
    assert [np.unique(plane).tolist() for plane in frame.planes] == [[value] for value in code]
    image = image_of(frame, told, matrix)
    half_a_level = 1.8 * 0.5 / (2**told.bits / 255 * 219)
    np.testing.assert_allclose(image.pixels, pixels, atol=max(half_a_level, 0.005))


CODINGS = [
    f"{chroma}{depth}{extra}"
    for chroma in ("C420jpeg", "C420mpeg2", "C420paldv", "C422", "C444", "C411", "Cmono")
    for depth in ("", "p10", "p16")
    for extra in ("", " XCOLORRANGE=FULL")
]


@pytest.mark.parametrize("fields", CODINGS)
@pytest.mark.parametrize("matrix", [BT601, BT709], ids=lambda matrix: matrix.name)
def test_every_frame_comes_back_to_the_bit(fields, matrix):
    """Any codes, those that mean no colour among them."""
    told, random = header(fields, 22, 13), np.random.default_rng(3)
    planes = tuple(random.integers(0, 2**told.bits, shape, told.dtype) for shape in told.shapes)
    image = image_of(Frame(planes), told, matrix)
    assert image.pixels.dtype == np.float32
    back = frame_of(image.pixels, told, matrix, b" Ip")
    assert back.fields == b" Ip"
    for before, after in zip(planes, back.planes, strict=True):
        assert after.dtype == told.dtype
        np.testing.assert_array_equal(after, before)


def test_beyond_black_and_white_is_kept_and_darkens_nothing():
    told = header("C444")
    planes = [np.full(shape, 128, np.uint8) for shape in told.shapes]
    planes[0][0] = 255
    assert image_of(Frame(tuple(planes)), told, BT709).span.white == pytest.approx(239 / 219)
    planes[2][:] = 255  # redder than any colour, everywhere
    image = image_of(Frame(tuple(planes)), told, BT709)
    assert image.pixels.max() > NEAR.white
    assert (image.value_range.black, image.value_range.white) == (0, 1)
    planes[0][:], planes[2][:] = 128, 128
    assert image_of(Frame(tuple(planes)), told, BT709).span is None


@pytest.mark.parametrize(
    ("width", "height", "matrix"),
    [(720, 576, BT601), (640, 480, BT601), (1280, 544, BT709), (960, 720, BT709)],
)
def test_the_matrix_is_the_one_that_players_take(width, height, matrix):
    assert Matrix.usual(header("C420", width, height)) is matrix
