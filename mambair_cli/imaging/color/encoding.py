"""What the values of an image mean: which light, of which primaries, each of them stands for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Point = tuple[float, float]


class Primaries(NamedTuple):
    """Chromaticities, x and y of CIE 1931, of white and of the three colours."""

    white: Point
    red: Point
    green: Point
    blue: Point

    @property
    def are_possible(self) -> bool:
        """Whether there are such colours: a triangle with white inside, and nothing beyond."""
        if not all(0 <= x <= 1 and 0 < y <= 1 for x, y in (self.white, *self[1:])):
            return False
        corners = (self.red, self.green, self.blue)
        sides = [_side(corners[i], corners[i - 1], self.white) for i in range(3)]
        return min(sides) > _FLAT or max(sides) < -_FLAT

    def equal(self, other: Primaries) -> bool:
        """Whether both are the same but for rounding."""
        pairs = zip(self, other, strict=True)
        return all(math.dist(ours, theirs) < _ROUNDING for ours, theirs in pairs)


_FLAT = 1e-4
_ROUNDING = 2e-3


def _side(start: Point, end: Point, point: Point) -> float:
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])


@dataclass(frozen=True)
class Transfer:
    """Which light a value stands for, both from 0 to 1.

    Attributes:
        name: For people.
        code: Of ITU-T H.273; None where that has none.
        curve: Exponent g alone; or g, a, b, c, d, where the light is `(a x + b)^g` from x = d on,
            and `c x` below.
        tables: Light in 16 bits at equal distances of x, one for all colours or one for each.

    Without a curve and tables it is of high dynamic range, or logarithmic.
    """

    name: str
    code: int | None = None
    curve: tuple[float, ...] = ()
    tables: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def power(cls, exponent: float) -> Transfer:
        """Return the light `x^exponent`."""
        for transfer in TRANSFERS.values():
            if len(transfer.curve) == 1 and math.isclose(transfer.curve[0], exponent, rel_tol=2e-3):
                return transfer
        return cls(f"gamma {exponent:.4g}", curve=(exponent,))


_C, _D65 = (0.31, 0.316), (0.3127, 0.329)
_NTSC = Primaries(_D65, (0.63, 0.34), (0.31, 0.595), (0.155, 0.07))
BT709 = Primaries(_D65, (0.64, 0.33), (0.3, 0.6), (0.15, 0.06))
# By their code points in ITU-T H.273, tables 2 and 3.
PRIMARIES = {
    1: ("BT.709", BT709),
    4: ("BT.470 M", Primaries(_C, (0.67, 0.33), (0.21, 0.71), (0.14, 0.08))),
    5: ("BT.470 BG", Primaries(_D65, (0.64, 0.33), (0.29, 0.6), (0.15, 0.06))),
    6: ("BT.601", _NTSC),
    7: ("SMPTE 240", _NTSC),
    8: ("film", Primaries(_C, (0.681, 0.319), (0.243, 0.692), (0.145, 0.049))),
    9: ("BT.2020", Primaries(_D65, (0.708, 0.292), (0.17, 0.797), (0.131, 0.046))),
    11: ("DCI-P3", Primaries((0.314, 0.351), (0.68, 0.32), (0.265, 0.69), (0.15, 0.06))),
    12: ("Display P3", Primaries(_D65, (0.68, 0.32), (0.265, 0.69), (0.15, 0.06))),
    22: ("EBU 3213", Primaries(_D65, (0.63, 0.34), (0.295, 0.605), (0.155, 0.077))),
}
_A = 0.09929682680944
_VIDEO = (1 / 0.45, 1 / (1 + _A), _A / (1 + _A), 1 / 4.5, 4.5 * 0.018053968510807)
_SMPTE_240 = (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 4 * 0.0228)
SRGB_CURVE = Transfer("sRGB", 13, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
TRANSFERS = {
    1: Transfer("BT.709", 1, _VIDEO),
    4: Transfer("gamma 2.2", 4, (2.2,)),
    5: Transfer("gamma 2.8", 5, (2.8,)),
    6: Transfer("BT.601", 6, _VIDEO),
    7: Transfer("SMPTE 240", 7, _SMPTE_240),
    8: Transfer("linear light", 8, (1.0,)),
    9: Transfer("logarithmic", 9),
    10: Transfer("logarithmic", 10),
    11: Transfer("xvYCC", 11, _VIDEO),
    12: Transfer("BT.1361", 12, _VIDEO),
    13: SRGB_CURVE,
    14: Transfer("BT.2020", 14, _VIDEO),
    15: Transfer("BT.2020", 15, _VIDEO),
    16: Transfer("PQ", 16),
    17: Transfer("gamma 2.6", 17, (2.6,)),
    18: Transfer("HLG", 18),
}
_UNSPECIFIED = 2


@dataclass(frozen=True)
class ColorSpace:
    """A colour space that is said in numbers.

    Attributes:
        primaries: Of the light.
        transfer: From values to light.
        narrow: Whether black and white are 16 and 235 of 255, as in video, and not the ends.
    """

    primaries: Primaries = BT709
    transfer: Transfer = SRGB_CURVE
    narrow: bool = False

    @property
    def code_points(self) -> tuple[int, int] | None:
        """Primaries and transfer by ITU-T H.273; None where that has no number for one."""
        primaries = self._primaries
        if primaries is None or self.transfer.code is None or self.narrow:
            return None
        return primaries, self.transfer.code

    @property
    def fits_profile(self) -> bool:
        """Whether an ICC profile of plain curves can say it."""
        return bool(self.transfer.curve or self.transfer.tables) and not self.narrow

    @property
    def is_srgb(self) -> bool:
        """Whether it is what an image means of which nothing is said."""
        return self.code_points == SRGB.code_points

    @property
    def name(self) -> str:
        """As people call it."""
        if self.primaries.equal(ADOBE_RGB.primaries):
            primaries = "Adobe RGB"
        else:
            primaries = "other" if self._primaries is None else PRIMARIES[self._primaries][0]
        names = [primaries, "" if self.transfer == SRGB_CURVE else self.transfer.name]
        names.append("narrow range" if self.narrow else "")
        return "sRGB" if self.is_srgb else ", ".join(name for name in dict.fromkeys(names) if name)

    @property
    def _primaries(self) -> int | None:
        return next(
            (code for code, (_, known) in PRIMARIES.items() if known.equal(self.primaries)), None
        )


SRGB = ColorSpace()
ADOBE_RGB = ColorSpace(
    Primaries(_D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
    Transfer("Adobe RGB", curve=(563 / 256,)),
)


@dataclass(frozen=True)
class ColorEncoding:
    """What a file says of the meaning of its image's values; with nothing said it is sRGB.

    Attributes:
        profile: ICC profile, byte for byte.
        space: What is said in numbers; it goes before the profile. None where nothing is, or the
            profile goes before it.
        chunks: Of a PNG file, by name: cICP, sRGB, gAMA and so on. They are handed on as they are.
    """

    profile: bytes | None = None
    space: ColorSpace | None = None
    chunks: Mapping[bytes, bytes] = field(default_factory=dict)

    @property
    def says_nothing(self) -> bool:
        """Whether something else may still say what the values mean."""
        return self.profile is None and self.space is None and not self.chunks


def space_of_code_points(
    primaries: int, transfer: int, *, narrow: bool = False
) -> ColorSpace | None:
    """Return what code points of ITU-T H.273 stand for; None if they say nothing.

    Raises:
        ValueError: They stand for nothing, or for what is not known here.
    """
    if primaries == transfer == _UNSPECIFIED and not narrow:
        return None
    known = primaries in (*PRIMARIES, _UNSPECIFIED) and transfer in (*TRANSFERS, _UNSPECIFIED)
    if not known:
        raise ValueError(f"code points {primaries} and {transfer} are not known")
    _, chromaticities = PRIMARIES.get(primaries, ("", BT709))
    return ColorSpace(chromaticities, TRANSFERS.get(transfer, SRGB_CURVE), narrow)
