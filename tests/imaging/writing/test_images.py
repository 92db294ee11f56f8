"""Choosing how images are written, what formats cannot hold, and the report of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image, ImageCms
from skimage import data

from mambair_cli.errors import OutputError, UsageError
from mambair_cli.imaging.color.encoding import ColorEncoding
from mambair_cli.imaging.files import write_bands, write_image, write_images
from mambair_cli.imaging.formats import BY_SUFFIX
from mambair_cli.imaging.image import (
    Band,
    ImageHeader,
    ImageSequence,
    RestorableImage,
    Timing,
    ValueRange,
)
from mambair_cli.imaging.metadata.image_metadata import ContentReport, Metadata
from mambair_cli.imaging.writing.targets import check_target

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def photo():
    """Part of NASA's portrait of Eileen Collins (public domain, from scikit-image)."""
    return data.astronaut()[30:97, 180:270].copy()


@pytest.fixture(scope="module")
def opacity():
    return np.tile(np.arange(90, dtype=np.uint8) * 2, (67, 1))


def wide_gamut():
    """An RGB profile whose primaries are not those of sRGB: red and blue change places."""
    profile = bytearray(SRGB)
    tags = {
        bytes(profile[132 + 12 * index : 136 + 12 * index]): 132 + 12 * index
        for index in range(int.from_bytes(profile[128:132], "big"))
    }
    red, blue = (slice(tags[name] + 4, tags[name] + 12) for name in (b"rXYZ", b"bXYZ"))
    profile[red], profile[blue] = profile[blue], profile[red]
    return bytes(profile)


class Source:
    """What an image that is written in bands comes from."""

    def __init__(self, metadata=None, span=None, changes=()):
        self.metadata, self.span, self.changes = metadata or Metadata(), span, changes


def by_vips(path, page=0):
    options = {"page": page} if page else {}
    return pyvips.Image.new_from_file(str(path), **options).numpy()


def refused(path, image, **options):
    with pytest.raises(OutputError) as error:
        write_image(path, image, **options)
    assert not path.exists()
    return error.value.message.replace(str(path), "PATH"), error.value.hint


# Depth


@pytest.mark.parametrize("suffix", sorted(BY_SUFFIX))
def test_16_bits_are_kept_or_said_to_be_reduced(tmp_path, photo, suffix):
    if suffix in (".heic", ".heif"):
        pytest.importorskip("pillow_heif")
    if suffix == ".jxl":
        pytest.importorskip("pillow_jxl")
    path = tmp_path / f"out{suffix}"
    report = write_image(path, RestorableImage(photo.astype(np.uint16) * 257), quality=100)
    if suffix in (".png", ".apng", ".tif", ".tiff"):
        assert by_vips(path).dtype == np.uint16
        assert report == ContentReport(kept=("16 bits",))
        return
    with Image.open(path) as image:
        shown = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(shown - photo).mean() < 6
    assert report.kept == ()
    assert report.changed[0] == "16 bits reduced to 8 bits"


def test_a_dark_16_bit_image_stays_16_bit(tmp_path, photo):
    dark = (photo // 64).astype(np.uint16)
    write_image(tmp_path / "out.png", RestorableImage(dark))
    np.testing.assert_array_equal(by_vips(tmp_path / "out.png"), dark)


def test_16_bits_are_rounded_exactly(tmp_path):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    write_image(tmp_path / "out.bmp", RestorableImage(values))
    with Image.open(tmp_path / "out.bmp") as image:
        shown = np.asarray(image)
    expected = (values[..., 0].astype(np.int64) * 255 + 32767) // 65535
    np.testing.assert_array_equal(shown, expected)
    assert np.abs(shown * 257.0 - values[..., 0]).max() <= 128.5


@pytest.mark.parametrize(("suffix", "white"), [("png", 65535), ("webp", 255)])
def test_floating_point_becomes_the_deepest_integers_there_are(tmp_path, photo, suffix, white):
    path = tmp_path / f"out.{suffix}"
    values = (photo / np.float32(255) * 1.5 - 0.25).astype(np.float32)
    span = ValueRange(float(values.min()), float(values.max()))
    report = write_image(path, RestorableImage(values, span=span), quality=100)
    expected = np.rint(np.clip(values, 0, 1) * np.float32(white))
    np.testing.assert_array_equal(by_vips(path), expected)
    bits = white.bit_length()
    assert report.changed == (
        f"floating point reduced to {bits} bits",
        "values beyond black and white clipped",
    )


def test_floating_point_stays_in_tiff(tmp_path, photo):
    values = (photo / np.float32(255) * 3 - 1).astype(np.float32)
    image = RestorableImage(values, span=ValueRange(-1, 2))
    assert write_image(tmp_path / "out.tif", image) == ContentReport(kept=("floating point",))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), values)


