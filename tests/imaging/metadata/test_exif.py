"""EXIF blocks built byte by byte: what is changed, and that nothing else is."""

import struct
from fractions import Fraction

import metadata_blocks as blocks
import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from mambair_cli.imaging.metadata.exif import (
    exif_orientation,
    exif_resolution,
    has_thumbnail,
    placed_exif,
    private_exif,
    sized_exif,
    upright_exif,
    with_resolution,
    without_maker_notes,
    without_orientation,
)
from mambair_cli.imaging.metadata.placement import Placement
from mambair_cli.imaging.metadata.tag_reader import PREFIX

SHORT, LONG, UNDEFINED = 3, 4, 7
THUMBNAIL = b"\xff\xd8 a small JPEG \xff\xd9"
MAKER_NOTE = b"the camera's own tags, with offsets from the start of the block"


def entry(order, tag, kind, count, value):
    packed = struct.pack(
        order + ("HH" if kind == SHORT else "I"), *((value, 0) if kind == SHORT else (value,))
    )
    return struct.pack(order + "HHI", tag, kind, count) + packed


def block(order="<", orientation=6, after_thumbnail=b""):
    """First directory at 8, EXIF directory, thumbnail directory, maker note, thumbnail."""
    first, details, second = 8, 8 + 2 + 4 * 12 + 4, 8 + 2 + 4 * 12 + 4 + 2 + 3 * 12 + 4
    note = second + 2 + 2 * 12 + 4
    thumbnail = note + len(MAKER_NOTE)
    directories = [
        (
            [
                (0x0100, SHORT, 1, 4000),
                (0x0101, SHORT, 1, 3000),
                (0x0112, SHORT, 1, orientation),
                (0x8769, LONG, 1, details),
            ],
            second,
        ),
        (
            [
                (0x927C, UNDEFINED, len(MAKER_NOTE), note),
                (0xA002, LONG, 1, 4000),
                (0xA003, SHORT, 1, 3000),
            ],
            0,
        ),
        ([(0x0201, LONG, 1, thumbnail), (0x0202, LONG, 1, len(THUMBNAIL))], 0),
    ]
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", first)
    body = b""
    for entries, following in directories:
        body += struct.pack(order + "H", len(entries))
        body += b"".join(entry(order, *fields) for fields in entries)
        body += struct.pack(order + "I", following)
    return header + body + MAKER_NOTE + THUMBNAIL + after_thumbnail


def differing(before, after):
    return {i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b}


@pytest.mark.parametrize("order", ["<", ">"])
def test_only_orientation_and_thumbnail_change(order):
    before = block(order)
    after = upright_exif(PREFIX + before).removeprefix(PREFIX)
    assert THUMBNAIL not in after
    assert len(after) == len(before) - len(THUMBNAIL)
    assert after.endswith(MAKER_NOTE)
    assert after.index(MAKER_NOTE) == before.index(MAKER_NOTE)
    low_byte = 0 if order == "<" else 1
    orientation = 8 + 2 + 2 * 12 + 8 + low_byte
    assert after[orientation] == 1
    link = range(8 + 2 + 4 * 12, 8 + 2 + 4 * 12 + 4)
    assert not any(after[i] for i in link)
    assert differing(before, after) <= {orientation, *link}


def test_a_thumbnail_in_the_middle_is_erased_in_place():
    before = block(after_thumbnail=b"more tags")
    after = upright_exif(before).removeprefix(PREFIX)
    assert THUMBNAIL not in after
    assert len(after) == len(before)
    assert after.endswith(bytes(len(THUMBNAIL)) + b"more tags")


def test_a_thumbnail_offset_that_points_elsewhere_erases_nothing():
    before = block().replace(THUMBNAIL, b"not a JPEG at all, but other tags"[: len(THUMBNAIL)])
    after = upright_exif(before).removeprefix(PREFIX)
    assert len(after) == len(before)
    assert after[-len(THUMBNAIL) :] == before[-len(THUMBNAIL) :]


