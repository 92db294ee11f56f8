"""What of a file's metadata is written to another file: by format, and by what the user wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mambair_cli.imaging.exif import sized_exif
from mambair_cli.imaging.metadata import Fate, Metadata, MetadataMode


@dataclass(frozen=True)
class Prepared:
    """Metadata as one output file is to hold it; None or empty where there is nothing to write.

    Attributes:
        icc_profile: Colour profile.
        exif: EXIF block with its `Exif` prefix; `exif.tiff_entries` splits it for a TIFF file.
        xmp: XMP packet.
        iptc: IPTC-IIM records as in TIFF tag 33723; `iptc.photoshop_segment` wraps them for JPEG.
        dpi: Horizontal and vertical pixels per inch.
        text: PNG text chunks; keywords and values.
        color_chunks: PNG chunks by name: gAMA, cHRM, sRGB, cICP.
        comment: Comment of a JPEG or GIF file.
        fate: What became of everything that the source had.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: Mapping[str, str] = field(default_factory=dict)
    color_chunks: Mapping[bytes, bytes] = field(default_factory=dict)
    comment: bytes | None = None
    fate: Fate = field(default_factory=Fate)


def prepared(
    metadata: Metadata, format_name: str, width: int, height: int, mode: MetadataMode = "keep"
) -> Prepared:
    """Choose and correct what one output file holds of the metadata.

    Args:
        metadata: Of the source.
        format_name: Pillow's name of the output's format: PNG, JPEG, WEBP, TIFF, BMP, GIF, AVIF,
            HEIF or JXL.
        width: Pixels of the image to write; size tags are set to it.
        height: Pixels of the image to write.
        mode: Whether everything is kept, nothing but colour, or everything but places, serial
            numbers and owners.
    """
    return Prepared(
        icc_profile=metadata.icc_profile,
        exif=metadata.exif and sized_exif(metadata.exif, width, height),
        xmp=metadata.xmp,
        iptc=metadata.iptc,
        dpi=metadata.dpi,
        text=metadata.text,
        color_chunks=metadata.color_chunks,
        comment=metadata.comment,
    )
