"""Files of many small parts: frames and pages of few pixels, scans, chunks, large text."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import read_header, read_image, read_images


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*chunks, image=None):
    """A PNG file of 17x12 pixels with chunks in front of its pixels."""
    file = io.BytesIO()
    (image or Image.new("RGB", (17, 12), (9, 80, 200))).save(file, "PNG")
    content = file.getvalue()
    return content[:33] + b"".join(chunk(*each) for each in chunks) + content[33:]


def gif(frames):
    file = io.BytesIO()
    Image.new("P", (3, 2)).save(file, "GIF")
    content = file.getvalue()
    start = content.index(b"\x2c")
    return content[:-1] + (b"\x21\xf9\x04\0\1\0\0\0" + content[start:-1]) * (frames - 1) + b";"


def test_frames_of_few_pixels_count_as_more(tmp_path):
    path = tmp_path / "many.gif"
    path.write_bytes(gif(20_000))
    with pytest.raises(ImageError) as error:
        read_header(path)
    assert error.value.message == (
        f"{path} has 20000 frames or pages, each of which counts as 16384 pixels at least: more "
        "than the limit of 178956970"
    )
    assert error.value.hint == "raise it with --max-pixels 327680000 if the file can be trusted"
    path.write_bytes(gif(900))
    assert read_header(path, max_pixels=6000).images == 900


def test_a_few_small_frames_are_no_more_than_they_are(tmp_path):
    path = tmp_path / "one.png"
    path.write_bytes(png())
    assert read_image(path, max_pixels=300).pixels.shape == (12, 17, 3)


@pytest.mark.parametrize(("announced", "read"), [(5, 1), (2, 3), (200_000, 2), (2**31 - 1, 1)])
def test_an_animation_that_lies_about_its_frames(tmp_path, announced, read):
    frames = [Image.new("RGB", (17, 12), (60 * i, 9, 200)) for i in range(read)]
    file = io.BytesIO()
    if read > 1:
        frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], duration=40)
        content = file.getvalue()
        start = content.index(b"acTL") - 4
        lie = chunk(b"acTL", struct.pack(">II", announced, 0))
        content = content[:start] + lie + content[start + 20 :]
    else:
        content = png((b"acTL", struct.pack(">II", announced, 0)))
    path = tmp_path / "lies.png"
    path.write_bytes(content)
    images = read_images(path).images
    assert len(images) == read
    there = read if read > 1 else 0
    assert f"{announced} frames announced, {there} read" in images[0].changes
    if read > 1:
        for image, frame in zip(images, frames, strict=True):
            np.testing.assert_array_equal(image.pixels, np.asarray(frame))


def test_large_metadata_of_png_are_read(tmp_path):
    path = tmp_path / "large.png"
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b" " * 3_000_000 + b"</x:xmpmeta>"
    path.write_bytes(
        png(
            (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet)),
            (b"zTXt", b"Comment\0\0" + zlib.compress(b"much " * 500_000)),
        )
    )
    assert len(packet) > PngImagePlugin.MAX_TEXT_CHUNK
    metadata = read_image(path).metadata
    assert metadata.xmp == packet
    assert metadata.text["Comment"] == "much " * 500_000
    assert metadata.reading.dropped == ()


@pytest.mark.parametrize("name", [b"iTXt", b"zTXt", b"iCCP"])
def test_beyond_a_limit_they_are_left_out_and_named(tmp_path, name):
    path = tmp_path / "bomb.png"
    start = b"Comment\0\1\0\0\0" if name == b"iTXt" else b"Comment\0\0"
    path.write_bytes(png((name, start + zlib.compress(bytes(70 * 2**20)))))
    image = read_image(path)
    assert image.pixels.shape == (12, 17, 3)
    assert image.metadata.reading.dropped == (f"{name.decode()} (beyond 64 MiB)",)


def test_scans_without_end_are_refused(tmp_path):
    file = io.BytesIO()
    Image.new("L", (170, 120), 90).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    last = content.rindex(b"\xff\xda")
    path = tmp_path / "scans.jpg"
    path.write_bytes(content[:-2] + content[last:-2] * 1000 + b"\xff\xd9")
    with pytest.raises(ImageError, match="more than 1000 scans of one JPEG picture"):
        read_header(path)
    path.write_bytes(content)
    assert read_image(path).pixels.shape == (120, 170, 1)
