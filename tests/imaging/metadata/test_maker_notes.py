"""Maker notes on their way through TIFF: each value is found where the note says, or told lost.

What the notes hold is looked up here byte by byte, from the offsets in the written file.
"""

import struct

import numpy as np
import pytest
from PIL import Image

from mambair_cli.imaging.files import read_image, write_image
from mambair_cli.imaging.metadata.maker_notes import offsets_in
from mambair_cli.imaging.metadata.preparation import prepared

OWNER = b"Jane Q. Photographer\0\0"
NOTE_AT = 150  # in the blocks below
LONG, ASCII, UNDEFINED = 4, 2, 7


def directory(label=b"", order="<", base=0, padding=0, note=None):
    """A label, then tags: a number, and text behind the directory by its offset from `base`."""
    start = len(label)
    text = start + 2 + 2 * 12 + 4 + padding
    tags = struct.pack(order + "H", 2)
    tags += struct.pack(order + "HHII", 6, LONG, 1, 7)
    tags += struct.pack(order + "HHII", 9, ASCII, len(OWNER), base + text)
    return label + tags + bytes(4 + padding) + OWNER + (note or b"")


def canon(at=NOTE_AT):
    return directory(base=at, note=b"II*\0" + struct.pack("<I", at))


def nikon():
    inner = b"II*\0\x08\0\0\0" + directory(base=8)
    return b"Nikon\0\x02\x10\0\0" + inner


MOVABLE = {
    "Canon": canon(),
    "SONY": directory(b"SONY DSC \0\0\0", base=NOTE_AT),
    "Panasonic": directory(b"Panasonic\0\0\0", base=NOTE_AT, padding=2),
}
SELF_CONTAINED = {
    "NIKON": nikon(),
    "FUJIFILM": directory(b"FUJIFILM\x0c\0\0\0"),
    "Apple": directory(b"Apple iOS\0\0\x01MM", order=">"),
    "OM": directory(b"OM SYSTEM\0\0\0II\x04\0"),
}
FIXED = {
    "unknown": b"the camera's own tags",
    "Minolta": directory(base=NOTE_AT),  # as Canon's, without the end that tells where it lay
    "Canon moved": canon(at=NOTE_AT + 2),
    "Nikon, old": directory(b"Nikon\0\x01\0", base=NOTE_AT),
    "Sony with values elsewhere": directory(b"SONY DSC \0\0\0", base=NOTE_AT + 40000),
    "Sony counted from itself": directory(b"SONY DSC \0\0\0"),
    "Sony far behind": directory(b"SONY DSC \0\0\0", base=NOTE_AT, padding=200),
    "Sony cut short": directory(b"SONY DSC \0\0\0", base=NOTE_AT)[:30],
    "Panasonic without tags": b"Panasonic\0\0\0\0\0",
    "short": b"abc",
}


def block(note, order="<"):
    """An EXIF block: maker, then a directory of its own with an exposure time and the note."""
    mark, maker = (b"II*\0" if order == "<" else b"MM\0*"), b"Camera & Sons\0"
    first = struct.pack(order + "H", 2)
    first += struct.pack(order + "HHII", 0x010F, ASCII, len(maker), 100)
    first += struct.pack(order + "HHII", 0x8769, LONG, 1, 40) + bytes(4)
    details = struct.pack(order + "H", 2)
    details += struct.pack(order + "HHII", 0x829A, 5, 1, 120)
    details += struct.pack(order + "HHI", 0x927C, UNDEFINED, len(note))
    details += (
        note.ljust(4, b"\0") if len(note) <= 4 else struct.pack(order + "I", NOTE_AT)
    ) + bytes(4)
    content = mark + struct.pack(order + "I", 8) + first
    content = content.ljust(40, b"\0") + details
    content = content.ljust(100, b"\0") + maker
    content = content.ljust(120, b"\0") + struct.pack(order + "II", 1, 250)
    return b"Exif\0\0" + content.ljust(NOTE_AT, b"\0") + note


def source(path, note, order="<"):
    values = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    Image.fromarray(values).save(path, exif=block(note, order))
    return path


def text_of(path, label):
    """What the second tag's offset points to, from the start of the TIFF structure."""
    content = path.read_bytes()
    if content[:2] != b"II":
        content = content[content.index(b"Exif\0\0") + 6 :]
    note = content.index(directory(label)[: len(label) + 14])
    (offset,) = struct.unpack_from("<I", content, note + len(label) + 2 + 12 + 8)
    return content[offset : offset + len(OWNER)]


@pytest.mark.parametrize("maker", MOVABLE)
def test_notes_whose_offsets_count_from_the_file_are_corrected(tmp_path, maker):
    image = read_image(source(tmp_path / "in.jpg", MOVABLE[maker]))
    label = MOVABLE[maker].partition(b"\x02\0\x06\0")[0]
    # Into TIFF, out of it, and from page to page: each time the note lies elsewhere.
    for name in ("1.tif", "2.jpg", "3.tif", "4.tif", "5.webp"):
        report = write_image(tmp_path / name, image)
        assert "EXIF" in report.kept
        assert report.dropped == ()
        if not name.endswith("webp"):
            assert text_of(tmp_path / name, label) == OWNER
        image = read_image(tmp_path / name)


