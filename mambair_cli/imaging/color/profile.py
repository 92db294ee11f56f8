"""ICC profiles: made of a colour space that is said in numbers, and what they say of themselves.

littleCMS makes them too, but Pillow hands out no more of it than sRGB, Lab and XYZ. The format is
that of ICC.1:2022 (version 4.4): matrix and curves, adapted to its white by Bradford's method.
"""

from __future__ import annotations

import struct
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from mambair_cli.imaging.color.encoding import (
    ColorSpace,
    Point,
    Primaries,
    Transfer,
    space_of_code_points,
)

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_VERSION = 0x04400000
_HEADER_BYTES, _RECORD_BYTES = 128, 12
_POWER, _WITH_STRAIGHT_PART = 0, 3  # kinds of parametric curves


def made_profile(space: ColorSpace, *, gray: bool) -> bytes | None:
    """Return a profile that says what a colour space says.

    Args:
        space: The colour space.
        gray: Whether it is for gray pixels.

    Returns:
        The profile; None where plain curves cannot say it.
    """
    if not space.fits_profile:
        return None
    curves = _curves(space.transfer)
    tags = {b"desc": _text(space.name), b"cprt": _text("CC0"), b"wtpt": _numbers(b"XYZ ", _D50)}
    adaptation = _adaptation(space.primaries.white)
    tags[b"chad"] = _numbers(b"sf32", adaptation)
    if gray:
        tags[b"kTRC"] = curves[0]
    else:
        columns = (adaptation @ _to_xyz(space.primaries)).T
        for index, (color, column) in enumerate(zip((b"r", b"g", b"b"), columns, strict=True)):
            tags[color + b"XYZ"] = _numbers(b"XYZ ", column)
            tags[color + b"TRC"] = curves[index % len(curves)]
        if space.code_points:
            tags[b"cicp"] = b"cicp" + bytes(4) + bytes([*space.code_points, 0, 1])
    return _file(b"GRAY" if gray else b"RGB ", tags)


def color_space_of(profile: bytes) -> bytes:
    """Return which kind of pixels a profile is for: `RGB `, `GRAY`, `CMYK` and so on."""
    return profile[16:20]


def space_in(profile: bytes) -> ColorSpace | None:
    """Return the colour space that a profile says by code points beside its curves, if any.

    If it is one of high dynamic range, the curves give an idea of it on a screen without.
    """
    try:
        (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
        for record in range(min(count, 100)):
            start = _HEADER_BYTES + 4 + record * _RECORD_BYTES
            name, place, _ = struct.unpack_from(">4sII", profile, start)
            if name == b"cicp":
                return space_of_code_points(*profile[place + 8 : place + 10])
    except (struct.error, ValueError, TypeError):
        return None
    return None


def _curves(transfer: Transfer) -> list[bytes]:
    """One for all colours, or one for each."""
    if transfer.tables:
        return [
            b"curv" + bytes(4) + struct.pack(f">I{len(table)}H", len(table), *table)
            for table in transfer.tables
        ]
    kind = _POWER if len(transfer.curve) == 1 else _WITH_STRAIGHT_PART
    return [b"para" + bytes(4) + struct.pack(">HH", kind, 0) + _fixed(np.array(transfer.curve))]


def _to_xyz(primaries: Primaries) -> NDArray[np.float64]:
    """Matrix from light of the primaries to XYZ."""
    columns = np.stack([_xyz(point) for point in primaries[1:]], axis=1)
    return np.asarray(columns * np.linalg.solve(columns, _xyz(primaries.white)))


def _adaptation(white: Point) -> NDArray[np.float64]:
    gains = (_BRADFORD @ _D50) / (_BRADFORD @ _xyz(white))
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD)


def _xyz(point: Point) -> NDArray[np.float64]:
    x, y = point
    return np.array([x / y, 1, (1 - x - y) / y])


def _fixed(values: NDArray[np.float64]) -> bytes:
    return np.rint(values.ravel() * 65536).astype(">i4").tobytes()


def _numbers(kind: bytes, values: NDArray[np.float64]) -> bytes:
    return kind + bytes(4) + _fixed(values)


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(encoded), 28) + encoded


def _file(kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    contents = [content + bytes(-len(content) % 4) for content in tags.values()]
    start = _HEADER_BYTES + 4 + len(tags) * _RECORD_BYTES
    places = [start, *accumulate(map(len, contents), initial=start)][1:]
    table = struct.pack(">I", len(tags)) + b"".join(
        struct.pack(">4sII", name, place, len(content))
        for (name, content), place in zip(tags.items(), places, strict=False)
    )
    header = struct.pack(
        ">I4sI4s4s4s6H4s", places[-1], bytes(4), _VERSION, b"mntr", kind, b"XYZ ",
        *(2026, 1, 1, 0, 0, 0), b"acsp",
    ).ljust(68, b"\0") + _fixed(_D50)  # fmt: skip
    return header.ljust(_HEADER_BYTES, b"\0") + table + b"".join(contents)
