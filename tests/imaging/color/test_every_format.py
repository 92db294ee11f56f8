"""What values mean goes from every format to every other: the colours that are shown stay.

The judge is littleCMS, through Pillow; what should be shown is computed from the numbers of the
standards.
"""

import contextlib
import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image, ImageCms

from mambair_cli.errors import OutputError
from mambair_cli.imaging import formats
from mambair_cli.imaging.color.encoding import ColorEncoding, space_of_code_points
from mambair_cli.imaging.color.items import read_code_points, with_code_points
from mambair_cli.imaging.color.profile import made_profile
from mambair_cli.imaging.files import (
    open_bands,
    read_image,
    read_images,
    write_bands,
    write_image,
    write_images,
)
from mambair_cli.imaging.image import RestorableImage
from mambair_cli.imaging.metadata.collect import read_tiff_metadata
from mambair_cli.imaging.metadata.image_metadata import Metadata

TARGETS = ("png", "tif", "jpg", "webp", "avif", "heic", "jxl", "gif", "bmp")
# Flat, so that no encoder changes them; inside of sRGB when they are in Display P3.
COLOURS = ((160, 120, 90), (60, 100, 140), (128, 128, 128), (30, 30, 30))
P3_TO_SRGB = ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979))
ADOBE_TO_SRGB = ((1.3984, -0.3984, 0.0), (0.0, 1.0, 0.0), (0.0, -0.0429, 1.0429))
P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
SAME = np.eye(3)


def srgb_light(x):
    return np.where(x > 0.04045, ((x + 0.055) / 1.055) ** 2.4, x / 12.92)


def video_light(x):
    return np.where(x < 0.081, x / 4.5, ((x + 0.099) / 1.099) ** (1 / 0.45))


def power(exponent):
    return lambda x: x**exponent


def shown(light, matrix, colour):
    """What a screen of sRGB shows of a colour, 0 to 255."""
    values = np.clip(np.array(matrix) @ light(np.array(colour) / 255), 0, 1)
    encoded = np.where(values > 0.0031308, 1.055 * values ** (1 / 2.4) - 0.055, values * 12.92)
    return encoded * 255


def scene(*, gray=False):
    """A patch of each colour, 16 pixels wide, 20 high."""
    colours = np.array([(c[0],) * 3 if gray else c for c in COLOURS], np.uint8)
    pixels = np.broadcast_to(np.repeat(colours, 16, axis=0), (20, 64, 3)).copy()
    return pixels[..., 0] if gray else pixels


def png(path, *chunks, gray=False, **options):
    """Write a PNG file with further chunks."""
    buffer = io.BytesIO()
    Image.fromarray(scene(gray=gray)).save(buffer, "PNG", **options)
    data = buffer.getvalue()
    inserted = b"".join(
        struct.pack(">I", len(content)) + name + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )  # fmt: skip
    path.write_bytes(data[:33] + inserted + data[33:])


def gamma(value):
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def chromaticities(*values):
    return b"cHRM", struct.pack(">8I", *values)


def code_points(*values):
    return b"cICP", bytes(values)


def avif(path, primaries, transfer):
    buffer = io.BytesIO()
    image = Image.fromarray(scene())
    image.save(buffer, "AVIF", quality=98, subsampling="4:4:4")
    path.write_bytes(with_code_points(buffer.getvalue(), primaries, transfer))


def heic(path, primaries, transfer):
    pillow_heif.register_heif_opener()
    numbers = {"color_primaries": primaries, "transfer_characteristics": transfer}
    numbers |= {"matrix_coefficients": 6, "full_range_flag": 1}
    Image.fromarray(scene()).save(path, quality=98, chroma=444, **numbers)


def adobe_jpeg(path, named, index):
    tags = Image.Exif()
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = named
    if index:
        tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = {1: index}
    Image.fromarray(scene()).save(path, quality=98, subsampling=0, exif=tags.tobytes())


def tiff(path, tags):
    import tifffile

    tifffile.imwrite(path, scene(), photometric="rgb", extratags=tags)


def rationals(tag, values):
    pairs = [part for value in values for part in (value, 100_000)]
    return tag, "2I", len(values), pairs, True


