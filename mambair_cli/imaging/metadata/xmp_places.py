"""Properties of an XMP packet that mean places in the picture, sizes, or bytes of its file.

What names the parts of a file (motion videos, gain maps) speaks of what is not written and goes.
Places are moved with the pixels; what cannot be moved goes as a whole, and is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mambair_cli.imaging.metadata.placement import Placement
from mambair_cli.imaging.metadata.xmp_tree import Name, Node, Span, edited, find_properties

VIDEO, GAIN_MAP = "motion video", "gain map"

_EXIF = "http://ns.adobe.com/exif/1.0/"
_MWG = "http://www.metadataworkinggroup.com/schemas/regions/"
_ACDSEE = "http://ns.acdsee.com/regions/"
_MICROSOFT = "http://ns.microsoft.com/photo/1.2/"
_RECTANGLE = ("http://ns.microsoft.com/photo/1.2/t/Region#", "Rectangle")
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_RAW = "http://ns.adobe.com/camera-raw-settings/1.0/"
_PANORAMA = "http://ns.google.com/photos/1.0/panorama/"
# Of the middle of an area and its sides, and of the sides of the picture that it was drawn in.
_AREAS = ("http://ns.adobe.com/xmp/sType/Area#", "http://ns.acdsee.com/sType/Area#")
_SIDES = ("http://ns.adobe.com/xap/1.0/sType/Dimensions#", "http://ns.acdsee.com/sType/Dimensions#")

# Lists of places, with what they are called.
_LISTS: Mapping[Name, str] = {
    (_MWG, "Regions"): "face regions",
    (_ACDSEE, "Regions"): "face regions",
    (_MICROSOFT, "RegionInfo"): "face regions",
    (_IPTC, "ImageRegion"): "image regions",
    (_EXIF, "SubjectArea"): "subject area",
    (_EXIF, "SubjectLocation"): "subject area",
}
_ACROSS, _DOWN = True, False
# Numbers that grow with the picture, and along which of its sides.
_LENGTHS: Mapping[Name, bool] = {
    (_EXIF, "FocalPlaneXResolution"): _ACROSS,
    (_EXIF, "FocalPlaneYResolution"): _DOWN,
    (_PANORAMA, "CroppedAreaImageWidthPixels"): _ACROSS,
    (_PANORAMA, "CroppedAreaImageHeightPixels"): _DOWN,
    (_PANORAMA, "CroppedAreaLeftPixels"): _ACROSS,
    (_PANORAMA, "CroppedAreaTopPixels"): _DOWN,
    (_PANORAMA, "FullPanoWidthPixels"): _ACROSS,
    (_PANORAMA, "FullPanoHeightPixels"): _DOWN,
    (_PANORAMA, "LargestValidInteriorRectLeft"): _ACROSS,
    (_PANORAMA, "LargestValidInteriorRectTop"): _DOWN,
    (_PANORAMA, "LargestValidInteriorRectWidth"): _ACROSS,
    (_PANORAMA, "LargestValidInteriorRectHeight"): _DOWN,
}


@dataclass(frozen=True)
class _Gone:
    """Properties that are taken out: of namespaces that begin so, with names that match."""

    namespace: str
    names: re.Pattern[str]
    phrase: str

    def matches(self, name: Name) -> bool:
        return name[0].startswith(self.namespace) and bool(self.names.search(name[1]))


_ANY = re.compile("")
_PARTS_OF_THE_FILE = (
    _Gone("", re.compile("^(MotionPhoto|MicroVideo|OLivePhoto)"), VIDEO),
    _Gone("http://ns.oppo.com/", re.compile("^VideoLength$"), VIDEO),
    _Gone("http://ns.adobe.com/hdr-gain-map/", _ANY, GAIN_MAP),
    _Gone("http://ns.apple.com/HDRGainMap/", _ANY, GAIN_MAP),
    _Gone("http://ns.google.com/photos/1.0/container/", _ANY, "list of the file's parts"),
    _Gone("http://ns.google.com/photos/dd/", _ANY, "list of the file's parts"),
    _Gone("http://ns.xiaomi.com/", re.compile("^XMPMeta$"), "list of the file's parts"),
)
# What holds for the picture as it lies only, and is not worth turning.
_UNTURNED = (
    _Gone("http://ns.google.com/photos/1.0/panorama/", _ANY, "panorama"),
    _Gone("http://ns.google.com/photos/1.0/depthmap/", _ANY, "depth map"),
    _Gone("http://ns.google.com/photos/1.0/image/", _ANY, "original picture"),
    _Gone("http://ns.google.com/photos/1.0/focus/", re.compile("^FocalPoint"), "focal point"),
    _Gone("http://ns.apple.com/faceinfo/", re.compile("^Angle"), "angles of faces"),
    _Gone(_MWG, re.compile("^Rotation$"), "angles of faces"),
    _Gone(
        _RAW,
        re.compile(
            "^(HasCrop$|Crop|Perspective|Upright|Retouch|RedEye|Mask|PointColors|LensBlur"
            "|.*BasedCorrections$|EyeCorrection)"
        ),
        "crop and retouching of the raw file",
    ),
)
_UNSCALED = (_Gone(_RAW, re.compile("^Crop(Width|Height|Units?)$"), "crop of the raw file"),)

# No other packet is looked into.
_MARKS = (
    *(b"MotionPhoto", b"MicroVideo", b"OLivePhoto", b"VideoLength", b"HDRGainMap", b"hdr-gain-map"),
    *(b"google.com/photos", b"XMPMeta", b"faceinfo", _RAW.encode(), b"metadataworkinggroup"),
    *(b"ns.acdsee.com", b"microsoft.com/photo", b"ImageRegion", b"SubjectArea"),
    *(b"SubjectLocation", b"FocalPlane"),
)


def placed_xmp(xmp: bytes, placement: Placement) -> tuple[bytes | None, tuple[str, ...]]:
    """Make the numbers of a packet true for a picture that was turned and scaled.

    Returns:
        The packet, or None where it is damaged and nothing is known of its numbers, and phrases for
        what went.
    """
    if not any(mark in xmp for mark in _MARKS):
        return xmp, ()
    gone = _PARTS_OF_THE_FILE + (_UNTURNED if placement.turns else ())
    if (placement.across, placement.down) != (1, 1):
        gone += _UNSCALED
    changes = _Changes(gone, placement)
    try:
        found = find_properties(xmp, changes.concern)
    except ValueError:
        return None, ("XMP (damaged)",)
    for node in found:
        changes.take_out(node)
        if not placement.changes_nothing and node.name in _LISTS:
            changes.move(node)
    changes.stretch(found)
    return edited(xmp, changes.edits), tuple(changes.phrases)


class _Changes:
    """What is written where in a packet, and what goes.

    Args:
        gone: What is taken out.
        placement: How the picture changes.
    """

    def __init__(self, gone: Iterable[_Gone], placement: Placement) -> None:
        self.edits: dict[tuple[int, int], bytes] = {}
        self.phrases: dict[str, None] = {}
        self._gone, self._placement = gone, placement

    def concern(self, name: Name) -> bool:
        """Whether a property is, or holds, something to be changed."""
        return name in _LISTS or name in _LENGTHS or self._phrase(name) is not None

    def take_out(self, node: Node) -> None:
        """Take out what goes of an element, or all of it."""
        for inside in node.walk():
            if phrase := self._phrase(inside.name):
                self._cut((inside.start, inside.stop), phrase)
            for name, span in inside.attributes.items():
                if phrase := self._phrase(name):
                    self._cut(span.whole, phrase)

    def move(self, node: Node) -> None:
        """Move the places in a list of them; it goes where they are not understood."""
        try:
            self.edits = _moved(node, self._placement) | self.edits
        except ValueError:
            self._cut((node.start, node.stop), _LISTS[node.name])

    def stretch(self, nodes: Iterable[Node]) -> None:
        """Make lengths those of the new picture; they go where they are not understood."""
        lengths = {
            name: span
            for node in nodes
            for name, span in (*node.attributes.items(), (node.name, node.text))
            if span and name in _LENGTHS
        }
        try:
            self.edits = _stretched(lengths, self._placement) | self.edits
        except ValueError:
            for span in lengths.values():
                self._cut(span.whole, "lengths in pixels")

    def _cut(self, span: tuple[int, int], phrase: str) -> None:
        self.edits[span] = b""
        self.phrases[phrase] = None

    def _phrase(self, name: Name) -> str | None:
        matches = (one.phrase for one in self._gone if one.matches(name))
        return next(matches, None)


def _moved(node: Node, placement: Placement) -> dict[tuple[int, int], bytes]:
    """Tell what is to be written where, so that numbers are true.

    Raises:
        ValueError: They are none, or of an unknown unit.
    """
    if node.name[0] == _EXIF:
        return _subject(node, placement)
    edits: dict[tuple[int, int], bytes] = {}
    unit = "relative"
    for holder in node.walk():
        fields = holder.fields
        unit = fields[_IPTC, "rbUnit"].text if (_IPTC, "rbUnit") in fields else unit
        edits |= _areas(fields, placement)
        if _RECTANGLE in fields:
            span = fields[_RECTANGLE]
            box = placement.in_fractions.box(*_numbers(span.text, 4))
            edits[span.start, span.stop] = ", ".join(map(_text, box)).encode()
        if (_IPTC, "rbX") in fields:
            edits |= _boundary(fields, placement, unit)
    return edits


def _stretched(fields: Mapping[Name, Span], placement: Placement) -> dict[tuple[int, int], bytes]:
    """Numbers that grow; those along the sides change places in a turned picture."""
    edits = {}
    swaps = placement.extent(0, 1)[0] != 0
    for name, across in _LENGTHS.items():
        if name in fields:
            value = _number(fields[name].text)
            if swaps:
                pair = name[0], _swapped(name[1])
                value = _number(fields[pair].text) if pair in fields else value
            value *= placement.across if across else placement.down
            if value != _number(fields[name].text):
                span, whole = fields[name], name[0] == _PANORAMA
                edits[span.start, span.stop] = _like(span.text, round(value) if whole else value)
    return edits


def _swapped(name: str) -> str:
    return name.translate(str.maketrans("XY", "YX"))


def _areas(fields: Mapping[Name, Span], placement: Placement) -> dict[tuple[int, int], bytes]:
    edits: dict[tuple[int, int], bytes] = {}
    for namespace in _AREAS:
        if (namespace, "x") in fields:
            spans = {
                name: fields[namespace, name] for name in "xywhd" if (namespace, name) in fields
            }
            unit = fields.get((namespace, "unit"))
            moves = _in_unit(placement, unit.text if unit else "normalized")
            values = {name: _number(span.text) for name, span in spans.items()}
            x, y = moves.point(values["x"], _wanted(values, "y"))
            width, height = moves.extent(values.get("w", 0), values.get("h", 0))
            diameter = values.get("d", 0) * moves.across
            after = {"x": x, "y": y, "w": width, "h": height, "d": diameter}
            edits |= {(s.start, s.stop): _like(s.text, after[name]) for name, s in spans.items()}
    for namespace in _SIDES:
        w, h = fields.get((namespace, "w")), fields.get((namespace, "h"))
        if w and h:
            sides = placement.extent(_number(w.text), _number(h.text))
            for span, side in zip((w, h), sides, strict=True):
                edits[span.start, span.stop] = b"%d" % round(side)
    return edits


def _boundary(
    fields: Mapping[Name, Span], placement: Placement, unit: str
) -> dict[tuple[int, int], bytes]:
    """Move a rectangle, a circle, or a corner of a polygon, as IPTC describes regions."""
    spans = {
        name: fields[_IPTC, name]
        for name in ("rbX", "rbY", "rbW", "rbH", "rbRx")
        if (_IPTC, name) in fields
    }
    moves = _in_unit(placement, unit)
    values = {name: _number(span.text) for name, span in spans.items()}
    corner = values["rbX"], _wanted(values, "rbY")
    after = list(moves.point(*corner))
    if "rbW" in values:
        after = list(moves.box(*corner, values["rbW"], _wanted(values, "rbH")))
    changed = dict(zip(("rbX", "rbY", "rbW", "rbH"), after, strict=False))
    if "rbRx" in values:  # as a fraction it is one of the width, which another side may become
        width, _ = placement.extent(placement.width, placement.height)
        ratio = placement.width / width if moves.width == 1 else 1
        changed["rbRx"] = values["rbRx"] * placement.across * ratio
    return {
        (span.start, span.stop): _like(span.text, changed[name])
        for name, span in spans.items()
        if name in changed
    }


def _subject(node: Node, placement: Placement) -> dict[tuple[int, int], bytes]:
    spans = [one.text for one in node.walk() if one.text and one.text.text]
    values = placement.subject(_number(span.text) for span in spans)
    return {
        (span.start, span.stop): b"%d" % value for span, value in zip(spans, values, strict=True)
    }


def _in_unit(placement: Placement, unit: str) -> Placement:
    if unit in ("normalized", "relative"):
        return placement.in_fractions
    if unit in ("pixel", "pixels"):
        return placement
    raise ValueError(f"unknown unit {unit}")


def _wanted(values: Mapping[str, float], name: str) -> float:
    if name not in values:
        raise ValueError(f"{name} is missing")
    return values[name]


def _number(text: str) -> float:
    above, _, below = text.partition("/")
    divisor = float(below or 1)
    if not divisor:
        raise ValueError("a divisor is zero")
    return float(above) / divisor


def _numbers(text: str, count: int) -> list[float]:
    values = [float(one) for one in text.split(",")]
    if len(values) != count:
        raise ValueError(f"{len(values)} numbers instead of {count}")
    return values


def _like(text: str, value: float) -> bytes:
    """Write a number as the one before was: whole, as a fraction, or with decimal places."""
    if "/" in text:
        return f"{round(value * 10000)}/10000".encode()
    if text.lstrip("+-").isdigit() and value > 1:
        return b"%d" % round(value)
    return _text(value).encode()


def _text(value: float) -> str:
    return f"{value:.10g}"