# Transparency


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("suffix", "label"), [("jpg", "JPEG"), ("bmp", "BMP")])
def test_transparency_is_never_lost_silently(tmp_path, photo, suffix, label, dtype):
    path = tmp_path / f"out.{suffix}"
    white = ValueRange.of(np.dtype(dtype)).white
    pixels = photo.astype(dtype) / dtype(255) if dtype == np.float32 else photo.astype(dtype)
    alpha = np.full(photo.shape[:2], white, dtype)
    alpha[3, 4] = white * 0.999 if dtype == np.float32 else white - 1
    assert refused(path, RestorableImage(pixels, alpha)) == (
        f"cannot write PATH: {label} has no transparency, the image has",
        "write PNG instead: --format png",
    )
    alpha[3, 4] = white
    report = write_image(path, RestorableImage(pixels, alpha))
    assert report.dropped == ("opacity channel, opaque throughout",)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_alpha_has_the_depth_of_the_image(tmp_path, photo, opacity, suffix, channels):
    path = tmp_path / f"out.{suffix}"
    pixels = photo[..., :channels].astype(np.uint16) * 257
    alpha = opacity.astype(np.uint16) * 257 + 1
    report = write_image(path, RestorableImage(pixels, alpha))
    np.testing.assert_array_equal(by_vips(path), np.dstack([pixels, alpha]))
    assert report == ContentReport(kept=("16 bits", "transparency"))


# Colour


@pytest.mark.parametrize("suffix", ["bmp", "gif", "jxl"])
def test_colours_are_right_where_the_profile_cannot_be_kept(tmp_path, photo, suffix):
    if suffix == "jxl":
        pytest.importorskip("pillow_jxl")
    path = tmp_path / f"out.{suffix}"
    image = RestorableImage(photo // 64 * 64, metadata=Metadata(color=ColorEncoding(wide_gamut())))
    report = write_image(path, image, quality=100)
    with Image.open(path) as written:
        shown = np.asarray(written.convert("RGB")).astype(int)
    assert np.abs(shown[..., ::-1] - image.pixels).max() <= 2
    assert "colours converted to sRGB" in report.changed
    assert any("colour profile" in phrase for phrase in report.dropped)


def test_a_profile_that_is_kept_leaves_the_colours_alone(tmp_path, photo):
    image = RestorableImage(photo, metadata=Metadata(color=ColorEncoding(wide_gamut())))
    for suffix in ("png", "tif", "webp"):
        report = write_image(tmp_path / f"out.{suffix}", image, quality=100)
        assert report == ContentReport(kept=("colour profile",))
        with Image.open(tmp_path / f"out.{suffix}") as written:
            np.testing.assert_array_equal(np.asarray(written), photo)
            assert written.info["icc_profile"] == wide_gamut()


def test_a_gray_profile_does_not_go_with_the_rgb_of_webp(tmp_path, photo):
    profile = bytes(16) + b"GRAY" + bytes(108)
    gray = RestorableImage(photo[..., :1], metadata=Metadata(color=ColorEncoding(profile)))
    for suffix, embedded in (("webp", None), ("png", profile)):
        write_image(tmp_path / f"out.{suffix}", gray)
        with Image.open(tmp_path / f"out.{suffix}") as written:
            assert written.info.get("icc_profile") == embedded


# Several images


def sequence(photo, *shifts, timing=None, alpha=None):
    return ImageSequence(
        tuple(RestorableImage(np.roll(photo, shift, axis=1), alpha) for shift in shifts), timing
    )


@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "avif"])
def test_animations_keep_their_timing(tmp_path, photo, suffix):
    path = tmp_path / f"out.{suffix}"
    timing = Timing((40, 100, 250), loops=0)
    report = write_images(path, sequence(photo, 0, 9, 20, timing=timing))
    assert "animation timing" in report.kept
    with Image.open(path) as image:
        assert image.n_frames == 3
        durations = []
        for index in range(3):
            image.seek(index)
            image.load()
            durations.append(image.info["duration"])
    assert durations == [40, 100, 250]