LINEAR_TABLE = (301, "H", 256, [257 * value for value in range(256)], True)
# Name with suffix, what writes it, light of its values, from its light to that of sRGB.
SOURCES = {
    "gamma.png": (lambda path: png(path, gamma(1)), power(1), SAME),
    "gray.png": (lambda path: png(path, gamma(1), gray=True), power(1), SAME),
    "mac.png": (lambda path: png(path, gamma(1 / 1.8)), power(1.8), SAME),
    "only_cHRM.png": (lambda path: png(path, chromaticities(*P3)), srgb_light, P3_TO_SRGB),
    "both.png": (lambda path: png(path, gamma(0.5), chromaticities(*P3)), power(2), P3_TO_SRGB),
    "sRGB_first.png": (
        lambda path: png(path, (b"sRGB", b"\0"), gamma(1), chromaticities(*P3)),
        srgb_light,
        SAME,
    ),
    "usual.png": (lambda path: png(path, gamma(0.45455)), srgb_light, SAME),
    "impossible.png": (lambda path: png(path, gamma(0), (b"cHRM", bytes(32))), srgb_light, SAME),
    "p3.png": (lambda path: png(path, code_points(12, 13, 0, 1), gamma(1)), srgb_light, P3_TO_SRGB),
    "video.png": (lambda path: png(path, code_points(1, 1, 0, 1)), video_light, SAME),
    "p3.avif": (lambda path: avif(path, 12, 13), srgb_light, P3_TO_SRGB),
    "video.avif": (lambda path: avif(path, 1, 6), video_light, SAME),
    "unspecified.avif": (lambda path: avif(path, 2, 2), srgb_light, SAME),
    "p3.heic": (lambda path: heic(path, 12, 13), srgb_light, P3_TO_SRGB),
    "adobe.jpg": (lambda path: adobe_jpeg(path, 65535, "R03"), power(563 / 256), ADOBE_TO_SRGB),
    "adobe_2.jpg": (lambda path: adobe_jpeg(path, 2, None), power(563 / 256), ADOBE_TO_SRGB),
    "camera.jpg": (lambda path: adobe_jpeg(path, 1, "R98"), srgb_light, SAME),
    "linear.tif": (lambda path: tiff(path, [LINEAR_TABLE]), power(1), SAME),
    "p3.tif": (
        lambda path: tiff(path, [rationals(318, P3[:2]), rationals(319, P3[2:])]),
        srgb_light,
        P3_TO_SRGB,
    ),
}


def profile_of(numbers, *, gray):
    """Return a profile for code points, whose curves and matrices are those judged elsewhere."""
    points = numbers["color_primaries"], numbers["transfer_characteristics"]
    return made_profile(space_of_code_points(*points), gray=gray)


def colours_of(path):
    """The colours of the patches, as littleCMS shows them."""
    for entry in formats.FORMATS:
        formats.is_writable(entry)
    with Image.open(path) as image:
        profile = image.info.get("icc_profile")
        if image.format == "HEIF" and not profile:
            profile = profile_of(image.info["nclx_profile"], gray=image.mode == "L")
        plain = image.convert("L" if image.mode == "L" else "RGB")
    if profile:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        plain = ImageCms.profileToProfile(plain, source, srgb, outputMode="RGB")
    pixels = np.asarray(plain.convert("RGB")).astype(float)
    return pixels.reshape(20, 4, 16, 3)[6:14, :, 4:12].mean(axis=(0, 2))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    for name, (make, _, _) in SOURCES.items():
        make(folder / name)
    return folder


@pytest.mark.parametrize("name", SOURCES)
def test_the_colours_that_are_shown_stay(tmp_path, source, name):
    _, light, matrix = SOURCES[name]
    colours = [(c[0],) * 3 for c in COLOURS] if name == "gray.png" else COLOURS
    expected = np.array([shown(light, matrix, colour) for colour in colours])
    image = read_image(source / name)
    for target in TARGETS:
        if name.endswith(".png") and target == "png":
            continue  # its chunks are handed on, which littleCMS does not know
        path = tmp_path / f"out.{target}"
        write_image(path, image, quality=98, metadata="strip")
        difference = np.abs(colours_of(path) - expected)
        assert difference.max() < (7 if target in ("gif", "avif") else 4), (target, difference)


@pytest.mark.parametrize("name", [name for name in SOURCES if name.endswith(".png")])
def test_png_hands_its_chunks_on_to_png(tmp_path, source, name):
    image = read_image(source / name)
    write_image(tmp_path / "out.png", image, metadata="strip")
    again = read_image(tmp_path / "out.png")
    assert again.metadata.color == image.metadata.color
    assert (again.pixels == image.pixels).all()


@pytest.mark.parametrize("target", ["avif", "heic", "png"])
def test_code_points_are_written_where_they_can_be(tmp_path, source, target):
    path = tmp_path / f"out.{target}"
    report = write_image(path, read_image(source / "p3.heic"))
    assert "colour space (Display P3)" in report.kept
    if target == "png":
        assert read_image(path).metadata.color.chunks == {b"cICP": bytes([12, 13, 0, 1])}
    else:
        with path.open("rb") as file:
            assert read_code_points(file).code_points == (12, 13)


