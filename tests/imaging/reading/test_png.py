"""PNG files with a flaw that viewers forgive."""

import io

import numpy as np
import pytest
from metadata_blocks import pixels
from PIL import Image
from png_files import png_chunk

from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import open_bands, read_image, read_images

FIRST = 8 + 25  # behind the header's chunk


def png(frames=1):
    buffer = io.BytesIO()
    images = [Image.fromarray(np.roll(pixels(), step, 1)) for step in range(frames)]
    images[0].save(buffer, "PNG", save_all=frames > 1, append_images=images[1:])
    return buffer.getvalue()


def unsound(name, body):
    whole = png_chunk(name, body)
    return whole[:-1] + bytes([whole[-1] ^ 1])


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (b"tEXt", b"Title\0a title"),
        (b"iTXt", b"Title\0\0\0\0\0a title"),
        (b"pHYs", bytes([0, 0, 0, 5, 0, 0, 0, 9, 1])),
        (b"gAMA", bytes([0, 0, 0xB1, 0x8F])),
        (b"eXIf", b"II*\0"),
        (b"prVt", b"a private one"),
    ],
)
@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_wrong_checksum_beside_the_pixels_is_forgiven_and_told(
    tmp_path, name, body, behind, frames
):
    path, sound = tmp_path / "odd.png", png(frames)
    place = len(sound) - 12 if behind else FIRST
    odd = png_chunk(b"tEXt", b"Author\0somebody") + unsound(name, body)
    path.write_bytes(sound[:place] + odd + sound[place:])
    images = read_images(path).images
    assert len(images) == frames
    for step, image in enumerate(images):
        np.testing.assert_array_equal(image.pixels, np.roll(pixels(), step, 1))
        assert image.metadata.text == {"Author": "somebody"}
        assert image.metadata.reading.dropped == (f"{name.decode()} (damaged)",)
    if frames == 1:
        with open_bands(path) as bands:
            np.testing.assert_array_equal(bands.read(0, 17).pixels, pixels())


@pytest.mark.parametrize("name", [b"IHDR", b"IDAT", b"tRNS"])
def test_a_wrong_checksum_of_the_pixels_is_damage(tmp_path, name):
    path, buffer = tmp_path / "damaged.png", io.BytesIO()
    Image.fromarray(pixels()).save(buffer, "PNG", transparency=(1, 2, 3))
    content = bytearray(buffer.getvalue())
    place = content.index(name)
    length = int.from_bytes(content[place - 4 : place], "big")
    content[place + 4 + length] ^= 1
    path.write_bytes(content)
    with pytest.raises(ImageError, match="damaged or cut short"):
        read_image(path)