@pytest.mark.parametrize("order", ["<", ">"])
def test_size_tags_take_sizes_beyond_16_bits(order):
    exif = upright_exif(block(order))
    sized = sized_exif(exif, 70000, 60000).removeprefix(PREFIX)
    for position, value in ((10, 70000), (22, 60000), (76, 70000), (88, 60000)):
        kind, count, stored = struct.unpack_from(order + "HII", sized, position + 2)
        assert (kind, count, stored) == (LONG, 1, value)
    assert len(sized) == len(exif) - len(PREFIX)


def test_tags_that_are_missing_are_not_added():
    empty = b"II*\0" + struct.pack("<IHI", 8, 0, 0)
    assert upright_exif(empty) == PREFIX + empty
    assert sized_exif(PREFIX + empty, 10, 20) == PREFIX + empty


def test_a_prefix_written_twice_is_written_once():
    assert upright_exif(PREFIX + PREFIX + block()) == upright_exif(block())


@pytest.mark.parametrize("exif", [b"", PREFIX, b"garbage", b"II*\0", b"II*\0\xff\xff\xff\xff"])
def test_damaged_blocks_are_dropped(exif):
    assert upright_exif(exif) is None


def test_every_truncation_is_dropped_or_kept_but_never_fails():
    whole = block()
    for length in range(len(whole)):
        exif = upright_exif(whole[:length])
        if exif is not None:
            assert sized_exif(exif, 1, 2).startswith(PREFIX)


def loaded(exif):
    tags = Image.Exif()
    tags.load(exif)
    return tags


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_read(order, orientation):
    assert exif_orientation(block(order, orientation)) == orientation


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_impossible_orientation_is_none(orientation):
    assert exif_orientation(block("<", orientation)) is None
    assert exif_orientation(b"garbage") is None


def test_a_second_directory_is_a_thumbnail():
    assert has_thumbnail(block())
    assert not has_thumbnail(upright_exif(block()))
    assert not has_thumbnail(b"garbage")


def test_resolutions_in_inches_and_centimetres():
    tags = Image.Exif()
    tags[0x011A], tags[0x011B] = 300, 150
    assert exif_resolution(tags.tobytes()) == (300, 150)
    tags[0x0128] = 3
    assert exif_resolution(tags.tobytes()) == pytest.approx((762, 381))
    tags[0x0128] = 1  # no unit
    assert exif_resolution(tags.tobytes()) is None
    assert exif_resolution(block()) is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_resolution_is_added_and_nothing_moves(order):
    before = block(order)
    after = with_resolution(before, (300, 72.5)).removeprefix(PREFIX)
    assert exif_resolution(after) == (300, 72.5)
    assert after[8 : len(before)] == before[8:]
    tags = loaded(after)
    assert tags[ExifTags.Base.Orientation] == 6
    assert tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] == MAKER_NOTE
    again = with_resolution(after, (150, 150))
    assert exif_resolution(again) == (150, 150)


def test_a_resolution_alone_makes_a_block():
    assert exif_resolution(with_resolution(None, (300, 1200))) == (300, 1200)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_orientation_can_be_taken_out_and_nothing_moves(order):
    before = block(order)
    after = without_orientation(before).removeprefix(PREFIX)
    assert len(after) == len(before)
    tags = loaded(after)
    assert ExifTags.Base.Orientation not in tags
    assert tags[ExifTags.Base.ImageWidth] == 4000
    assert after.index(MAKER_NOTE) == before.index(MAKER_NOTE)
    assert after[-len(THUMBNAIL) :] == THUMBNAIL
    assert without_orientation(after) == PREFIX + after


