"""PNG files of every depth: read back by two independent decoders, their chunks checked by hand."""

import io
import struct
import zlib

import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from skimage import data

from mambair_cli.imaging.color.carrying import Carried
from mambair_cli.imaging.image import ImageHeader, Timing
from mambair_cli.imaging.metadata.preparation import Prepared
from mambair_cli.imaging.writing.png import metadata_chunks, write_animated_png, write_png

CHANNELS = {1: (1, False), 2: (1, True), 3: (3, False), 4: (3, True)}


def header_of(pixels):
    height, width, samples = pixels.shape
    channels, has_alpha = CHANNELS[samples]
    return ImageHeader(width, height, channels, pixels.dtype, has_alpha)


def png(pixels, chunks=(), cuts=()):
    """The file as bytes, its pixels handed over in bands."""
    file = io.BytesIO()
    write_png(file, header_of(pixels), np.split(pixels, cuts), chunks)
    return file.getvalue()


def chunks_of(content):
    """Names and bodies, every length and checksum verified."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    position, found = 8, []
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        name = content[position + 4 : position + 8]
        body = content[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", content, position + 8 + length)
        assert checksum == zlib.crc32(name + body)
        position += 12 + length
        found.append((name, body))
    assert position == len(content)
    assert found[0][0] == b"IHDR"
    assert found[-1] == (b"IEND", b"")
    return found


def unfiltered(content):
    """Pixels by the letter of the PNG specification, one byte after the other."""
    chunks = chunks_of(content)
    width, height, depth, color_type = struct.unpack_from(">IIBB", chunks[0][1])
    samples = {0: 1, 4: 2, 2: 3, 6: 4}[color_type]
    distance = samples * depth // 8
    lines = zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
    stride = width * distance
    assert len(lines) == height * (stride + 1)
    above, rows = bytearray(stride), []
    for y in range(height):
        kind, *line = lines[y * (stride + 1) : (y + 1) * (stride + 1)]
        row = bytearray(line)
        for x in range(stride):
            a = row[x - distance] if x >= distance else 0
            b = above[x]
            c = above[x - distance] if x >= distance else 0
            p = a + b - c
            paeth = min((a, b, c), key=lambda value, p=p: abs(p - value))
            row[x] = (row[x] + (0, a, b, (a + b) // 2, paeth)[kind]) % 256
        above = row
        rows.append(bytes(row))
    values = np.frombuffer(b"".join(rows), np.uint8 if depth == 8 else ">u2")
    return values.reshape(height, width, samples)


def decoded_by_vips(content, shape):
    return pyvips.Image.new_from_buffer(content, "").numpy().reshape(shape)


@pytest.fixture(scope="module")
def photo():
    """Part of NASA's portrait of Eileen Collins (public domain, from scikit-image)."""
    rgb = data.astronaut()[30:97, 180:270]
    return np.dstack([rgb, rgb[::-1, :, 1]])


@pytest.mark.parametrize("samples", CHANNELS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_kind_of_pixel_is_read_back_by_others(photo, samples, dtype):
    pixels = photo[..., :samples].astype(dtype)
    if dtype == np.uint16:
        pixels = pixels * np.uint16(257) + np.arange(90, dtype=np.uint16)[:, None]
    content = png(pixels)
    np.testing.assert_array_equal(unfiltered(content), pixels)
    vips = decoded_by_vips(content, pixels.shape)
    assert vips.dtype == dtype
    np.testing.assert_array_equal(vips, pixels)
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        if dtype == np.uint8:
            np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)
        elif samples == 1:
            np.testing.assert_array_equal(np.asarray(image), pixels[..., 0])


