"""Metadata through every pair of formats, and the quality read from JPEG tables."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from mambair_cli.imaging.color.encoding import ColorEncoding
from mambair_cli.imaging.files import read_image, write_image
from mambair_cli.imaging.image import ImageSequence, RestorableImage
from mambair_cli.imaging.metadata.collect import read_metadata, read_tiff_metadata
from mambair_cli.imaging.metadata.image_metadata import Metadata
from mambair_cli.imaging.metadata.jpeg_quality import estimate_jpeg_quality
from mambair_cli.imaging.writing.images import write_images

PROFILE = bytes(16) + b"RGB " + np.random.default_rng(0).bytes(70000)
XMP = (
    b'<?xpacket begin=""?><rdf:Description tiff:Orientation="6" exif:PixelXDimension="31"'
    b"><tiff:ImageLength>17</tiff:ImageLength><dc:title>Ein Bild \xc3\xbc</dc:title>"
    b"<xmp:Thumbnails><rdf:Alt>...</rdf:Alt></xmp:Thumbnails></rdf:Description>"
)
NOTE = b"Apple iOS\0\0\x01MM\0\0"  # holds everywhere
FORMATS = ("jpg", "png", "webp", "tif")


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, (17, 31, 3), dtype=np.uint8)


@pytest.fixture
def exif():
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    exif[ExifTags.Base.Orientation] = 6
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.ExifImageWidth] = 31
    details[ExifTags.Base.MakerNote] = NOTE
    details[ExifTags.Base.DateTimeOriginal] = "2024:02:29 12:00:00"
    exif[ExifTags.IFD.Exif] = details
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitudeRef] = "N"
    exif[ExifTags.IFD.GPSInfo] = place
    return exif


def save(path, pixels, **arguments):
    Image.fromarray(pixels).save(path, **arguments)
    return path


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_the_colour_profile_is_kept_byte_for_byte(tmp_path, pixels, source, target):
    path = save(tmp_path / f"in.{source}", pixels, icc_profile=PROFILE)
    write_image(tmp_path / f"out.{target}", read_image(path))
    assert read_image(tmp_path / f"out.{target}").metadata.icc_profile == PROFILE


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_exif_is_kept_and_corrected(tmp_path, pixels, exif, source, target):
    arguments = {"exif": exif} if source == "tif" else {"exif": exif.tobytes()}
    image = read_image(save(tmp_path / f"in.{source}", pixels, **arguments))
    enlarged = image.pixels.repeat(2, axis=0).repeat(2, axis=1)
    write_image(tmp_path / f"out.{target}", RestorableImage(enlarged, None, image.metadata))
    with Image.open(tmp_path / f"out.{target}") as written:
        written.load()
        kept = written.getexif()
        assert kept[ExifTags.Base.Make] == "Camera"
        assert kept.get(ExifTags.Base.Orientation, 1) == 1
        details = kept.get_ifd(ExifTags.IFD.Exif)
        assert details[ExifTags.Base.MakerNote] == NOTE
        assert details[ExifTags.Base.DateTimeOriginal] == "2024:02:29 12:00:00"
        # Orientation 6: the stored width of 31 became the height, and both were doubled.
        assert written.size == (34, 62)
        assert details[ExifTags.Base.ExifImageWidth] == 34
        assert kept.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


@pytest.mark.parametrize("target", FORMATS)
def test_xmp_is_kept_and_corrected(tmp_path, pixels, target):
    path = save(tmp_path / "in.jpg", pixels, xmp=XMP)
    write_image(tmp_path / f"out.{target}", read_image(path))
    with Image.open(tmp_path / f"out.{target}") as written:
        written.load()
        packet = written.info["xmp"]
    assert b'tiff:Orientation="1" exif:PixelXDimension="17"' in packet
    assert b"<tiff:ImageLength>31</tiff:ImageLength>" in packet
    assert "Ein Bild ü".encode() in packet
    assert b"Thumbnails" not in packet


@pytest.mark.parametrize("target", ["jpg", "png", "tif", "bmp"])
@pytest.mark.parametrize("source", ["jpg", "png", "tif", "bmp"])
def test_resolution_is_kept(tmp_path, pixels, source, target):
    path = save(tmp_path / f"in.{source}", pixels, dpi=(300, 150))
    write_image(tmp_path / f"out.{target}", read_image(path))
    dpi = read_image(tmp_path / f"out.{target}").metadata.dpi
    assert dpi == pytest.approx((300, 150), abs=0.05)


def test_a_senseless_resolution_is_dropped(tmp_path, pixels):
    path = save(tmp_path / "in.jpg", pixels, dpi=(0, 0))
    assert read_image(path).metadata.dpi is None
    path = save(tmp_path / "in.tif", pixels, dpi=(0, 300))
    assert read_image(path).metadata.dpi is None


def test_png_keeps_its_text_and_its_encoding(tmp_path, pixels):
    info = PngInfo()
    info.add_text("parameters", "a cat, steps 20")
    info.add_itxt("Title", "Größe", "de")
    info.add(b"gAMA", struct.pack(">I", 100000))
    chromaticities = (31000, 32000, 68000, 32000, 26500, 69000, 15000, 6000)
    info.add(b"cHRM", struct.pack(">8I", *chromaticities))
    path = save(tmp_path / "in.png", pixels, pnginfo=info)
    write_image(tmp_path / "out.png", read_image(path))
    with Image.open(tmp_path / "out.png") as written:
        assert written.text == {"parameters": "a cat, steps 20", "Title": "Größe"}
        assert written.info["gamma"] == 1.0
        assert written.info["chromaticity"] == tuple(value / 100000 for value in chromaticities)
    info = PngInfo()
    info.add(b"sRGB", b"\1")
    path = save(tmp_path / "srgb.png", pixels, pnginfo=info)
    write_image(tmp_path / "srgb_out.png", read_image(path))
    with Image.open(tmp_path / "srgb_out.png") as written:
        assert written.info["srgb"] == 1


def test_what_does_not_fit_a_jpeg_segment_is_left_out(tmp_path, pixels):
    huge = Image.Exif()
    huge[ExifTags.Base.ImageDescription] = "x" * 70000
    path = save(tmp_path / "in.png", pixels, exif=huge.tobytes())
    image = read_image(path)
    assert len(image.metadata.exif) > 70000
    write_image(tmp_path / "out.jpg", image)
    assert read_image(tmp_path / "out.jpg").metadata.exif is None


def test_a_tiff_without_exif_is_compressed(tmp_path):
    flat = RestorableImage(np.zeros((200, 300, 3), np.uint8))
    write_image(tmp_path / "out.tif", flat)
    assert (tmp_path / "out.tif").stat().st_size < 10000


def test_jpeg_quality_is_read_from_the_tables(tmp_path, pixels):
    read = {}
    for quality in range(1, 101):
        path = save(tmp_path / "in.jpg", pixels, quality=quality)
        read[quality] = read_image(path).metadata.jpeg_quality
    assert read == {quality: quality for quality in range(1, 101)}


def test_jpeg_quality_of_other_tables_is_the_nearest(tmp_path, pixels):
    path = save(tmp_path / "in.jpg", pixels, qtables="web_low")  # Photoshop's own table
    assert 10 <= read_image(path).metadata.jpeg_quality <= 50
    assert estimate_jpeg_quality([1] * 64) == 100
    assert estimate_jpeg_quality([255] * 64) == 1


def test_only_jpeg_files_have_a_quality(tmp_path, pixels):
    assert read_image(save(tmp_path / "in.png", pixels)).metadata.jpeg_quality is None


def read(path):
    with path.open("rb") as file, Image.open(file) as image:
        return read_metadata(image, file)


def test_pages_of_a_tiff_keep_their_own_descriptions(tmp_path, pixels):
    images = []
    for page in range(3):
        tags = Image.Exif()
        tags[ExifTags.Base.ImageDescription] = f"page {page}"
        tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f"2024:01:0{page} 00:00"
        metadata = Metadata(exif=tags.tobytes(), dpi=(100 + page, 100))
        images.append(RestorableImage(pixels, metadata=metadata))
    path = tmp_path / "out.tif"
    write_images(path, ImageSequence(tuple(images)))
    for page in range(3):
        metadata = read_tiff_metadata(io.BytesIO(path.read_bytes()), page)
        tags = Image.Exif()
        tags.load(metadata.exif)
        assert tags[ExifTags.Base.ImageDescription] == f"page {page}"
        details = tags.get_ifd(ExifTags.IFD.Exif)
        assert details[ExifTags.Base.DateTimeOriginal] == f"2024:01:0{page} 00:00"
        assert metadata.dpi == (100 + page, 100)
        assert metadata.reading.dropped == ()
    with Image.open(path) as image:
        assert image.n_frames == 3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_files_that_pillow_cannot_open_keep_theirs(tmp_path, order, bigtiff):
    path = tmp_path / "in.tif"
    tags = [(700, 1, len(XMP), XMP, True), (33723, 7, 8, b"\x1c\2\x69\0\3abc", True)]
    tags += [(274, 3, 1, 6, True), (34377, 7, 4, b"8BIM", True), (42110, 2, 0, "<x/>", True)]
    with tifffile.TiffWriter(path, byteorder=order, bigtiff=bigtiff) as writer:
        writer.write(
            np.zeros((17, 31, 3), np.float32),
            photometric="rgb",
            description="a description",
            iccprofile=PROFILE,
            resolution=(300, 150),
            extratags=tags,
            metadata=None,
            software=False,
        )
    with pytest.raises(UnidentifiedImageError):
        Image.open(path)
    metadata = read_tiff_metadata(io.BytesIO(path.read_bytes()))
    assert metadata.icc_profile == PROFILE
    assert metadata.iptc == b"\x1c\2\x69\0\3abc"
    assert metadata.dpi == (150, 300)  # turned with the image
    assert b'tiff:Orientation="1"' in metadata.xmp
    assert metadata.stored_orientation == 6
    tags = Image.Exif()
    tags.load(metadata.exif)
    assert dict(tags) == {ExifTags.Base.ImageDescription: "a description"}
    assert set(metadata.reading.dropped) == {"TIFF tags 42110", "thumbnail"}


def test_the_shape_that_tifffile_describes_is_not_kept(tmp_path):
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, np.zeros((17, 31, 3), np.uint16), photometric="rgb", software="a lab's")
    metadata = read_tiff_metadata(io.BytesIO(path.read_bytes()))
    tags = Image.Exif()
    tags.load(metadata.exif)
    assert dict(tags) == {ExifTags.Base.Software: "a lab's"}
    assert metadata.reading.dropped == ("description of the array's shape",)


def test_smaller_pictures_of_a_phone_are_said_to_be_dropped(tmp_path, pixels):
    path = tmp_path / "in.jpg"
    preview = Image.fromarray(pixels[::2, ::2].copy())
    Image.fromarray(pixels).save(path, "MPO", save_all=True, append_images=[preview])
    metadata = read(path)
    assert metadata.source_format == "JPEG"
    assert metadata.reading.dropped == ("further pictures (previews, gain maps)",)


def test_extensions_of_gif_are_named_unless_they_animate(tmp_path, pixels):
    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    frames[0].save(tmp_path / "in.gif", save_all=True, append_images=frames[1:], loop=3)
    assert read(tmp_path / "in.gif").reading.dropped == ()
    content = (tmp_path / "in.gif").read_bytes()
    other = content.replace(b"NETSCAPE2.0", b"XMP DataXMP")
    (tmp_path / "other.gif").write_bytes(other)
    assert read(tmp_path / "other.gif").reading.dropped == ("GIF extension XMP DataXMP",)


def test_the_profile_of_a_bmp_is_read(tmp_path, pixels):
    path = save(tmp_path / "in.bmp", pixels)
    content = path.read_bytes()
    old, profile = content[14:54], PROFILE[:600]
    start = 124 + len(content) - 54
    header = struct.pack("<I", 124) + old[4:] + bytes(16) + b"DEBM" + bytes(52)
    header += struct.pack("<III", start, len(profile), 0)
    offset = struct.pack("<I", 14 + 124)
    whole = content[:10] + offset + header + content[54:] + profile
    path.write_bytes(whole)
    assert len(header) == 124
    assert read(path).icc_profile == profile


def test_colours_of_heic_without_a_profile_are_said_as_code_points(pixels):
    image = Image.fromarray(pixels)
    image.format = "HEIF"
    image.info["nclx_profile"] = {"color_primaries": 12, "transfer_characteristics": 16}
    assert read_metadata(image).color.space.code_points == (12, 16)
    image.info["nclx_profile"] = {"color_primaries": 1, "transfer_characteristics": 13}
    assert read_metadata(image).color == ColorEncoding()


def test_what_heic_has_beside_is_said_to_be_dropped(pixels):
    image = Image.fromarray(pixels)
    image.format = "HEIF"
    image.info |= {"depth_images": [1], "aux": {"urn:x": [1]}, "thumbnails": [64], "metadata": []}
    dropped = ("thumbnail", "depth map", "auxiliary images")
    assert read_metadata(image).reading.dropped == dropped
