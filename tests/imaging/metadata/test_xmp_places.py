"""Numbers of XMP packets that mean places, sizes or bytes, in every namespace that people use."""

import re

import pytest

from mambair_cli.imaging.metadata.placement import Placement
from mambair_cli.imaging.metadata.xmp_places import placed_xmp

NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "regions": "http://www.metadataworkinggroup.com/schemas/regions/",  # usually mwg-rs
    "area": "http://ns.adobe.com/xmp/sType/Area#",
    "dim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "acdsee": "http://ns.acdsee.com/regions/",
    "acarea": "http://ns.acdsee.com/sType/Area#",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPRI": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    "fi": "http://ns.apple.com/faceinfo/1.0/",
    "ext": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "crs": "http://ns.adobe.com/camera-raw-settings/1.0/",
    "GPano": "http://ns.google.com/photos/1.0/panorama/",
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
    "Container": "http://ns.google.com/photos/1.0/container/",
    "Item": "http://ns.google.com/photos/1.0/container/item/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "other": "http://example.org/",
    "xmpTPg": "http://ns.adobe.com/xap/1.0/t/pg/",
}
DECLARED = " ".join(f'xmlns:{prefix}="{name}"' for prefix, name in NAMESPACES.items())

STORED = Placement(96, 48, orientation=6)  # to 48x96
TWICE = Placement(48, 96, across=2, down=2)
BESIDE = "<other:A>é &amp; 'b'</other:A>"


