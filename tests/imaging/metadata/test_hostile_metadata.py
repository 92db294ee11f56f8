"""Metadata made to harm is dropped or kept, soon and without an exception, whatever it claims."""

import io
import struct
import time
import zlib

import metadata_blocks as blocks
import pytest
from damage import damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mambair_cli.imaging import formats
from mambair_cli.imaging.metadata.collect import read_metadata, read_tiff_metadata
from mambair_cli.imaging.metadata.exif import upright_exif
from mambair_cli.imaging.metadata.image_metadata import Metadata
from mambair_cli.imaging.metadata.iptc import without_previews
from mambair_cli.imaging.metadata.preparation import prepared
from mambair_cli.imaging.metadata.tag_reader import TagFile
from mambair_cli.imaging.metadata.xmp import merged_xmp, private_xmp

SOON = 5.0  # seconds of the processor; each of these takes milliseconds unless it runs away
EXIF = blocks.exif().tobytes()
FORMAT_NAMES = tuple(entry.name for entry in formats.FORMATS)
LIES = (0, 1, 8, 127, 255, 256, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def changed(draw, content):
    """The content with a few bytes replaced, cut, or a number replaced by a lie."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(len(data) - 4, 0)))
        kind = draw(st.sampled_from(("byte", "short", "long", "cut", "copy")))
        order = draw(st.sampled_from("<>"))
        if kind == "byte":
            data[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "short":
            data[place : place + 2] = struct.pack(order + "H", draw(st.sampled_from(LIES)) % 65536)
        elif kind == "long":
            data[place : place + 4] = struct.pack(order + "I", draw(st.sampled_from(LIES)))
        elif kind == "cut":
            del data[place : place + draw(st.integers(1, 40))]
        else:
            data[place:place] = data[place : place + draw(st.integers(1, 40))]
    return bytes(data)


damaged_exif = st.composite(lambda draw: changed(draw, EXIF))()
damaged_xmp = st.composite(lambda draw: changed(draw, blocks.XMP))()
damaged_iptc = st.composite(lambda draw: changed(draw, blocks.IPTC))()


@settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
@given(damaged_exif, damaged_xmp, damaged_iptc, st.sampled_from(FORMAT_NAMES))
def test_damaged_blocks_in_a_file_are_kept_or_dropped(exif, xmp, iptc, format_name):
    metadata = _of_webp(exif, xmp, without_previews(iptc)[0])
    for mode in ("keep", "strip", "private"):
        ready = prepared(metadata, format_name, 70000, 3, mode)
        if metadata.exif and mode == "keep" and not ready.exif:
            assert any(phrase.startswith("EXIF") for phrase in ready.report.dropped)
        if metadata.xmp and not ready.xmp:
            assert any(phrase.startswith("XMP") for phrase in ready.report.dropped)


def _of_webp(exif, xmp, iptc):
    """As `read_metadata` would give it back from a file whose format has no checksums."""
    image = Image.new("RGB", (31, 17))
    image.format = "WEBP"
    image.info |= {"exif": exif, "xmp": xmp}
    found = read_metadata(image)
    return Metadata(exif=found.exif, xmp=found.xmp, iptc=iptc or None, dpi=found.dpi)


def _file(suffix, tmp_path_factory):
    return blocks.save_full(tmp_path_factory.mktemp("full") / f"full.{suffix}").read_bytes()


@pytest.fixture(scope="module")
def tiff(tmp_path_factory):
    return _file("tif", tmp_path_factory)


@pytest.fixture(scope="module")
def png(tmp_path_factory):
    return _file("png", tmp_path_factory)


@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_tiff_directories(tiff, data):
    metadata = read_tiff_metadata(io.BytesIO(changed(data.draw, tiff)))
    prepared(metadata, "TIFF", 62, 34, "private")


@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_png_chunks(png, data):
    image = Image.new("RGB", (31, 17))
    image.format = "PNG"
    metadata = read_metadata(image, io.BytesIO(changed(data.draw, png)))
    for mode in ("keep", "private"):
        prepared(metadata, "PNG", 62, 34, mode)


@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_jpeg_segments(data):
    image = Image.new("RGB", (31, 17))
    image.format = "JPEG"
    photoshop = b"Photoshop 3.0\0" + blocks.PHOTOSHOP
    extension = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + bytes(8) + b"<rdf:RDF/>"
    image.applist = [
        ("APP0", changed(data.draw, b"JFIF\0\1\1\0\0\1\0\1\0\0")),
        ("APP1", b"http://ns.adobe.com/xap/1.0/\0" + changed(data.draw, blocks.XMP)),
        ("APP1", changed(data.draw, extension)),
        ("APP13", changed(data.draw, photoshop)),
    ]
    metadata = read_metadata(image)
    prepared(metadata, "JPEG", 62, 34, "private")


@pytest.mark.slow
def test_thousands_of_damaged_blocks():
    sources = (EXIF, blocks.XMP, blocks.IPTC)
    for index, _, content in damaged(sources, 6000, seed=5):
        exif, xmp, iptc = (content if i == index else sources[i] for i in range(3))
        metadata = _of_webp(exif, xmp, without_previews(iptc)[0])
        for format_name in ("JPEG", "TIFF", "AVIF"):
            for mode in ("keep", "private"):
                prepared(metadata, format_name, 62, 34, mode)


def _seconds(function, *arguments):
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def _directory(*entries, following=0):
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(_directory((0x8769, 4, 1, 8), (0x8825, 4, 1, 8)), id="points to itself"),
        pytest.param(_directory((0x010E, 2, 1, 8), following=8), id="follows itself"),
        pytest.param(_directory((0x010E, 2, 2**32 - 1, 8)), id="4 GB of text"),
        pytest.param(_directory((0x010E, 12, 2**29 + 1, 8)), id="a product of 2**32"),
        pytest.param(b"\xff\xff" + bytes(100), id="65535 entries"),
        pytest.param(
            _directory(*((tag, 7, 60000, 8) for tag in range(0x9000, 0x9000 + 1000))),
            id="1000 times the same 60000 bytes",
        ),
    ],
)
def test_exif_that_lies(block):
    exif = upright_exif(b"II*\0\x08\0\0\0" + block)
    metadata = Metadata(exif=exif, dpi=(300, 300))
    for format_name in FORMAT_NAMES:
        for mode in ("keep", "private"):
            assert _seconds(prepared, metadata, format_name, 62, 34, mode) < SOON
            ready = prepared(metadata, format_name, 62, 34, mode)
            assert len(ready.exif or b"") < 2 * len(block) + 200


BOMB = b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>" + b"".join(
    b"<!ENTITY %c '%s'>" % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(20)
)


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(BOMB + b"]><x>&u;</x>", id="entities of entities"),
        pytest.param(b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><x/>", id="external document type"),
        pytest.param(b"<a>" * 300000, id="nested without end"),
        pytest.param(b"<a>" * 500 + b"</a>" * 500, id="nested too deep"),
        pytest.param(b"<xmp:Thumbnails" * 100000, id="thumbnails without end"),
        pytest.param(b"<?" * 500000, id="instructions without end"),
        pytest.param(b" " * 1000000 + b"HasExtendedXMP", id="a million spaces"),
        pytest.param(b"w" * 1000000 + b":HasExtendedXMP=", id="a million letters"),
        pytest.param(b"tiff:Orientation" + b" " * 1000000, id="orientation without value"),
        pytest.param(b"\xff\xfe" + b"\0\xd8" * 1000, id="broken UTF-16"),
        pytest.param(b'<?xml version="1.0" encoding="no-such"?><x/>', id="unknown encoding"),
        pytest.param(b'<x b:c="1"/>', id="prefix that is not declared"),
    ],
)
def test_xmp_that_harms_is_dropped_in_private_and_left_in_keep(packet):
    image = Image.new("RGB", (31, 17))
    image.format = "WEBP"
    image.info["xmp"] = packet
    assert _seconds(read_metadata, image) < SOON
    metadata = read_metadata(image)
    assert metadata.xmp
    for format_name in ("JPEG", "PNG"):
        assert _seconds(prepared, metadata, format_name, 62, 34, "keep") < SOON
        assert _seconds(prepared, metadata, format_name, 62, 34, "private") < SOON
    ready = prepared(metadata, "PNG", 62, 34, "private")
    assert ready.xmp is None
    assert "XMP (damaged)" in ready.report.dropped
    extension = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + bytes(8) + packet
    assert _seconds(merged_xmp, packet + b'x:HasExtendedXMP="%s"' % (b"A" * 32), [extension]) < SOON


def test_a_packet_too_large_to_be_searched_is_dropped_in_private():
    metadata = Metadata(xmp=b"<x>" + b" " * 2**25 + b"</x>")
    ready = prepared(metadata, "PNG", 62, 34, "private")
    assert ready.xmp is None
    assert ready.report.dropped == ("XMP (too large to be searched)",)


def _chunk(name, data):
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


@pytest.mark.parametrize("name", [b"iCCP", b"zTXt", b"iTXt"])
def test_a_png_chunk_that_inflates_without_end_is_dropped(name):
    bomb = zlib.compress(bytes(2**26 + 1), 1)
    head = {b"iCCP": b"p\0\0", b"zTXt": b"p\0\0", b"iTXt": b"p\0\1\0\0\0"}[name]
    file = io.BytesIO(b"\x89PNG\r\n\x1a\n" + _chunk(name, head + bomb) * 5 + _chunk(b"IEND", b""))
    image = Image.new("RGB", (31, 17))
    image.format = "PNG"
    assert _seconds(read_metadata, image, file) < SOON
    metadata = read_metadata(image, file)
    assert metadata.reading.dropped == (f"{name.decode()} (beyond 64 MiB)",)
    assert (metadata.icc_profile, metadata.text) == (None, {})


def test_a_tiff_tag_larger_than_the_file_is_dropped():
    entries = ((700, 1, 2**32 - 1, 8), (33723, 7, 100000, 8), (34675, 7, 2**31, 8))
    metadata = read_tiff_metadata(io.BytesIO(b"II*\0\x08\0\0\0" + _directory(*entries)))
    assert (metadata.xmp, metadata.iptc, metadata.icc_profile) == (None, None, None)
    assert metadata.reading.dropped == (
        "XMP (damaged)",
        "IPTC (damaged)",
        "colour profile (damaged)",
    )


@pytest.mark.parametrize("sides", [(0, 17), (31, 0)])
def test_a_tiff_page_without_columns_or_rows_has_no_size(sides):
    entries = ((256, 4, 1, sides[0]), (257, 4, 1, sides[1]), (270, 2, 4, 0x00414141))
    metadata = read_tiff_metadata(io.BytesIO(b"II*\0\x08\0\0\0" + _directory(*entries)))
    assert metadata.size is None
    prepared(metadata, "TIFF", 62, 34, "keep")


@pytest.mark.parametrize("content", [b"", b"II", b"II*\0", b"II*\0\xff\xff\xff\xff", b"garbage!"])
def test_what_is_no_tiff_file_has_no_metadata(content):
    metadata = read_tiff_metadata(io.BytesIO(content))
    assert metadata.reading.dropped == ("TIFF tags (damaged)",)


def test_an_endless_chain_of_tiff_pages_ends():
    file = io.BytesIO(b"II*\0\x08\0\0\0" + _directory(following=8))
    assert read_tiff_metadata(file, 7).reading.dropped == ("TIFF tags (damaged)",)


def test_tiff_directories_that_lie_over_one_another_are_refused_soon():
    count, pages = 0x2020, 1500
    content = bytearray(b"\x20") * (8 + 4 * pages + 2 + 12 * count + 8)
    content[:8] = b"II*\0" + struct.pack("<I", 8)
    for start in range(8, 8 + 4 * pages, 4):
        following = start + 2 + 12 * count
        content[following : following + 4] = struct.pack("<I", start + 4)
    begin = time.process_time()
    with pytest.raises(ValueError, match="lie over one another"):
        [*TagFile(io.BytesIO(content)).directories()]
    assert time.process_time() - begin < 1


def test_long_tokens_and_many_declarations_of_xmp_are_read_soon():
    token = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" a="%s"></x:xmpmeta>' % (b"A" * 2**23)
    digest = b"0123456789ABCDEF" * 2
    rdf = b"http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    main = b'<rdf:RDF xmlns:rdf="%s" xmpNote:HasExtendedXMP="%s"></rdf:RDF>' % (rdf, digest)
    body = b"<rdf:RDF " + b"".join(b"xmlns:a%d='' " % i for i in range(100_000))
    extension = b"http://ns.adobe.com/xmp/extension/\0" + digest
    parts = [
        extension + struct.pack(">II", len(body), i) + body[i : i + 65000]
        for i in range(0, len(body), 65000)
    ]
    begin = time.process_time()
    assert private_xmp(token)[0] is not None
    assert merged_xmp(main, parts) == (main, False)
    assert time.process_time() - begin < 3
