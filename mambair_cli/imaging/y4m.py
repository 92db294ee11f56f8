"""YUV4MPEG2 (Y4M): the stream of raw frames that ffmpeg and other programs hand to each other."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mambair_cli.errors import ImageError

Plane = NDArray[Any]  # uint8 or uint16

MAGIC = b"YUV4MPEG2"
_FRAME = b"FRAME"
# No line of a sound stream is nearly as long.
_LONGEST_LINE = 4096
_RANGE = "COLORRANGE="
_SUBSAMPLING = "YSCSS="
_CHROMA = re.compile(r"(420(?:JPEG|MPEG2|PALDV)?|422|444|411|MONO)(?:P?(9|1[0-6]))?")
_WOVEN = {"t": "top field first", "b": "bottom field first", "m": "mixed"}
MAKE_ONE = "make one with: ffmpeg -i FILE -f yuv4mpegpipe -strict -1 -"
CONVERT = "convert it on the way in: ffmpeg ... -pix_fmt yuv420p -f yuv4mpegpipe -"


@dataclass(frozen=True)
class Sampling:
    """Where the chroma samples of a frame lie.

    Attributes:
        across: Columns of luma for one of chroma.
        down: Rows of luma for one of chroma.
        left: Column of luma, from 0, that the first chroma sample lies at.
        top: Row of luma, from 0, that it lies at.
    """

    across: int
    down: int
    left: float = 0
    top: float = 0


# Of 4:2:0 without more: of 8 bits MPEG-1's, as the format says, of more bits that of H.264 and its
# successors, which is where such frames come from. That of PAL-DV is what ffmpeg takes it for.
_SAMPLINGS: dict[str, Sampling] = {
    "420": Sampling(2, 2, 0.5, 0.5),
    "420JPEG": Sampling(2, 2, 0.5, 0.5),
    "420MPEG2": Sampling(2, 2, 0, 0.5),
    "420PALDV": Sampling(2, 2, 0, 0),
    "422": Sampling(2, 1),
    "444": Sampling(1, 1),
    "411": Sampling(4, 1),
}
_DEEP_420 = _SAMPLINGS["420MPEG2"]


@dataclass(frozen=True)
class StreamHeader:
    """What the first line of a stream says of all of its frames.

    Attributes:
        width: Columns of luma.
        height: Rows of luma.
        bits: Of each sample, 8 to 16.
        sampling: Of the chroma; None where there is none.
        full_range: Whether black and white are the least and the largest value of a sample, not
            16 and 235 (of 8 bits).
        fields: The words of the line as they came, size included: frame rate, aspect of a pixel,
            interlacing and so on.
    """

    width: int
    height: int
    bits: int
    sampling: Sampling | None
    full_range: bool
    fields: tuple[str, ...]

    @classmethod
    def parse(cls, line: bytes, name: str) -> StreamHeader:
        """Read the first line.

        Args:
            line: With its end.
            name: What messages call the stream.

        Raises:
            ImageError: It is no such line, or of frames that cannot be restored.
        """
        if not line:
            raise ImageError(f"{name} is empty (0 bytes)", MAKE_ONE)
        if not line.startswith(MAGIC + b" "):
            raise ImageError(f"{name} is no Y4M stream: it begins with {line[:16]!r}", MAKE_ONE)
        if not line.endswith(b"\n"):
            raise ImageError(
                f"{name} is no Y4M stream: its first line does not end within {len(line)} bytes",
                MAKE_ONE,
            )
        fields = tuple(line.decode("ascii", "backslashreplace").split()[1:])
        values = {field[0]: field[1:] for field in fields if field[0] != "X"}
        extra = [field[1:] for field in fields if field[0] == "X"]
        if (woven := _WOVEN.get(values.get("I", "?"))) is not None:
            raise ImageError(
                f"{name} is interlaced ({woven}): each frame is two pictures woven together",
                "deinterlace it on the way in: ffmpeg ... -vf bwdif -f yuv4mpegpipe -",
            )
        sampling, bits = _chroma(values.get("C"), extra, name)
        width, height = (_side(values.get(letter), name) for letter in "WH")
        full = any(each.upper() == f"{_RANGE}FULL" for each in extra)
        return cls(width, height, bits, sampling, full, fields)

    def resized(self, width: int, height: int) -> StreamHeader:
        """Return the header of frames of another size that are the same in all else."""
        sides = {"W": f"W{width}", "H": f"H{height}"}
        fields = tuple(sides.get(field[0], field) for field in self.fields)
        return replace(self, width=width, height=height, fields=fields)

    @property
    def line(self) -> bytes:
        """The first line of a stream, with its end."""
        return b" ".join([MAGIC, *(field.encode("ascii") for field in self.fields)]) + b"\n"

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        """Type of a sample, little-endian."""
        return np.dtype(np.uint8) if self.bits == 8 else np.dtype("<u2")

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each plane: luma, then Cb and Cr."""
        luma = (self.height, self.width)
        if self.sampling is None:
            return (luma,)
        rows = math.ceil(self.height / self.sampling.down)
        return luma, *[(rows, math.ceil(self.width / self.sampling.across))] * 2


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a stream.

    Attributes:
        planes: `(h w)` of the header's type and shapes: luma, or luma, Cb and Cr.
        fields: What its line says behind its first word, as it came.
    """

    planes: tuple[Plane, ...]
    fields: bytes = b""

    def written_to(self, file: BinaryIO) -> None:
        """Write it with its line."""
        file.write(_FRAME + self.fields + b"\n")
        for plane in self.planes:
            file.write(plane.tobytes())


class FrameReader:
    """Reads a stream from its beginning, one frame at a time.

    Args:
        file: Where it comes from.
        name: What messages call it.

    Attributes:
        header: What its first line says.

    Raises:
        ImageError: It is no Y4M stream, or one of frames that cannot be restored.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self.header = StreamHeader.parse(file.readline(_LONGEST_LINE), name)

    def __iter__(self) -> Iterator[Frame]:
        """Read the frames, none before it is asked for.

        Raises:
            ImageError: The stream ends within a frame, has none, or is none from some place on.
        """
        whole = 0
        while line := self._file.readline(_LONGEST_LINE):
            word, whole_line = line.split(maxsplit=1)[:1], line.endswith(b"\n")
            if word != [_FRAME] and (whole_line or not _FRAME.startswith(line)):
                raise ImageError(
                    f"{self._name}: {line[:16]!r} stands where frame {whole + 1} should begin",
                    _what_came(whole),
                )
            planes = [self._plane(shape) for shape in self.header.shapes]
            if not whole_line or any(plane is None for plane in planes):
                raise ImageError(f"{self._name} ends within frame {whole + 1}", _what_came(whole))
            yield Frame(
                tuple(plane for plane in planes if plane is not None), line[len(_FRAME) : -1]
            )
            whole += 1
        if not whole:
            raise ImageError(f"{self._name} has no frames", "see what the program before it says")

    def _plane(self, shape: tuple[int, int]) -> Plane | None:
        """Read a plane; None where the stream ends before its end."""
        size = math.prod(shape) * self.header.dtype.itemsize
        content = self._file.read(size)
        if len(content) < size:
            return None
        return np.frombuffer(content, self.header.dtype).reshape(shape)


def _what_came(whole: int) -> str:
    before = "no frame" if whole == 0 else "1 frame" if whole == 1 else f"{whole} frames"
    return f"{before} before it came whole; see what the program before it says"


def _side(text: str | None, name: str) -> int:
    if text is None or not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
        raise ImageError(f"{name} does not say how large its frames are", MAKE_ONE)
    return int(text)


def _chroma(told: str | None, extra: list[str], name: str) -> tuple[Sampling | None, int]:
    if told is None:  # how older programs say it
        told = next((x.removeprefix(_SUBSAMPLING) for x in extra if x.startswith(_SUBSAMPLING)), "")
    match = _CHROMA.fullmatch(told.upper() or "420JPEG")
    if match is None:
        raise ImageError(f"{name} has frames of a kind that is not read: C{told}", CONVERT)
    kind, bits = match[1], int(match[2] or 8)
    if kind == "420" and bits > 8:
        return _DEEP_420, bits
    return _SAMPLINGS.get(kind), bits
