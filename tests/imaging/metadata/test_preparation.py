"""What is written where: limits of the formats, and what is said of each item."""

import struct

import metadata_blocks as blocks
import pytest
from PIL import ExifTags, Image

from mambair_cli.imaging.color.carrying import Carried
from mambair_cli.imaging.color.encoding import ColorEncoding
from mambair_cli.imaging.formats import FORMATS
from mambair_cli.imaging.metadata.exif import exif_orientation, exif_resolution
from mambair_cli.imaging.metadata.image_metadata import ContentReport, Metadata
from mambair_cli.imaging.metadata.preparation import Prepared, prepared

FULL = Metadata(
    color=ColorEncoding(blocks.PROFILE, chunks={b"gAMA": b"1234", b"cICP": b"5678"}),
    exif=blocks.exif(1).tobytes(),
    xmp=blocks.XMP,
    iptc=blocks.IPTC,
    dpi=(300, 150),
    text={"Title": "a title"},
    comment=b"a comment",
)
COLOUR = "colour chunks gAMA, cICP"


@pytest.mark.parametrize("entry", FORMATS, ids=lambda entry: entry.name)
@pytest.mark.parametrize("mode", ["keep", "strip", "private"])
def test_nothing_gives_nothing(entry, mode):
    assert prepared(Metadata(), entry.name, 62, 34, mode) == Prepared()


@pytest.mark.parametrize(
    ("format_name", "kept", "label"),
    [
        ("PNG", "colour profile|" + COLOUR + "|EXIF|XMP|IPTC|resolution|text|comment", "PNG"),
        ("JPEG", "colour profile|EXIF|XMP|IPTC|resolution|comment", "JPEG"),
        ("TIFF", "colour profile|EXIF|XMP|IPTC|resolution", "TIFF"),
        ("WEBP", "colour profile|EXIF|XMP|resolution", "WebP"),
        ("AVIF", "colour profile|EXIF|XMP|resolution", "AVIF"),
        ("HEIF", "colour profile|EXIF|XMP|resolution", "HEIC"),
        ("GIF", "comment", "GIF"),
        ("BMP", "resolution", "BMP"),
    ],
)
def test_what_a_format_does_not_hold_is_said(format_name, kept, label):
    everything = ["colour profile", COLOUR, "EXIF", "XMP", "IPTC", "resolution", "text", "comment"]
    report = prepared(FULL, format_name, 62, 34).report
    assert report.kept == tuple(kept.split("|"))
    lost = [f"{item} ({label} holds none)" for item in everything if item not in report.kept]
    lost += ["maker notes"] if format_name == "TIFF" else []  # of no known kind
    assert set(report.dropped) == set(lost)


def test_jpeg_xl_is_written_without_a_profile():
    report = prepared(FULL, "JXL", 62, 34).report
    assert report.kept == ("EXIF", "XMP", "resolution")
    assert "colour profile (cannot be written to JPEG XL)" in report.dropped


def test_strip_says_what_it_drops_without_blaming_the_format():
    ready = prepared(FULL, "PNG", 62, 34, "strip")
    unwanted = ("EXIF", "XMP", "IPTC", "resolution", "text", "comment")
    assert ready == Prepared(
        color=Carried(FULL.icc_profile, FULL.color.chunks),
        report=ContentReport(kept=("colour profile", COLOUR), dropped=unwanted, asked=unwanted),
    )


def test_what_reading_did_is_said_first():
    reading = ContentReport(changed=("orientation applied",), dropped=("thumbnail",))
    for mode in ("keep", "strip", "private"):
        report = prepared(Metadata(reading=reading, dpi=(72, 72)), "BMP", 62, 34, mode).report
        assert report.changed == ("orientation applied",)
        assert report.dropped[0] == "thumbnail"


def test_sizes_that_are_right_already_are_not_said_to_change():
    exif = blocks.exif(1, 62, 34).tobytes()
    once = prepared(Metadata(exif=exif), "PNG", 62, 34)
    assert once.report == ContentReport(
        kept=("EXIF",), changed=("EXIF size tags updated",)
    )  # SHORT to LONG
    twice = prepared(Metadata(exif=once.exif), "PNG", 62, 34)
    assert twice.report == ContentReport(kept=("EXIF",))
    assert twice.exif == once.exif


def _with_maker_note(size, description=""):
    tags = blocks.exif(1)
    tags[ExifTags.Base.ImageDescription] = description
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = bytes(size)
    return Metadata(exif=tags.tobytes())


def test_jpeg_drops_maker_notes_that_do_not_fit_and_nothing_else():
    ready = prepared(_with_maker_note(70000), "JPEG", 62, 34)
    assert ready.report.dropped == ("maker notes (JPEG holds 65533 bytes of EXIF)",)
    assert "EXIF" in ready.report.kept
    tags = Image.Exif()
    tags.load(ready.exif)
    assert tags[ExifTags.Base.Make] == "Camera"
    assert tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.BodySerialNumber] == "PLANTED-0"
    assert len(prepared(_with_maker_note(70000), "PNG", 62, 34).exif) > 70000


def test_jpeg_drops_exif_that_does_not_fit_at_all():
    ready = prepared(_with_maker_note(10, "x" * 70000), "JPEG", 62, 34)
    assert ready.exif is None
    assert ready.report == ContentReport(
        changed=("EXIF size tags updated",),
        dropped=("EXIF (JPEG holds 65533 bytes of EXIF)",),
    )


