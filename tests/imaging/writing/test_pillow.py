"""Formats with 8 bits a sample: JPEG, WebP, AVIF, BMP, HEIC, JPEG XL, and their animations."""

import importlib.util
import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage import data

from mambair_cli.imaging import formats
from mambair_cli.imaging.color.carrying import Carried
from mambair_cli.imaging.formats import AVIF, BMP, HEIF, JPEG, JXL, WEBP
from mambair_cli.imaging.image import Timing
from mambair_cli.imaging.metadata.preparation import Prepared
from mambair_cli.imaging.writing.conversion import to_srgb
from mambair_cli.imaging.writing.pillow import write_with_pillow

NOTHING = Prepared()
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def photo():
    """Part of NASA's portrait of Eileen Collins (public domain, from scikit-image)."""
    rgb = data.astronaut()[30:97, 180:270]
    return np.dstack([rgb, rgb[::-1, :, 1]])


def written(file_format, *frames, metadata=NOTHING, **options):
    if file_format.writer and importlib.util.find_spec(file_format.writer) is None:
        pytest.skip(f"{file_format.writer} is not installed")
    assert formats.is_writable(file_format)
    file = io.BytesIO()
    write_with_pillow(file, file_format, frames, metadata, **options)
    return file.getvalue()


def opened(content):
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def difference(content, pixels):
    again = np.asarray(opened(content).convert(MODES[pixels.shape[2]])).reshape(pixels.shape)
    return np.abs(again.astype(int) - pixels)


@pytest.mark.parametrize("samples", MODES)
@pytest.mark.parametrize("file_format", [WEBP, HEIF, JXL], ids=lambda one: one.label)
def test_quality_100_loses_nothing(photo, file_format, samples):
    pixels = np.ascontiguousarray(photo[..., :samples])
    assert difference(written(file_format, pixels, quality=100), pixels).max() == 0


@pytest.mark.parametrize("samples", [1, 3])
def test_bmp_loses_nothing(photo, samples):
    pixels = photo[..., :samples]
    assert difference(written(BMP, pixels), pixels).max() == 0


@pytest.mark.parametrize("samples", MODES)
@pytest.mark.parametrize("file_format", [JPEG, WEBP, AVIF, HEIF, JXL], ids=lambda one: one.label)
def test_quality_95_is_near_and_small(photo, file_format, samples):
    if samples in (2, 4) and not file_format.alpha:
        pytest.skip("no transparency")
    pixels = photo[..., :samples]
    content = written(file_format, pixels, quality=95)
    assert difference(content, pixels).mean() < 2.5
    assert len(content) > len(written(file_format, pixels, quality=40))


@pytest.mark.parametrize("file_format", [JPEG, AVIF, HEIF], ids=lambda one: one.label)
def test_chroma_is_not_subsampled(file_format):
    """Red and blue columns of one pixel keep their colours."""
    columns = np.zeros((64, 64, 3), np.uint8)
    columns[:, ::2, 0] = columns[:, 1::2, 2] = 255
    assert difference(written(file_format, columns, quality=95), columns).mean() < 6


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (300, 1, 1)])
@pytest.mark.parametrize(
    "file_format", [JPEG, WEBP, BMP, AVIF, HEIF, JXL], ids=lambda one: one.label
)
def test_thin_images(file_format, shape):
    pixels = np.full(shape, 128, np.uint8)
    assert difference(written(file_format, pixels), pixels).max() <= 2


@pytest.mark.parametrize(
    "file_format", [JPEG, WEBP, BMP, AVIF, HEIF, JXL], ids=lambda one: one.label
)
def test_the_same_image_gives_the_same_bytes(photo, file_format):
    assert written(file_format, photo[..., :3]) == written(file_format, photo[..., :3])


def test_an_encoder_that_refuses_is_a_value_error():
    """No profile of HEVC is as wide as this and as low."""
    with pytest.raises(ValueError, match="x265"):
        written(HEIF, np.zeros((2, 16384, 3), np.uint8))