def packet(inner="", attributes=""):
    return (
        f"<x:xmpmeta {DECLARED}><rdf:RDF><rdf:Description rdf:about='' {attributes}>"
        f"{BESIDE}{inner}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def placed(inner, *placements, attributes="", dropped=()):
    xmp, phrases = packet(inner, attributes), ()
    for placement in placements:
        xmp, more = placed_xmp(xmp, placement)
        phrases += more
    assert phrases == dropped
    opening = "<rdf:Description rdf:about=''"
    before, _, rest = xmp.decode().partition(opening)
    assert before == packet().decode().partition(opening)[0]
    return (
        rest.lstrip().removesuffix("</rdf:Description></rdf:RDF></x:xmpmeta>").replace(BESIDE, "")
    )


def face(prefix, style, values, unit="normalized", extra=""):
    """An area as a struct of elements, of attributes, or of a nested description."""
    named = {**values, "unit": unit}
    inner = "".join(f"<{prefix}:{name}>{value}</{prefix}:{name}>" for name, value in named.items())
    if style == "attributes":
        written = " ".join(f'{prefix}:{name}="{value}"' for name, value in named.items())
        return f"<regions:Area {written}/>{extra}"
    if style == "description":
        return f"<regions:Area><rdf:Description>{inner}</rdf:Description></regions:Area>{extra}"
    return f'<regions:Area rdf:parseType="Resource">{inner}</regions:Area>{extra}'


def regions(area, sides=(96, 48), root="regions:Regions"):
    return (
        f'<{root} rdf:parseType="Resource"><regions:AppliedToDimensions dim:w="{sides[0]}"'
        f' dim:h="{sides[1]}" dim:unit="pixel"/><regions:RegionList><rdf:Bag><rdf:li'
        f' rdf:parseType="Resource">{area}<regions:Name>Ann</regions:Name></rdf:li></rdf:Bag>'
        f"</regions:RegionList></{root}>"
    )


@pytest.mark.parametrize("style", ["elements", "attributes", "description"])
@pytest.mark.parametrize(
    ("prefix", "root"), [("area", "regions:Regions"), ("acarea", "acdsee:Regions")]
)
def test_faces_turn_with_the_picture_and_keep_their_fractions(style, prefix, root):
    stored = {"x": "0.75", "y": "0.25", "w": "0.125", "h": "0.3"}
    turned = {"x": "0.75", "y": "0.75", "w": "0.3", "h": "0.125"}
    before = regions(face(prefix, style, stored), root=root)
    after = regions(face(prefix, style, turned), (48, 96), root=root)
    assert placed(before, STORED) == ">" + after
    doubled = regions(face(prefix, style, turned), (96, 192), root=root)
    assert placed(before, STORED, TWICE) == ">" + doubled


def test_faces_in_pixels_are_turned_and_scaled():
    stored = regions(face("area", "attributes", {"x": 72, "y": 12, "w": 12, "h": 6}, "pixel"))
    after = {"x": 72, "y": 144, "w": 12, "h": 24}
    expected = regions(face("area", "attributes", after, "pixel"), (96, 192))
    assert placed(stored, STORED, TWICE) == ">" + expected


@pytest.mark.parametrize(
    ("orientation", "rectangle"),
    [
        (1, "0.6875, 0.125, 0.125, 0.25"),
        (2, "0.1875, 0.125, 0.125, 0.25"),
        (3, "0.1875, 0.625, 0.125, 0.25"),
        (4, "0.6875, 0.625, 0.125, 0.25"),
        (5, "0.125, 0.6875, 0.25, 0.125"),
        (6, "0.625, 0.6875, 0.25, 0.125"),
        (7, "0.625, 0.1875, 0.25, 0.125"),
        (8, "0.125, 0.1875, 0.25, 0.125"),
    ],
)
def test_rectangles_of_microsoft_turn_every_way(orientation, rectangle):
    def info(values):
        return (
            '<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag><rdf:li'
            f' MPReg:Rectangle="{values}" MPReg:PersonDisplayName="Ann"/></rdf:Bag></MPRI:Regions>'
            "</MP:RegionInfo>"
        )

    stored = info("0.6875, 0.125, 0.125, 0.25")
    assert placed(stored, Placement(96, 48, orientation)) == ">" + info(rectangle)


def boundary(fields, vertices=""):
    inner = "".join(f"<ext:{name}>{value}</ext:{name}>" for name, value in fields.items())
    return (
        '<ext:ImageRegion><rdf:Bag><rdf:li rdf:parseType="Resource"><ext:RegionBoundary'
        f' rdf:parseType="Resource">{inner}{vertices}</ext:RegionBoundary></rdf:li></rdf:Bag>'
        "</ext:ImageRegion>"
    )


@pytest.mark.parametrize(
    ("unit", "stored", "after"),
    [
        ("pixel", (66, 9, 12, 6), (66, 132, 12, 24)),
        ("relative", (0.6875, 0.125, 0.125, 0.25), (0.625, 0.6875, 0.25, 0.125)),
    ],
)
def test_rectangles_of_iptc(unit, stored, after):
    def rectangle(values):
        x, y, w, h = values
        fields = {"rbShape": "rectangle", "rbUnit": unit, "rbX": x, "rbY": y, "rbW": w, "rbH": h}
        return boundary(fields)

    assert placed(rectangle(stored), STORED, TWICE) == ">" + rectangle(after)


def test_circles_of_iptc_stay_as_large():
    circle = {"rbShape": "circle", "rbUnit": "relative", "rbX": 0.75, "rbY": 0.25, "rbRx": 0.125}
    after = {**circle, "rbX": 0.75, "rbY": 0.75, "rbRx": 0.25}
    assert placed(boundary(circle), STORED, TWICE) == ">" + boundary(after)


def test_polygons_of_iptc():
    def polygon(points):
        listed = "".join(f'<rdf:li ext:rbX="{x}" ext:rbY="{y}"/>' for x, y in points)
        vertices = f"<ext:rbVertices><rdf:Seq>{listed}</rdf:Seq></ext:rbVertices>"
        return boundary({"rbShape": "polygon", "rbUnit": "pixel"}, vertices)

    stored, after = [(10, 20), (30, 40)], [(56, 20), (16, 60)]
    assert placed(polygon(stored), STORED, TWICE) == ">" + polygon(after)


@pytest.mark.parametrize(
    "area",
    [
        face("area", "attributes", {"x": "left", "y": "0.5"}),
        face("area", "attributes", {"x": "0.5"}),
        face("area", "attributes", {"x": "0.5", "y": "0.5"}, unit="furlong"),
    ],
)
def test_regions_that_cannot_be_understood_go(area):
    assert placed(regions(area), STORED, dropped=("face regions",)) == ">"


def test_subjects_and_the_focal_plane():
    def subject(x, y, across, down):
        values = "".join(f"<rdf:li>{one}</rdf:li>" for one in (x, y, 12, 12))
        doubled = values if down == "3" else values.replace("12<", "24<")
        return (
            f"<exif:SubjectArea><rdf:Seq>{doubled}</rdf:Seq></exif:SubjectArea>"
            f"<exif:FocalPlaneXResolution>{across}</exif:FocalPlaneXResolution>"
            f"<exif:FocalPlaneYResolution>{down}</exif:FocalPlaneYResolution>"
        )

    stored = subject(72, 18, "4/2", "3")
    assert placed(stored, STORED, TWICE) == ">" + subject(60, 144, "60000/10000", "4")


def test_panoramas_grow():
    stored = (
        'GPano:FullPanoWidthPixels="97" GPano:CroppedAreaTopPixels="5" GPano:PosePitchDegrees="3"'
    )
    grown = stored.replace("97", "194").replace('"5"', '"10"')
    assert placed("", TWICE, attributes=stored) == grown + ">"
    assert placed("", STORED, attributes=stored, dropped=("panorama",)).split() == [">"]


def test_what_counts_bytes_of_the_file_goes_whatever_its_prefix():
    directory = (
        '<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item'
        ' Item:Length="4244"/></rdf:li></rdf:Seq></Container:Directory>'
    )
    left = placed(
        directory + "<hdrgm:Version>1.0</hdrgm:Version>",
        Placement(96, 48),
        attributes='GCamera:MotionPhoto="1" hdrgm:Gamma="1" GCamera:MicroVideoOffset="7"'
        ' GCamera:BurstID="b"',
        dropped=("motion video", "gain map", "list of the file's parts"),
    )
    assert re.sub(r"\s+", " ", left).strip() == 'GCamera:BurstID="b">'


def test_settings_of_a_raw_converter_go_where_they_are_of_another_picture():
    crop = 'crs:CropWidth="6" crs:CropTop="0.1" crs:Exposure2012="+1"'
    retouching = (
        "<crs:RetouchInfo><rdf:Seq><rdf:li>centerX = 0.2</rdf:li></rdf:Seq></crs:RetouchInfo>"
    )
    scaled = placed(retouching, TWICE, attributes=crop, dropped=("crop of the raw file",))
    assert scaled == 'crs:CropTop="0.1" crs:Exposure2012="+1">' + retouching
    turned = placed(
        retouching, STORED, attributes=crop, dropped=("crop and retouching of the raw file",)
    )
    assert turned.split() == ['crs:Exposure2012="+1">']


def test_angles_of_faces_go_when_the_picture_turns():
    angle = "<fi:AngleInfoRoll>270</fi:AngleInfoRoll>"
    place = {"x": "0.5", "y": "0.5", "w": "0.5", "h": "0.5"}
    tilted = regions(face("area", "elements", place, extra=angle), (48, 48))
    upright = regions(face("area", "elements", place), (48, 48))
    assert placed(tilted, TWICE) == ">" + regions(
        face("area", "elements", place, extra=angle), (96, 96)
    )
    assert placed(tilted, Placement(48, 48, 3), dropped=("angles of faces",)) == ">" + upright


def test_other_sizes_stay():
    page = '<xmpTPg:MaxPageSize dim:w="21" dim:h="29" dim:unit="Inch"/>'
    faces = regions(face("area", "attributes", {"x": 0.5, "y": 0.5}), (48, 96))
    expected = regions(face("area", "attributes", {"x": 0.5, "y": 0.5}), (96, 192))
    assert placed(page + faces, TWICE) == f">{page}{expected}"


@pytest.mark.parametrize(
    "broken",
    [
        b"<a><hdrgm:Version>hdr-gain-map",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>hdr-gain-map</a>',
        b"<a>" * 300 + b"hdr-gain-map" + b"</a>" * 300,
    ],
)
def test_packets_that_cannot_be_read_go_only_where_they_speak_of_places(broken):
    assert placed_xmp(broken, TWICE) == (None, ("XMP (damaged)",))
    harmless = broken.replace(b"hdr-gain-map", b"a rating")
    assert placed_xmp(harmless, TWICE) == (harmless, ())


def test_large_packets_take_linear_time():
    inner = regions(face("area", "attributes", {"x": 0.5, "y": 0.5})) * 5000
    xmp, dropped = placed_xmp(packet(inner), TWICE)
    assert not dropped
    assert xmp.count(b'dim:w="192"') == 5000
