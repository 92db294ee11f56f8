"""What a file says about its image beside the pixels, and what became of it in another file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mambair_cli.imaging.color.encoding import ColorEncoding
from mambair_cli.imaging.metadata.jpeg_quality import JpegCoding
from mambair_cli.imaging.metadata.tiff_directory import Entry

# `private` drops where and by whom an image was made: GPS, serial numbers, names of owners.
MetadataMode = Literal["keep", "strip", "private"]


@dataclass(frozen=True)
class ContentReport:
    """What became of a file's content beside its restored pixels, a phrase each, for people.

    Attributes:
        kept: Written as it was: `EXIF`, `colour profile`, `16 bits`.
        changed: Written differently: `orientation applied`, `CMYK converted to sRGB`.
        dropped: Not written: `thumbnail`, `GPS position`.
        asked: Those that were dropped because the user wants it so.

    A phrase is the same for all files but for numbers, and details in parentheses at its end:
    `batches.notices` puts together what says the same of many files.
    """

    kept: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    def joined(self, other: ContentReport) -> ContentReport:
        """Both together, each phrase once."""
        pairs = (
            (self.kept, other.kept),
            (self.changed, other.changed),
            (self.dropped, other.dropped),
            (self.asked, other.asked),
        )
        return ContentReport(*(tuple(dict.fromkeys(ours + theirs)) for ours, theirs in pairs))


@dataclass(frozen=True)
class Metadata:
    """Everything a file says beside its pixels; all of it speaks of upright pixels.

    Attributes:
        source_format: Pillow's name of the file's format: PNG, JPEG, WEBP, TIFF, BMP and so on.
        color: What the values mean: colour profile, code points, gamma and so on.
        exif: EXIF block with its prefix, orientation 1, without thumbnail.
        xmp: XMP packet, orientation 1, without thumbnails.
        iptc: Records of IPTC-IIM, as in TIFF tag 33723.
        dpi: Horizontal and vertical pixels per inch.
        jpeg: How a JPEG file is coded.
        text: PNG text chunks.
        comment: Comment of a JPEG or GIF file.
        measures: TIFF tags that say where the picture lies and how large its pixels are.
        stored_orientation: How the pixels that were read lie, as EXIF numbers it, 1 to 8; 1 where
            the library that decodes the format turns them upright itself.
        lossless: Whether a format that usually loses something was written without losses.
        size: Width and height of the upright pixels that numbers in it speak of; None if unknown.
        reading: What reading changed (`orientation applied`) or left behind (`thumbnail`).
    """

    source_format: str = "PNG"
    color: ColorEncoding = field(default_factory=ColorEncoding)
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    jpeg: JpegCoding | None = None
    text: Mapping[str, str] = field(default_factory=dict)
    comment: bytes | None = None
    measures: tuple[Entry, ...] = ()
    stored_orientation: int = 1
    lossless: bool = False
    size: tuple[int, int] | None = None
    reading: ContentReport = field(default_factory=ContentReport)

    @property
    def icc_profile(self) -> bytes | None:
        """Colour profile, byte for byte."""
        return self.color.profile

    @property
    def jpeg_quality(self) -> int | None:
        """The libjpeg quality nearest to a JPEG file's quantisation table, 1 to 100."""
        return None if self.jpeg is None else self.jpeg.quality