def test_maker_notes_can_be_taken_out():
    exif = blocks.exif().tobytes()
    without = without_maker_notes(exif)
    assert blocks.MAKER_NOTE not in without
    details = loaded(without).get_ifd(ExifTags.IFD.Exif)
    assert details[ExifTags.Base.BodySerialNumber] == "PLANTED-0"
    assert without_maker_notes(without) == without


@pytest.mark.parametrize("order", ["<", ">"])
def test_private_writes_nothing_but_what_it_knows(order):
    exif = upright_exif(block(order, after_thumbnail=b"bytes that no tag points to"))
    private, dropped = private_exif(exif)
    assert dropped == ("maker notes",)
    assert b"no tag points to" not in private
    tags = loaded(private)
    assert dict(tags)[ExifTags.Base.ImageWidth] == 4000
    details = tags.get_ifd(ExifTags.IFD.Exif)
    assert dict(details) == {0xA002: 4000, 0xA003: 3000}


def test_private_drops_what_tells_of_places_serial_numbers_and_owners():
    private, dropped = private_exif(blocks.exif().tobytes())
    assert set(dropped) == {"maker notes", "serial numbers", "owner name", "GPS position"}
    assert blocks.SECRET not in private
    tags = loaded(private)
    assert ExifTags.IFD.GPSInfo not in tags
    assert tags[ExifTags.Base.Artist] == "An Artist"


@pytest.mark.parametrize("tag", [0x02BC, 0x83BB, 0x8649, 0xFDE8, 0xFDE9, 0xC62F, 0xEA1C, 0x5678])
def test_private_drops_tags_that_may_hold_anything(tag):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    exif[tag] = b"PLANTED in an unusual place"
    private, dropped = private_exif(exif.tobytes())
    assert blocks.SECRET not in private
    assert len(dropped) == 1
    assert loaded(private)[ExifTags.Base.Make] == "Camera"


def test_private_leaves_nothing_of_a_block_of_secrets():
    exif = Image.Exif()
    exif[0xC62F] = "PLANTED"
    assert private_exif(exif.tobytes()) == (None, ("serial numbers",))
    assert private_exif(b"garbage") == (None, ())


def details_of(exif):
    tags = Image.Exif()
    tags.load(exif)
    return tags.get_ifd(ExifTags.IFD.Exif)


def subject_block(order, subject, focal_plane):
    """A block whose EXIF directory holds a subject's area and the resolution of the focal plane."""
    tags = Image.Exif()
    tags.endian = order
    details = tags.get_ifd(ExifTags.IFD.Exif)
    details[0x9214] = subject
    for tag, value in zip((0xA20E, 0xA20F), focal_plane, strict=True):
        details[tag] = IFDRational(*value)
    details[ExifTags.Base.DateTimeOriginal] = "2024:02:29 12:00:00"
    return tags.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("stored", "after"),
    [
        ((72, 18), (60, 144)),
        ((72, 18, 12), (60, 144, 24)),
        ((72, 18, 12, 6), (60, 144, 12, 24)),
    ],
)
def test_subjects_and_focal_planes_turn_and_grow(order, stored, after):
    block = subject_block(order, stored, ((8, 3), (5, 1)))
    turned, dropped = placed_exif(block, Placement(96, 48, orientation=6))
    grown, more = placed_exif(turned, Placement(48, 96, across=2, down=2))
    assert not dropped + more
    details = details_of(grown)
    assert details[0x9214] == after
    assert (details[0xA20E], details[0xA20F]) == (10, Fraction(16, 3))
    assert details[ExifTags.Base.DateTimeOriginal] == "2024:02:29 12:00:00"


def test_subjects_that_do_not_fit_their_numbers_go():
    block = subject_block("<", (60000, 18), ((8, 3), (5, 1)))
    grown, dropped = placed_exif(block, Placement(60001, 48, across=2, down=2))
    assert dropped == ("subject area",)
    details = details_of(grown)
    assert set(details) == {0xA20E, 0xA20F, ExifTags.Base.DateTimeOriginal}
