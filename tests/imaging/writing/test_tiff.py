"""TIFF files of every depth, whole and in tiles, with what EXIF says, read back by others."""

import io
import struct

import numpy as np
import pytest
import pyvips
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from mambair_cli.imaging.color.carrying import Carried
from mambair_cli.imaging.image import ImageHeader
from mambair_cli.imaging.metadata.preparation import Prepared
from mambair_cli.imaging.writing import tiff as tiff_writer
from mambair_cli.imaging.writing.tiff import write_tiff, write_tiff_bands

CHANNELS = {1: (1, False), 2: (1, True), 3: (3, False), 4: (3, True)}
TYPES = (np.uint8, np.uint16, np.float32)
NOTHING = Prepared()
NOTE = b"Apple iOS\0\0\x01MM\0\0"  # holds everywhere


def header_of(pixels):
    height, width, samples = pixels.shape
    channels, has_alpha = CHANNELS[samples]
    return ImageHeader(width, height, channels, pixels.dtype, has_alpha)


def whole(pixels, metadata=NOTHING):
    file = io.BytesIO()
    write_tiff(file, [(header_of(pixels), pixels, metadata)])
    return file.getvalue()


def tiled(pixels, metadata=NOTHING, cuts=()):
    file = io.BytesIO()
    write_tiff_bands(file, header_of(pixels), np.split(pixels, cuts), metadata)
    return file.getvalue()


WRITERS = pytest.mark.parametrize("write", [whole, tiled])


def noise(shape, dtype, seed=0):
    values = np.random.default_rng(seed).random(shape)
    if dtype == np.float32:
        return (values * 3 - 1).astype(np.float32)
    return (values * np.iinfo(dtype).max).astype(dtype)


def read_by_tifffile(content, page=0):
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        return file.pages[page].asarray()


def read_by_vips(content):
    return pyvips.Image.new_from_buffer(content, "").numpy()


@pytest.fixture
def exif():
    """As a camera writes it in the other byte order, with more than Pillow would write again."""
    entries = [
        (0x010F, 2, "Käme\0".encode()),
        (0x0112, 3, struct.pack(">H", 1)),
        (0x013B, 2, "Zoë Ω\0".encode()),
        (0x8298, 129, "© Zoë\0".encode()),
    ]
    details = [
        (0x829A, 5, struct.pack(">II", 1, 250)),
        (0x9003, 2, b"2024:02:29 12:00:00\0"),
        (0x9204, 10, struct.pack(">ii", -1, 3)),
        (0x927C, 7, NOTE),
    ]
    place = [(1, 2, b"N\0"), (2, 5, struct.pack(">6I", 48, 1, 8, 1, 30, 1))]
    sizes = {2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 10: 8, 129: 1}

    def directory(entries, start):
        records, values = b"", b""
        free = start + 2 + 12 * len(entries) + 4
        for tag, kind, data in entries:
            field = data.ljust(4, b"\0")
            if len(data) > 4:
                field = struct.pack(">I", free + len(values))
                values += data + bytes(len(data) % 2)
            records += struct.pack(">HHI", tag, kind, len(data) // sizes[kind]) + field
        return struct.pack(">H", len(entries)) + records + bytes(4) + values

    first_size = len(directory([*entries, (0x8769, 4, bytes(4)), (0x8825, 4, bytes(4))], 8))
    exif_start = 8 + first_size
    gps_start = exif_start + len(directory(details, exif_start))
    pointers = [
        (0x8769, 4, struct.pack(">I", exif_start)),
        (0x8825, 4, struct.pack(">I", gps_start)),
    ]
    first = directory([*entries, *pointers], 8)
    block = b"MM\0*" + struct.pack(">I", 8) + first
    return b"Exif\0\0" + block + directory(details, exif_start) + directory(place, gps_start)


@WRITERS
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("samples", CHANNELS)
@pytest.mark.parametrize("size", [(67, 91), (1, 1), (1, 300), (300, 1), (513, 257)])
def test_every_kind_of_pixel_is_read_back_by_others(write, dtype, samples, size):
    pixels = noise((*size, samples), dtype)
    content = write(pixels)
    for read in (read_by_tifffile, read_by_vips):
        again = read(content)
        assert again.dtype == dtype
        np.testing.assert_array_equal(again.reshape(pixels.shape), pixels)
    if dtype == np.uint8 or samples == 1:  # more Pillow cannot hold
        with Image.open(io.BytesIO(content)) as image:
            np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 600), st.integers(1, 300), st.sampled_from(sorted(CHANNELS))),
    dtype=st.sampled_from(TYPES),
    cuts=st.lists(st.integers(1, 599), max_size=5),
)
def test_tiles_from_bands_of_any_height(shape, dtype, cuts):
    pixels = noise(shape, dtype, seed=sum(shape))
    content = tiled(pixels, cuts=sorted({cut for cut in cuts if cut < shape[0]}))
    assert content == tiled(pixels)
    np.testing.assert_array_equal(read_by_tifffile(content).reshape(shape), pixels)


@WRITERS
def test_alpha_is_straight_and_nothing_tells_when_the_file_was_made(write):
    content = write(noise((40, 31, 4), np.uint16))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages.first
        assert not file.is_bigtiff
        assert page.extrasamples == (tifffile.EXTRASAMPLE.UNASSALPHA,)
        assert page.is_tiled == (write is tiled)
        unwanted = {"Software", "DateTime", "ImageDescription"}
        assert not unwanted & {tag.name for tag in page.tags}
    assert content == write(noise((40, 31, 4), np.uint16))


