"""XMP packets: what is changed, what private mode takes out, and packets longer than a segment."""

import re
from xml.etree import ElementTree as ET

import metadata_blocks as blocks
import pytest

from mambair_cli.imaging.metadata.xmp import (
    EXTENSION_SIGNATURE,
    XMP_SIGNATURE,
    jpeg_segments,
    merged_xmp,
    private_phrase,
    private_xmp,
    sized_xmp,
    upright_xmp,
    utf8_xmp,
    without_thumbnails,
    xmp_orientation,
)

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


def packet(properties, declarations=""):
    return (
        f'<x:xmpmeta{blocks.NAMESPACES} {declarations}><rdf:RDF><rdf:Description rdf:about="">'
        f"{properties}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def parsed(xmp):
    return ET.fromstring(xmp)  # noqa: S314  (the test made it itself)


def names(xmp):
    return {re.sub(r"\{.*?\}", "", element.tag) for element in parsed(xmp).iter()}


def test_only_orientation_sizes_and_thumbnails_change():
    changed = sized_xmp(upright_xmp(without_thumbnails(blocks.XMP)), 62, 34)
    expected = blocks.XMP.replace(b'Orientation="6"', b'Orientation="1"')
    expected = expected.replace(b'Dimension="31"', b'Dimension="62"').replace(b">17<", b">34<")
    start = expected.index(b"<xmp:Thumbnails>")
    end = expected.index(b"</xmp:Thumbnails>") + len(b"</xmp:Thumbnails>")
    assert changed == expected[:start] + expected[end:]


@pytest.mark.parametrize(
    ("xmp", "orientation"),
    [
        (b'<a tiff:Orientation="6"/>', 6),
        (b"<tiff:Orientation>8</tiff:Orientation>", 8),
        (b"<tiff:Orientation> 3 </tiff:Orientation>", 3),
        (b'<a tiff:Orientation="9"/>', None),
        (b'<a tiff:Orientation="66"/>', None),
        (b"", None),
    ],
)
def test_the_orientation_is_read(xmp, orientation):
    assert xmp_orientation(xmp) == orientation


def test_utf16_becomes_utf8():
    text = blocks.XMP.decode()
    assert utf8_xmp(text.encode("utf-16")).decode() == text
    assert utf8_xmp(blocks.XMP) is blocks.XMP


def test_private_takes_out_attributes_and_elements_and_keeps_the_rest():
    private, dropped = private_xmp(blocks.XMP)
    assert blocks.SECRET not in private
    assert set(dropped) == {"GPS position", "serial numbers", "XMP place", "document identifiers"}
    assert "Ein Bild ü".encode() in private
    assert b'Headline="A headline"' in private
    assert b'xml:lang="de"' in private
    assert private.startswith(b"<?xpacket begin=")
    assert private.rstrip().endswith(b'<?xpacket end="w"?>')
    description = parsed(private).find(f".//{RDF}Description")
    assert description.get("{http://ns.adobe.com/tiff/1.0/}Orientation") == "6"


@pytest.mark.parametrize(
    ("declaration", "inside", "phrase"),
    [
        ("", "<exif:GPSAltitude>1</exif:GPSAltitude>", "GPS position"),
        ('xmlns:dji="http://dji.com/1.0/"', "<dji:GpsLongtitude>1</dji:GpsLongtitude>", None),
        ('xmlns:dji="http://dji.com/1.0/"', "<dji:AbsoluteAltitude>1</dji:AbsoluteAltitude>", None),
        ("", "<aux:OwnerName>a</aux:OwnerName>", "owner name"),
        ("", "<exif:ImageUniqueID>a</exif:ImageUniqueID>", "serial numbers"),
        ('xmlns:m="http://m.com/1.0/"', "<m:CameraSerialNumber/>", "serial numbers"),
        ("", "<exif:MakerNote>a</exif:MakerNote>", "maker notes"),
        ("", "<xmpMM:DocumentID>a</xmpMM:DocumentID>", "document identifiers"),
        ("", '<xmpMM:DerivedFrom rdf:parseType="Resource"/>', "document identifiers"),
        ("", "<photoshop:Country>a</photoshop:Country>", "XMP place"),
        (
            'xmlns:core="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"',
            "<core:Location>a</core:Location>",
            "XMP place",
        ),
        # Whatever prefix the namespace is given.
        ('xmlns:q="http://ns.adobe.com/photoshop/1.0/"', "<q:City>a</q:City>", "XMP place"),
    ],
)
def test_private_properties(declaration, inside, phrase):
    private, dropped = private_xmp(packet(inside + "<dc:format>b</dc:format>", declaration))
    assert names(private) == {"xmpmeta", "RDF", "Description", "format"}
    assert dropped == (phrase or "GPS position",)


@pytest.mark.parametrize(
    "name", ["City", "Title", "CreateDate", "LensModel", "Artist", "Lens", "Country"]
)
def test_names_that_say_nothing_private_by_themselves(name):
    assert private_phrase(name, "http://ns.adobe.com/xap/1.0/") is None


def test_comments_are_not_copied():
    private, _ = private_xmp(packet("<!-- a secret --><dc:format>b</dc:format>"))
    assert b"secret" not in private


def test_private_keeps_text_that_needs_escaping():
    private, _ = private_xmp(
        packet('<dc:format dc:a="&lt;&quot;&amp;">&lt;b&gt;&#x20AC;</dc:format>')
    )
    element = next(parsed(private).iter("{http://purl.org/dc/elements/1.1/}format"))
    assert element.text == "<b>€"
    assert list(element.attrib.values()) == ['<"&']


def test_private_reads_utf16_and_padding():
    private, dropped = private_xmp(blocks.XMP + b" " * 2000 + b"\n\0")
    assert private == private_xmp(blocks.XMP)[0]
    assert "XMP (damaged)" not in dropped


def test_a_packet_that_fits_is_one_segment():
    assert jpeg_segments(b"x" * 65504) == [XMP_SIGNATURE + b"x" * 65504]


def test_a_packet_that_does_not_fit_is_extended_and_comes_back():
    long = packet(f"<dc:title>{'ü' * 100000}</dc:title><dc:format>b</dc:format>")
    first, *others = jpeg_segments(b'<?xpacket begin=""?>' + long + b'<?xpacket end="w"?>')
    assert all(len(part) <= 65533 for part in (first, *others))
    assert len(others) == 4
    assert all(part.startswith(EXTENSION_SIGNATURE) for part in others)
    # Parts may come in any order.
    merged, whole = merged_xmp(first[len(XMP_SIGNATURE) :], others[::-1])
    assert whole
    assert b"HasExtendedXMP" not in merged
    root = parsed(merged)
    assert root.find(".//{http://purl.org/dc/elements/1.1/}title").text == "ü" * 100000
    assert private_xmp(merged)[1] == ()


@pytest.mark.parametrize(
    "damage", ["missing", "other digest", "no packet", "not XML", "no pointer"]
)
def test_a_damaged_extension_is_left_out(damage):
    long = packet(f"<dc:title>{'u' * 200000}</dc:title>")
    first, *others = jpeg_segments(long)
    main = first[len(XMP_SIGNATURE) :]
    if damage == "missing":
        del others[1]
    elif damage == "other digest":
        others = [part.replace(part[35:67], b"0" * 32) for part in others]
    elif damage == "no packet":
        main = b"no packet"
    elif damage == "not XML":
        others = [part.replace(b"</dc:title>", b"</dc:other>") for part in others]
    else:
        main = packet("")
    assert merged_xmp(main, others) == (main, False)
