"""Stacks of slices that one directory stands for, as programs of science write them."""

import numpy as np
import pytest
import tifffile

from mambair_cli.errors import ImageError
from mambair_cli.imaging.files import read_header, read_images

SLICES = np.random.default_rng(0).random((6, 17, 23))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stack.tif"


def check(path, slices):
    """Every slice is an image, and the header says so."""
    images = read_images(path).images
    assert len(images) == read_header(path).images == len(slices)
    for image, expected in zip(images, slices, strict=True):
        np.testing.assert_array_equal(image.pixels.squeeze(), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("byteorder", "<>")
def test_imagej_stacks(path, dtype, byteorder):
    stack = (SLICES * 200).astype(dtype)
    tifffile.imwrite(path, stack, imagej=True, truncate=True, byteorder=byteorder)
    check(path, stack)


def test_imagej_hyperstacks_of_several_axes(path):
    stack = (SLICES * 200).astype(np.uint16).reshape(3, 2, 17, 23)
    tifffile.imwrite(path, stack, imagej=True, truncate=True, metadata={"axes": "TCYX"})
    check(path, stack.reshape(6, 17, 23))


def test_imagej_stacks_in_colour(path):
    stack = np.stack([(SLICES * level).astype(np.uint8) for level in (50, 150, 250)], axis=-1)
    tifffile.imwrite(path, stack, imagej=True, truncate=True)
    check(path, stack)


def test_white_may_be_zero(path):
    stack = (SLICES * 200).astype(np.uint8)
    tifffile.imwrite(path, stack, truncate=True, photometric="miniswhite")
    check(path, 255 - stack)


@pytest.mark.parametrize("rows", [17, 5])
def test_stacks_that_tifffile_describes(path, rows):
    stack = (SLICES * 60000).astype(np.uint16)
    tifffile.imwrite(path, stack, truncate=True, photometric="minisblack", rowsperstrip=rows)
    check(path, stack)


def test_metamorph_stacks(path):
    stack = (SLICES * 60000).astype(np.uint16)
    tifffile.imwrite(
        path,
        stack,
        truncate=True,
        photometric="minisblack",
        metadata=None,
        extratags=[(33629, 5, 6, (1,) * 12, True)],
    )
    check(path, stack)


def nih_image(slices, byteorder):
    """Return the tag in which NIH Image says how many slices follow one another."""
    header = b"IPICIMAG" + bytes(252) + slices.to_bytes(2, byteorder) + bytes(50)
    return [(43314, 1, len(header), header, True)]


@pytest.mark.parametrize(("sign", "byteorder"), [("<", "little"), (">", "big")])
def test_nih_image_stacks(path, sign, byteorder):
    stack = (SLICES * 200).astype(np.uint8)
    options = {"truncate": True, "photometric": "miniswhite", "metadata": None, "byteorder": sign}
    tifffile.imwrite(path, stack, extratags=nih_image(6, byteorder), **options)
    check(path, 255 - stack)
    tifffile.imwrite(path, stack[0], extratags=nih_image(6, byteorder), **options)
    check(path, 255 - stack[:1])  # a slice that somebody took out


@pytest.mark.parametrize("program", ["ImageJ", "NIH Image"])
def test_stacks_with_a_palette_are_refused(path, program):
    stack = (SLICES * 200).astype(np.uint8)
    palette = np.arange(768, dtype=np.uint16).reshape(3, 256)
    tags = nih_image(6, "little") if program == "NIH Image" else []
    description = "ImageJ=1.54f\nimages=6\nslices=6\n" if program == "ImageJ" else None
    options = {"truncate": True, "metadata": None, "photometric": "palette", "colormap": palette}
    tifffile.imwrite(path, stack, description=description, extratags=tags, **options)
    with pytest.raises(ImageError) as error:
        read_images(path)
    assert error.value.message == f"{path} has 6 slices in one image, which cannot be restored"
    assert error.value.hint is not None


def test_volumes(path):
    """Several slices behind one another in strips are read; in tiles of depth they are refused."""
    volume = (SLICES * 60000).astype(np.uint16)
    depth = [(32990, "I", 1, 6, True)]
    tifffile.imwrite(
        path, volume, truncate=True, photometric="minisblack", metadata=None, extratags=depth
    )
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].tags[32990].offset
    content = bytearray(path.read_bytes())
    content[place : place + 2] = (32997).to_bytes(2, "little")
    path.write_bytes(content)
    check(path, volume)
    tifffile.imwrite(
        path, volume, tile=(2, 16, 16), volumetric=True, photometric="minisblack", metadata=None
    )
    with pytest.raises(ImageError) as error:
        read_header(path)
    assert error.value.message == f"{path} has 6 slices in one image, which cannot be restored"
    assert error.value.hint.startswith("save each slice as a page first")


def test_a_stack_that_is_cut_short_is_damaged(path):
    tifffile.imwrite(path, (SLICES * 200).astype(np.uint16), imagej=True, truncate=True)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(ImageError, match="damaged or cut short: it has no room for its 6 slices"):
        read_header(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_slice_that_was_taken_out_is_one_image(path, compression):
    """Its description speaks of the stack still."""
    one = (SLICES[0] * 200).astype(np.uint16)
    tifffile.imwrite(
        path, one, description="ImageJ=1.53t\nimages=6\nslices=6\n", compression=compression
    )
    check(path, [one])
    tifffile.imwrite(path, one, description='{"shape": "?"}', metadata=None)
    check(path, [one])