def test_exif_names_srgb_once_the_values_are(tmp_path, source):
    write_image(tmp_path / "out.jxl", read_image(source / "adobe.jpg"))
    tags = Image.Exif()
    tags.load(read_image(tmp_path / "out.jxl").metadata.exif)
    details = tags.get_ifd(ExifTags.IFD.Exif)
    assert details[ExifTags.Base.ColorSpace] == 1
    assert tags.get_ifd(ExifTags.IFD.Interop)[1] == "R98"


def test_what_stands_for_nothing_is_left_out_and_said(tmp_path):
    png(tmp_path / "a.png", gamma(0), (b"cHRM", bytes(32)), code_points(9, 16, 9, 1))
    metadata = read_image(tmp_path / "a.png").metadata
    assert not metadata.color.chunks
    said = [f"colour chunk {name} (impossible)" for name in ("cICP", "gAMA", "cHRM")]
    assert set(said) <= set(metadata.reading.dropped)


@pytest.mark.parametrize("points", [(9, 16, 0, 1), (9, 18, 0, 1), (9, 14, 0, 0), (1, 9, 0, 1)])
@pytest.mark.parametrize("target", ["jpg", "tif", "webp", "jxl", "gif", "bmp"])
def test_what_a_format_cannot_say_is_refused(tmp_path, points, target):
    png(tmp_path / "a.png", code_points(*points))
    image = read_image(tmp_path / "a.png")
    with pytest.raises(OutputError, match="cannot say that its values are") as caught:
        write_image(tmp_path / f"out.{target}", image)
    assert "--format png" in caught.value.hint
    assert not (tmp_path / f"out.{target}").exists()
    write_image(tmp_path / "out.png", image)
    assert read_image(tmp_path / "out.png").metadata.color == image.metadata.color


def deep(pixels):
    """Spread 8 bits over 16."""
    return pixels.astype(np.uint16) * 257


@pytest.mark.parametrize("transfer", [16, 18])
@pytest.mark.parametrize("gray", [False, True])
def test_high_dynamic_range_stays_in_avif_with_10_bits(tmp_path, transfer, gray):
    pixels = deep(scene())[..., : 1 if gray else 3]
    color = ColorEncoding(space=space_of_code_points(9, transfer))
    image = RestorableImage(pixels, metadata=Metadata(color=color))
    report = write_image(tmp_path / "out.avif", image, quality=98)
    assert "written with 10 bits" in report.changed
    again = read_image(tmp_path / "out.avif")
    assert again.metadata.color == color
    assert again.pixels.dtype == np.uint16
    patches = [slice(16 * i + 6, 16 * i + 10) for i in range(4)]
    for patch in patches:
        difference = again.pixels[8:12, patch].astype(int) - pixels[8:12, patch]
        assert np.abs(difference).max() < 1200  # of 65535
    with pytest.raises(OutputError, match="8 bits, too few for BT"):
        write_image(tmp_path / "out.heic", image)
    write_image(tmp_path / "out.png", image)
    again = read_image(tmp_path / "out.png")
    assert again.metadata.color.space == color.space
    assert (again.pixels == pixels).all()


def test_a_profile_that_says_high_dynamic_range_goes_with_the_values(tmp_path):
    profile = bytearray(made_profile(space_of_code_points(9, 8), gray=False))
    place = profile.index(b"cicp", 400)
    profile[place + 9] = 16
    png(tmp_path / "a.png", icc_profile=bytes(profile))
    image = read_image(tmp_path / "a.png")
    assert image.metadata.color.space == space_of_code_points(9, 16)
    for target in ("png", "tif", "jpg", "webp", "avif"):
        write_image(tmp_path / f"out.{target}", image)
        color = read_image(tmp_path / f"out.{target}").metadata.color
        assert (color.profile, color.space) == (bytes(profile), image.metadata.color.space)
    with pytest.raises(OutputError, match="cannot say"):
        write_image(tmp_path / "out.bmp", image)


def test_bands_are_refused_what_the_format_cannot_say_before_any_work(tmp_path):
    png(tmp_path / "a.png", code_points(9, 16, 0, 1))
    with open_bands(tmp_path / "a.png") as source:
        with pytest.raises(OutputError, match="TIFF cannot say that its values are BT"):
            write_bands(tmp_path / "out.tif", source.header, never_made(), source)
        rows = iter([source.read(0, source.header.height)])
        write_bands(tmp_path / "out.png", source.header, rows, source)
    assert read_image(tmp_path / "out.png").metadata.color == source.metadata.color


def never_made():
    raise AssertionError("no row was asked for")
    yield


def test_16_bits_are_converted_before_they_become_8(tmp_path):
    """Of linear light, dark values would be few and far between."""
    ramp = np.broadcast_to(np.arange(1200, dtype=np.uint16)[None, :, None], (20, 1200, 3))
    color = ColorEncoding(space=space_of_code_points(1, 8))
    image = RestorableImage(ramp.copy(), metadata=Metadata(color=color))
    write_image(tmp_path / "out.bmp", image)
    values = read_image(tmp_path / "out.bmp").pixels[10, :, 0]
    assert len(np.unique(values)) > 30


