"""The pages of a TIFF file: how the pixels of each are stored, from its tags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from mambair_cli.imaging.opening import damaged, unsupported
from mambair_cli.imaging.tag_reader import Place, TagFile

_SUBFILE_TYPE, _OLD_SUBFILE_TYPE = 254, 255
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _PLANES, _TILE_WIDTH = 277, 284, 322
_EXTRA_SAMPLES, _SAMPLE_FORMAT = 338, 339

_REDUCED, _MASK = 1, 4  # bits of the subfile type
_OLD_REDUCED = 2
_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4
_ASSOCIATED, _UNASSOCIATED = 1, 2
_MOST_PAGES, _MOST_SAMPLES = 65536, 32

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
_NAMES = {4: "a transparency mask", 9: "ICC Lab", 10: "ITU Lab", 32803: "a camera's raw data"}
_NAMES |= {32844: "LogL", 32845: "LogLuv", 34892: "a camera's raw data"}
_KINDS = {
    _UNSIGNED: ("integer", (1, 2, 4, 8, 16)),
    _SIGNED: ("signed integer", ()),
    _FLOAT: ("floating-point", (16, 32, 64)),
    _UNDEFINED: ("integer", (1, 2, 4, 8, 16)),
}


@dataclass(frozen=True)
class TiffPage:
    """How one image of a TIFF file is stored.

    Attributes:
        index: Place in the file's chain of directories, from 0.
        width: Pixels as stored, before the orientation is applied.
        height: Pixels as stored.
        bits: Of a sample.
        floats: Whether samples are floating point.
        photometric: TIFF's number for what the samples mean.
        samples: Of a pixel.
        alpha: Index of the opacity among them; None without.
        premultiplied: Whether the colours are multiplied by the opacity.
        extra_samples: Position in the file of the value that says so.
        byte_order: Of that value.
        planar: Whether each sample has a plane of its own.
        tiled: Whether it is stored in tiles.
        compression: TIFF's number.
    """

    index: int
    width: int
    height: int
    bits: int
    floats: bool
    photometric: int
    samples: int
    alpha: int | None
    premultiplied: bool
    extra_samples: int
    byte_order: Literal["little", "big"]
    planar: bool
    tiled: bool
    compression: int

    @property
    def colours(self) -> int:
        """Samples that are no opacity and no extra channel."""
        return _COLOURS[self.photometric]


@dataclass(frozen=True)
class _Directory:
    places: Mapping[int, Place]
    data: Callable[[Place], bytes]
    byte_order: Literal["little", "big"]

    def values(self, tag: int, default: int | None = None) -> tuple[int, ...]:
        place = self.places.get(tag)
        if place is None or not place.count:
            if default is None:
                raise ValueError(f"its tag {tag} is missing")
            return (default,)
        data = self.data(place)
        width = len(data) // place.count
        return tuple(
            int.from_bytes(data[i : i + width], "little") for i in range(0, len(data), width)
        )

    def value(self, tag: int, default: int | None = None) -> int:
        return self.values(tag, default)[0]


def read_pages(path: Path, file: IO[bytes]) -> tuple[list[TiffPage], int]:
    """Read how every page is stored; smaller copies and masks of pages are none.

    Args:
        path: The file's name, for errors.
        file: The same file, open.

    Returns:
        The pages, and how many smaller copies and masks there are beside them.

    Raises:
        ImageError: The tags are damaged, or the pixels of a page stand for no brightness.
    """
    try:
        directories = list(_directories(file))
        pages = [_page(path, index, one) for index, one in directories if _is_page(one)]
    except ValueError as error:
        raise damaged(path, error) from error
    if not pages:
        raise damaged(path, "it has no page")
    return pages, len(directories) - len(pages)


def _directories(file: IO[bytes]) -> Iterator[tuple[int, _Directory]]:
    tags = TagFile(file)
    file.seek(0)
    order: Literal["little", "big"] = "little" if file.read(2) == b"II" else "big"
    for index, position in enumerate(tags.directories()):
        if index == _MOST_PAGES:  # a chain of damaged directories can be very long
            raise ValueError(f"it has more than {_MOST_PAGES} pages")
        yield index, _Directory(tags.places(position), tags.data, order)


def _is_page(directory: _Directory) -> bool:
    if directory.value(_SUBFILE_TYPE, 0) & (_REDUCED | _MASK):
        return False
    return directory.value(_OLD_SUBFILE_TYPE, 0) != _OLD_REDUCED


def _page(path: Path, index: int, directory: _Directory) -> TiffPage:
    photometric, samples = directory.value(_PHOTOMETRIC), directory.value(_SAMPLES, 1)
    if photometric not in _COLOURS:
        name = _NAMES.get(photometric, f"photometric interpretation {photometric}")
        raise unsupported(path, f"{name} for its pixels")
    bits, floats = _sample_type(path, directory)
    if samples > _MOST_SAMPLES:
        raise unsupported(path, f"{samples} samples in a pixel")
    extra = samples - _COLOURS[photometric]
    width, height = directory.value(_WIDTH), directory.value(_HEIGHT)
    if extra < 0 or not width or not height:
        raise ValueError(f"its tags contradict each other: {width}x{height}, {samples} samples")
    # Where nothing is said, the one sample too many is opacity, as everybody reads it.
    meanings = directory.values(_EXTRA_SAMPLES, _UNASSOCIATED) if extra else ()
    named = range(min(extra, len(meanings)))
    alpha = next((i for i in named if meanings[i] in (_ASSOCIATED, _UNASSOCIATED)), None)
    place = directory.places.get(_EXTRA_SAMPLES)
    position = place.position + 2 * (alpha or 0) if place else 0
    return TiffPage(
        index=index,
        width=width,
        height=height,
        bits=bits,
        floats=floats,
        photometric=photometric,
        samples=samples,
        alpha=None if alpha is None else _COLOURS[photometric] + alpha,
        premultiplied=alpha is not None and meanings[alpha] == _ASSOCIATED,
        extra_samples=position,
        byte_order=directory.byte_order,
        planar=samples > 1 and directory.value(_PLANES, 1) == 2,
        tiled=_TILE_WIDTH in directory.places,
        compression=directory.value(_COMPRESSION, 1),
    )


def _sample_type(path: Path, directory: _Directory) -> tuple[int, bool]:
    bits = set(directory.values(_BITS, 1))
    formats = set(directory.values(_SAMPLE_FORMAT, _UNSIGNED))
    if len(bits) > 1 or len(formats) > 1:
        raise unsupported(path, "samples of different types")
    depth, kind = bits.pop(), formats.pop()
    if kind not in _KINDS:
        raise unsupported(path, "complex numbers for its pixels")
    name, depths = _KINDS[kind]
    if depth not in depths:
        raise unsupported(path, f"{depth}-bit {name} pixels")
    return depth, kind == _FLOAT
