"""TIFF files as programs write them: odd samples, pages that are none, what stands for no light."""

import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import open_bands, read_header, read_image, read_images
from mambair_cli.imaging.image import ValueRange
from mambair_cli.imaging.reading import tiff_codecs


@pytest.fixture(scope="module")
def photo():
    """Part of NASA's portrait of Eileen Collins (public domain, from scikit-image)."""
    return data.astronaut()[30:97, 180:270].copy()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "page.tif"


def refusal(path):
    with pytest.raises(ImageError) as error:
        read_image(path)
    with pytest.raises(ImageError, match=error.value.message.removeprefix(str(path))):
        read_header(path)
    return error.value.message.replace(str(path), "PATH")


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (np.int8, "8-bit signed integer"),
        (np.int16, "16-bit signed integer"),
        (np.uint32, "32-bit integer"),
        (np.int32, "32-bit signed integer"),
        (np.uint64, "64-bit integer"),
    ],
)
def test_integers_that_stand_for_no_brightness_are_refused(path, photo, dtype, kind):
    tifffile.imwrite(path, photo[..., 0].astype(dtype), photometric="minisblack")
    assert refusal(path) == f"PATH has {kind} pixels, which cannot be restored"


def test_complex_numbers_are_refused(path, photo):
    tifffile.imwrite(path, photo[..., 0].astype(np.complex64))
    assert refusal(path) == "PATH has complex numbers for its pixels, which cannot be restored"


def test_a_cameras_raw_data_is_refused(path, photo):
    tifffile.imwrite(path, photo[..., 0], photometric="cfa")
    assert refusal(path) == "PATH is camera raw: what the sensor saw, not yet a picture"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(path, photo, value):
    pixels = photo.astype(np.float32) / 255
    pixels[60, 80, 1] = value
    tifffile.imwrite(path, pixels, photometric="rgb")
    message = f"{path} has values that are infinite or no numbers (NaN), which cannot be restored"
    with pytest.raises(ImageError) as error:
        read_image(path)
    assert error.value.message == message
    with pytest.raises(ImageError) as error, open_bands(path):
        pass
    assert error.value.message == message


@pytest.mark.parametrize(
    ("low", "high", "span"),
    [
        (0.1, 0.9, None),
        (0, 1, None),
        (0.2, 3.5, ValueRange(0, 3.5)),
        (-0.5, 0.5, ValueRange(-0.5, 1)),
        (-2, 4, ValueRange(-2, 4)),
    ],
)
def test_black_and_white_of_floating_point(path, low, high, span):
    pixels = np.linspace(low, high, 20 * 30, dtype=np.float32).reshape(20, 30)
    tifffile.imwrite(path, pixels, rowsperstrip=3)
    image = read_image(path)
    assert image.span == span
    np.testing.assert_array_equal(image.pixels[..., 0], pixels)
    with open_bands(path) as reader:
        assert reader.span == span


@pytest.mark.parametrize(("dtype", "bits"), [(np.float16, 16), (np.float64, 64)])
def test_other_floating_point_becomes_32_bits_and_it_is_said(path, photo, dtype, bits):
    pixels = (photo / 255).astype(dtype)
    tifffile.imwrite(path, pixels, photometric="rgb")
    image = read_image(path)
    assert image.pixels.dtype == np.float32
    np.testing.assert_array_equal(image.pixels, pixels.astype(np.float32))
    assert image.changes == (f"{bits}-bit floating point converted to 32 bits",)


def test_64_bits_that_exceed_32_are_refused(path):
    tifffile.imwrite(path, np.full((5, 7), 1e200))
    with pytest.raises(ImageError, match="infinite"):
        read_image(path)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_floating_point_with_white_as_zero(path, photo, dtype):
    pixels = (photo[..., 0] / 256).astype(dtype)
    tifffile.imwrite(path, pixels, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], 1 - pixels.astype(np.float32))


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("channels", [1, 3])
def test_premultiplied_colours_are_divided_and_rounded(path, dtype, white, byteorder, channels):
    alpha = np.tile(np.linspace(0, white, 40), (30, 1)).astype(dtype)
    colours = (alpha[..., None] * np.linspace(0, 1, 30)[:, None, None]).astype(dtype)
    stored = np.dstack([np.repeat(colours, channels, axis=2), alpha])
    kind = "rgb" if channels == 3 else "minisblack"
    options = {"photometric": kind, "extrasamples": ["assocalpha"], "byteorder": byteorder}
    tifffile.imwrite(path, stored, **options)
    image = read_image(path)
    np.testing.assert_array_equal(image.alpha, alpha)
    exact = np.rint(stored[..., :-1].astype(float) * white / np.maximum(alpha, 1)[..., None])
    visible = alpha > 0
    difference = np.abs(image.pixels.astype(float) - exact)[visible]
    assert difference.max() <= (0 if white == 255 else 1)  # a tie at most, of 32-bit division
    assert image.changes == ("premultiplied alpha made straight",)