def test_canons_note_tells_its_new_place(tmp_path):
    image = read_image(source(tmp_path / "in.jpg", MOVABLE["Canon"]))
    write_image(tmp_path / "out.tif", image)
    content = (tmp_path / "out.tif").read_bytes()
    end = content.index(OWNER + b"II*\0") + len(OWNER) + 4
    (told,) = struct.unpack_from("<I", content, end)
    assert content[told : told + 14] == MOVABLE["Canon"][:14]


@pytest.mark.parametrize("order", ["<", ">"])
def test_notes_that_hold_everywhere_stay_as_they_are(tmp_path, order):
    for maker, note in SELF_CONTAINED.items():
        image = read_image(source(tmp_path / f"{maker}.jpg", note, order))
        for name in ("1.tif", "2.jpg", "3.tif"):
            report = write_image(tmp_path / name, image)
            assert ("EXIF" in report.kept, report.dropped) == (True, ())
            assert note in (tmp_path / name).read_bytes()
            image = read_image(tmp_path / name)


@pytest.mark.parametrize("kind", FIXED)
def test_notes_of_which_nothing_is_known_are_dropped_and_told(tmp_path, kind):
    image = read_image(source(tmp_path / "in.jpg", FIXED[kind]))
    assert write_image(tmp_path / "same.jpg", image).dropped == ()
    assert FIXED[kind] in (tmp_path / "same.jpg").read_bytes()
    report = write_image(tmp_path / "out.tif", image)
    assert ("EXIF" in report.kept, report.dropped) == (True, ("maker notes",))
    again = Image.open(tmp_path / "out.tif").getexif()
    details = again.get_ifd(0x8769)
    assert (details[0x829A], 0x927C in details) == (1 / 250, False)
    assert again[0x010F] == "Camera & Sons"


def test_directories_of_the_other_byte_order_are_dropped_and_told(tmp_path):
    for note in (directory(b"SONY DSC \0\0\0", ">", NOTE_AT), MOVABLE["SONY"]):
        image = read_image(source(tmp_path / "in.jpg", note, ">"))
        assert write_image(tmp_path / "out.tif", image).dropped == ("maker notes",)


@pytest.mark.parametrize("kind", ["Canon", "unknown"])
def test_a_tiff_files_note_is_kept_valid_or_told_too(tmp_path, kind):
    note = (MOVABLE | FIXED)[kind]
    path = tmp_path / "in.tif"
    values = np.zeros((9, 12, 3), np.uint8)
    Image.fromarray(values).save(path)
    # The block is made to lie in the file as if it were the file: its own tags are the page's.
    content = bytearray(block(note)[6:])
    with Image.open(path) as image:
        tags = dict(image.tag_v2)
    strip = len(content)
    entries = {
        **{tag: (4, tags[tag]) for tag in (256, 257, 262, 277, 278)},
        258: (3, 8),
        259: (3, 1),
        273: (4, strip),
        279: (4, values.nbytes),
        0x8769: (4, 40),
    }
    start = strip + values.nbytes
    content += values.tobytes() + struct.pack("<H", len(entries))
    for tag, (kind_of_value, value) in sorted(entries.items()):
        value = value[0] if isinstance(value, tuple) else value  # noqa: PLW2901
        content += struct.pack("<HHII", tag, kind_of_value, 1, value)
    content += bytes(4)
    struct.pack_into("<I", content, 4, start)
    path.write_bytes(content)
    image = read_image(path)
    report = write_image(tmp_path / "out.jpg", image)
    if kind == "Canon":
        assert report.dropped == ()
        assert text_of(tmp_path / "out.jpg", b"") == OWNER
    else:
        assert report.dropped == ("maker notes",)
        assert note not in (tmp_path / "out.jpg").read_bytes()


def test_notes_with_offsets_are_dropped_and_told_where_a_file_may_be_too_large_for_them(tmp_path):
    for kind, note, dropped in (
        ("Canon", MOVABLE["Canon"], ("maker notes",)),
        ("Nikon", SELF_CONTAINED["NIKON"], ()),
    ):
        metadata = read_image(source(tmp_path / f"{kind}.jpg", note)).metadata
        ready = prepared(metadata, "TIFF", 20000, 20000)
        assert ready.report.dropped == dropped
        assert (note[:14] in ready.exif) == (not dropped)
        assert prepared(metadata, "PNG", 20000, 20000).report.dropped == ()


def test_no_note_makes_offsets_beyond_its_end():
    for _ in range(300):
        generator = np.random.default_rng(_)
        note = bytearray(directory(b"Panasonic\0\0\0", base=NOTE_AT))
        for place in generator.integers(0, len(note), 4):
            note[place] = generator.integers(0, 256)
        found = offsets_in(bytes(note), NOTE_AT, little_endian=True)
        for place in found or ():
            (offset,) = struct.unpack_from("<I", note, place)
            assert 0 <= offset - NOTE_AT < len(note)
