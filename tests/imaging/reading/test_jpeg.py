"""JPEG files as phones and old programs write them: more behind the picture, odd headers."""

import io
import struct

import numpy as np
import pytest
from metadata_blocks import segment
from PIL import Image

from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import open_bands, read_image, read_images, read_jpeg_quality

WIDTH, HEIGHT = 64, 48
VIDEO = struct.pack(">I4s4s", 20, b"ftyp", b"mp42") + bytes(4000)
GAIN_MAP_XMP = (
    b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/' xmlns:hdrgm="
    b"'http://ns.adobe.com/hdr-gain-map/1.0/' hdrgm:Version='1.0'/>"
)
ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)


def jpeg(size=(WIDTH, HEIGHT), segments=b"", quality=80, mode="RGB"):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    content = buffer.getvalue()
    return content[:2] + segments + content[2:]


def with_second_picture(second, segments=b""):
    """A file with a list of pictures (MPF), none of which says what it is."""
    header = b"MPF\0II*\0" + struct.pack("<I", 8)
    records = struct.pack("<HHI4s", 0xB000, 7, 4, b"0100")
    records += struct.pack("<HHII", 0xB001, 4, 1, 2)
    records += struct.pack("<HHII", 0xB002, 7, 32, 8 + 2 + 3 * 12 + 4)

    def whole(first_size, offset):
        pictures = struct.pack("<IIIHH", 0x030000, first_size, 0, 0, 0)
        pictures += struct.pack("<IIIHH", 0, len(second), offset, 0, 0)
        mpf = header + struct.pack("<H", 3) + records + bytes(4) + pictures
        return jpeg(segments=segment(0xE2, mpf) + segments)

    first = whole(0, 0)
    base = first.index(b"MPF\0") + 4
    return whole(len(first), len(first) - base) + second


def dropped(path):
    return read_image(path).metadata.reading.dropped


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (16, 12)])
@pytest.mark.parametrize(
    "mark", [segment(0xE1, GAIN_MAP_XMP), segment(0xE2, ISO_GAIN_MAP)], ids=["xmp", "iso"]
)
def test_a_gain_map_of_any_size_is_no_second_picture(tmp_path, mark, size):
    path = tmp_path / "phone.jpg"
    path.write_bytes(with_second_picture(jpeg(size, mark), segment(0xE2, ISO_GAIN_MAP)))
    assert read_image(path).pixels.shape == (HEIGHT, WIDTH, 3)
    assert set(dropped(path)) == {"gain map", "further pictures (previews, gain maps)"}


def test_two_pictures_of_full_size_are_refused_as_ever(tmp_path):
    path = tmp_path / "stereo.jpg"
    path.write_bytes(with_second_picture(jpeg()))
    with pytest.raises(ImageError, match="2 pictures of equal rank"):
        read_images(path)


@pytest.mark.parametrize(
    ("behind", "phrases"),
    [
        (VIDEO, ("motion video",)),
        (b"SEFH" + bytes(3000) + VIDEO, ("motion video",)),
        (b"a note of some program", ("data behind the picture",)),
        (bytes(500), ()),
        (b"", ()),
    ],
)
@pytest.mark.parametrize("progressive", [False, True])
def test_what_lies_behind_the_picture_is_named(tmp_path, behind, phrases, progressive):
    path, buffer = tmp_path / "motion.jpg", io.BytesIO(jpeg())
    if progressive:
        image = Image.open(io.BytesIO(jpeg()))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", progressive=True)
    path.write_bytes(buffer.getvalue() + behind)
    assert dropped(path) == phrases
    assert read_image(path).pixels.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("revision", [(2, 1), (0, 2), (9, 9)])
