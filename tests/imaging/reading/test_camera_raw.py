"""Camera raw under any name: refused as what it is, never restored from a preview."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import read_header, read_images

PREVIEW = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)
SENSOR = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "DSC_0001.TIF"  # as old cameras call what they write to their cards


def refusal(path):
    with pytest.raises(ImageError) as error:
        read_header(path)
    assert "develop it first, with darktable or RawTherapee" in error.value.hint
    return error.value.message.replace(str(path), "PATH")


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"FUJIFILMCCD-RAW 0201FF389501", "Fujifilm RAF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "Canon CR3"),
        (b"II\x1a\0\0\0HEAPCCDR\2\0\1", "Canon CRW"),
        (b"II*\0\x10\0\0\0CR\2\0", "Canon CR2"),
        (b"IIRO\x08\0\0\0", "Olympus ORF"),
        (b"IIU\0\x18\0\0\0", "Panasonic RW2"),
        (b"FOVb\0\0\2\0", "Sigma X3F"),
        (b"\0MRM\0\0\xff\0", "Minolta MRW"),
        (b"II*\0\x08\0\0\0IIIITwaR", "Phase One IIQ"),
    ],
)
def test_raw_is_known_by_its_first_bytes(path, start, name):
    path.write_bytes(start + bytes(600))
    assert refusal(path) == f"PATH is camera raw ({name}): what the sensor saw, not yet a picture"


@pytest.mark.parametrize("marked", [0, 1])
@pytest.mark.parametrize("byteorder", "<>")
def test_a_preview_with_the_sensors_values_inside(path, marked, byteorder):
    with tifffile.TiffWriter(path, byteorder=byteorder) as writer:
        extra = [(271, "s", 0, "NIKON CORPORATION", True)]
        writer.write(PREVIEW, photometric="rgb", subfiletype=marked, subifds=2, extratags=extra)
        writer.write(PREVIEW[::2, ::2], photometric="rgb", subfiletype=1)
        writer.write(SENSOR, photometric="cfa", subfiletype=0)
    assert refusal(path) == "PATH is camera raw: what the sensor saw, not yet a picture"


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("photometric", ["cfa", 34892, "minisblack"])
def test_the_sensors_values_beside_a_preview(path, place, photometric):
    pattern = [(33422, "B", 4, bytes([0, 1, 1, 2]), True)] if photometric == "minisblack" else []
    with tifffile.TiffWriter(path) as writer:
        if place == "behind":
            writer.write(PREVIEW, photometric="rgb")
        sensor = np.dstack([SENSOR] * 3) if photometric == 34892 else SENSOR
        writer.write(sensor, photometric=photometric, extratags=pattern)
        if place == "before":
            writer.write(PREVIEW, photometric="rgb", subfiletype=1)
    assert refusal(path) == "PATH is camera raw: what the sensor saw, not yet a picture"


def test_a_dng_of_colours_is_raw_too(path):
    extra = [(50706, "B", 4, bytes([1, 4, 0, 0]), True)]
    tifffile.imwrite(path, PREVIEW.astype(np.uint16), photometric="rgb", extratags=extra)
    assert refusal(path) == "PATH is camera raw (DNG): what the sensor saw, not yet a picture"


@pytest.mark.parametrize("compression", [34713, 32767, 32770, 65535])
def test_makers_have_compressions_of_their_own(path, compression):
    with tifffile.TiffWriter(path) as writer:
        writer.write(PREVIEW, photometric="rgb", subifds=1)
        writer.write(SENSOR, photometric="minisblack")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].pages[0].tags["Compression"].valueoffset
    struct.pack_into("<H", content, place, compression)
    path.write_bytes(content)
    assert refusal(path) == "PATH is camera raw: what the sensor saw, not yet a picture"


def test_a_picture_inside_of_a_preview_is_refused(path):
    with tifffile.TiffWriter(path) as writer:
        writer.write(PREVIEW, photometric="rgb", subfiletype=1, subifds=1)
        writer.write(np.dstack([SENSOR] * 3), photometric="rgb")
    with pytest.raises(ImageError) as error:
        read_header(path)
    assert error.value.message == (
        f"{path} has its picture of 64x48 pixels inside of a preview, which cannot be restored"
    )


def test_what_lies_inside_of_pages_is_left_out_and_told(path):
    """Levels of a pyramid are marked as smaller copies; parts of another kind are not."""
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.dstack([SENSOR] * 3), photometric="rgb", subifds=3)
        writer.write(PREVIEW, photometric="rgb", subfiletype=1)
        writer.write(PREVIEW[::2, ::2], photometric="rgb", subfiletype=1)
        writer.write(PREVIEW, photometric="rgb")
    sequence = read_images(path)
    assert len(sequence.images) == 1
    assert sequence.images[0].changes == (
        "2 smaller copies or masks left out",
        "1 images inside of pages left out",
    )


def test_a_developed_photograph_is_no_raw(path):
    """Its EXIF block still tells of the camera and of its colour filters."""
    exif = Image.Exif()
    exif[271] = "Canon"
    exif.get_ifd(0x8769)[0xA302] = bytes([2, 0, 2, 0, 0, 1, 1, 2])
    stream = io.BytesIO()
    Image.fromarray(PREVIEW).save(stream, "TIFF", exif=exif)
    path.write_bytes(stream.getvalue())
    np.testing.assert_array_equal(read_images(path).images[0].pixels, PREVIEW)


def test_directories_inside_of_one_another_end(path):
    """An inner directory that names itself, and values that name one directory many times."""
    with tifffile.TiffWriter(path) as writer:
        writer.write(PREVIEW, photometric="rgb", subifds=2)
        writer.write(PREVIEW[::2], photometric="rgb")
        writer.write(PREVIEW[::3], photometric="rgb")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        place = page.tags["SubIFDs"].valueoffset
    struct.pack_into("<II", content, place, page.offset, page.offset)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_images(path).images[0].pixels, PREVIEW)
