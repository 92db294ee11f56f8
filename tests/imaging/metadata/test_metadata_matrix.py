"""Every kind of metadata through every pair of formats in every mode: kept, or said to be gone."""

import contextlib
import dataclasses
import functools
import io
import zlib

import numpy as np
import pytest
import pyvips
from metadata_blocks import MAKER_NOTE, PROFILE, SECRET, exif, save_full
from PIL import ExifTags, Image

from mambair_cli.imaging import formats
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.imaging.metadata.collect import read_metadata
from mambair_cli.imaging.metadata.exif import exif_orientation
from mambair_cli.imaging.metadata.image_metadata import Metadata
from mambair_cli.imaging.writing.images import write_image

SUFFIXES = ("jpg", "png", "tif", "webp", "avif", "heic", "jxl", "gif", "bmp")
LABELS = {
    "icc_profile": "colour profile",
    "color_chunks": "colour chunks",
    "exif": "EXIF",
    "xmp": "XMP",
    "iptc": "IPTC",
    "dpi": "resolution",
    "text": "text",
    "comment": "comment",
}


@pytest.fixture(scope="module", autouse=True)
def _plugins():
    for entry in formats.FORMATS:
        formats.is_writable(entry)


@pytest.fixture(scope="module")
def full_metadata(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    return {suffix: read(save_full(folder / f"full.{suffix}")) for suffix in SUFFIXES}


@pytest.fixture(scope="module")
def written(full_metadata, tmp_path_factory):
    """Path, report and metadata of a file written from one with everything; each only once."""
    folder = tmp_path_factory.mktemp("written")

    @functools.cache
    def outcome(source, target, mode):
        path = folder / f"{source}-{mode}.{target}"
        report = write(path, full_metadata[source], mode)
        return path, report, read(path)

    return outcome


def read(path):
    with path.open("rb") as file, Image.open(file) as image:
        return read_metadata(image, file)


def write(path, metadata, mode):
    pixels = np.random.default_rng(2).integers(0, 256, (62, 34, 3), dtype=np.uint8)
    return write_image(path, RestorableImage(pixels, metadata=metadata), metadata=mode)


def present(metadata):
    return {name for name in LABELS if item(metadata, name)}


def item(metadata, name):
    return metadata.color.chunks if name == "color_chunks" else getattr(metadata, name)


@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("source", SUFFIXES)
@pytest.mark.parametrize("mode", ["keep", "strip", "private"])
def test_every_item_is_kept_or_said_to_be_dropped(full_metadata, written, source, target, mode):
    metadata = full_metadata[source]
    _, report, again = written(source, target, mode)
    for name in present(metadata):
        label = LABELS[name]
        kept = any(phrase.startswith(label) for phrase in report.kept)
        dropped = any(phrase.startswith(label) for phrase in report.dropped)
        assert kept or dropped, f"nothing is said of {label}"
        assert not kept or _is_there(name, metadata, again), f"{label} is said to be kept"
    assert set(metadata.reading.changed) <= set(report.changed)
    assert set(metadata.reading.dropped) <= set(report.dropped)


def _is_there(name, source, target):
    if name == "comment" and target.source_format == "PNG":
        return target.text["Comment"] == source.comment.decode()
    if name == "icc_profile":
        return target.icc_profile == source.icc_profile
    if name == "dpi":
        return target.dpi == pytest.approx(source.dpi, abs=0.05)
    return bool(item(target, name))


@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("source", ["jpg", "png", "tif", "webp", "avif", "heic", "jxl"])
def test_keep_corrects_orientation_and_sizes_and_nothing_else(
    full_metadata, written, source, target
):
    _, report, again = written(source, target, "keep")
    assert "thumbnail" in report.dropped
    if "EXIF" in report.kept:
        assert "EXIF size tags updated" in report.changed
        tags = Image.Exif()
        tags.load(again.exif)
        assert tags.get(ExifTags.Base.Orientation, 1) == 1
        assert tags[ExifTags.Base.Make] == "Camera"
        details = tags.get_ifd(ExifTags.IFD.Exif)
        assert (details[0xA002], details[0xA003]) == (34, 62)
        # Nothing is known of its offsets, and a TIFF file's tags lie elsewhere.
        lost = "tif" in (source, target)
        assert details.get(ExifTags.Base.MakerNote) == (None if lost else MAKER_NOTE)
        assert ("maker notes" in report.dropped) == lost
        assert details[ExifTags.Base.BodySerialNumber] == "PLANTED-0"
        assert details[ExifTags.Base.ExposureTime] == 1 / 250
        assert tags.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == (48, 51, 29.6)
        stored = full_metadata[source].exif
        assert lost or again.exif.index(MAKER_NOTE) == stored.index(MAKER_NOTE)
    if "XMP" in report.kept:
        assert "XMP size tags updated" in report.changed
        assert b'exif:PixelXDimension="34"' in again.xmp
        assert b"<tiff:ImageLength>62<" in again.xmp
        assert b'tiff:Orientation="6"' not in again.xmp
        assert "Ein Bild ü".encode() in again.xmp
        assert b"STALE" not in again.xmp


@pytest.mark.parametrize("mode", ["keep", "private"])
@pytest.mark.parametrize("target", ["jpg", "png", "tif", "webp"])
def test_another_library_reads_what_is_kept(written, target, mode):
    path, _, _ = written("jpg", target, mode)
    image = pyvips.Image.new_from_file(str(path))
    assert image.get("icc-profile-data") == PROFILE
    assert "Ein Bild ü".encode() in image.get("xmp-data")
    if target in ("jpg", "tif"):
        assert b"A headline" in image.get("iptc-data")
        assert (b"PLANTED City" in image.get("iptc-data")) == (mode == "keep")
    if target != "webp":
        per_inch = [round(value * 25.4) for value in (image.xres, image.yres)]
        assert per_inch == [150, 300]  # turned with the image
    if target != "tif":  # of which libvips reads no EXIF
        fields = image.get_fields()
        assert image.get("exif-ifd0-Make").startswith("Camera ")
        assert image.get("exif-ifd2-PixelXDimension").startswith("34 ")
        for secret in ("exif-ifd3-GPSLatitude", "exif-ifd2-BodySerialNumber"):
            assert (secret in fields) == (mode == "keep")


@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("source", SUFFIXES)
def test_private_leaves_no_trace(full_metadata, written, source, target):
    metadata = full_metadata[source]
    path, report, again = written(source, target, "private")
    for content in _unpacked(path.read_bytes()):
        assert SECRET not in content
        assert SECRET.hex().encode() not in content
        assert SECRET.decode().encode("utf-16-le") not in content
    if metadata.exif:
        assert {"GPS position", "serial numbers", "maker notes", "owner name"} <= set(
            report.dropped
        )
    if "EXIF" in report.kept:
        tags = Image.Exif()
        tags.load(again.exif)
        assert not tags.get_ifd(ExifTags.IFD.GPSInfo)
        assert tags[ExifTags.Base.Artist] == "An Artist"
        assert tags[ExifTags.Base.Copyright] == "A Copyright"
        details = tags.get_ifd(ExifTags.IFD.Exif)
        assert details[ExifTags.Base.DateTimeOriginal] == "2024:02:29 12:00:00"
        assert (details[0xA002], details[0xA003]) == (34, 62)
    if "XMP" in report.kept:
        assert "Ein Bild ü".encode() in again.xmp
        assert b'Rating="4"' in again.xmp
        assert {"XMP place", "document identifiers"} <= set(report.dropped)
    if "IPTC" in report.kept:
        assert b"A headline" in again.iptc
        assert "IPTC place" in report.dropped


def _unpacked(content):
    """The file as it is, and with what PNG compresses."""
    yield content
    position = 8 if content.startswith(b"\x89PNG") else len(content)
    while position < len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        if content[position + 4 : position + 8] in (b"zTXt", b"iTXt"):
            _, _, packed = content[position + 8 : position + 8 + length].partition(b"\0")
            with contextlib.suppress(zlib.error):
                yield zlib.decompress(packed.lstrip(b"\0\1"))
        position += 12 + length


@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("source", SUFFIXES)
def test_strip_leaves_nothing_but_colour(full_metadata, written, source, target):
    metadata = full_metadata[source]
    _, report, again = written(source, target, "strip")
    assert present(again) - {"dpi"} <= {"icc_profile", "color_chunks"}
    if again.dpi:  # what encoders put there themselves
        assert {round(value) for value in again.dpi} <= {1, 72, 96}
    colour = {"colour profile", "colour chunks gAMA, cHRM"}
    assert set(report.kept) <= colour
    if metadata.icc_profile and target in ("jpg", "png", "tif", "webp", "avif", "heic"):
        assert again.icc_profile == metadata.icc_profile


@pytest.mark.parametrize("target", SUFFIXES)
def test_restoring_twice_loses_nothing_more(tmp_path, full_metadata, target):
    write(tmp_path / f"once.{target}", full_metadata["png"], "keep")
    once = read(tmp_path / f"once.{target}")
    report = write(tmp_path / f"twice.{target}", once, "keep")
    twice = read(tmp_path / f"twice.{target}")
    bare = {"reading": Metadata().reading, "jpeg": None}
    assert dataclasses.replace(twice, **bare) == dataclasses.replace(once, **bare)
    assert "orientation applied" not in report.changed


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("source", ["jpg", "png", "tif", "webp", "avif"])
def test_the_orientation_is_found_and_said(tmp_path, source, orientation):
    path = tmp_path / f"in.{source}"
    tags = exif(orientation)
    Image.new("RGB", (31, 17)).save(path, exif=tags if source == "tif" else tags.tobytes())
    metadata = read(path)
    assert metadata.stored_orientation == orientation
    assert exif_orientation(metadata.exif) in (1, None)
    assert metadata.reading.changed == (("orientation applied",) if orientation > 1 else ())


@pytest.mark.parametrize("orientation", [6, 3])
def test_the_orientation_of_heic_is_said_but_not_applied_again(tmp_path, orientation):
    Image.new("RGB", (32, 16)).save(tmp_path / "in.heic", exif=exif(orientation).tobytes())
    metadata = read(tmp_path / "in.heic")
    assert metadata.stored_orientation == 1
    assert metadata.reading.changed == ("orientation applied",)


def test_the_orientation_of_exif_says_nothing_in_jpeg_xl(tmp_path):
    Image.new("RGB", (31, 17)).save(tmp_path / "in.jxl", exif=exif(6).tobytes())
    metadata = read(tmp_path / "in.jxl")
    assert metadata.stored_orientation == 1
    assert metadata.reading.changed == ()
    assert exif_orientation(metadata.exif) == 1


def test_resolutions_turn_with_the_image(tmp_path):
    Image.new("RGB", (31, 17)).save(tmp_path / "in.jpg", exif=exif(8).tobytes(), dpi=(300, 150))
    metadata = read(tmp_path / "in.jpg")
    assert metadata.dpi == (150, 300)
    Image.new("RGB", (31, 17)).save(tmp_path / "in.jpg", exif=exif(3).tobytes(), dpi=(300, 150))
    assert read(tmp_path / "in.jpg").dpi == (300, 150)


@pytest.mark.parametrize("name", ["Display P3", "Adobe RGB (1998)", "ProPhoto RGB"])
@pytest.mark.parametrize("target", ["jpg", "png", "tif", "webp", "avif", "heic"])
def test_wide_gamut_profiles_are_kept_byte_for_byte(tmp_path, name, target):
    profile = PROFILE + name.encode() * 9000  # several JPEG segments long
    buffer = io.BytesIO()
    Image.new("RGB", (31, 17)).save(buffer, "PNG", icc_profile=profile)
    (tmp_path / "in.png").write_bytes(buffer.getvalue())
    write(tmp_path / f"out.{target}", read(tmp_path / "in.png"), "keep")
    assert read(tmp_path / f"out.{target}").icc_profile == profile