@pytest.mark.parametrize("file_format", [JPEG, WEBP, AVIF, HEIF], ids=lambda one: one.label)
def test_profile_exif_and_xmp_are_embedded(photo, file_format):
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    ready = Prepared(color=Carried(SRGB), exif=exif.tobytes(), xmp=b"<x:xmpmeta>odd</x:xmpmeta>")
    image = opened(written(file_format, photo[..., :3], metadata=ready))
    assert image.info["icc_profile"] == SRGB
    assert image.getexif()[0x010F] == "Camera"
    assert image.info["xmp"].rstrip(b"\0") == ready.xmp


def test_jpeg_xl_embeds_exif_and_xmp(photo):
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    ready = Prepared(exif=exif.tobytes(), xmp=b"<x:xmpmeta>odd</x:xmpmeta>")
    content = written(JXL, photo[..., :3], metadata=ready)
    assert opened(content).getexif()[0x010F] == "Camera"
    assert b"xml " + ready.xmp in content


def test_jpeg_has_resolution_comment_and_iptc(photo):
    ready = Prepared(dpi=(300, 150), comment=b"a comment", iptc=b"\x1c\x02\x78\x00\x05words")
    image = opened(written(JPEG, photo[..., :3], metadata=ready))
    assert image.info["dpi"] == (300, 150)
    assert image.info["comment"] == b"a comment"
    assert image.info["photoshop"][0x0404] == ready.iptc


def test_bmp_has_the_resolution(photo):
    image = opened(written(BMP, photo[..., :3], metadata=Prepared(dpi=(300, 150))))
    assert image.info["dpi"] == pytest.approx((300, 150), abs=0.05)


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("file_format", [WEBP, AVIF], ids=lambda one: one.label)
def test_animations_keep_frames_and_times(photo, file_format, samples):
    frames = [np.roll(photo[..., :samples], shift, axis=1) for shift in (0, 20, 45)]
    timing = Timing((40, 130, 1000), loops=0 if file_format is AVIF else 3)
    image = opened(written(file_format, *frames, timing=timing, quality=100))
    assert image.n_frames == 3
    if file_format is WEBP:
        assert image.info["loop"] == 3
    for index, frame in enumerate(frames):
        image.seek(index)
        image.load()
        assert image.info["duration"] == timing.durations[index]
        shown = np.asarray(image.convert(MODES[samples])).astype(int)
        assert np.abs(shown - frame)[frame[..., -1] > 0].max() <= (0 if file_format is WEBP else 4)


def test_pixels_are_converted_to_srgb(photo):
    linear = ImageCms.createProfile("LAB")
    assert to_srgb(photo[..., :3], ImageCms.ImageCmsProfile(linear).tobytes()) is None
    assert to_srgb(photo[..., :3], b"no profile") is None
    assert (to_srgb(photo[..., :1], SRGB) == photo[..., :1]).all()
    same = to_srgb(photo[..., :3], SRGB)
    assert np.abs(same.astype(int) - photo[..., :3]).max() <= 1


@pytest.mark.parametrize("shape", [(17, 31, 3), (300, 500, 3)])
def test_the_largest_possible_jpeg_is_written(shape):
    """Noise at full quality takes more bytes than an encoder may expect."""
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    ready = Prepared(color=Carried(SRGB), xmp=b"<x:xmpmeta>" + b" " * 40000)
    assert difference(written(JPEG, noise, metadata=ready, quality=100), noise).max() < 6


def test_gray_is_converted_by_a_gray_profile():
    """A tone curve with a gamma of 1 makes what was half as bright as white lighter."""
    curve = b"curv" + struct.pack(">4xIH2x", 1, 256)
    white = b"XYZ " + struct.pack(">4x3i", 63190, 65536, 54061)
    tags = ((b"wtpt", white), (b"kTRC", curve))
    table, values = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags:
        table += struct.pack(">4sII", name, start + len(values), len(value))
        values += value
    header = struct.pack(
        ">I4sI4s4s4s", start + len(values), b"", 0x02400000, b"mntr", b"GRAY", b"XYZ "
    )
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    profile = header.ljust(128, b"\0") + table + values
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    converted = to_srgb(gray, profile)
    assert converted.shape == gray.shape
    assert converted[8, 0, 0] == pytest.approx(188, abs=2)
    assert (converted[0, 0, 0], converted[15, 15, 0]) == (0, 255)