def test_premultiplied_floating_point(path, photo):
    alpha = np.tile(np.linspace(0.1, 1, 90, dtype=np.float32), (67, 1))
    colours = photo.astype(np.float32) / 100
    stored = np.dstack([colours * alpha[..., None], alpha])
    tifffile.imwrite(path, stored, photometric="rgb", extrasamples=["assocalpha"])
    image = read_image(path)
    np.testing.assert_allclose(image.pixels, colours, rtol=1e-6)
    np.testing.assert_array_equal(image.alpha, alpha)
    assert image.span == ValueRange(0, float(image.pixels.max()))


def test_opacity_in_floating_point_is_clipped(path, photo):
    stored = np.dstack([photo, photo[..., 0]]).astype(np.float32) / 255
    stored[..., 3] = np.linspace(-0.5, 1.5, 90)
    tifffile.imwrite(path, stored, photometric="rgb", extrasamples=["unassalpha"])
    alpha = read_image(path).alpha
    np.testing.assert_array_equal(alpha, np.clip(stored[..., 3], 0, 1))


def test_channels_that_are_no_opacity_become_pages_and_it_is_said(path, photo):
    stored = np.dstack([photo, photo[..., 0], photo[..., 1]])
    tifffile.imwrite(path, stored, photometric="rgb", extrasamples=["unspecified", "unassalpha"])
    image, further = read_images(path).images
    np.testing.assert_array_equal(image.pixels, photo)
    np.testing.assert_array_equal(image.alpha, photo[..., 1])
    assert image.changes == ("further channels made pages",)
    np.testing.assert_array_equal(further.pixels, stored[..., 3:4])
    assert further.alpha is None
    tifffile.imwrite(path, stored[..., :4], photometric="rgb", extrasamples=["unspecified"])
    assert read_images(path).images[0].alpha is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("layout", [{}, {"compression": "deflate"}, {"tile": (16, 16)}])
def test_gray_in_planes_is_the_first_of_them(path, dtype, photometric, layout):
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    planes = (np.random.default_rng(0).random((3, 17, 23)) * white).astype(dtype)
    extra = ["unspecified", "unassalpha"]
    tifffile.imwrite(
        path, planes, photometric=photometric, planarconfig="separate", extrasamples=extra, **layout
    )
    image, further = read_images(path).images
    gray = planes[0] if photometric == "minisblack" else white - planes[0]
    np.testing.assert_array_equal(image.pixels[..., 0], gray)
    np.testing.assert_array_equal(image.alpha, planes[2])
    np.testing.assert_array_equal(further.pixels[..., 0], planes[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("unsaid", [False, True])
def test_every_band_is_a_page(path, dtype, planes, unsaid):
    """Also where nothing says that the further ones are no opacity."""
    bands = (np.random.default_rng(0).random((5, 17, 23)) * 200).astype(dtype)
    stored = bands if planes == "separate" else np.moveaxis(bands, 0, -1)
    tifffile.imwrite(
        path, stored, photometric="minisblack", planarconfig=planes, extrasamples=[0] * 4
    )
    if unsaid:
        content = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as tiff:
            place = tiff.pages[0].tags["ExtraSamples"].offset
        content[place : place + 2] = (337).to_bytes(2, "little")
        path.write_bytes(content)
    images = read_images(path).images
    assert len(images) == read_header(path).images == 5
    for image, band in zip(images, bands, strict=True):
        np.testing.assert_array_equal(image.pixels[..., 0], band)
        assert image.alpha is None


@pytest.mark.parametrize("layout", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_a_fourth_sample_of_which_nothing_is_said_is_opacity(path, photo, layout):
    stored = np.dstack([photo, photo[..., 0]])
    tifffile.imwrite(path, stored, photometric="rgb", extrasamples=["unassalpha"], **layout)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].tags["ExtraSamples"].offset
    content[place : place + 2] = (337).to_bytes(2, "little")
    path.write_bytes(content)
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, photo)
    np.testing.assert_array_equal(image.alpha, photo[..., 0])


def records_of(content):
    """Return where the records of the first directory begin, and all of them."""
    position = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[position : position + 2], "little")
    starts = range(position + 2, position + 2 + 12 * count, 12)
    return position + 2, [content[start : start + 12] for start in starts]


