"""Results appear whole or not at all, whatever happens while they are written."""

import os
import struct

import numpy as np
import pytest

from mambair_cli import disk
from mambair_cli.errors import ImageError, OutputError
from mambair_cli.imaging.files import write_bands, write_image
from mambair_cli.imaging.image import Band, ImageHeader, RestorableImage
from mambair_cli.imaging.metadata.image_metadata import Metadata
from mambair_cli.imaging.writing.targets import target_file

PIXELS = np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3)
SUFFIXES = ("png", "tif", "jpg", "webp", "bmp", "gif", "avif")


class Source:
    """What an image that is written in bands comes from."""

    metadata, span, changes = Metadata(), None, ()


def test_missing_directories_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "out.bin"
    with target_file(path) as file:
        file.write(b"content")
    assert path.read_bytes() == b"content"


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_the_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    write_image(tmp_path / "out.png", RestorableImage(PIXELS))
    assert (tmp_path / "out.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("failure", [KeyboardInterrupt, ImageError])
def test_an_interrupt_between_bands_leaves_nothing(tmp_path, suffix, failure):
    def bands():
        yield Band(PIXELS[:3])
        raise failure("the source is damaged")

    with pytest.raises(failure, match=r"^the source is damaged$"):
        write_bands(
            tmp_path / f"out.{suffix}", ImageHeader(5, 7, 3, PIXELS.dtype), bands(), Source()
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("failure", [ValueError, OverflowError, OSError, struct.error])
def test_what_the_maker_of_bands_raises_is_not_told_of_the_file(tmp_path, suffix, failure):
    def bands():
        yield Band(PIXELS[:3])
        raise failure("the network expects 3 channels")

    with pytest.raises(failure, match=r"^the network expects 3 channels$"):
        write_bands(
            tmp_path / f"out.{suffix}", ImageHeader(5, 7, 3, PIXELS.dtype), bands(), Source()
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk(tmp_path, monkeypatch, suffix):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk.os, "fsync", full)
    path = tmp_path / f"out.{suffix}"
    with pytest.raises(OutputError) as error:
        write_image(path, RestorableImage(PIXELS))
    assert error.value.message == f"cannot write {path}: No space left on device"
    assert error.value.hint == ("free some disk space, or choose another place with -o/--output")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")  # noqa: PTH110
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_fills_up_while_writing(tmp_path, monkeypatch, suffix):
    """Every write beyond the buffer fails, in whatever library it happens."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    opened = type(tmp_path).open

    def always_full(path, mode):
        opened(path, mode).close()
        return open("/dev/full", "r+b")  # noqa: PTH123

    monkeypatch.setattr(type(tmp_path), "open", always_full)
    path = tmp_path / f"out.{suffix}"
    with pytest.raises(OutputError, match=r"No space left on device$"):
        write_image(path, RestorableImage(noise))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_directory_without_permission(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    with pytest.raises(OutputError, match=r"Permission denied$"):
        write_image(locked / "out.png", RestorableImage(PIXELS))


def test_a_directory_has_the_name(tmp_path):
    path = tmp_path / "directory.png"
    path.mkdir()
    with pytest.raises(OutputError) as error:
        write_image(path, RestorableImage(PIXELS))
    assert error.value.message == f"cannot write {path}: Is a directory"
    assert error.value.hint == (
        f"check the permissions of {tmp_path}, or choose another place with -o/--output"
    )
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_stands_where_a_directory_is_needed(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "out.png", tmp_path / "file" / "deeper" / "out.png"):
        with pytest.raises(OutputError) as error:
            write_image(path, RestorableImage(PIXELS))
        assert error.value.message == f"cannot write {path}: {path.parent} is not a directory"


def test_a_field_that_is_too_small_for_a_value(tmp_path):
    path = tmp_path / "out.bin"
    with pytest.raises(OutputError) as error, target_file(path) as file:
        file.write((256).to_bytes(1, "big"))
    assert error.value.message == f"cannot write {path}: int too big to convert"
    assert error.value.hint == "write PNG instead: --format png"
