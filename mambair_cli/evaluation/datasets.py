"""The benchmark sets: what they are, how they lie in a folder, which images belong together."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambair_cli.disk import sha256_of
from mambair_cli.errors import ImageError, UsageError
from mambair_cli.imaging.files import SUPPORTED_SUFFIXES, read_header, read_image
from mambair_cli.networks.spec import Task
from mambair_cli.pixels.resize import Border

Pixels = NDArray[np.uint8]

SUPER_RESOLUTION: tuple[Task, ...] = ("sr", "realsr")


@dataclass(frozen=True)
class Dataset:
    """One benchmark set.

    Attributes:
        name: As the paper calls it.
        tasks: What it measures.
        images: How many it has.
        border: Edge rule of the low-resolution images that are made from it.
        repo: Data set repository on the Hugging Face Hub that has it, or None.
        archive: Path of the archive in that repository.
        aliases: Other names that its folder goes by.
    """

    name: str
    tasks: tuple[Task, ...]
    images: int
    border: Border = "symmetric"
    repo: str | None = None
    archive: str | None = None
    aliases: tuple[str, ...] = ()


DATASETS = (
    Dataset("Set5", SUPER_RESOLUTION, 5, repo="eugenesiow/Set5", archive="data/Set5_HR.tar.gz"),
    Dataset("Set14", SUPER_RESOLUTION, 14, repo="eugenesiow/Set14", archive="data/Set14_HR.tar.gz"),
    Dataset(
        "B100",
        SUPER_RESOLUTION,
        100,
        repo="eugenesiow/BSD100",
        archive="data/BSD100_HR.tar.gz",
        aliases=("BSD100", "BSDS100"),
    ),
    Dataset(
        "Urban100",
        (*SUPER_RESOLUTION, "denoise"),
        100,
        repo="eugenesiow/Urban100",
        archive="data/Urban100_HR.tar.gz",
    ),
    Dataset("Manga109", SUPER_RESOLUTION, 109),
    Dataset("CBSD68", ("denoise",), 68, repo="deepinv/CBSD68", archive="CBSD68.tar.gz"),
    Dataset("Kodak24", ("denoise",), 24),
    Dataset("McMaster", ("denoise",), 18, aliases=("McM",)),
    Dataset("classic5", ("dejpeg",), 5),
    Dataset("LIVE1", ("dejpeg",), 29),
    Dataset("SIDD", ("denoise-real",), 1280, aliases=("SIDD_Validation",)),
)


@dataclass(frozen=True)
class Example:
    """An image of a benchmark set.

    Attributes:
        name: Of the image, in reports.
        files: What it is read from.
        truth: Reads the reference, `(h w c)` uint8.
        given: Reads the degraded partner that comes with it, if one does.
    """

    name: str
    files: tuple[Path, ...]
    truth: Callable[[], Pixels]
    given: Callable[[], Pixels] | None = None


def find_dataset(name: str) -> Dataset:
    """Look a set up by its name, whatever the case, or by another name that it goes by.

    Raises:
        UsageError: There is no such set; the hint names the closest ones, or all.
    """
    by_name = {
        spelling.lower(): dataset
        for dataset in DATASETS
        for spelling in (dataset.name, *dataset.aliases)
    }
    if name.lower() in by_name:
        return by_name[name.lower()]
    close = difflib.get_close_matches(name.lower(), by_name, n=3)
    listed = [by_name[key].name for key in close] or [dataset.name for dataset in DATASETS]
    raise UsageError(f"unknown data set {name!r}", f"choose one of: {', '.join(listed)}")


def examples_in(folder: Path, task: Task, scale: int) -> list[Example]:
    """Find the images of a set, in order of their names.

    Three layouts are known: references alone, in the folder itself or in one of `HR`, `GT`,
    `GTmod12`, `original` and the like; the same with low-resolution partners in `LR_bicubic/X4` and
    the like, named as the references or with `x4` added; and SelfExSR's `image_SRF_4`. For real
    denoising, the two `.mat` files of SIDD's validation blocks.

    Args:
        folder: Of the set.
        task: What is measured; low-resolution partners matter for super-resolution only.
        scale: Output side over input side.

    Raises:
        UsageError: There are no images, two layouts at once, or images without their partner.
    """
    if task == "denoise-real":
        return _blocks_in(folder)
    self_ex = folder / f"image_SRF_{scale}"
    if self_ex.is_dir() and scale > 1:
        return _self_ex_examples(self_ex, scale)
    truths = _images_in(_only(_reference_folders(folder), folder))
    if not truths:
        raise UsageError(
            f"{folder} has no images of a benchmark set",
            "put the references there, or into HR/ inside it",
        )
    if scale == 1:
        return [_example(path.stem, path) for path in truths]
    partners = _only(_partner_folders(folder, scale), None)
    if partners is None:
        return [_example(path.stem, path) for path in truths]
    names = _paired(truths, _images_in(partners), scale)
    return [_example(path.stem, path, partner) for path, partner in names]


def require_readable(examples: Iterable[Example]) -> None:
    """Check by their headers that all images of a set can be read: without one, its mean is wrong.

    Raises:
        ImageError: One cannot be read.
    """
    for example in examples:
        for path in example.files:
            if path.suffix.lower() in SUPPORTED_SUFFIXES:
                read_header(path)


def digest_of(examples: Iterable[Example]) -> str:
    """Identify the files of a set.

    Returns:
        sha256 in hexadecimal over names and contents, independent of where the set lies.
    """
    files = sorted({path for example in examples for path in example.files})
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.name}\0{sha256_of(path)}\n".encode())
    return whole.hexdigest()


def read_pixels(path: Path) -> Pixels:
    """Read a benchmark image.

    Returns:
        `(h w c)` uint8, 1 channel where the file is gray.

    Raises:
        ImageError: The file cannot be read, is deeper than 8 bits, or has transparent pixels.
    """
    image = read_image(path)
    if image.pixels.dtype != np.uint8:
        raise ImageError(
            f"{path} has {image.pixels.dtype} pixels; benchmark images have 8 bits",
            "convert it to 8 bits, or take the set as it was published",
        )
    if image.alpha is not None and image.alpha.min() < 255:
        raise ImageError(f"{path} has transparent pixels", "take the set as it was published")
    return image.pixels


def _example(name: str, truth: Path, given: Path | None = None) -> Example:
    return Example(
        name,
        (truth,) if given is None else (truth, given),
        lambda: read_pixels(truth),
        None if given is None else lambda: read_pixels(given),
    )


def _reference_folders(folder: Path) -> Iterator[Path]:
    names = ("HR", "GT", "GTmod12", "original", f"{folder.name}_HR")
    yield from _existing(folder / name for name in names)


def _partner_folders(folder: Path, scale: int) -> Iterator[Path]:
    names = (
        *(f"{parent}/{x}{scale}" for parent in ("LR_bicubic", "LR") for x in "Xx"),
        *(f"{stem}{x}{scale}" for stem in ("LR_bicubic_", "LR_", "") for x in "Xx"),
        f"LRbicx{scale}",
        f"{folder.name}_LR_x{scale}",
    )
    yield from _existing(folder / name for name in names)


def _existing(paths: Iterable[Path]) -> Iterator[Path]:
    # Where case does not matter, two spellings are one folder.
    seen: set[tuple[int, int]] = set()
    for path in paths:
        if path.is_dir():
            status = path.stat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield path


def _only(found: Iterator[Path], default: Any) -> Any:
    paths = list(found)
    if len(paths) > 1:
        raise UsageError(
            f"images could be taken from {' or '.join(map(str, paths))}",
            "leave only one of these folders, or name another with --data",
        )
    return paths[0] if paths else default


def _images_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "give the folder of the set with --data")
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUPPORTED_SUFFIXES and not path.name.startswith(".")
    )


def _paired(
    truths: Sequence[Path], partners: Sequence[Path], scale: int
) -> Iterator[tuple[Path, Path]]:
    """Pair by name, never by position."""
    suffix = re.compile(rf"[_-]?x{scale}m?$", re.IGNORECASE)
    by_stem: dict[str, list[Path]] = {}
    stems = {path.stem for path in truths}
    for path in partners:
        stem = path.stem if path.stem in stems else suffix.sub("", path.stem)
        by_stem.setdefault(stem, []).append(path)
    _refuse("no low-resolution partner", [p.name for p in truths if p.stem not in by_stem])
    _refuse(
        "no reference", [p.name for s, found in by_stem.items() if s not in stems for p in found]
    )
    _refuse(
        "more than one partner",
        [f"{stem} ({', '.join(path.name for path in p)})" for stem, p in by_stem.items() if p[1:]],
    )
    for path in truths:
        yield path, by_stem[path.stem][0]


def _refuse(what: str, names: Sequence[str]) -> None:
    if names:
        raise UsageError(
            f"{len(names)} images have {what}: {', '.join(names)}",
            "complete the set, or remove its low-resolution folder to have the images made",
        )


def _self_ex_examples(folder: Path, scale: int) -> list[Example]:
    ending = f"_SRF_{scale}_"
    found: dict[str, dict[str, Path]] = {"HR": {}, "LR": {}}
    for path in _images_in(folder):
        name, _, kind = path.stem.rpartition(ending)
        if kind in found:
            found[kind][name] = path
    high, low = found["HR"], found["LR"]
    _refuse("no low-resolution partner", [high[name].name for name in high if name not in low])
    _refuse("no reference", [low[name].name for name in low if name not in high])
    if not high:
        raise UsageError(f"{folder} has no images named NAME{ending}HR.png", "complete the set")
    return [_example(name, high[name], low[name]) for name in sorted(high)]


def _blocks_in(folder: Path) -> list[Example]:
    """Read SIDD's validation blocks: `(40 32 256 256 3)` uint8 in each of two MATLAB files."""
    files = [folder / f"Validation{kind}BlocksSrgb.mat" for kind in ("Gt", "Noisy")]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise UsageError(
            f"{folder} has no {' and no '.join(missing)}",
            "fetch SIDD's validation blocks (sRGB) and give their folder with --data",
        )
    truths, noisy = (_read_blocks(path) for path in files)
    if truths.shape != noisy.shape:
        raise UsageError(
            f"{files[0]} has blocks {truths.shape}, {files[1]} {noisy.shape}", "fetch both again"
        )
    return [
        Example(
            f"{image + 1:02}-{block + 1:02}",
            tuple(files),
            lambda at=(image, block): truths[at],  # type: ignore[misc]
            lambda at=(image, block): noisy[at],  # type: ignore[misc]
        )
        for image in range(truths.shape[0])
        for block in range(truths.shape[1])
    ]


def _read_blocks(path: Path) -> Pixels:
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise UsageError(
            f"{path} cannot be read without SciPy", "install it: pip install 'mambair[bench]'"
        ) from error
    name = path.stem
    try:
        blocks = loadmat(path, variable_names=[name]).get(name)
    except (MatReadError, ValueError, OSError, NotImplementedError, TypeError) as error:
        raise ImageError(f"{path} is damaged: {error}", "fetch it again") from error
    if blocks is None or blocks.ndim != 5 or blocks.dtype != np.uint8:
        raise ImageError(f"{path} holds no blocks named {name}", "fetch it again")
    return np.asarray(blocks)