def test_pages_are_written_as_pages(tmp_path, photo):
    pages = ImageSequence(
        (
            RestorableImage(photo),
            RestorableImage(photo[:20, :30, :1].astype(np.uint16)),
            RestorableImage(photo[:9], np.full((9, 90), 7, np.uint8)),
        )
    )
    report = write_images(tmp_path / "out.tif", pages)
    assert report == ContentReport(kept=("16 bits", "transparency"))
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert [page.shape for page in file.pages] == [(67, 90, 3), (20, 30), (9, 90, 4)]


def test_an_animation_in_tiff_loses_its_timing_and_says_so(tmp_path, photo):
    animation = sequence(photo, 0, 9, timing=Timing((40, 40)))
    assert write_images(tmp_path / "out.tif", animation) == ContentReport(
        changed=("frames written as pages",), dropped=("animation timing",)
    )


@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "avif"])
def test_pages_are_not_made_an_animation(tmp_path, photo, suffix):
    path = tmp_path / f"out.{suffix}"
    with pytest.raises(OutputError) as error:
        write_images(path, sequence(photo, 0, 9))
    label = {"png": "PNG", "webp": "WebP", "gif": "GIF", "avif": "AVIF"}[suffix]
    assert error.value.message == f"cannot write {path}: {label} holds animations, not pages"
    assert error.value.hint == "write TIFF instead: --format tif"


def test_frames_of_different_sizes_are_no_animation(tmp_path, photo):
    frames = (RestorableImage(photo), RestorableImage(photo[:40]))
    with pytest.raises(OutputError, match=r"PNG holds animations, not frames of different sizes$"):
        write_images(tmp_path / "out.png", ImageSequence(frames, Timing((40, 40))))


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "heic", "jxl"])
def test_several_images_in_a_format_for_one(tmp_path, photo, suffix):
    if suffix == "heic":
        pytest.importorskip("pillow_heif")
    if suffix == "jxl":
        pytest.importorskip("pillow_jxl")
    with pytest.raises(OutputError, match=r"holds one image"):
        write_images(tmp_path / f"out.{suffix}", sequence(photo, 0, 9, timing=Timing((40, 40))))
    assert list(tmp_path.iterdir()) == []


def test_frames_of_different_kinds_are_stored_alike(tmp_path, photo, opacity):
    frames = (
        RestorableImage(photo[..., :1]),
        RestorableImage(photo, opacity),
        RestorableImage(photo.astype(np.uint16) * 257),
    )
    write_images(tmp_path / "out.png", ImageSequence(frames, Timing((40, 40, 40))))
    first = by_vips(tmp_path / "out.png")
    assert first.dtype == np.uint16
    gray = photo[..., :1].repeat(3, axis=2)
    opaque = np.dstack([gray, np.full_like(opacity, 255)])
    np.testing.assert_array_equal(first, opaque.astype(np.uint16) * 257)


def test_repetitions_that_a_format_cannot_count_are_said(tmp_path, photo):
    animation = sequence(photo, 0, 9, timing=Timing((40, 40), loops=3))
    report = write_images(tmp_path / "out.avif", animation)
    assert report.dropped == ("number of repetitions (AVIF repeats for ever)",)
    assert write_images(tmp_path / "out.webp", animation).dropped == ()


