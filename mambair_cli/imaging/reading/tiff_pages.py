"""The pages of a TIFF file: how the pixels of each are stored, from its tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from mambair_cli.imaging.reading.opening import unsupported
from mambair_cli.imaging.reading.tiff_directories import Directory
from mambair_cli.imaging.reading.tiff_patches import Patches

_SUBFILE_TYPE, _OLD_SUBFILE_TYPE = 254, 255
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _PLANES, _PREDICTOR, _TILE_WIDTH = 277, 284, 317, 322
_EXTRA_SAMPLES, _SAMPLE_FORMAT = 338, 339

_REDUCED, _MASK = 1, 4  # bits of the subfile type
_OLD_REDUCED = 2
_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4
_UNSPECIFIED, _ASSOCIATED, _UNASSOCIATED = 0, 1, 2
_MOST_SAMPLES = 32

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
_NAMES = {4: "a transparency mask", 9: "ICC Lab", 10: "ITU Lab", 32844: "LogL", 32845: "LogLuv"}
_KINDS = {
    _UNSIGNED: ("integer", range(1, 17)),
    _SIGNED: ("signed integer", ()),
    _FLOAT: ("floating-point", (16, 32, 64)),
    _UNDEFINED: ("integer", range(1, 17)),
}


@dataclass(frozen=True)
class TiffPage:
    """How one image of a TIFF file is stored.

    Attributes:
        index: Place in the file's chain of directories, from 0.
        position: Of its directory in the file.
        width: Pixels as stored, before the orientation is applied.
        height: Pixels as stored.
        bits: Of a sample.
        floats: Whether samples are floating point.
        photometric: TIFF's number for what the samples mean.
        samples: Of a pixel.
        alpha: Index of the opacity among them; None without.
        premultiplied: Whether the colours are multiplied by the opacity.
        patches: Bytes by their position in the file which would make the page its only one, its
            colours not multiplied, and its tags sound; none where it is so.
        planar: Whether each sample has a plane of its own.
        tiled: Whether it is stored in tiles.
        compression: TIFF's number.
        predictor: TIFF's number.
        unsaid: Whether its tags leave out what some of its further samples are: libtiff warns of
            that, and every reader forgives it.
        disordered: Whether its tags are out of order, or some stand there twice.
        byte_order: `<` or `>`.
        pixels_at: Where in the file the pixels lie, plain and in one piece; None where the tags
            have to be asked.
    """

    index: int
    position: int
    width: int
    height: int
    bits: int
    floats: bool
    photometric: int
    samples: int
    alpha: int | None
    premultiplied: bool
    patches: Mapping[int, bytes]
    planar: bool
    tiled: bool
    compression: int
    predictor: int
    unsaid: bool
    disordered: bool
    byte_order: Literal["<", ">"]
    pixels_at: int | None = None

    @property
    def colours(self) -> int:
        """Samples that are no opacity and no extra channel."""
        return _COLOURS[self.photometric]

    @property
    def further(self) -> tuple[int, ...]:
        """Indices of the samples that are neither colour nor opacity."""
        return tuple(i for i in range(self.colours, self.samples) if i != self.alpha)


def pages_of(
    path: Path, file: IO[bytes], directories: Sequence[Directory]
) -> tuple[list[TiffPage], tuple[str, ...]]:
    """Tell how every page is stored; smaller copies and masks of pages are none.

    Args:
        path: The file's name, for errors.
        file: The same file, open.
        directories: Of the file, all of them.

    Returns:
        The pages, and phrases for the images beside and inside of them.

    Raises:
        ImageError: The pixels of a page stand for no brightness, or the pages are previews of what
            lies inside of them.
        ValueError: A tag is damaged, or there is no page.
    """
    beside = _beside(path, directories)
    patches = Patches(file, alone=len(directories) == 1)
    pages = [_page(path, one, patches) for one in directories if _is_page(one)]
    if not pages:
        raise ValueError("it has no page")
    return pages, beside


def _beside(path: Path, directories: Iterable[Directory]) -> tuple[str, ...]:
    copies = further = 0
    for page in directories:
        copies += not _is_page(page)
        for one in page.inside:
            if not _is_page(one):
                copies += 1
            elif _width_and_height(one) > _width_and_height(page):
                size = "x".join(str(side) for side in _width_and_height(one))
                raise unsupported(path, f"its picture of {size} pixels inside of a preview")
            else:
                further += 1
    phrases = {
        f"{copies} smaller copies or masks left out": copies,
        f"{further} images inside of pages left out": further,
    }
    return tuple(phrase for phrase, said in phrases.items() if said)


def _width_and_height(directory: Directory) -> tuple[int, int]:
    return directory.value(_WIDTH, 0), directory.value(_HEIGHT, 0)


def _is_page(directory: Directory) -> bool:
    if directory.value(_SUBFILE_TYPE, 0) & (_REDUCED | _MASK):
        return False
    return directory.value(_OLD_SUBFILE_TYPE, 0) != _OLD_REDUCED


def _page(path: Path, directory: Directory, patches: Patches) -> TiffPage:
    photometric, samples = directory.value(_PHOTOMETRIC), directory.value(_SAMPLES, 1)
    if photometric not in _COLOURS:
        name = _NAMES.get(photometric, f"photometric interpretation {photometric}")
        raise unsupported(path, f"{name} for its pixels")
    bits, floats = _sample_type(path, directory)
    if samples > _MOST_SAMPLES:
        raise unsupported(path, f"{samples} samples in a pixel")
    extra = samples - _COLOURS[photometric]
    width, height = _width_and_height(directory)
    if extra < 0 or not width or not height:
        raise ValueError(f"its tags contradict each other: {width}x{height}, {samples} samples")
    # Where nothing is said, the one sample too many is opacity, as everybody reads it.
    unsaid = _UNASSOCIATED if extra == 1 else _UNSPECIFIED
    meanings = directory.values(_EXTRA_SAMPLES, unsaid) if extra else ()
    named = range(min(extra, len(meanings)))
    alpha = next((i for i in named if meanings[i] in (_ASSOCIATED, _UNASSOCIATED)), None)
    premultiplied = alpha is not None and meanings[alpha] == _ASSOCIATED
    return TiffPage(
        index=directory.index,
        position=directory.position,
        width=width,
        height=height,
        bits=bits,
        floats=floats,
        photometric=photometric,
        samples=samples,
        alpha=None if alpha is None else _COLOURS[photometric] + alpha,
        premultiplied=premultiplied,
        patches=patches.of(directory, alpha if premultiplied else None),
        planar=samples > 1 and directory.value(_PLANES, 1) == 2,
        tiled=_TILE_WIDTH in directory.places,
        compression=directory.value(_COMPRESSION, 1),
        predictor=directory.value(_PREDICTOR, 1),
        unsaid=_kinds_given(directory) < extra,
        disordered=not directory.is_sorted,
        byte_order=patches.byte_order,
    )


def _kinds_given(directory: Directory) -> int:
    kinds = directory.places.get(_EXTRA_SAMPLES)
    return kinds.count if kinds else 0


def _sample_type(path: Path, directory: Directory) -> tuple[int, bool]:
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