def test_a_revision_of_jfif_that_nobody_knows_is_forgiven_and_told(tmp_path, revision):
    path, sound = tmp_path / "odd.jpg", jpeg()
    position = sound.index(b"JFIF\0") + 5
    odd = sound[:position] + bytes(revision) + sound[position + 2 :]
    path.write_bytes(odd)
    expected = np.array(Image.open(io.BytesIO(sound)))
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, expected)
    major, minor = revision
    assert image.changes == (f"unknown JFIF revision {major}.{minor:02} read as 1.{minor:02}",)
    with open_bands(path) as bands:
        np.testing.assert_array_equal(bands.read(0, HEIGHT).pixels, expected)
    path.write_bytes(odd[: len(odd) * 2 // 3])
    with pytest.raises(ImageError, match="damaged or cut short"):
        read_image(path)


@pytest.mark.parametrize(
    ("marker", "bits", "height", "kind"),
    [
        (0xC1, 12, HEIGHT, "JPEG coding of 12 bits a sample"),
        (0xC3, 16, HEIGHT, "JPEG coding of 16 bits a sample"),
        (0xC5, 8, HEIGHT, "hierarchical JPEG coding"),
        (0xF7, 8, HEIGHT, "JPEG-LS coding"),
        (0xC0, 8, 0, "a JPEG height that only its end tells (DNL)"),
    ],
)
def test_kinds_that_libjpeg_does_not_decode_are_not_damaged(tmp_path, marker, bits, height, kind):
    path, sound = tmp_path / "medical.jpg", jpeg()
    position = sound.index(b"\xff\xc0") + 1
    frame = struct.pack(">BHBH", marker, 17, bits, height)
    path.write_bytes(sound[:position] + frame + sound[position + len(frame) :])
    with pytest.raises(ImageError, match="which cannot be restored") as raised:
        read_image(path)
    assert kind in str(raised.value)
    assert raised.value.hint == "convert it to PNG first"


def test_the_quality_is_that_of_the_table_which_the_luminance_uses(tmp_path):
    path, content = tmp_path / "swapped.jpg", bytearray(jpeg(quality=10))
    position = 2
    while content[position + 1] != 0xDA:
        length = int.from_bytes(content[position + 2 : position + 4], "big")
        if content[position + 1] == 0xDB:
            for table in range(position + 4, position + 2 + length, 65):
                content[table] ^= 1
        if content[position + 1] == 0xC0:
            for component in range(3):
                content[position + 12 + 3 * component] ^= 1
        position += 2 + length
    path.write_bytes(content)
    assert read_jpeg_quality(path) == 10
    assert read_image(path).metadata.jpeg_quality == 10


# Flaws that every viewer forgives


def jpeg_content(size=(90, 67), **options):
    file = io.BytesIO()
    rows = np.linspace(0, 255, size[0]).astype(np.uint8)
    Image.fromarray(np.dstack([np.tile(rows, (size[1], 1))] * 3)).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("flawed", "told"),
    [
        (lambda c: b"\r\n" + c, "bytes before the JPEG picture passed over"),
        (lambda c: b"\0\0\0" + c, "bytes before the JPEG picture passed over"),
        (lambda c: c[:2] + c, "bytes before the JPEG picture passed over"),
        (lambda c: c[:2] + c[:2] + c, "bytes before the JPEG picture passed over"),
        (lambda c: c[:-2], "end of the JPEG picture not marked"),
        (lambda c: c[:-2] + bytes(20), "end of the JPEG picture not marked"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}])
def test_what_viewers_forgive_is_forgiven_and_told(tmp_path, flawed, told, options):
    content = jpeg_content(**options)
    sound, path = tmp_path / "sound.jpg", tmp_path / "flawed.jpg"
    sound.write_bytes(content)
    path.write_bytes(flawed(content))
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, read_image(sound).pixels)
    assert image.changes == (told,)
    with open_bands(path) as bands:
        np.testing.assert_array_equal(bands.read(0, 67).pixels, image.pixels)


@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}, {"progressive": True}])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_a_jpeg_that_is_cut_is_damaged_all_the_same(tmp_path, options, share):
    content = jpeg_content(**options)
    path = tmp_path / "cut.jpg"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageError, match="is damaged or cut short"):
        read_image(path)


def test_a_cut_between_scans_is_no_forgivable_flaw(tmp_path):
    content = jpeg_content(progressive=True)
    path = tmp_path / "cut.jpg"
    path.write_bytes(content[: content.rindex(b"\xff\xc4")])
    with pytest.raises(ImageError, match="is damaged or cut short"):
        read_image(path)


def test_what_a_decoder_lacks_is_no_damage(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (17, 12)).save(file, "BMP")
    content = bytearray(file.getvalue())
    content[30] = 4  # a JPEG file within
    path = tmp_path / "within.bmp"
    path.write_bytes(content)
    with pytest.raises(ImageError) as error:
        read_image(path)
    assert error.value.message == f"{path} cannot be decoded here: Unsupported BMP compression (4)"
    assert error.value.hint == "convert it to PNG first"
