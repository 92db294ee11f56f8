"""The header of JPEG XL files, read before the plugin decodes them."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import read_header, read_image
from mambair_cli.imaging.reading.jxl import JxlHeader, read_jxl_header

pytest.importorskip("pillow_jxl")


class Bits:
    """Writes numbers of any number of bits, the lowest first."""

    def __init__(self):
        self.value = self.count = 0

    def add(self, *fields):
        for number, count in fields:
            self.value |= number << self.count
            self.count += count
        return self

    def tobytes(self):
        return b"\xff\x0a" + self.value.to_bytes((self.count + 7) // 8, "little") + bytes(8)


# A flag for sides in eighths, the height's way (9 bits and 1), the ratio's number.
SQUARE = ((0, 1), (0, 2), (99, 9), (1, 3))


@pytest.mark.parametrize("size", [(1, 1), (8, 16), (700, 500), (256, 256), (320, 200), (5000, 3)])
@pytest.mark.parametrize("lossless", [True, False])
def test_sizes(size, lossless):
    buffer = io.BytesIO()
    Image.new("RGB", size, (3, 5, 200)).save(buffer, "JXL", lossless=lossless)
    buffer.seek(0)
    header = read_jxl_header(buffer)
    assert (header.width, header.height, header.animated) == (*size, False)


@pytest.mark.parametrize(("mode", "bits", "floats"), [("I;16", 16, False), ("F", 32, True)])
def test_depths(tmp_path, mode, bits, floats):
    dtype = np.uint16 if mode == "I;16" else np.float32
    pixels = np.linspace(0, 1 if floats else 999, 20 * 30).reshape(20, 30).astype(dtype)
    path = tmp_path / "gray.jxl"
    Image.fromarray(pixels).save(path, lossless=True)
    with path.open("rb") as file:
        assert read_jxl_header(file) == JxlHeader(30, 20, bits, floats, lossless=True)
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels[..., 0], pixels)
    assert image.changes == ()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (((1, 1),), JxlHeader(100, 100)),
        (((0, 1), (0, 1), (0, 1), (1, 2)), JxlHeader(100, 100, 10, lossless=True)),
        (((0, 1), (0, 1), (0, 1), (3, 2), (15, 6)), JxlHeader(100, 100, 16, lossless=True)),
        (((0, 1), (0, 1), (1, 1), (1, 2)), JxlHeader(100, 100, 16, floats=True, lossless=True)),
        # Orientation 6; no other size, no preview, an animation.
        (((0, 1), (1, 1), (5, 3), (0, 1), (0, 1), (1, 1)), JxlHeader(100, 100, animated=True)),
        # A size on the screen and a preview, both square, before 12 bits.
        (
            (
                *((0, 1), (1, 1), (0, 3), (1, 1), *SQUARE),
                *((1, 1), (0, 1), (0, 2), (9, 6), (1, 3)),
                *((0, 1), (0, 1), (2, 2)),
            ),
            JxlHeader(100, 100, 12, lossless=True),
        ),
    ],
)
def test_every_field(fields, expected):
    content = Bits().add(*SQUARE, *fields).tobytes()
    assert read_jxl_header(io.BytesIO(content)) == expected
    box = struct.pack(">I4s", 12, b"JXL ") + b"\r\n\x87\n"
    for name, prefix in ((b"jxlc", b""), (b"jxlp", bytes(4))):
        body = prefix + content
        boxed = box + struct.pack(">I4s", 8 + len(body), name) + body
        assert read_jxl_header(io.BytesIO(boxed)) == expected


@pytest.mark.parametrize(
    "content", [b"\xff\x0a", b"\xff\x0a\x00", b"\0\0\0\x0cJXL \r\n\x87\n", b""]
)
def test_headers_cut_short(content):
    with pytest.raises(ValueError, match=r"^it "):
        read_jxl_header(io.BytesIO(content))


def test_a_bomb_is_refused_before_the_plugin_sees_it(tmp_path):
    path = tmp_path / "bomb.jxl"
    sides = ((0, 1), (3, 2), (39999, 30), (0, 3), (3, 2), (29999, 30))
    path.write_bytes(Bits().add(*sides, (1, 1)).tobytes())
    with pytest.raises(ImageError) as error:
        read_header(path)
    assert error.value.message == (
        f"{path} has 1200000000 pixels, more than the limit of 178956970"
    )


def test_an_animation_is_refused(tmp_path):
    path = tmp_path / "moving.jxl"
    fields = ((0, 1), (1, 1), (0, 3), (0, 1), (0, 1), (1, 1))
    path.write_bytes(Bits().add(*SQUARE, *fields).tobytes())
    with pytest.raises(ImageError) as error:
        read_header(path)
    assert error.value.message == f"{path} has several frames in JPEG XL, which cannot be restored"
    assert error.value.hint == "save it as animated WebP first"


@pytest.mark.parametrize("kept", [0.05, 0.4, 0.9])
def test_a_cut_file(tmp_path, kept):
    path = tmp_path / "cut.jxl"
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, lossless=True)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ImageError, match="is damaged or cut short: "):
        read_image(path)
