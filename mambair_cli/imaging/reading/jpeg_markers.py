"""Markers of a JPEG file: its kind, a flaw that every viewer forgives, what lies behind it."""

from __future__ import annotations

import itertools
import mmap
import re
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from mambair_cli.imaging.formats import BLANKS

_START, _END = b"\xff\xd8", b"\xff\xd9"
_SCAN, _JFIF = 0xDA, 0xE0
_JPEG_LS = 0xF7
# Of frames; C4, C8 and CC between them are none.
_FRAMES = frozenset({*range(0xC0, 0xD0), _JPEG_LS}) - {0xC4, 0xC8, 0xCC}
_LOSSLESS = frozenset({0xC3, 0xCB})
_HIERARCHICAL = frozenset({0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})
# In the coded pixels bytes of FF are followed by these.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_SCANS, _MOST_SCANS = re.compile(rb"\xff\xda"), 1000
_SEQUENTIAL = (0xC0, 0xC1, 0xC9)
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_KNOWN_REVISION = 1
_LOOKED_AT = 64 * 2**10


@dataclass(frozen=True)
class JpegMarkers:
    """What stands before the pixels.

    Attributes:
        unsupported: What libjpeg does not decode, for people; None where it does.
        revision: Of JFIF, major and minor number, where libjpeg does not know it.
        lossless: Whether the pixels are coded without losses.
        patches: Bytes by their position in the file that make the revision one that it knows.
    """

    unsupported: str | None = None
    revision: tuple[int, int] | None = None
    patches: Mapping[int, bytes] | None = None
    lossless: bool = False


def read_markers(file: IO[bytes]) -> JpegMarkers:
    """Read the markers up to the pixels; damage is left to the decoder to tell."""
    revision, patches, position = None, None, 2
    while True:
        file.seek(position)
        start = file.read(4)
        if len(start) < 4 or start[0] != 0xFF:
            return JpegMarkers(None, revision, patches)
        kind = start[1]
        if kind == 0xFF:  # filling
            position += 1
        elif kind in _WITHOUT_LENGTH:
            position += 2
        elif kind == _SCAN:
            return JpegMarkers(None, revision, patches)
        elif kind in _FRAMES:
            refused = _unsupported(kind, file.read(5))
            if refused is None and kind in _PROGRESSIVE:
                refused = _too_many_scans(file)
            return JpegMarkers(refused, revision, patches, kind in _LOSSLESS)
        else:
            if kind == _JFIF and not patches:
                header = file.read(7)
                if header.startswith(b"JFIF\0") and header[5:6] not in (b"", b"\1"):
                    revision = header[5], header[6]
                    patches = {position + 9: bytes([_KNOWN_REVISION])}
            position += 2 + struct.unpack(">H", start[2:])[0]


def _too_many_scans(file: IO[bytes]) -> str | None:
    """Name scans that would each be decoded over the whole picture, in a few bytes of the file."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        scans = sum(1 for _ in itertools.islice(_SCANS.finditer(content), _MOST_SCANS + 1))
    return f"more than {_MOST_SCANS} scans of one JPEG picture" if scans > _MOST_SCANS else None


@dataclass(frozen=True)
class Flaws:
    """What viewers forgive, and libjpeg or Pillow do not.

    Attributes:
        before: Bytes before the picture: blanks, or a start that is there twice.
        endless: Whether the marker of its end is missing, where nothing else need be.
    """

    before: int
    endless: bool

    @property
    def phrases(self) -> tuple[str, ...]:
        """The flaws, for people."""
        said = {"bytes before the JPEG picture passed over": self.before > 0}
        said["end of the JPEG picture not marked"] = self.endless
        return tuple(phrase for phrase, is_so in said.items() if is_so)


def read_flaws(file: IO[bytes]) -> Flaws:
    """Look for flaws at both ends of a file, which is left at its beginning."""
    file.seek(0)
    start = file.read(_LOOKED_AT)
    before = len(start) - len(start.lstrip(BLANKS))
    while start[before + 2 : before + 4] == _START:
        before += 2
    size = file.seek(0, 2)
    file.seek(max(0, size - len(_END)))
    endless = file.read() != _END and _is_endless(file, before)
    file.seek(0)
    return Flaws(before, endless)


def mended(file: IO[bytes], flaws: Flaws) -> IO[bytes]:
    """Copy a file to a temporary one without its flaws.

    Raises:
        OSError: There is no room for it.
    """
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the reader keeps it
    file.seek(flaws.before)
    shutil.copyfileobj(file, copy)
    if flaws.endless:
        copy.write(_END)
    copy.seek(0)
    file.seek(0)
    return copy


def _is_endless(file: IO[bytes], begin: int) -> bool:
    """Whether a picture of one scan with all its colours is there, but not the marker of its end.

    Of several scans some may be missing, which nobody would notice.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        kinds = dict[int, list[int]]()
        for kind, start in _segments(content, begin):
            kinds.setdefault(kind, []).append(start)
        starts = [start for kind in _SEQUENTIAL for start in kinds.get(kind, ())]
        # How many components they have.
        frames = [content[start + 9 : start + 10] for start in starts]
        scans = [content[start + 4 : start + 5] for start in kinds.get(_SCAN, ())]
    return _END[1] not in kinds and len(scans) == 1 and frames == scans


def behind_the_picture(file: IO[bytes]) -> str | None:
    """Tell what lies behind the end of the picture, None where it is nothing or further pictures.

    Args:
        file: Open; it is left at the position it had.
    """
    before = file.tell()
    size = file.seek(0, 2)
    file.seek(max(0, size - len(_END)))
    whole = file.read() != _END
    start = _end_of_picture(file) if whole and size else None
    file.seek(start or size)
    rest = file.read(_LOOKED_AT)
    file.seek(before)
    if not rest.strip(b"\0\r\n\t "):
        return None
    if b"ftyp" in rest:
        return "motion video"
    return None if rest.startswith(b"\xff\xd8") else "data behind the picture"


def _end_of_picture(file: IO[bytes]) -> int | None:
    """Where the first picture ends; None where that cannot be found."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        ends = (start + 2 for kind, start in _segments(content, 0) if kind == _END[1])
        return next(ends, None)


def _segments(content: mmap.mmap, begin: int) -> Iterator[tuple[int, int]]:
    """Go through the markers of a picture that begins at a position: kind and place of each."""
    position = begin + 2
    while found := _MARKER.search(content, position):
        start, kind = found.start(), content[found.start() + 1]
        yield kind, start
        length = content[start + 2 : start + 4]
        position = start + 2 + (int.from_bytes(length, "big") if kind not in (0xD8,) else 0)


def _unsupported(kind: int, frame: bytes) -> str | None:
    bits, height = frame[:1], frame[1:3]
    if kind == _JPEG_LS:
        return "JPEG-LS coding"
    if kind in _HIERARCHICAL:
        return "hierarchical JPEG coding"
    if bits and bits[0] != 8:
        return f"JPEG coding of {bits[0]} bits a sample"
    return "a JPEG height that only its end tells (DNL)" if height == b"\0\0" else None