@pytest.mark.parametrize(
    ("name", "label", "limit"),
    [("comment", "comment", 65533), ("icc_profile", "colour profile", 255 * 65519)],
)
def test_jpeg_drops_what_does_not_fit_its_segments(tmp_path, name, label, limit):
    def with_bytes(count):
        if name == "icc_profile":
            return Metadata(color=ColorEncoding(bytes(count)))
        return Metadata(comment=bytes(count))

    def value_of(ready):
        return ready.color.profile if name == "icc_profile" else ready.comment

    fitting = prepared(with_bytes(limit), "JPEG", 62, 34)
    assert fitting.report == ContentReport(kept=(label,))
    Image.new("L", (31, 17)).save(tmp_path / "out.jpg", **{name: value_of(fitting)})
    longer = prepared(with_bytes(limit + 1), "JPEG", 62, 34)
    assert longer.report == ContentReport(
        dropped=(f"{label} (JPEG holds {limit} bytes of {label})",)
    )
    assert value_of(longer) is None


def test_a_gray_profile_does_not_go_where_gray_is_stored_as_rgb():
    gray = Metadata(color=ColorEncoding(blocks.GRAY_PROFILE))
    ready = prepared(gray, "WEBP", 62, 34)
    assert ready.color.profile is None
    assert ready.report.dropped == ("colour profile (WebP stores gray as RGB)",)
    for format_name in ("PNG", "JPEG", "TIFF", "AVIF"):
        assert prepared(gray, format_name, 62, 34).color.profile == blocks.GRAY_PROFILE


@pytest.mark.parametrize("format_name", ["WEBP", "AVIF", "HEIF", "JXL"])
def test_the_resolution_goes_into_exif_where_the_format_has_no_field(format_name):
    ready = prepared(Metadata(dpi=(300, 150.5)), format_name, 62, 34)
    assert exif_resolution(ready.exif) == (300, 150.5)
    assert ready.report == ContentReport(kept=("resolution",))
    ready = prepared(FULL, format_name, 62, 34)
    assert exif_resolution(ready.exif) == (300, 150)
    stripped = prepared(FULL, format_name, 62, 34, "strip")
    assert stripped.exif is None


def test_avif_gets_no_orientation_because_pillow_would_write_the_block_anew():
    assert exif_orientation(prepared(FULL, "AVIF", 62, 34).exif) is None
    assert exif_orientation(prepared(FULL, "WEBP", 62, 34).exif) == 1


def test_exif_tags_that_tiff_does_not_take_are_named():
    tags = Image.Exif()
    tags[ExifTags.Base.Make] = "Camera"
    tags[0xC4A5] = b"PrintIM"
    tags[ExifTags.Base.XResolution] = 300.0
    ready = prepared(Metadata(exif=tags.tobytes()), "TIFF", 62, 34)
    assert ready.report == ContentReport(kept=("EXIF",), dropped=("EXIF tags 50341",))


def test_png_holds_iptc_and_comments_as_text():
    ready = prepared(FULL, "PNG", 62, 34)
    assert (ready.iptc, ready.comment) == (None, None)
    assert ready.text["Comment"] == "a comment"
    packed = blocks.resource(0x0404, blocks.IPTC)
    name, size, *lines = ready.text["Raw profile type iptc"].split()
    assert (name, int(size), bytes.fromhex("".join(lines))) == ("iptc", len(packed), packed)


@pytest.mark.parametrize(
    ("keyword", "value", "phrase"),
    [
        ("exif:GPSLatitude", "48/1", "GPS position"),
        ("GPSPosition", "48 N", "GPS position"),
        ("BodySerialNumber", "1", "serial numbers"),
        ("exif:MakerNote", "1", "maker notes"),
        ("notes", "<?xpacket begin", "text notes"),
        ("xap", "<rdf:RDF>", "text xap"),
    ],
)
def test_private_text(keyword, value, phrase):
    metadata = Metadata(text={keyword: value, "Title": "a title", "Author": "An Artist"})
    ready = prepared(metadata, "PNG", 62, 34, "private")
    assert ready.text == {"Title": "a title", "Author": "An Artist"}
    assert ready.report == ContentReport(kept=("text",), dropped=(phrase,), asked=(phrase,))


def test_private_says_that_a_whole_item_is_gone():
    serial = Image.Exif()
    serial[0xC62F] = "PLANTED"
    metadata = Metadata(exif=serial.tobytes(), xmp=b"<broken", iptc=blocks.record(2, 90, b"x"))
    ready = prepared(metadata, "TIFF", 62, 34, "private")
    assert (ready.exif, ready.xmp, ready.iptc) == (None, None, None)
    gone = ("serial numbers", "EXIF", "XMP (damaged)", "IPTC place", "IPTC")
    assert ready.report == ContentReport(dropped=gone, asked=gone)


def test_gps_is_gone_from_the_bytes_and_not_only_unlinked():
    rational = struct.pack("<II", 48, 1)
    big = struct.pack(">II", 48, 1)
    assert rational in FULL.exif or big in FULL.exif
    private = prepared(FULL, "JPEG", 62, 34, "private").exif
    assert rational not in private
    assert big not in private


def test_fates_are_joined_without_saying_anything_twice():
    one = ContentReport(("EXIF",), ("a", "b"), ("c",))
    other = ContentReport(("XMP", "EXIF"), ("b",), ())
    assert one.joined(other) == ContentReport(("EXIF", "XMP"), ("a", "b"), ("c",))