def reversed_records(records):
    return records[::-1]


def doubled_records(records):
    """Repeat the fourth in the place of the name of the program."""
    rest = [record for record in records if record[:2] != (305).to_bytes(2, "little")]
    return [*rest[:4], *rest[3:]]


@pytest.mark.parametrize("layout", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
@pytest.mark.parametrize("disordered", [reversed_records, doubled_records])
def test_tags_out_of_order_or_doubled_are_forgiven_and_told(path, photo, layout, disordered):
    tifffile.imwrite(path, photo, photometric="rgb", metadata=None, **layout)
    content = path.read_bytes()
    start, records = records_of(content)
    changed = b"".join(disordered(records))
    assert len(changed) == 12 * len(records)
    path.write_bytes(content[:start] + changed + content[start + len(changed) :])
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, photo)
    assert image.changes == ("tags out of order or doubled read all the same",)


def test_premultiplied_colours_with_tags_out_of_order(path, photo):
    alpha = np.full(photo.shape[:2], 128, np.uint8)
    stored = np.dstack([photo // 2, alpha])
    tifffile.imwrite(path, stored, photometric="rgb", extrasamples=["assocalpha"], metadata=None)
    sound = read_image(path).pixels
    content = path.read_bytes()
    start, records = records_of(content)
    changed = b"".join(records[::-1])
    path.write_bytes(content[:start] + changed + content[start + len(changed) :])
    np.testing.assert_array_equal(read_image(path).pixels, sound)


@pytest.mark.parametrize(
    "flawed",
    [
        (301, 3, 7, tuple(range(7))),
        (318, 5, 1, (1, 3)),
        (319, 5, 4, (1, 3) * 4),
        (297, 3, 1, 7),
        (321, 3, 1, 5),
        (532, 5, 4, (1, 1) * 4),
        (700, 1, 0, b""),
        (281, 3, 2, (0, 3)),
        (340, 3, 1, 0),
        (270, 3, 2, (65, 66)),
        (334, 3, 1, 9),
        (274, 3, 1, 77),
    ],
    ids=lambda tag: str(tag[0]),
)
def test_tags_of_which_no_pixel_depends_are_no_damage(path, photo, flawed):
    extra = [(*flawed, True)]
    tifffile.imwrite(path, photo, photometric="rgb", metadata=None, extratags=extra)
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, photo)
    colour = ("colour tags (impossible)",) if flawed[0] in (301, 318, 319) else ()
    assert image.metadata.reading.dropped == colour


def test_a_colour_beside_print_colours_is_a_page(path):
    inks = np.random.default_rng(0).integers(0, 255, (17, 23, 5), np.uint8)
    tifffile.imwrite(path, inks, photometric="separated", extrasamples=[0])
    picture, spot = read_images(path).images
    assert picture.pixels.shape == (17, 23, 3)
    np.testing.assert_array_equal(spot.pixels, inks[..., 4:])


def test_smaller_copies_and_masks_are_no_pages(path, photo):
    with tifffile.TiffWriter(path) as writer:
        writer.write(photo, photometric="rgb")
        writer.write(photo[::2, ::2], photometric="rgb", subfiletype=1)
        writer.write(photo[::-1], photometric="rgb", subfiletype=2)
        writer.write(photo[..., 0] > 99, photometric="minisblack", subfiletype=4)
    sequence = read_images(path)
    assert len(sequence.images) == read_header(path).images == 2
    assert sequence.timing is None
    np.testing.assert_array_equal(sequence.images[0].pixels, photo)
    np.testing.assert_array_equal(sequence.images[1].pixels, photo[::-1])
    assert sequence.images[0].changes == ("2 smaller copies or masks left out",)


def test_pages_of_different_kinds_keep_their_own(path, photo):
    with tifffile.TiffWriter(path) as writer:
        writer.write(photo, photometric="rgb")
        writer.write(photo[:20, :31, 0].astype(np.uint16) * 200, photometric="minisblack")
        writer.write(photo[:40].astype(np.float32) / 255, photometric="rgb")
    images = read_images(path).images
    assert [image.pixels.shape for image in images] == [(67, 90, 3), (20, 31, 1), (40, 90, 3)]
    assert [str(image.pixels.dtype) for image in images] == ["uint8", "uint16", "float32"]


def test_private_tags_are_no_damage(path, photo):
    tags = [(65000, "s", 0, "of a program", True), (50000, "d", 3, (1.0, 2.0, 3.0), True)]
    tifffile.imwrite(path, photo, photometric="rgb", extratags=tags)
    np.testing.assert_array_equal(read_image(path).pixels, photo)


def test_luma_and_chroma_become_rgb(path, photo):
    Image.fromarray(photo).convert("YCbCr").save(path)
    image = read_image(path)
    assert np.abs(image.pixels.astype(int) - photo).max() < 4
    assert image.changes == ("YCbCr converted to RGB",)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lab_becomes_srgb(path, dtype):
    levels = np.linspace(0, np.iinfo(dtype).max, 30).astype(dtype)
    stored = np.zeros((5, 30, 3), dtype)
    stored[..., 0] = levels
    tifffile.imwrite(path, stored, photometric="cielab")
    image = read_image(path)
    assert image.pixels.dtype == dtype
    assert (np.diff(image.pixels[0, :, 1].astype(int)) > 0).all()
    spread = np.ptp(image.pixels.astype(int), axis=2).max()
    assert spread <= np.iinfo(dtype).max * 0.02  # neutral
    assert image.changes == ("Lab converted to sRGB",)
    assert image.metadata.icc_profile is None


def test_a_rare_combination_is_refused_by_name(path, photo, monkeypatch):
    monkeypatch.setattr(tiff_codecs, "_has_imagecodecs", lambda: False)
    Image.fromarray(photo[..., 0].astype(np.float32)).save(path, compression="tiff_lzw")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        position = tiff.pages[0].tags["BitsPerSample"].valueoffset
    content[position] = 64
    path.write_bytes(content)
    assert refusal(path) == "PATH has LZW in TIFF, which cannot be restored"


def test_a_chain_of_directories_that_bites_its_tail_ends(path, photo):
    tifffile.imwrite(path, photo, photometric="rgb", metadata=None)
    content = bytearray(path.read_bytes())
    start = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[start : start + 2], "little")
    end = start + 2 + 12 * count
    content[end : end + 4] = content[4:8]
    path.write_bytes(content)
    assert read_header(path).images == 1
    with pytest.raises(ImageError, match="is damaged or cut short: "):
        read_image(path)


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("bigtiff", [False, True])
def test_every_page_is_itself(path, photo, byteorder, bigtiff):
    """Pages are read as if each were alone in the file."""
    alpha = np.tile(np.linspace(100, 255, 90).astype(np.uint8), (67, 1))
    with tifffile.TiffWriter(path, byteorder=byteorder, bigtiff=bigtiff) as writer:
        for shift in range(3):
            writer.write(np.roll(photo, shift, axis=0), photometric="rgb", compression="zlib")
        stored = np.dstack([photo // 3, alpha])
        writer.write(stored, photometric="rgb", extrasamples=["assocalpha"])
    images = read_images(path).images
    for shift in range(3):
        np.testing.assert_array_equal(images[shift].pixels, np.roll(photo, shift, axis=0))
    exact = np.minimum((photo // 3) * 255.0 / alpha[..., None], 255)
    assert np.abs(images[3].pixels - exact).max() <= 0.50001  # rounded; a tie to either side


def test_strips_that_unpack_to_far_more_than_their_pixels_are_refused(tmp_path):
    path = tmp_path / "small.tif"
    pixels = np.linspace(0, 1, 12 * 17).reshape(12, 17)
    tifffile.imwrite(path, pixels, compression="deflate", photometric="minisblack")
    np.testing.assert_allclose(read_image(path).pixels[..., 0], pixels, atol=1e-7)
    with tifffile.TiffFile(path, mode="r+b") as file:
        tags = file.pages[0].tags
        bomb, place = zlib.compress(bytes(2**24)), path.stat().st_size
        tags["StripOffsets"].overwrite((place,))
        tags["StripByteCounts"].overwrite((len(bomb),))
    path.write_bytes(path.read_bytes() + bomb)
    with pytest.raises(ImageError, match="unpacks to far more than its pixels"):
        read_image(path)
