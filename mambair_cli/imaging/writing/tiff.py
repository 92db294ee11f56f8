"""TIFF files of any depth and size: whole in strips, with several pages, or from bands in tiles.

Readers of old know fewer ways to compress than tifffile writes: ImageJ before 1.53v shows deflate
with a predictor as noise, and 48-bit colour with any predictor not at all. So 8 bits are compressed
by LZW with a predictor, which libvips does, and the rest by deflate without one.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import numpy as np

from mambair_cli.imaging.image import ImageHeader, Pixels
from mambair_cli.imaging.metadata.measures import DENSITY
from mambair_cli.imaging.metadata.preparation import Prepared
from mambair_cli.imaging.metadata.tag_reader import exif_entries, numbers
from mambair_cli.imaging.metadata.tiff_directory import add_entries
from mambair_cli.imaging.metadata.tiff_metadata import DESCRIPTIVE_TAGS

_TILE = 256
_DEFLATE_LEVEL = 6
_STRIP_BYTES = 2**18  # before they are compressed
_COMPRESSION, _LZW = 259, 5
# Offsets have 32 bits; the margin is for directories, and for noise that deflate makes longer.
_CLASSIC_BYTES = 2**32 - 2**26
_XMP, _IPTC = 700, 33723
_BYTE, _INCH = 1, 2


def write_tiff(file: IO[bytes], pages: Sequence[tuple[ImageHeader, Pixels, Prepared]]) -> None:
    """Write images as the pages of one file, BigTIFF where 32 bits cannot address it.

    Args:
        file: Open for reading and writing, empty.
        pages: Header, `(h w s)` with alpha as the last sample, and metadata of each.
    """
    import tifffile

    size = sum(_byte_count(header) for header, _, _ in pages)
    with tifffile.TiffWriter(file, bigtiff=size > _CLASSIC_BYTES) as writer:
        for header, pixels, metadata in pages:
            rows = max(1, _STRIP_BYTES // pixels[0].nbytes)
            strips = (pixels[top : top + rows] for top in range(0, len(pixels), rows))
            writer.write(
                _compressed(strips, header.dtype),
                rowsperstrip=rows,
                **_arguments(header, metadata),
            )
    _finish(file, [(header, metadata) for header, _, metadata in pages])


def write_tiff_bands(
    file: IO[bytes], header: ImageHeader, bands: Iterable[Pixels], metadata: Prepared
) -> None:
    """Write one image in tiles, from top to bottom; memory is that of a band and a row of tiles.

    Args:
        file: Open for reading and writing, empty.
        header: Size, type (uint8, uint16 or float32), channels and whether there is alpha.
        bands: `(rows w s)` of any number of rows, alpha as the last sample; `h` rows together.
        metadata: What to write beside.
    """
    import tifffile

    with tifffile.TiffWriter(file, bigtiff=_byte_count(header) > _CLASSIC_BYTES) as writer:
        writer.write(
            _compressed(_tiles(bands), header.dtype),
            tile=(_TILE, _TILE),
            **_arguments(header, metadata),
        )
    _finish(file, [(header, metadata)])


def _byte_count(header: ImageHeader) -> int:
    """Return the most bytes of an image, its last tiles filled up: LZW makes noise half longer."""
    height, width = (math.ceil(side / _TILE) * _TILE for side in (header.height, header.width))
    values = height * width * (header.channels + header.has_alpha)
    return values * 3 // 2 if _by_lzw(header.dtype) else values * header.dtype.itemsize


def _shape(header: ImageHeader) -> tuple[int, ...]:
    # With a last dimension of 1 tifffile would take rows for pages.
    samples = header.channels + header.has_alpha
    return (header.height, header.width, samples)[: 2 if samples == 1 else 3]


def _arguments(header: ImageHeader, metadata: Prepared) -> dict[str, Any]:
    blocks = ((_XMP, metadata.xmp), (_IPTC, metadata.iptc))
    arguments: dict[str, Any] = {
        "shape": _shape(header),
        "dtype": header.dtype,
        "photometric": "rgb" if header.channels == 3 else "minisblack",
        "planarconfig": "contig" if header.channels + header.has_alpha > 1 else None,
        "extrasamples": ["unassalpha"] if header.has_alpha else None,
        "compression": "zlib",  # which `_finish` corrects
        "predictor": _by_lzw(header.dtype),
        "iccprofile": metadata.color.profile,
        "extratags": [(tag, _BYTE, len(block), block, True) for tag, block in blocks if block],
        # Nothing that says when and by which version of what the file was written.
        "metadata": None,
        "software": False,
    }
    if metadata.dpi:
        arguments |= {"resolution": metadata.dpi, "resolutionunit": "inch"}
    density = {one.tag: numbers(one) for one in metadata.measures if one.tag in DENSITY}
    if density:
        x, y, unit = (density.get(tag, (_INCH,))[0] for tag in sorted(DENSITY))
        arguments |= {"resolution": (x, y), "resolutionunit": int(unit)}
    return arguments


def _by_lzw(dtype: np.dtype[Any]) -> bool:
    return dtype == np.uint8


def _compressed(parts: Iterable[Pixels], dtype: np.dtype[Any]) -> Iterator[bytes]:
    """Compress strips or tiles as they come."""
    for part in parts:
        yield _lzw(part) if _by_lzw(dtype) else zlib.compress(part.tobytes(), _DEFLATE_LEVEL)


def _lzw(part: Pixels) -> bytes:
    """Compress what libvips saves as a file with one strip."""
    import tifffile

    from mambair_cli.imaging import vips

    rows = math.ceil(len(part) / 16) * 16  # as libvips wants it
    content: bytes = vips.from_array(part).tiffsave_buffer(
        compression="lzw", predictor="horizontal", tile_height=rows, keep="none"
    )
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        page = tiff.pages.first
        (start,), (length,) = page.dataoffsets, page.databytecounts
    return content[start : start + length]


def _tiles(bands: Iterable[Pixels]) -> Iterator[Pixels]:
    for rows in _rows_of_tiles(bands):
        for left in range(0, rows.shape[1], _TILE):
            part = rows[:, left : left + _TILE]
            tile = np.zeros((_TILE, _TILE, rows.shape[2]), rows.dtype)
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


def _rows_of_tiles(bands: Iterable[Pixels]) -> Iterator[Pixels]:
    """Cut bands of any height anew, to the height of a tile; the last may have less."""
    waiting: list[Pixels] = []
    count = 0
    for band in bands:
        start = 0
        while count + len(band) - start >= _TILE:
            stop = start + _TILE - count
            yield np.concatenate([*waiting, band[start:stop]])
            waiting, count, start = [], 0, stop
        if start < len(band):
            waiting.append(band[start:])
            count += len(band) - start
    if waiting:
        yield np.concatenate(waiting)


def _finish(file: IO[bytes], pages: Sequence[tuple[ImageHeader, Prepared]]) -> None:
    """Name LZW, and add the descriptive tags and directories of EXIF blocks.

    tifffile writes no such directories, and what is compressed by LZW already only so.
    """
    _name_lzw(file, [page for page, (header, _) in enumerate(pages) if _by_lzw(header.dtype)])
    for page, (_, metadata) in enumerate(pages):
        try:
            entries = exif_entries(metadata.exif) if metadata.exif else ()
        except ValueError:
            entries = ()
        described = [entry for entry in entries if entry.tag in DESCRIPTIVE_TAGS]
        measures = [entry for entry in metadata.measures if entry.tag not in DENSITY]
        if described or measures:
            add_entries(file, [*described, *measures], page)


def _name_lzw(file: IO[bytes], pages: Sequence[int]) -> None:
    import tifffile

    if not pages:
        return
    file.seek(0)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        for page in pages:
            tiff.pages[page].aspage().tags[_COMPRESSION].overwrite(_LZW)
