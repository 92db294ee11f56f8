"""How the meaning of an image's values goes into a file of each format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mambair_cli.imaging.color.encoding import ColorEncoding
from mambair_cli.imaging.color.profile import color_space_of, made_profile, space_in
from mambair_cli.imaging.formats import AVIF, HEIF, JPEG, JXL, PNG, TIFF, WEBP, Format
from mambair_cli.imaging.metadata.image_metadata import ContentReport

_LABEL = "colour profile"
_WITH_PROFILE = (PNG, JPEG, TIFF, WEBP, AVIF, HEIF)
_WITH_CODE_POINTS = (PNG, AVIF, HEIF)
# Which profiles a format does not get, of which kind of pixels (all if empty), and why.
_REFUSED = {
    WEBP: (b"GRAY", "WebP stores gray as RGB"),
    JXL: (b"", "cannot be written to JPEG XL"),  # Pillow's plugin hands none to the encoder
}
# A profile has 14 bytes of header in each of at most 255 segments of a JPEG file.
_JPEG_LIMIT = 255 * (65533 - 14)
_SAY_SPACE = {b"cICP", b"gAMA", b"cHRM"}


@dataclass(frozen=True)
class Carried:
    """What a file is to say of its values.

    Attributes:
        profile: ICC profile to write.
        chunks: Of a PNG file.
        code_points: Primaries and transfer by ITU-T H.273, where they are not those of sRGB.
        converted_from: ICC profile of the values, which are to be converted to sRGB.
        report: What became of what the source said.
    """

    profile: bytes | None = None
    chunks: Mapping[bytes, bytes] = field(default_factory=dict)
    code_points: tuple[int, int] | None = None
    converted_from: bytes | None = None
    report: ContentReport = field(default_factory=ContentReport)


def refusal(encoding: ColorEncoding, entry: Format, dtype: np.dtype[Any]) -> str | None:
    """Say what of the values a format cannot say; None where it can.

    Args:
        encoding: Of the values.
        entry: The format.
        dtype: Of the values; with as many bits they are to be written.
    """
    space = encoding.space
    if space is None or space.fits_profile or entry is PNG:
        return None
    if entry in _WITH_PROFILE and _says_itself(encoding) and (dtype == np.uint8 or entry.bits > 8):
        return None
    if entry not in _WITH_CODE_POINTS or space.narrow:
        return f"{entry.label} cannot say that its values are {space.name}"
    if dtype != np.uint8 and max(entry.bits, entry.high_range_bits) <= 8:
        return f"{entry.label} is written with 8 bits, too few for {space.name}"
    return None


def carried(encoding: ColorEncoding, entry: Format, *, gray: bool) -> Carried:
    """Choose what a file says of its values.

    What is said in numbers goes as code points to formats that hold them, and as a profile to all
    that hold one, since many programs read nothing else. Where there is neither, values have to be
    converted.

    Args:
        encoding: What the source says.
        entry: Format of the file.
        gray: Whether its pixels are gray.
    """
    space, profile, report = encoding.space, encoding.profile, ContentReport()
    code_points = None
    in_profile = _says_itself(encoding)
    if in_profile and entry not in _WITH_CODE_POINTS:
        space = None
    overruled = bool(space and profile and entry is not PNG and not in_profile)
    if space is not None and not (entry is PNG and encoding.chunks.keys() & _SAY_SPACE):
        code_points = space.code_points if entry in _WITH_CODE_POINTS else None
        # libheif leaves code points out beside a profile.
        if entry is HEIF and code_points:
            profile = None
        elif not in_profile:
            profile = made_profile(space, gray=gray and entry is not WEBP)
        if code_points:
            report = ContentReport(kept=(f"colour space ({space.name})",))
        else:
            report = ContentReport(changed=(f"colour space written as a profile ({space.name})",))
    reason = _reason_against(profile, entry) if profile else None
    if profile and space is None:
        said = space_in(profile) if entry is AVIF else None
        code_points = said.code_points if said else None
        told = ContentReport(dropped=(f"{_LABEL} ({reason})",) if reason else ())
        report = told.joined(ContentReport(kept=() if reason else (_LABEL,)))
    if reason:
        report = replace(report, changed=())
    if overruled:
        left = ContentReport(dropped=(f"{_LABEL} (the code points beside it go before it)",))
        report = report.joined(left)
    chunks, told = _chunks(encoding, entry)
    if code_points and entry is PNG:
        chunks[b"cICP"] = bytes([*code_points, 0, 1])
    written, converted = (None, profile) if reason else (profile, None)
    return Carried(written, chunks, code_points, converted, report.joined(told))


def _says_itself(encoding: ColorEncoding) -> bool:
    """Whether the profile says the colour space, too, in numbers of its own."""
    profile, space = encoding.profile, encoding.space
    return bool(profile and space and space_in(profile) == space)


def _chunks(encoding: ColorEncoding, entry: Format) -> tuple[dict[bytes, bytes], ContentReport]:
    chunks = dict(encoding.chunks)
    if entry is PNG:
        names = ", ".join(name.decode() for name in chunks)
        return chunks, ContentReport(kept=(f"colour chunks {names}",) if names else ())
    # What the values mean is said in another way.
    in_profile = encoding.profile and encoding.space is None
    said = set() if in_profile else {*_SAY_SPACE, b"sRGB"}
    names = ", ".join(name.decode() for name in chunks if name not in said)
    told = (f"colour chunks {names} ({entry.label} holds none)",) if names else ()
    return {}, ContentReport(dropped=told)


def _reason_against(profile: bytes, entry: Format) -> str | None:
    """Say why a format does not get a profile."""
    if entry not in _WITH_PROFILE and entry not in _REFUSED:
        return f"{entry.label} holds none"
    kind, reason = _REFUSED.get(entry, (b"none", ""))
    if color_space_of(profile).startswith(kind):
        return reason
    if entry is JPEG and len(profile) > _JPEG_LIMIT:
        return f"JPEG holds {_JPEG_LIMIT} bytes of {_LABEL}"
    return None
