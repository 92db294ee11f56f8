"""EXIF blocks built byte by byte: what is changed, and that nothing else is."""

import struct

import pytest

from mambair_cli.imaging.exif import PREFIX, sized_exif, upright_exif

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
