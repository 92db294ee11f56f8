"""Segments of JPEG files that hold more than the pixels."""

import struct

import metadata_blocks as blocks
import pytest
from PIL import Image

from mambair_cli.imaging.metadata.jpeg_segments import jpeg_segments, read_jpeg_segments

JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"


def test_xmp_iptc_and_comments_are_read():
    found = read_jpeg_segments(
        [
            ("APP0", JFIF),
            ("APP1", b"Exif\0\0II*\0"),
            ("APP1", b"http://ns.adobe.com/xap/1.0/\0" + blocks.XMP),
            ("APP2", b"ICC_PROFILE\0\1\1profile"),
            ("APP13", b"Photoshop 3.0\0" + blocks.PHOTOSHOP),
            ("APP14", b"Adobe\0\x64\0\0\0\0\1"),
            ("COM", b"one"),
            ("COM", b"two"),
        ]
    )
    assert (found.xmp, found.iptc, found.comment) == (blocks.XMP, blocks.IPTC, b"one\ntwo")
    assert found.dropped == ("thumbnail", "Photoshop resources")


def test_resources_may_be_cut_into_several_segments():
    parts = blocks.PHOTOSHOP[:50], blocks.PHOTOSHOP[50:]
    found = read_jpeg_segments([("APP13", b"Photoshop 3.0\0" + part) for part in parts])
    assert found.iptc == blocks.IPTC


@pytest.mark.parametrize("data", [b"JFXX\0\x13" + bytes(9), JFIF[:-2] + b"\1\2" + bytes(6)])
def test_thumbnails_of_jfif_are_said_to_be_dropped(data):
    assert read_jpeg_segments([("APP0", data)]).dropped == ("thumbnail",)


def test_segments_that_nobody_knows_are_named():
    segments = [("APP11", b"JP"), ("APP12", b"Ducky"), ("APP11", b"JP"), ("APP1", b"other")]
    assert read_jpeg_segments(segments).dropped == ("JPEG segments APP11, APP12, APP1",)
    assert read_jpeg_segments([("APP0", JFIF)]).dropped == ()


def test_an_extension_without_its_packet_is_said_to_be_dropped():
    extension = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">II", 4, 0)
    main = b"http://ns.adobe.com/xap/1.0/\0" + blocks.XMP
    found = read_jpeg_segments([("APP1", main), ("APP1", extension + b"<x/>")])
    assert found.xmp == blocks.XMP
    assert found.dropped == ("extended XMP (damaged)",)


@pytest.mark.parametrize("long", [False, True])
def test_what_is_written_is_read_by_pillow_and_again(tmp_path, long):
    xmp = blocks.XMP.replace(b"Ein Bild", b"Ein Bild" * (20000 if long else 1))
    iptc = blocks.IPTC + blocks.record(2, 120, b"x" * 30000) * (3 if long else 1)
    extra = jpeg_segments(xmp, iptc)
    Image.new("RGB", (31, 17)).save(tmp_path / "out.jpg", extra=extra)
    with Image.open(tmp_path / "out.jpg") as image:
        found = read_jpeg_segments(image.applist)
        if not long:
            assert image.info["xmp"] == xmp
            assert image.info["photoshop"] == {0x0404: iptc}
    assert found.iptc == iptc
    assert found.dropped == ()
    assert b"Ein Bild" * (20000 if long else 1) in found.xmp


def test_nothing_is_written_of_nothing():
    assert jpeg_segments(None, None) == b""
