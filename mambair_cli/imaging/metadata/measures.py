"""Numbers of maps, panoramas and microscopes that count pixels: TIFF tags beside a picture."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from mambair_cli.imaging.metadata.placement import Placement
from mambair_cli.imaging.metadata.tag_reader import numbers
from mambair_cli.imaging.metadata.tiff_directory import Entry

_SHORT, _LONG, _RATIONAL, _DOUBLE = 3, 4, 5, 12
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_NO_UNIT = 1
DENSITY = frozenset({_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT})
_X_POSITION, _Y_POSITION, _FULL_WIDTH, _FULL_LENGTH = 286, 287, 33300, 33301
_PANORAMA = frozenset({_X_POSITION, _Y_POSITION, _FULL_WIDTH, _FULL_LENGTH})
_PIXEL_SCALE, _TIE_POINTS, _TRANSFORMATION, _GEO_KEYS, _RPC = 33550, 33922, 34264, 34735, 50844
_IN_PIXELS = frozenset({_PIXEL_SCALE, _TIE_POINTS, _TRANSFORMATION, _RPC})
GEOREFERENCE = _IN_PIXELS | {_GEO_KEYS, 34736, 34737}
# What GDAL says of bands, and which value stands for no data.
MEASURES = GEOREFERENCE | _PANORAMA | {42112, 42113}
_RASTER_TYPE, _POINT = 1025, 2
_MOST = 2**32 - 1


def density_of(layout: Iterable[Entry], *, is_measured: bool) -> tuple[Entry, ...]:
    """Choose the tags of resolution where they say how large pixels are, or their shape.

    Args:
        layout: Tags of a page, among them those of its resolution.
        is_measured: Whether a description speaks of the size of pixels; without one it has to be
            a resolution of no unit.
    """
    found = tuple(entry for entry in layout if entry.tag in DENSITY)
    said = {entry.tag: numbers(entry) for entry in found}
    x, y = said.get(_X_RESOLUTION), said.get(_Y_RESOLUTION)
    if not x or not y or not x[0] > 0 < y[0]:
        return ()
    no_unit = said.get(_RESOLUTION_UNIT, ()) == (_NO_UNIT,) and (x[0], y[0]) != (1, 1)
    return found if is_measured or no_unit else ()


def placed_measures(
    measures: tuple[Entry, ...], placement: Placement
) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """Make measures true for a picture that was turned and scaled.

    Returns:
        The tags, and phrases for those that cannot be told and went.
    """
    if placement.changes_nothing:
        return measures, ()
    by_tag = {entry.tag: entry for entry in measures}
    dropped = []
    for label, tags in (("georeference", GEOREFERENCE), ("position in a panorama", _PANORAMA)):
        if tags & by_tag.keys() and (placement.turns or not _are_sound(by_tag, tags)):
            by_tag = {tag: entry for tag, entry in by_tag.items() if tag not in tags}
            dropped.append(label)
    is_dense = _X_RESOLUTION in by_tag
    if is_dense and placement.extent(0, 1)[0]:
        x, y = by_tag[_X_RESOLUTION], by_tag[_Y_RESOLUTION]
        by_tag |= {_X_RESOLUTION: replace(y, tag=x.tag), _Y_RESOLUTION: replace(x, tag=y.tag)}
    shift = 0.5 if _is_point(by_tag.get(_GEO_KEYS)) else 0
    for tag, scaled in _SCALED.items():
        # Positions are given in the unit of the resolution: one of both is scaled.
        if tag in by_tag and not (is_dense and tag in (_X_POSITION, _Y_POSITION)):
            entry = by_tag[tag]
            values = scaled(_values(entry), placement.across, placement.down, shift)
            by_tag[tag] = replace(entry, data=_packed(entry.type, values))
    return tuple(by_tag[tag] for tag in sorted(by_tag)), tuple(dropped)


def _are_sound(by_tag: Mapping[int, Entry], tags: Iterable[int]) -> bool:
    """Whether the tags that count pixels have as many numbers as they should, of the usual type."""
    return all(
        _KINDS[tag][0] == by_tag[tag].type
        and _values(by_tag[tag])
        and len(_values(by_tag[tag])) % _KINDS[tag][1] == 0
        for tag in tags
        if tag in by_tag and tag in _KINDS
    )


def _is_point(keys: Entry | None) -> bool:
    """Whether coordinates are those of the middle of pixels, not of their upper left corner."""
    values = tuple(int(value) for value in numbers(keys)) if keys else ()
    fours = [values[i : i + 4] for i in range(4, len(values) - 3, 4)]
    return any(four[0] == _RASTER_TYPE and four[3] == _POINT for four in fours)


def _values(entry: Entry) -> tuple[float, ...]:
    if entry.type == _DOUBLE:
        return struct.unpack(f"<{len(entry.data) // 8}d", entry.data)
    return numbers(entry)


def _packed(kind: int, values: Sequence[float]) -> bytes:
    if kind == _DOUBLE:
        return struct.pack(f"<{len(values)}d", *values)
    if kind == _RATIONAL:
        parts = [Fraction(value).limit_denominator(10**6) for value in values]
        pairs = [(part.numerator, part.denominator) for part in parts]
        # What is too large for 32 bits is so to any precision.
        return b"".join(struct.pack("<II", min(above, _MOST), below) for above, below in pairs)
    whole = [min(round(value), 65535 if kind == _SHORT else _MOST) for value in values]
    return struct.pack(f"<{len(whole)}{'H' if kind == _SHORT else 'I'}", *whole)


_Scaled = Callable[[Sequence[float], float, float, float], Sequence[float]]


def _across(values: Sequence[float], across: float, _down: float, _shift: float) -> list[float]:
    return [value * across for value in values]


def _down(values: Sequence[float], _across: float, down: float, _shift: float) -> list[float]:
    return [value * down for value in values]


def _pixel_scale(v: Sequence[float], across: float, down: float, _shift: float) -> list[float]:
    return [v[0] / across, v[1] / down, *v[2:]]


def _tie_points(v: Sequence[float], across: float, down: float, shift: float) -> list[float]:
    moved = list(v)
    moved[::6] = [(x + shift) * across - shift for x in v[::6]]
    moved[1::6] = [(y + shift) * down - shift for y in v[1::6]]
    return moved


def _transformation(v: Sequence[float], across: float, down: float, shift: float) -> list[float]:
    rows = []
    for x, y, z, constant in zip(v[::4], v[1::4], v[2::4], v[3::4], strict=True):
        moved = x * shift * (1 / across - 1) + y * shift * (1 / down - 1)
        rows += [x / across, y / down, z, constant + moved]
    return rows


def _rpc(v: Sequence[float], across: float, down: float, _shift: float) -> list[float]:
    """Scale line and sample of a sensor's rational polynomials; they count from pixels' middles."""
    moved = list(v)
    moved[2], moved[3] = (v[2] + 0.5) * down - 0.5, (v[3] + 0.5) * across - 0.5
    moved[7], moved[8] = v[7] * down, v[8] * across
    return moved


_SCALED: Mapping[int, _Scaled] = {
    _X_RESOLUTION: _across,
    _Y_RESOLUTION: _down,
    _X_POSITION: _across,
    _Y_POSITION: _down,
    _FULL_WIDTH: _across,
    _FULL_LENGTH: _down,
    _PIXEL_SCALE: _pixel_scale,
    _TIE_POINTS: _tie_points,
    _TRANSFORMATION: _transformation,
    _RPC: _rpc,
}
# Of each the type, and of how many numbers there is a multiple.
_KINDS = {
    _X_POSITION: (_RATIONAL, 1),
    _Y_POSITION: (_RATIONAL, 1),
    _FULL_WIDTH: (_LONG, 1),
    _FULL_LENGTH: (_LONG, 1),
    _PIXEL_SCALE: (_DOUBLE, 3),
    _TIE_POINTS: (_DOUBLE, 6),
    _TRANSFORMATION: (_DOUBLE, 16),
    _RPC: (_DOUBLE, 92),
}