def test_code_points_come_through_twice(tmp_path, source):
    image = read_image(source / "p3.avif")
    for name in ("once.avif", "twice.avif"):
        write_image(tmp_path / name, image)
        image = read_image(tmp_path / name)
        with (tmp_path / name).open("rb") as file:
            assert read_code_points(file).code_points == (12, 13)


def test_every_frame_of_an_animation_has_its_colours(tmp_path):
    frames = [Image.fromarray(np.roll(scene(), 16 * i, axis=1)) for i in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "AVIF", save_all=True, append_images=frames[1:], duration=100)
    (tmp_path / "a.avif").write_bytes(with_code_points(buffer.getvalue(), 12, 13))
    sequence = read_images(tmp_path / "a.avif")
    assert len(sequence.images) == 3
    for target in ("avif", "webp", "png", "gif"):
        write_images(tmp_path / f"out.{target}", sequence)
        again = read_images(tmp_path / f"out.{target}").images
        assert len(again) == 3
        # Values in sRGB are others.
        values = again[0].pixels[10, [8, 24]].astype(int) - np.array(COLOURS[:2])
        assert (np.abs(values).max() > 8) == (target == "gif")
    with (tmp_path / "out.avif").open("rb") as file:
        assert read_code_points(file).code_points == (12, 13)


@pytest.mark.parametrize("damage", [b"pitm", b"ipma", b"iprp", b"colr"])
def test_boxes_that_say_nothing_leave_an_image_without_code_points(tmp_path, damage):
    avif(tmp_path / "a.avif", 12, 13)
    content = (tmp_path / "a.avif").read_bytes().replace(damage, b"skip")
    assert read_code_points(io.BytesIO(content)) is None


def test_code_points_that_are_not_known_are_said(tmp_path):
    avif(tmp_path / "a.avif", 3, 77)
    metadata = read_image(tmp_path / "a.avif").metadata
    assert metadata.color == ColorEncoding()
    assert "colour code points (unknown or damaged)" in metadata.reading.dropped
    avif(tmp_path / "a.avif", 12, 13)
    whole = (tmp_path / "a.avif").read_bytes()
    start = whole.index(b"ipma")
    for length in range(start, start + 40):
        with contextlib.suppress(ValueError):
            read_code_points(io.BytesIO(whole[:length]))


def test_gray_goes_through_a_profile_for_colours(tmp_path):
    profile = made_profile(space_of_code_points(1, 8), gray=False)
    png(tmp_path / "a.png", gray=True, icc_profile=profile)
    write_image(tmp_path / "out.bmp", read_image(tmp_path / "a.png"))
    expected = [shown(power(1), SAME, (c[0],) * 3) for c in COLOURS]
    assert np.abs(colours_of(tmp_path / "out.bmp") - expected).max() < 2


@pytest.mark.parametrize("target", ["jpg", "webp", "tif", "avif"])
def test_exif_names_no_other_space_than_the_values_have(tmp_path, source, target):
    """Code points of sRGB go before what EXIF says; where they are not written, EXIF says it."""
    image = read_image(source / "adobe_2.jpg")
    image = replace(image, metadata=replace(image.metadata, color=ColorEncoding()))
    write_image(tmp_path / f"out.{target}", image)
    assert read_image(tmp_path / f"out.{target}").metadata.color == ColorEncoding()


def test_tables_that_are_none_are_left_out(tmp_path):
    for tag in (
        (301, "H", 256, [0] * 256, True),
        (301, "H", 3, [1, 2, 3], True),
        (301, "H", 200_000, list(range(50_000)) * 4, True),
        rationals(319, (0, 0, 0, 0, 0, 0)),
        rationals(318, (31270, 0)),
    ):
        tiff(tmp_path / "a.tif", [tag])
        with (tmp_path / "a.tif").open("rb") as file:
            metadata = read_tiff_metadata(file)
        assert metadata.color == ColorEncoding()
        assert "colour tags (impossible)" in metadata.reading.dropped


def test_a_curve_for_each_colour_stays_one_for_each(tmp_path):
    tables = [257 * value for value in range(256)]
    squared = [value * value for value in range(256)]
    tiff(tmp_path / "a.tif", [(301, "H", 768, tables + squared + squared, True)])
    write_image(tmp_path / "out.png", read_image(tmp_path / "a.tif"))
    curves = (power(1), power(2), power(2))
    expected = [
        [shown(light, SAME, colour)[i] for i, light in enumerate(curves)] for colour in COLOURS
    ]
    assert np.abs(colours_of(tmp_path / "out.png") - expected).max() < 2
