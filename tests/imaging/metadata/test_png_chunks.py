"""Chunks beside the pixels of a PNG file, put together byte by byte."""

import io
import struct
import time
import zlib

import metadata_blocks as blocks
import pytest

from mambair_cli.imaging.metadata.png_chunks import (
    IPTC_KEYWORD,
    raw_profile,
    read_png_chunks,
)


def chunk(name, data):
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def found_in(*chunks, rest=b""):
    start = chunk(b"IHDR", struct.pack(">IIBBBBB", 31, 17, 8, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + start + b"".join(chunks) + chunk(b"IEND", b"") + rest
    return read_png_chunks(io.BytesIO(content))


def text(keyword, value):
    return chunk(b"tEXt", keyword.encode() + b"\0" + value.encode("latin-1"))


def test_text_is_read_however_it_is_stored_and_wherever():
    found = found_in(
        text("a", "plain ü"),
        chunk(b"IDAT", b"x" * 100),
        chunk(b"zTXt", b"b\0\0" + zlib.compress(b"packed \xfc")),
        chunk(b"iTXt", b"c\0\0\0de\0Titel\0" + "größer ✓".encode()),
        chunk(b"IDAT", b"x" * 100),
        chunk(b"iTXt", b"d\0\1\0\0\0" + zlib.compress("both ✓".encode())),
    )
    assert found.text == {"a": "plain ü", "b": "packed ü", "c": "größer ✓", "d": "both ✓"}
    assert not found.damaged


def test_a_keyword_may_come_twice():
    assert found_in(text("a", "one"), text("a", "two")).text == {"a": "one\ntwo"}


def test_colour_chunks_are_taken_byte_for_byte():
    chunks = {
        b"gAMA": struct.pack(">I", 45455),
        b"cHRM": struct.pack(">8I", *range(8)),
        b"sRGB": b"\2",
        b"cICP": bytes([9, 16, 0, 1]),
        b"mDCV": bytes(24),
        b"cLLI": bytes(8),
    }
    assert found_in(*(chunk(*item) for item in chunks.items())).color == chunks


def test_profile_exif_and_xmp():
    found = found_in(
        chunk(b"iCCP", b"a name\0\0" + zlib.compress(blocks.PROFILE)),
        chunk(b"eXIf", b"II*\0rest"),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(blocks.XMP)),
    )
    assert found.icc_profile == blocks.PROFILE
    assert found.exif == b"Exif\0\0II*\0rest"
    assert found.xmp == blocks.XMP
    assert not found.text


def test_whole_resolutions_come_back_as_they_were():
    resolutions = [*range(1, 1300, 7), 72, 96, 300, 600, 1200, 2400, 4800]
    found = {}
    for dpi in resolutions:
        per_metre = round(dpi / 0.0254)
        found[dpi] = found_in(chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1))).dpi
    assert found == {dpi: (dpi, dpi) for dpi in resolutions}


def test_other_resolutions_and_shapes_of_pixels():
    assert found_in(chunk(b"pHYs", struct.pack(">IIB", 2853, 2853, 1))).dpi == pytest.approx(
        (72.466, 72.466), abs=1e-3
    )
    square = found_in(chunk(b"pHYs", struct.pack(">IIB", 1, 1, 0)))
    assert (square.dpi, square.others) == (None, {})
    assert list(found_in(chunk(b"pHYs", struct.pack(">IIB", 4, 3, 0))).others) == ["pHYs"]


def test_what_is_not_taken_is_named_once():
    found = found_in(chunk(b"tIME", bytes(7)), chunk(b"caBX", b"x"), chunk(b"tIME", bytes(7)))
    assert list(found.others) == ["tIME", "caBX"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"iCCP", b"no separator"),
        (b"iCCP", b"name\0\0" + zlib.compress(blocks.PROFILE)[:-9]),
        (b"pHYs", b"short"),
        (b"zTXt", b"key\0\0not compressed"),
        (b"iTXt", b"key\0\0\0\0\0\xff\xfe"),
        (b"tEXt", b"no separator"),
        (b"tEXt", b"\0a value without keyword"),
        (b"zTXt", b"k" * 80 + b"\0\0" + zlib.compress(b"a value")),
    ],
)
def test_damaged_chunks_are_named_and_the_others_read(name, value):
    found = found_in(chunk(name, value), text("a", "one"))
    assert list(found.damaged) == [name.decode()]
    assert found.text == {"a": "one"}


@pytest.mark.parametrize(
    ("keyword", "data", "attribute", "expected"),
    [
        ("exif", b"Exif\0\0II*\0rest", "exif", b"Exif\0\0II*\0rest"),
        ("APP1", b"Exif\0\0II*\0rest", "exif", b"Exif\0\0II*\0rest"),
        ("APP1", b"http://ns.adobe.com/xap/1.0/\0<x/>", "xmp", b"<x/>"),
        ("xmp", b"<x/>", "xmp", b"<x/>"),
        ("iptc", blocks.IPTC, "iptc", blocks.IPTC),
        ("iptc", blocks.PHOTOSHOP, "iptc", blocks.IPTC),
        ("8bim", b"Photoshop 3.0\0" + blocks.PHOTOSHOP, "iptc", blocks.IPTC),
        ("icc", blocks.PROFILE, "icc_profile", blocks.PROFILE),
    ],
)
def test_blocks_that_older_programs_wrote_as_text(keyword, data, attribute, expected):
    value = blocks.raw_profile(keyword.lower(), data)
    found = found_in(text(f"Raw profile type {keyword}", value))
    assert getattr(found, attribute) == expected
    assert (found.text, found.damaged) == ({}, {})


@pytest.mark.parametrize(
    "value", ["", "\nexif\n 8\nabcd", "\nexif\n 2\nabxy", "\nexif\n\nabcd", "\nexif\n 2\nabc"]
)
def test_damaged_blocks_in_text_are_named(value):
    found = found_in(text("Raw profile type exif", value))
    assert list(found.damaged) == ["Raw profile type exif"]
    assert (found.exif, found.text) == (None, {})


@pytest.mark.parametrize(
    "value", ["a" + " " * 30_000 + "!", "\n" * 30_000, "a 1 " + "0 " * 30_000, "a" * 60_000 + " "]
)
def test_a_raw_profile_takes_no_longer_than_its_length(value):
    start = time.process_time()
    found = found_in(text("Raw profile type exif", value))
    assert found.damaged == {"Raw profile type exif": None}
    assert time.process_time() - start < 1


def test_a_keyword_may_come_any_number_of_times():
    count = 20_000
    start = time.process_time()
    found = found_in(*[text("Comment", "b" * 200)] * count)
    assert len(found.text["Comment"]) == 201 * count - 1
    assert time.process_time() - start < 2


def test_what_is_written_as_text_is_read_again():
    data = bytes(range(256)) * 3
    found = found_in(text(IPTC_KEYWORD, raw_profile("iptc", data)))
    assert found.iptc == data


def test_the_position_in_the_file_is_left_as_it_was():
    file = io.BytesIO(b"\x89PNG\r\n\x1a\n" + text("a", "one"))
    file.seek(5)
    assert read_png_chunks(file).text == {"a": "one"}
    assert file.tell() == 5


def test_nothing_is_read_behind_the_end():
    assert found_in(rest=text("a", "one")).text == {}
