"""What boxes of AVIF and HEIC files say of the picture that is shown, and of no other."""

from __future__ import annotations

import io
import struct

import pytest

from mambair_cli.imaging.color.items import is_premultiplied, is_rgb, read_code_points

RGB, BT601 = 0, 6


def box(kind: bytes, *content: bytes, version: int | None = None) -> bytes:
    inner = b"" if version is None else struct.pack(">I", version << 24)
    inner += b"".join(content)
    return struct.pack(">I4s", 8 + len(inner), kind) + inner


def picture(*matrices: int, shown: int = 1, reference: bytes = b"auxl", length=None) -> bytes:
    """A file of items with a matrix each; `shown` is the number of the picture."""
    colours = [
        box(b"colr", b"nclx", struct.pack(">HHHB", 1, 13, matrix, 128)) for matrix in matrices
    ]
    items = [struct.pack(">HBB", item, 1, item) for item in range(1, len(matrices) + 1)]
    associated = box(b"ipma", struct.pack(">I", len(items)), *items, version=0)
    meta = box(
        b"meta",
        box(b"pitm", struct.pack(">H", shown), version=0),
        box(b"iref", box(reference, struct.pack(">HHH", 2, 1, 1)), version=0),
        box(b"iprp", box(b"ipco", *colours), associated),
        version=0,
    )
    if length is not None:
        meta = struct.pack(">I", length) + meta[4:]
    return box(b"ftyp", b"avif", bytes(4)) + meta


@pytest.mark.parametrize(
    ("matrices", "shown", "rgb"),
    [((RGB,), 1, True), ((BT601,), 1, False), ((RGB, BT601), 2, False), ((BT601, RGB), 2, True)],
)
def test_the_matrix_is_that_of_the_picture_that_is_shown(matrices, shown, rgb):
    file = io.BytesIO(picture(*matrices, shown=shown))
    file.seek(5)
    assert is_rgb(file) == rgb
    assert read_code_points(file) is not None
    assert file.tell() == 5


def test_the_last_box_may_leave_its_length_open():
    assert is_rgb(io.BytesIO(picture(RGB, length=0)))


@pytest.mark.parametrize("content", [b"", b"colrnclx\0\1\0\15\0\0", picture(RGB)[:60]])
def test_what_boxes_do_not_say_whole_they_do_not_say(content):
    assert not is_rgb(io.BytesIO(content))
    assert not is_premultiplied(io.BytesIO(content))


@pytest.mark.parametrize("reference", [b"prem", b"auxl"])
def test_opacity_that_colours_were_multiplied_by_is_a_reference(reference):
    file = io.BytesIO(picture(RGB, BT601, reference=reference) + b"iref    \0\0\0\x0eprem")
    assert is_premultiplied(file) == (reference == b"prem")