@WRITERS
@pytest.mark.parametrize("samples", CHANNELS)
def test_old_readers_know_how_it_is_compressed(write, samples):
    """ImageJ before 1.53v knows LZW with a predictor, 48 bits aside, and deflate without one."""
    for dtype, name, predictor in (
        (np.uint8, "LZW", "HORIZONTAL"),
        (np.uint16, "ADOBE_DEFLATE", "NONE"),
        (np.float32, "ADOBE_DEFLATE", "NONE"),
    ):
        with tifffile.TiffFile(io.BytesIO(write(noise((40, 31, samples), dtype)))) as file:
            page = file.pages.first
            assert (page.compression.name, page.predictor) == (name, tifffile.PREDICTOR[predictor])


@WRITERS
@pytest.mark.parametrize("big", [False, True])
def test_exif_and_gps_are_written_value_by_value(write, big, exif, monkeypatch):
    if big:
        monkeypatch.setattr(tiff_writer, "_CLASSIC_BYTES", 1000)
    pixels = noise((40, 31, 3), np.uint8)
    content = write(pixels, Prepared(exif=exif))
    np.testing.assert_array_equal(read_by_tifffile(content), pixels)
    np.testing.assert_array_equal(read_by_vips(content), pixels)
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)
        tags = image.getexif()
        assert tags[0x013B].encode("latin-1").decode() == "Zoë Ω"
        details = tags.get_ifd(ExifTags.IFD.Exif)
        assert details[0x829A] == 1 / 250
        assert details[0x9003] == "2024:02:29 12:00:00"
        assert details[0x9204] == pytest.approx(-1 / 3)
        assert details[0x927C] == NOTE
        place = tags.get_ifd(ExifTags.IFD.GPSInfo)
        assert place[1] == "N"
        assert place[2] == (48, 8, 30)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        assert file.is_bigtiff == big
        tags = file.pages.first.tags
        assert tags["ExifTag"].value["ExposureTime"] == (1, 250)
        assert tags["ExifTag"].value["MakerNote"] == NOTE
        assert tags[0x8825].value["GPSLatitude"] == (48, 1, 8, 1, 30, 1)
        assert [tag.code for tag in tags] == sorted(tag.code for tag in tags)
    assert "© Zoë\0".encode() in content


@WRITERS
def test_profile_packets_records_and_resolution(write):
    ready = Prepared(
        color=Carried(bytes(16) + b"RGB " + bytes(1001)),
        xmp=b"<x:xmpmeta>odd</x:xmpmeta>",
        iptc=b"\x1c\x02\x78\x00\x05words",
        dpi=(300, 72.5),
    )
    content = write(noise((40, 31, 3), np.uint16), ready)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tags = file.pages.first.tags
        assert tags["InterColorProfile"].value == ready.color.profile
        assert tags["XMP"].value == ready.xmp
        assert tags[33723].value == ready.iptc
        assert tags["XResolution"].value == (300, 1)
        assert tags["YResolution"].value == (145, 2)
        assert tags["ResolutionUnit"].value == tifffile.RESUNIT.INCH


def test_pages_of_different_kinds(exif):
    pages = [
        noise((40, 31, 3), np.uint8),
        noise((20, 50, 1), np.float32),
        noise((7, 9, 4), np.uint16),
    ]
    profiles = [bytes([number]) * 200 for number in range(3)]
    file = io.BytesIO()
    write_tiff(
        file,
        [
            (header_of(page), page, Prepared(color=Carried(profile), exif=exif))
            for page, profile in zip(pages, profiles, strict=True)
        ],
    )
    content = file.getvalue()
    with tifffile.TiffFile(io.BytesIO(content)) as again:
        assert len(again.pages) == 3
        for page, pixels, profile in zip(again.pages, pages, profiles, strict=True):
            np.testing.assert_array_equal(page.asarray().reshape(pixels.shape), pixels)
            assert page.tags["InterColorProfile"].value == profile
            assert page.tags["ExifTag"].value["ExposureTime"] == (1, 250)
    for index, pixels in enumerate(pages):
        vips = pyvips.Image.new_from_buffer(content, "", page=index).numpy()
        np.testing.assert_array_equal(vips.reshape(pixels.shape), pixels)


@pytest.mark.parametrize(
    ("size", "dtype", "big"),
    [
        ((30_000, 30_000), np.uint8, False),
        ((30_400, 30_400), np.uint8, False),
        ((30_800, 30_800), np.uint8, True),
        ((30_000, 30_000), np.uint16, True),
    ],
)
def test_bigtiff_is_taken_where_4_gib_could_be_passed(size, dtype, big, monkeypatch):
    """Only the header is looked at: the pixels stay unwritten."""
    opened = []

    class Stop(Exception):  # noqa: N818
        pass

    def stop(_, *, bigtiff):
        opened.append(bigtiff)
        raise Stop

    monkeypatch.setattr(tifffile, "TiffWriter", stop)
    header = ImageHeader(size[1], size[0], 3, np.dtype(dtype))
    with pytest.raises(Stop):
        write_tiff_bands(io.BytesIO(), header, iter(()), NOTHING)
    assert opened == [big]


@pytest.mark.parametrize(
    "damaged", [b"Exif\0\0", b"Exif\0\0no structure", b"Exif\0\0II*\0\xff\xff\0\0"]
)
def test_damaged_exif_is_left_out(damaged):
    pixels = noise((4, 5, 3), np.uint8)
    content = whole(pixels, Prepared(exif=damaged))
    np.testing.assert_array_equal(read_by_tifffile(content), pixels)
