"""What the chunks of a PNG file say of its values, in the order of the specification.

PNG, third edition, section 4.3: cICP goes before a profile, that before sRGB, and sRGB before gAMA
and cHRM.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from mambair_cli.imaging.color.encoding import (
    BT709,
    SRGB_CURVE,
    ColorEncoding,
    ColorSpace,
    Primaries,
    Transfer,
    space_of_code_points,
)

CODE_POINTS = b"cICP"
# Of what says how values are encoded, beside the profile; the last two in both spellings there are.
NAMES = (b"gAMA", b"cHRM", b"sRGB", CODE_POINTS, b"mDCV", b"cLLI", b"mDCv", b"cLLi")
_UNIT = 100_000
_LEAST_GAMMA, _MOST_GAMMA = 0.05, 10
# With this gamma sRGB is written for whoever does not know sRGB, and libpng reads it as such.
_GAMMA_OF_SRGB, _ROUNDING = 1 / 2.2, 0.001


def encoding_of_chunks(
    profile: bytes | None, chunks: Mapping[bytes, bytes]
) -> tuple[ColorEncoding, tuple[str, ...]]:
    """Read what a PNG file's values mean.

    Args:
        profile: ICC profile.
        chunks: Contents of those of `NAMES` that there are.

    Returns:
        The meaning, and the names of chunks that stand for nothing; they are left out.
    """
    impossible, said = [], {}
    for name, read in _READERS.items():
        if name in chunks:
            try:
                said[name] = read(chunks[name])
            except (struct.error, ValueError, ZeroDivisionError):
                impossible.append(name)
    kept = {name: data for name, data in chunks.items() if name not in impossible}
    points = said.get(CODE_POINTS)
    if isinstance(points, ColorSpace):
        space: ColorSpace | None = points
    elif profile or b"sRGB" in chunks:
        space = None
    else:
        space = _of_gamma(said.get(b"gAMA"), said.get(b"cHRM"))
    encoding = ColorEncoding(profile, space, kept)
    return encoding, tuple(name.decode() for name in impossible)


def _of_gamma(gamma: object, primaries: object) -> ColorSpace | None:
    chromaticities = primaries if isinstance(primaries, Primaries) else BT709
    if not isinstance(gamma, float):
        space = ColorSpace(chromaticities)
    elif abs(gamma - _GAMMA_OF_SRGB) < _ROUNDING and chromaticities.equal(BT709):
        space = ColorSpace(chromaticities, SRGB_CURVE)
    else:
        space = ColorSpace(chromaticities, Transfer.power(1 / gamma))
    return None if space.is_srgb else space


def _read_code_points(data: bytes) -> ColorSpace | None:
    primaries, transfer, matrix, full_range = struct.unpack("4B", data)
    if matrix or full_range > 1:
        raise ValueError("PNG holds RGB, which no matrix has made something else of")
    return space_of_code_points(primaries, transfer, narrow=not full_range)


def _read_gamma(data: bytes) -> float:
    gamma = struct.unpack(">I", data)[0] / _UNIT
    if not _LEAST_GAMMA <= gamma <= _MOST_GAMMA:
        raise ValueError(f"a gamma of {gamma} is impossible")
    return float(gamma)


def _read_chromaticities(data: bytes) -> Primaries:
    x = [value / _UNIT for value in struct.unpack(">8I", data)]
    primaries = Primaries(*zip(x[::2], x[1::2], strict=True))
    if not primaries.are_possible:
        raise ValueError("there are no such colours")
    return primaries


_READERS = {
    CODE_POINTS: _read_code_points,
    b"gAMA": _read_gamma,
    b"cHRM": _read_chromaticities,
}