def test_all_filters_are_used_where_they_are_the_best(photo):
    noise = np.random.default_rng(0).integers(0, 256, photo.shape, dtype=np.uint8)
    sides = np.concatenate([photo, noise, noise[:1].repeat(9, 0), noise[:, :1].repeat(90, 1)])
    content = png(sides)
    lines = zlib.decompress(b"".join(body for name, body in chunks_of(content) if name == b"IDAT"))
    kinds = set(lines[:: 90 * 4 + 1])
    assert kinds >= {0, 1, 2, 4}
    np.testing.assert_array_equal(unfiltered(content), sides)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from(sorted(CHANNELS))),
    deep=st.booleans(),
    smooth=st.booleans(),
    seed=st.integers(0, 2**31),
    cuts=st.lists(st.integers(1, 39), max_size=5),
)
def test_sizes_and_bands_of_any_kind(shape, deep, smooth, seed, cuts):
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 65536 if deep else 256, shape)
    if smooth:
        pixels = np.cumsum(pixels % 5, axis=1) % (65536 if deep else 256)
    pixels = pixels.astype(np.uint16 if deep else np.uint8)
    content = png(pixels, cuts=sorted({cut for cut in cuts if cut < shape[0]}))
    np.testing.assert_array_equal(unfiltered(content), pixels)
    np.testing.assert_array_equal(decoded_by_vips(content, shape), pixels)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 4), (1, 200_001, 3), (50_001, 1, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_thin_images(shape, dtype):
    pixels = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    content = png(pixels)
    np.testing.assert_array_equal(decoded_by_vips(content, shape), pixels)


def test_the_same_image_gives_the_same_bytes_however_it_is_cut():
    """The filter of a row looks at the row above, also where that was in another band."""
    ramp = np.add.outer(np.arange(1500), np.arange(100)).astype(np.uint8)[..., None]
    whole = png(ramp)
    assert whole == png(ramp)
    for cuts in ([1], [17, 18, 1000], list(range(100, 1500, 100))):
        assert png(ramp, cuts=cuts) == whole
    np.testing.assert_array_equal(unfiltered(whole), ramp)


def test_pixels_lie_in_chunks_of_64_kib():
    noise = np.random.default_rng(2).integers(0, 256, (300, 301, 3), dtype=np.uint8)
    sizes = [len(body) for name, body in chunks_of(png(noise)) if name == b"IDAT"]
    assert set(sizes[:-1]) == {65536}
    assert 0 < sizes[-1] <= 65536


def test_files_are_about_as_small_as_those_of_pillow():
    rgb = data.astronaut()
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    assert len(png(rgb)) < 1.04 * len(file.getvalue())


def test_metadata_stands_before_the_pixels_and_is_read_back_by_others(photo):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    ready = Prepared(
        color=Carried(profile, {b"gAMA": struct.pack(">I", 45455)}),
        exif=exif.tobytes(),
        xmp="<x:xmpmeta>ü</x:xmpmeta>".encode(),
        dpi=(300, 72.5),
        text={"Title": "Größe", "Author": "Ωmega", "parameters": "a cat\nsteps 20"},
    )
    content = png(photo, metadata_chunks(ready))
    names = [name for name, _ in chunks_of(content)]
    assert names[:-2] == [
        *(b"IHDR", b"gAMA", b"iCCP", b"pHYs", b"eXIf", b"iTXt", b"tEXt", b"iTXt", b"tEXt"),
    ]
    with Image.open(io.BytesIO(content)) as image:
        assert image.info["icc_profile"] == profile
        assert image.info["dpi"] == pytest.approx((300, 72.5), abs=0.02)
        assert image.info["gamma"] == pytest.approx(0.45455)
        assert image.getexif()[0x010F] == "Camera"
        assert image.text == {
            "XML:com.adobe.xmp": "<x:xmpmeta>ü</x:xmpmeta>",
            "Title": "Größe",
            "Author": "Ωmega",
            "parameters": "a cat\nsteps 20",
        }
    vips = pyvips.Image.new_from_buffer(content, "")
    assert vips.get("icc-profile-data") == profile
    assert vips.get("xmp-data").startswith(b"<x:xmpmeta>")


def test_nothing_is_said_where_nothing_is_known(photo):
    names = [name for name, _ in chunks_of(png(photo, metadata_chunks(Prepared())))]
    assert names == [b"IHDR", b"IDAT", b"IEND"]


@pytest.mark.parametrize("samples", CHANNELS)
def test_animations_keep_every_frame_and_its_time(photo, samples):
    frames = [np.roll(photo[..., :samples], shift, axis=1) for shift in (0, 9, 9, 20)]
    timing = Timing((40, 100, 70_000, 0), loops=3)
    file = io.BytesIO()
    write_animated_png(file, header_of(frames[0]), frames, timing)
    numbers = [
        struct.unpack_from(">I", body)[0]
        for name, body in chunks_of(file.getvalue())
        if name in (b"fcTL", b"fdAT")
    ]
    assert numbers == list(range(len(numbers)))
    with Image.open(file) as image:
        assert image.n_frames == 4
        assert image.info["loop"] == 3
        for index, frame in enumerate(frames):
            image.seek(index)
            assert image.info["duration"] == timing.durations[index]
            shown = image.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[samples])
            np.testing.assert_array_equal(np.asarray(shown).reshape(frame.shape), frame)
    # What knows no animations sees the first frame.
    np.testing.assert_array_equal(decoded_by_vips(file.getvalue(), frames[0].shape), frames[0])


def test_animations_have_16_bits_as_well(photo):
    frames = [photo.astype(np.uint16) * 257 + shift for shift in (0, 1)]
    file = io.BytesIO()
    write_animated_png(file, header_of(frames[0]), frames, Timing((10, 10)))
    np.testing.assert_array_equal(unfiltered(file.getvalue()), frames[0])
    with Image.open(file) as image:
        assert image.n_frames == 2
