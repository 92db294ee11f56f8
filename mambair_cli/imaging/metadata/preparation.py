"""What of a file's metadata is written to another file: by format, and by what the user wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mambair_cli.imaging import formats
from mambair_cli.imaging.color.carrying import Carried, carried
from mambair_cli.imaging.color.tags import space_of_exif
from mambair_cli.imaging.formats import Format
from mambair_cli.imaging.metadata.exif import (
    exif_resolution,
    placed_exif,
    private_exif,
    sized_exif,
    srgb_exif,
    with_resolution,
    without_maker_notes,
    without_orientation,
)
from mambair_cli.imaging.metadata.image_metadata import ContentReport, Metadata, MetadataMode
from mambair_cli.imaging.metadata.iptc import IPTC_RESOURCE, photoshop_resources, private_iptc
from mambair_cli.imaging.metadata.measures import GEOREFERENCE, placed_measures
from mambair_cli.imaging.metadata.microscopy import placed_description, without_description
from mambair_cli.imaging.metadata.placement import Placement
from mambair_cli.imaging.metadata.png_chunks import IPTC_KEYWORD, raw_profile
from mambair_cli.imaging.metadata.tag_reader import exif_entries
from mambair_cli.imaging.metadata.tiff_directory import Entry, movable
from mambair_cli.imaging.metadata.tiff_metadata import DESCRIPTIVE_TAGS, LAYOUT_TAGS
from mambair_cli.imaging.metadata.xmp import private_phrase, private_xmp, sized_xmp
from mambair_cli.imaging.metadata.xmp_places import placed_xmp

# Items by their attribute in `Metadata`, as people are told of them.
_LABELS = {
    "exif": "EXIF",
    "xmp": "XMP",
    "iptc": "IPTC",
    "dpi": "resolution",
    "text": "text",
    "comment": "comment",
    "measures": "positions and sizes of pixels",
}
_NOTHING = Metadata()
_IN_EXIF = {"exif", "xmp", "dpi"}  # such formats hold the resolution in EXIF
_HELD = {
    "PNG": set(_LABELS) - {"measures"},
    "JPEG": {"exif", "xmp", "iptc", "dpi", "comment"},
    "TIFF": {"exif", "xmp", "iptc", "dpi", "measures"},
    "WEBP": _IN_EXIF,
    "AVIF": _IN_EXIF,
    "HEIF": _IN_EXIF,
    "JXL": _IN_EXIF,
    "GIF": {"comment"},
    "BMP": {"dpi"},
}
_RESOLUTION_IN_EXIF = ("WEBP", "AVIF", "HEIF", "JXL")
_MOST_SAMPLE_BYTES = 16  # of a pixel: floating point in colour, with opacity
_CLASSIC_BYTES = 2**32 - 2**26
_SEGMENT = 65533
_JPEG_LIMITS = {"exif": _SEGMENT, "comment": _SEGMENT}


@dataclass(frozen=True)
class Prepared:
    """Metadata as one output file is to hold it; None or empty where there is nothing to write.

    Attributes:
        exif: EXIF block with its `Exif` prefix; of its first directory a TIFF file takes
            `tiff_metadata.DESCRIPTIVE_TAGS`.
        xmp: XMP packet; `jpeg_segments.jpeg_segments` wraps it and `iptc` for JPEG.
        iptc: IPTC-IIM records as in TIFF tag 33723; for PNG they are in `text`.
        dpi: Horizontal and vertical pixels per inch.
        text: PNG text chunks; keywords and values.
        color: What the values mean.
        comment: Comment of a JPEG or GIF file.
        measures: TIFF tags that say where the picture lies and how large its pixels are.
        report: What became of everything that the source had.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: Mapping[str, str] = field(default_factory=dict)
    color: Carried = field(default_factory=Carried)
    comment: bytes | None = None
    measures: tuple[Entry, ...] = ()
    report: ContentReport = field(default_factory=ContentReport)


@dataclass(frozen=True)
class _Target:
    format_name: str
    width: int
    height: int
    mode: MetadataMode

    @property
    def entry(self) -> Format:
        return next(one for one in formats.FORMATS if one.name == self.format_name)

    @property
    def label(self) -> str:
        return self.entry.label


