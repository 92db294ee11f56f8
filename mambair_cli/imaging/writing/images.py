"""Writing images in the format that a file's name says, and telling what became of each part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from mambair_cli.errors import OutputError, UsageError
from mambair_cli.imaging import formats
from mambair_cli.imaging.formats import Format
from mambair_cli.imaging.image import (
    Band,
    BandReader,
    ImageHeader,
    ImageSequence,
    Pixels,
    RestorableImage,
    Timing,
    ValueRange,
)
from mambair_cli.imaging.metadata.image_metadata import ContentReport, Metadata, MetadataMode
from mambair_cli.imaging.metadata.preparation import Prepared, prepared
from mambair_cli.imaging.writing.avif import write_deep_avif
from mambair_cli.imaging.writing.conversion import to_srgb
from mambair_cli.imaging.writing.depth import describe_depth, stored_type, to_depth
from mambair_cli.imaging.writing.gif import write_gif
from mambair_cli.imaging.writing.pillow import write_with_pillow
from mambair_cli.imaging.writing.png import metadata_chunks, write_animated_png, write_png
from mambair_cli.imaging.writing.targets import (
    Supply,
    check_color,
    check_images,
    check_target,
    header_of,
    target_file,
)
from mambair_cli.imaging.writing.tiff import write_tiff, write_tiff_bands

_WHITE = ValueRange(0, 1)
_USUAL_QUALITY, _NO_LOSS = 95, 100


@dataclass(frozen=True)
class _Page:
    """An image as it is stored: `(h w s)` with alpha as the last sample."""

    header: ImageHeader
    pixels: Pixels
    metadata: Prepared


def write_images(
    path: Path,
    sequence: ImageSequence,
    *,
    quality: int | None = None,
    metadata: MetadataMode = "keep",
    replaces: bool = True,
) -> ContentReport:
    """Write all images to one file in the format that the suffix names.

    The file appears whole or not at all, and the same images give the same bytes. The depth is kept
    as far as the format has it; PQ and HLG in AVIF have 10 bits. JPEG, AVIF and HEIC are written
    without chroma subsampling. Where the format holds no colour profile, colours are converted to
    sRGB.

    Args:
        path: Target, with one of `formats.BY_SUFFIX`. Missing parent directories are made.
        sequence: What to write. Several images without timing are pages, which only TIFF holds.
        quality: 1 to 100 for formats that lose something; WebP, HEIC and JPEG XL lose nothing at
            100. None is 95, or 100 where the source is in the same format and lost nothing.
        metadata: Whether what a file says beside its pixels is kept, dropped, or kept without
            places, serial numbers and owners; the colour profile is always kept.
        replaces: Whether a file that is there by then is replaced.

    Returns:
        What became of the depth, the transparency, the timing and the metadata.

    Raises:
        OutputError: The suffix names no format, the format cannot hold the images, or the file
            cannot be written.
        UsageError: The quality is out of range.
    """
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(
            f"quality {quality} is out of range", hint="choose 1 (smallest) to 100 (best)"
        )
    images = sequence.images
    check_images(path, sequence)
    headers = [header_of(image) for image in images]
    file_format = _format(path)
    animated = len(images) > 1 and file_format is not formats.TIFF
    if animated:
        headers = _one_layout(headers)
    report, pages = ContentReport(), []
    for image, header in zip(images, headers, strict=True):
        page, told = _stored(file_format, image, header, metadata)
        pages.append(page)
        report = report.joined(told)
    quality, coding = _coding(file_format, images[0], quality)
    with target_file(path, replaces=replaces) as file:
        timing = sequence.timing if animated else None
        changed = _write(file, file_format, pages, timing, quality)
    told = ContentReport(changed=changed).joined(coding)
    return report.joined(_timing_report(sequence, file_format)).joined(told)


def write_image(
    path: Path,
    image: RestorableImage,
    *,
    quality: int | None = None,
    metadata: MetadataMode = "keep",
) -> ContentReport:
    """Write one image; otherwise as `write_images`."""
    return write_images(path, ImageSequence((image,)), quality=quality, metadata=metadata)


def write_bands(
    path: Path,
    header: ImageHeader,
    bands: Iterator[Band],
    source: BandReader,
    *,
    metadata: MetadataMode = "keep",
    replaces: bool = True,
) -> ContentReport:
    """Write an image that comes from top to bottom and is never held in memory as a whole.

    PNG and TIFF only; TIFF is written in tiles. Otherwise as `write_images`.

    Args:
        path: Target.
        header: Of the image to write.
        bands: Its rows, all of them; an error that they raise leaves no file.
        source: Where the image comes from: its metadata, span and changes go with it.
        metadata: As in `write_images`.
        replaces: As in `write_images`.

    Returns:
        What became of the depth, the transparency and the metadata.

    Raises:
        OutputError: As `write_images`, or the format is not written in bands.
    """
    check_target(path, header)
    file_format = _format(path)
    if not file_format.bands:
        raise OutputError(
            f"cannot write {path}: {file_format.label} needs the whole image in memory,"
            f" which {header.width}x{header.height} pixels do not fit in",
            hint="write PNG or TIFF instead: --format png",
        )
    stored = replace(header, dtype=stored_type(header.dtype, file_format))
    check_color(path, source.metadata.color, header.dtype)
    ready = _ready(source.metadata, file_format, stored, metadata)
    rows = Supply(_merged(band.pixels, band.alpha, stored) for band in bands)
    with target_file(path, rows, replaces=replaces) as file:
        if file_format is formats.TIFF:
            write_tiff_bands(file, stored, rows, ready)
        else:
            write_png(file, stored, rows, metadata_chunks(ready))
    report = ContentReport(changed=source.changes).joined(
        _pixels_report(header, stored, source.span)
    )
    return report.joined(ready.report)


def _coding(
    file_format: Format, image: RestorableImage, quality: int | None
) -> tuple[int, ContentReport]:
    """Choose the quality, and tell whether a lossless source stays so in its format."""
    source = image.metadata
    if not source.lossless or source.source_format != file_format.name:
        return quality or max(_USUAL_QUALITY, image.least_quality), ContentReport()
    if file_format.exact and quality in (None, _NO_LOSS):
        return _NO_LOSS, ContentReport(kept=("lossless coding",))
    lost = f"lossless {file_format.label} written with losses"
    if quality is None:
        return _USUAL_QUALITY, ContentReport(changed=(f"{lost} (PNG and TIFF have none)",))
    return quality, ContentReport(changed=(f"{lost} (quality {quality})",))


def _format(path: Path) -> Format:
    file_format = formats.format_of(path)
    assert file_format is not None, "check_target refuses other suffixes"
    return file_format


def _one_layout(headers: Sequence[ImageHeader]) -> list[ImageHeader]:
    """Headers of frames that are stored alike: in colour, with alpha, as deep as any of them."""
    channels = max(header.channels for header in headers)
    has_alpha = any(header.has_alpha for header in headers)
    dtype = max((header.dtype for header in headers), key=lambda dtype: dtype.itemsize)
    return [
        replace(header, channels=channels, has_alpha=has_alpha, dtype=dtype) for header in headers
    ]


def _stored(
    file_format: Format,
    image: RestorableImage,
    header: ImageHeader,
    mode: MetadataMode,
) -> tuple[_Page, ContentReport]:
    deep = _is_high_range(image.metadata, header, file_format)
    dtype = np.dtype(np.uint16) if deep else stored_type(header.dtype, file_format)
    stored = replace(header, dtype=dtype)
    report = ContentReport(changed=image.changes)
    alpha = image.alpha
    if alpha is not None and not file_format.alpha:
        alpha, stored = None, replace(stored, has_alpha=False)
        report = report.joined(ContentReport(dropped=("opacity channel, opaque throughout",)))
    ready = _ready(image.metadata, file_format, stored, mode)
    pixels = image.pixels
    if ready.color.converted_from:
        pixels, told = _in_srgb(pixels, ready.color.converted_from)
        report = report.joined(told)
    page = _Page(stored, _merged(pixels, alpha, stored), ready)
    if deep:
        of_pixels = ContentReport(changed=(f"written with {file_format.high_range_bits} bits",))
    else:
        of_pixels = _pixels_report(header, stored, image.span)
    return page, report.joined(of_pixels).joined(ready.report)


def _is_high_range(metadata: Metadata, header: ImageHeader, file_format: Format) -> bool:
    """Whether a format of 8 bits is written with more, since fewer do not do."""
    space = metadata.color.space
    needs_more = space is not None and not space.fits_profile and header.dtype != np.uint8
    return needs_more and file_format.high_range_bits > file_format.bits


def _ready(
    metadata: Metadata, file_format: Format, header: ImageHeader, mode: MetadataMode
) -> Prepared:
    width, height, gray = header.width, header.height, header.channels == 1
    return prepared(metadata, file_format.name, width, height, mode, gray=gray)


def _in_srgb(pixels: Pixels, profile: bytes) -> tuple[Pixels, ContentReport]:
    converted = to_srgb(pixels, profile)
    if converted is None:
        phrase = "colours left as they are (their profile is damaged or for other pixels)"
        return pixels, ContentReport(changed=(phrase,))
    if np.array_equal(converted, pixels):
        return pixels, ContentReport()
    return converted, ContentReport(changed=("colours converted to sRGB",))


def _merged(pixels: Pixels, alpha: Pixels | None, header: ImageHeader) -> Pixels:
    """Return `(h w s)` as the header says: gray spread to three channels, alpha filled in."""
    pixels = to_depth(pixels, header.dtype)
    parts = [pixels] * (header.channels // pixels.shape[2])
    if header.has_alpha:
        white = ValueRange.of(header.dtype).white
        opaque = np.full(pixels.shape[:2], white, header.dtype)
        parts.append((opaque if alpha is None else to_depth(alpha, header.dtype))[..., None])
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _pixels_report(
    header: ImageHeader, stored: ImageHeader, span: ValueRange | None
) -> ContentReport:
    kept = ("transparency",) if stored.has_alpha else ()
    depth = describe_depth(header.dtype)
    if stored.dtype == header.dtype:
        return ContentReport(kept=kept if stored.dtype == np.uint8 else (depth, *kept))
    changed = [f"{depth} reduced to {describe_depth(stored.dtype)}"]
    if span is not None and (span.black < _WHITE.black or span.white > _WHITE.white):
        changed.append("values beyond black and white clipped")
    return ContentReport(kept, tuple(changed))


def _timing_report(sequence: ImageSequence, file_format: Format) -> ContentReport:
    if sequence.timing is None or len(sequence.images) == 1:
        return ContentReport()
    if file_format is formats.TIFF:
        return ContentReport(changed=("frames written as pages",), dropped=("animation timing",))
    endless = file_format is formats.AVIF and sequence.timing.loops != 0
    dropped = ("number of repetitions (AVIF repeats for ever)",) if endless else ()
    return ContentReport(kept=("animation timing",), dropped=dropped)


def _write(
    file: IO[bytes],
    file_format: Format,
    pages: Sequence[_Page],
    timing: Timing | None,
    quality: int,
) -> tuple[str, ...]:
    """Write with what knows the format; returns what it had to change."""
    first, frames = pages[0], [page.pixels for page in pages]
    if file_format is formats.TIFF:
        write_tiff(file, [(page.header, page.pixels, page.metadata) for page in pages])
    elif file_format is formats.GIF:
        return write_gif(file, frames, timing, first.metadata.comment)
    elif file_format is formats.AVIF and first.header.dtype == np.uint16:
        write_deep_avif(file, first.pixels, first.metadata, quality)
    elif file_format is not formats.PNG:
        write_with_pillow(file, file_format, frames, first.metadata, timing=timing, quality=quality)
    elif timing is not None:
        write_animated_png(file, first.header, frames, timing, metadata_chunks(first.metadata))
    else:
        write_png(file, first.header, frames, metadata_chunks(first.metadata))
    return ()