# Bands


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_bands_give_the_same_image(tmp_path, photo, opacity, suffix, dtype, channels, alpha):
    factor = {np.uint8: 1, np.uint16: 257, np.float32: np.float32(1 / 255)}[dtype]
    pixels = photo[..., :channels].astype(dtype) * factor
    opaque = opacity.astype(dtype) * factor if alpha else None
    metadata = Metadata(color=ColorEncoding(SRGB), dpi=(300, 300))
    image = RestorableImage(pixels, opaque, metadata, changes=("orientation applied",))
    header = ImageHeader(90, 67, channels, np.dtype(dtype), alpha)
    cuts = ((0, 1), (1, 40), (40, 41), (41, 67))
    bands = (
        Band(pixels[start:stop], None if opaque is None else opaque[start:stop])
        for start, stop in cuts
    )
    whole, banded = tmp_path / f"whole.{suffix}", tmp_path / f"banded.{suffix}"
    report = write_images(whole, ImageSequence((image,)))
    source = Source(metadata, changes=("orientation applied",))
    assert write_bands(banded, header, bands, source) == report
    np.testing.assert_array_equal(by_vips(whole), by_vips(banded))
    assert report.changed[0] == "orientation applied"


def test_bands_in_a_format_that_is_written_whole(tmp_path):
    path = tmp_path / "out.jpg"
    with pytest.raises(OutputError) as error:
        write_bands(path, ImageHeader(5, 7, 3, np.dtype(np.uint8)), iter(()), Source())
    assert error.value.message == (
        f"cannot write {path}: JPEG needs the whole image in memory, which 5x7 pixels do not fit in"
    )
    assert error.value.hint == "write PNG or TIFF instead: --format png"


# What cannot be written


def test_unknown_suffix(tmp_path, photo):
    for name, suffix in (("out.xyz", ".xyz"), ("out", "")):
        message, hint = refused(tmp_path / name, RestorableImage(photo))
        assert message == f"cannot write PATH: no supported format has the suffix '{suffix}'"
        assert ".png" in hint


def test_a_format_whose_package_is_missing(tmp_path, photo, monkeypatch):
    monkeypatch.setattr("mambair_cli.imaging.formats.is_writable", lambda _: False)
    assert refused(tmp_path / "out.heic", RestorableImage(photo)) == (
        "cannot write PATH: HEIC needs a package that is not installed",
        "pip install 'mambair[heic]'",
    )


@pytest.mark.parametrize(
    ("suffix", "side"), [("webp", 16384), ("jpg", 65501), ("gif", 65536), ("avif", 32769)]
)
def test_images_too_large_for_a_format(tmp_path, suffix, side):
    message, hint = refused(
        tmp_path / f"out.{suffix}", RestorableImage(np.zeros((2, side, 1), np.uint8))
    )
    assert f"holds at most {side - 1} pixels on a side" in message
    assert message.endswith(f"has {side}x2")
    assert hint == "write PNG or TIFF instead: --format png"


def test_more_pixels_than_decoders_read_are_not_written(tmp_path):
    path = tmp_path / "out.avif"
    with pytest.raises(OutputError) as error:
        check_target(path, ImageHeader(16384, 16385, 1, np.dtype(np.uint8)))
    assert error.value.message == (
        f"cannot write {path}: AVIF holds at most 268435456 pixels, the result has 16384x16385"
    )


def test_the_largest_sides_are_written(tmp_path):
    for suffix, side in (("webp", 16383), ("jpg", 65500), ("gif", 65535), ("avif", 32768)):
        path = tmp_path / f"out.{suffix}"
        write_image(path, RestorableImage(np.full((2, side, 1), 77, np.uint8)))
        with Image.open(path) as image:
            image.load()
            assert image.size == (side, 2)


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_out_of_range(tmp_path, photo, quality):
    with pytest.raises(UsageError, match=rf"^quality {quality} is out of range$"):
        write_image(tmp_path / "out.jpg", RestorableImage(photo), quality=quality)


def test_what_reading_changed_is_told(tmp_path, photo):
    image = RestorableImage(photo, changes=("CMYK converted to sRGB",))
    assert write_image(Path(tmp_path, "out.png"), image) == ContentReport(
        changed=("CMYK converted to sRGB",)
    )
    image = replace(image, metadata=Metadata(reading=ContentReport(dropped=("thumbnail",))))
    assert write_image(tmp_path / "out.png", image).dropped == ("thumbnail",)