_Step = tuple[Metadata, ContentReport]


def prepared(
    metadata: Metadata,
    format_name: str,
    width: int,
    height: int,
    mode: MetadataMode = "keep",
    *,
    gray: bool = False,
) -> Prepared:
    """Choose and correct what one output file holds of the metadata.

    Args:
        metadata: Of the source.
        format_name: Pillow's name of the output's format: PNG, JPEG, WEBP, TIFF, BMP, GIF, AVIF,
            HEIF or JXL.
        width: Pixels of the image to write; size tags are set to it.
        height: Pixels of the image to write.
        mode: `keep` everything; `strip` all but what the values mean; `private`
            drops places, serial numbers, maker notes, owners' names and identifiers of documents,
            and keeps the rest, artist and copyright among it.
        gray: Whether the pixels to write are gray.
    """
    target = _Target(format_name, width, height, mode)
    color = carried(metadata.color, target.entry, gray=gray)
    report = metadata.reading.joined(color.report)
    unsaid = not (color.profile or color.code_points or color.chunks)
    if metadata.exif and (color.converted_from or (unsaid and space_of_exif(metadata.exif))):
        metadata = replace(metadata, exif=srgb_exif(metadata.exif))
    for step in (_stripped, _private, _held, _sized, _fitting):
        metadata, more = step(metadata, target)
        report = report.joined(more)
    kept = tuple(_LABELS[name] for name in _LABELS if getattr(metadata, name))
    written = _converted(metadata, target)
    return Prepared(
        **{name: getattr(written, name) for name in _LABELS},
        color=replace(color, report=ContentReport()),
        report=report.joined(ContentReport(kept=kept)),
    )


def _stripped(metadata: Metadata, target: _Target) -> _Step:
    unwanted = set(_LABELS) if target.mode == "strip" else set()
    left, report = _without(metadata, unwanted, "")
    return left, replace(report, asked=report.dropped)


def _held(metadata: Metadata, target: _Target) -> _Step:
    """Leave out what the format has no place for."""
    held = _HELD[target.format_name]
    left, report = _without(metadata, _LABELS.keys() - held, f" ({target.label} holds none)")
    if left.exif and target.format_name != "TIFF":
        exif, phrases = without_description(left.exif)
        left = replace(left, exif=exif)
        report = report.joined(ContentReport(dropped=phrases))
    elif left.exif:
        report = report.joined(ContentReport(dropped=_lost_in_tiff(left.exif)))
        if _loses_maker_notes(left.exif, target):
            left = replace(left, exif=without_maker_notes(left.exif))
            report = report.joined(ContentReport(dropped=("maker notes",)))
    return left, report


def _without(metadata: Metadata, names: set[str], reason: str) -> _Step:
    present = [name for name in _LABELS if name in names and getattr(metadata, name)]
    phrases = tuple(_LABELS[name] + reason for name in present)
    empty = {name: getattr(_NOTHING, name) for name in present}
    return replace(metadata, **empty), ContentReport(dropped=phrases)


def _lost_in_tiff(exif: bytes) -> tuple[str, ...]:
    try:
        tags = {entry.tag for entry in exif_entries(exif)}
    except ValueError:
        return ("EXIF (damaged)",)
    lost = sorted(tags - DESCRIPTIVE_TAGS - LAYOUT_TAGS)
    return (f"EXIF tags {', '.join(str(tag) for tag in lost)}",) if lost else ()


def _loses_maker_notes(exif: bytes, target: _Target) -> bool:
    """Whether a TIFF file, where they lie elsewhere, would make them invalid."""
    try:
        entries = exif_entries(exif)
    except ValueError:
        return False
    if movable(entries) != entries:
        return True
    # Offsets of 32 bits may not reach to the end of a larger file.
    large = target.width * target.height * _MOST_SAMPLE_BYTES > _CLASSIC_BYTES
    return large and any(one.offsets for entry in entries for one in entry.directory)


