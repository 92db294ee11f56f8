"""Directories in both byte orders, classic and big, read without changing a value."""

import io
import struct

import pytest
import tifffile
from PIL import ExifTags, Image

from mambair_cli.imaging.metadata.tag_reader import (
    PREFIX,
    TagFile,
    exif_entries,
    numbers,
    without_prefix,
)
from mambair_cli.imaging.metadata.tiff_directory import Entry, exif_block

EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
MAKER_NOTE = b"FUJIFILM" + bytes(range(256))  # holds everywhere
ENTRIES = (
    Entry(0x010F, 2, b"Camera\0"),
    Entry(0x011A, 5, struct.pack("<II", 300, 1)),
    Entry(0x0128, 3, struct.pack("<H", 2)),
    Entry(
        EXIF,
        4,
        directory=(
            Entry(0x829A, 5, struct.pack("<II", 1, 250)),
            Entry(0x9204, 10, struct.pack("<ii", -1, 3)),
            Entry(0x927C, 7, MAKER_NOTE),
            Entry(0xA001, 3, struct.pack("<H", 1)),
            Entry(INTEROPERABILITY, 4, directory=(Entry(1, 2, b"R98\0"),)),
        ),
    ),
    Entry(GPS, 4, directory=(Entry(1, 2, b"N\0"), Entry(2, 5, struct.pack("<6I", *range(6))))),
)


def test_what_is_written_is_read_again():
    assert exif_entries(exif_block(ENTRIES)) == ENTRIES
    assert exif_entries(PREFIX + PREFIX + exif_block(ENTRIES)) == ENTRIES


def test_pillow_reads_what_is_written():
    exif = Image.Exif()
    exif.load(exif_block(ENTRIES))
    assert exif[ExifTags.Base.Make] == "Camera"
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert details[ExifTags.Base.ExposureTime] == 1 / 250
    assert details[ExifTags.Base.ExposureBiasValue] == pytest.approx(-1 / 3)
    assert details[ExifTags.Base.MakerNote] == MAKER_NOTE
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_give_the_same(order):
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    values = 8 + 2 + 5 * 12 + 4
    directory = struct.pack(order + "H", 5)
    directory += struct.pack(order + "HHIHH", 0x0112, 3, 1, 6, 0)
    directory += struct.pack(order + "HHII", 0x011A, 5, 1, values)
    directory += struct.pack(order + "HHI2sH", 0x0131, 2, 2, b"a\0", 0)
    directory += struct.pack(order + "HHIHH", 0x0140, 3, 2, 1, 2)
    directory += struct.pack(order + "HHII", 0x0141, 12, 1, values + 8)
    block = header + directory + bytes(4) + struct.pack(order + "IId", 72, 1, 0.5)
    assert exif_entries(block) == (
        Entry(0x0112, 3, b"\6\0"),
        Entry(0x011A, 5, struct.pack("<II", 72, 1)),
        Entry(0x0131, 2, b"a\0"),
        Entry(0x0140, 3, b"\1\0\2\0"),
        Entry(0x0141, 12, struct.pack("<d", 0.5)),
    )


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_pages_of_files_of_tifffile(order, bigtiff):
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=order, bigtiff=bigtiff) as writer:
        for page in range(3):
            pixels = [[page] * 31] * 17
            writer.write(pixels, dtype="uint8", description=f"page {page}", metadata=None)
    tags = TagFile(file)
    positions = list(tags.directories())
    assert len(positions) == 3
    for page, position in enumerate(positions):
        places = {270: tags.places(position)[270], 256: tags.places(position)[256]}
        entries = {entry.tag: entry for entry in tags.entries(places)}
        assert entries[270].data == f"page {page}\0".encode()
        assert numbers(entries[256]) == (31,)


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        (Entry(1, 3, struct.pack("<HH", 1, 65535)), (1, 65535)),
        (Entry(1, 4, struct.pack("<I", 2**32 - 1)), (2**32 - 1,)),
        (Entry(1, 5, struct.pack("<IIII", 1, 4, 3, 2)), (0.25, 1.5)),
        (Entry(1, 5, struct.pack("<II", 1, 0)), ()),
        (Entry(1, 2, b"text\0"), ()),
        (Entry(1, 3, b""), ()),
    ],
)
def test_numbers(entry, values):
    assert numbers(entry) == values


def test_a_damaged_value_is_left_out_and_the_others_kept():
    block = exif_block((Entry(1, 2, b"long enough\0"), Entry(2, 3, b"\1\0")))
    damaged = block.replace(struct.pack("<HHII", 1, 2, 12, 8), struct.pack("<HHII", 1, 2, 12, 9999))
    assert exif_entries(damaged) == (Entry(2, 3, b"\1\0"),)


@pytest.mark.parametrize("block", [b"", b"II", b"II*\0", b"garbage!", b"II*\0\xff\xff\xff\xff"])
def test_what_is_no_directory_is_refused(block):
    with pytest.raises(ValueError, match=r"^(not a TIFF structure|the file ends before its tags)$"):
        exif_entries(block)


def test_a_directory_of_more_entries_than_there_are_numbers_is_refused():
    big = b"II" + struct.pack("<HHHQQ", 43, 8, 0, 16, 2**64 - 1)
    with pytest.raises(ValueError, match="the file ends before its tags"):
        TagFile(io.BytesIO(big)).places(16)


def test_every_truncation_is_refused_or_read_in_part():
    block = exif_block(ENTRIES)
    for length in range(len(block)):
        try:
            entries = exif_entries(block[:length])
        except ValueError:
            continue
        assert {entry.tag for entry in entries} <= {entry.tag for entry in ENTRIES}


def test_the_prefix_is_taken_off_however_often():
    assert without_prefix(PREFIX * 3 + b"II") == b"II"