def _private(metadata: Metadata, target: _Target) -> _Step:
    if target.mode != "private":
        return metadata, ContentReport()
    dropped: list[str] = []
    exif, xmp, iptc = metadata.exif, metadata.xmp, metadata.iptc
    if exif:
        exif, phrases = private_exif(exif)
        dropped += phrases
        if exif is None:
            dropped.append("EXIF")
    if xmp:
        xmp, phrases = private_xmp(xmp)
        dropped += phrases
    if iptc:
        iptc, phrases = private_iptc(iptc)
        dropped += phrases
        if iptc is None:
            dropped.append("IPTC")
    measures = tuple(entry for entry in metadata.measures if entry.tag not in GEOREFERENCE)
    if measures != metadata.measures:
        dropped.append("georeference")
    text = {}
    for keyword, value in metadata.text.items():
        phrase = private_phrase(keyword)
        if phrase is None and not _is_markup(value):
            text[keyword] = value
        else:
            dropped.append(phrase or f"text {keyword}")
    left = replace(metadata, exif=exif, xmp=xmp, iptc=iptc, text=text, measures=measures)
    return left, ContentReport(dropped=tuple(dropped), asked=tuple(dropped))


def _is_markup(value: str) -> bool:
    """Whether a text may be a packet under another name, with anything inside."""
    return any(mark in value for mark in ("<x:xmpmeta", "<rdf:RDF", "<?xpacket"))


def _sized(metadata: Metadata, target: _Target) -> _Step:
    """Set sizes and places that tags give to those in the image that is written."""
    exif, xmp, changed, dropped = metadata.exif, metadata.xmp, [], list[str]()
    placement = Placement.scaled(metadata.size, target.width, target.height)
    if exif:
        exif, phrases = placed_exif(sized_exif(exif, target.width, target.height), placement)
        exif, further = placed_description(exif, placement)
        dropped += (*phrases, *further)
        if exif != metadata.exif:
            changed.append("EXIF size tags updated")
    if xmp:
        xmp, phrases = placed_xmp(sized_xmp(xmp, target.width, target.height), placement)
        dropped += phrases
        if xmp != metadata.xmp:
            changed.append("XMP size tags updated")
    measures, phrases = placed_measures(metadata.measures, placement)
    dropped += phrases
    return replace(metadata, exif=exif, xmp=xmp, measures=measures), ContentReport(
        changed=tuple(changed), dropped=tuple(dropped)
    )


def _fitting(metadata: Metadata, target: _Target) -> _Step:
    """Leave out what is longer than the segments that JPEG has for it; XMP and IPTC get several."""
    if target.format_name != "JPEG":
        return metadata, ContentReport()
    report = ContentReport()
    exif, limit = metadata.exif or b"", _JPEG_LIMITS["exif"]
    shorter = without_maker_notes(exif) if len(exif) > limit else exif
    if len(shorter) <= limit < len(exif):
        metadata = replace(metadata, exif=shorter)
        report = ContentReport(dropped=(f"maker notes (JPEG holds {limit} bytes of EXIF)",))
    for name, limit in _JPEG_LIMITS.items():
        if len(getattr(metadata, name) or b"") > limit:
            reason = f" (JPEG holds {limit} bytes of {_LABELS[name]})"
            metadata, lost = _without(metadata, {name}, reason)
            report = report.joined(lost)
    return metadata, report


def _converted(metadata: Metadata, target: _Target) -> Metadata:
    """Put items where the format has them under another name."""
    text, iptc, exif, comment = dict(metadata.text), metadata.iptc, metadata.exif, metadata.comment
    if target.format_name == "PNG":
        if iptc:
            text[IPTC_KEYWORD] = raw_profile("iptc", photoshop_resources({IPTC_RESOURCE: iptc}))
        if comment:
            text.setdefault("Comment", comment.decode("utf-8", "replace"))
        iptc = comment = None
    if (
        metadata.dpi
        and target.format_name in _RESOLUTION_IN_EXIF
        and not (exif and exif_resolution(exif) == metadata.dpi)
    ):
        exif = with_resolution(exif, metadata.dpi)
    if exif and target.format_name == "AVIF":
        exif = without_orientation(exif)  # with it, Pillow would write the block anew
    return replace(metadata, text=text, iptc=iptc, exif=exif, comment=comment)
