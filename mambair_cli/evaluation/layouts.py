"""How the images of a set lie in a folder, and which of them belong together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from mambair_cli.errors import UsageError
from mambair_cli.evaluation.examples import Example, cropped_like, example_of, size_of
from mambair_cli.evaluation.sidd import blocks_in
from mambair_cli.imaging.files import SUPPORTED_SUFFIXES
from mambair_cli.networks.spec import Task

# What people call the folders of references, and those of degraded images.
REFERENCES = re.compile(
    r"(.*[_-])?(hr|gt)|gtmod\d+|original(_png)?|clean|target|ground_?truth|reference|high",
    re.IGNORECASE,
)
CROPPED = re.compile(r"gtmod\d+", re.IGNORECASE)
DEGRADED = re.compile(r"noisy|input|degraded|lq|low", re.IGNORECASE)
SMALLER = r"((.*_)?(lr|lq|low|input)(_?bic(ubic)?)?|bicubic)"
CALLED_SMALLER = re.compile(r"([_.-](lr|lq)|x\dm?)$", re.IGNORECASE)
# What is added to the name of an image: to that of a reference, or of its partner.
ADDED = r"[_.-](hr|gt|lr|lq|bic|bicubic|bicLR|clean|noisy|input|target)"
ENOUGH = 5

Kind = TypeVar("Kind", Path, None)


def examples_in(folder: Path, task: Task, scale: int, *, own: bool = False) -> list[Example]:
    """Find the images of a set, in order of their names.

    References lie in the folder itself or in one of `HR`, `GT`, `original` and the like. Their
    low-resolution partners lie in `LR_bicubic/X4`, `LRbicx4`, `x4` and the like, or beside them,
    and are called as they are or with something added: `x4`, `_LR`, `_bicLRx4`. SelfExSR's
    `image_SRF_4` is known, and for real denoising the two `.mat` files of SIDD's validation blocks.

    Args:
        folder: Of the set.
        task: What is measured.
        scale: Output side over input side.
        own: Whether the set is the user's own: where nothing is enlarged, its references may have
            degraded partners, in `noisy` or `input` beside `clean` or `target`. The images of a
            published set are degraded here.

    Raises:
        UsageError: There are no images, two layouts at once, or images whose partner is missing or
            of another size.
        ImageError: An image cannot be read.
    """
    if task == "denoise-real" and not (own and _named(folder, REFERENCES)):
        return blocks_in(folder)
    self_ex = folder / f"image_SRF_{scale}"
    if self_ex.is_dir() and scale > 1:
        return _self_ex_examples(self_ex, scale)
    degraded = _partner_folder(folder, scale, own=own)
    truths = images_in(_only(_reference_folders(folder, degraded, scale), folder))
    if not truths:
        raise UsageError(
            f"{folder} has no images of a benchmark set",
            "put the references there, or into HR/ inside it",
        )
    if degraded is not None:
        pairs = _paired(truths, images_in(degraded), scale)
        return [example_of(truth, given, scale) for truth, given in pairs]
    truths, partners = _beside(truths, scale) if scale > 1 else (truths, [])
    if partners:
        return [example_of(*pair, scale) for pair in _paired(truths, partners, scale)]
    return [example_of(path, None, scale) for path in truths]


def images_in(folder: Path) -> list[Path]:
    """List the image files of a folder, without hidden ones, in order of their names.

    Raises:
        UsageError: It is no folder.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "give the folder of the set with --data")
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUPPORTED_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    )


def has_partners(folder: Path) -> bool:
    """Tell whether a folder of the user's has degraded images of the size of its references."""
    return _partner_folder(folder, 1, own=True) is not None


def _named(folder: Path, names: re.Pattern[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    inside = sorted(folder.iterdir(), reverse=True)  # `HR` is named before `GT`
    return [path for path in inside if path.is_dir() and names.fullmatch(path.name)]


def _partner_folder(folder: Path, scale: int, *, own: bool) -> Path | None:
    """Find the folder of degraded images: one that names the scale, else one whose images fit."""
    references = _named(folder, REFERENCES)
    if scale == 1:
        found = _named(folder, DEGRADED) if own and references else []
        return _only(found, None)
    named = re.compile(rf"({SMALLER}[_/-]?)?(x{scale}|{scale}x)", re.IGNORECASE)
    inside = [path for path in folder.glob("*") if path.is_dir()]
    below = [path for each in inside for path in each.iterdir() if path.is_dir()]
    found = [p for p in [*inside, *below] if named.fullmatch(p.relative_to(folder).as_posix())]
    fitting = found or [
        path
        for path in _named(folder, re.compile(SMALLER, re.IGNORECASE))
        if any(_fit(images_in(each), images_in(path), scale) for each in references)
    ]
    return _only(sorted(fitting), None)


def _reference_folders(folder: Path, degraded: Path | None, scale: int) -> list[Path]:
    found = _named(folder, REFERENCES)
    if degraded is None or len(found) < 2:
        return [each for each in found if not CROPPED.fullmatch(each.name)] or found
    # Of several, those that the partners were made of.
    partners = images_in(degraded)
    exact = [each for each in found if _fit(images_in(each), partners, scale, exact=True)]
    return exact or [e for e in found if _fit(images_in(e), partners, scale)] or found


def _only(found: Sequence[Path], default: Kind) -> Path | Kind:
    if len(found) > 1:
        raise UsageError(
            f"images could be taken from {' or '.join(map(str, found))}",
            "leave only one of these folders, or name another with --data",
        )
    return found[0] if found else default


def _fit(
    truths: Sequence[Path], partners: Sequence[Path], scale: int, *, exact: bool = False
) -> bool:
    """Tell whether the first images pair, by name and size."""
    pairs = [
        (truth, given[0])
        for truth, given in _by_name(truths, partners, scale).items()
        if len(given) == 1
    ][:ENOUGH]
    return bool(pairs) and all(_of_one_size(*pair, scale, exact=exact) for pair in pairs)


def _of_one_size(truth: Path, given: Path, scale: int, *, exact: bool) -> bool:
    high, low = size_of(truth), size_of(given)
    if exact:
        return high == (low[0] * scale, low[1] * scale)
    return cropped_like(high, low, scale) is not None


def _shortened(stem: str, scale: int | str) -> Iterator[str]:
    """Yield a name, then the name without what people add to it, piece by piece."""
    ending = re.compile(rf"({ADDED}|[_.-]?x{scale}m?)$", re.IGNORECASE)
    longer = ""
    while stem and stem != longer:
        yield stem
        stem, longer = ending.sub("", stem), stem


def _by_name(
    truths: Iterable[Path], partners: Iterable[Path], scale: int | str
) -> dict[Path, list[Path]]:
    """Find the partners of each reference by name, never by position; of itself what has none."""
    known: dict[str, Path] = {}
    for path in truths:
        for name in _shortened(path.stem, scale):
            known.setdefault(name, path)
    known |= {path.stem: path for path in truths}
    found: dict[Path, list[Path]] = {path: [] for path in truths}
    for path in partners:
        known_as = next((name for name in _shortened(path.stem, scale) if name in known), None)
        found.setdefault(path if known_as is None else known[known_as], []).append(path)
    return found


def _paired(
    truths: Sequence[Path], partners: Sequence[Path], scale: int
) -> Iterator[tuple[Path, Path]]:
    found = _by_name(truths, partners, scale)
    own = set(truths)
    _refuse("no low-resolution partner", [path.name for path in truths if not found[path]])
    _refuse("no reference", [path.name for path in found if path not in own])
    _refuse(
        "more than one partner",
        [
            f"{path.stem} ({', '.join(each.name for each in given)})"
            for path, given in found.items()
            if len(given) > 1
        ],
    )
    return ((path, found[path][0]) for path in truths)


def _beside(images: Sequence[Path], scale: int) -> tuple[list[Path], list[Path]]:
    """Part the images of one folder into references and what is called as their partners."""
    degraded = [path for path in images if CALLED_SMALLER.search(path.stem)]
    plain = [path for path in images if path not in degraded]
    found = _by_name(plain, degraded, r"\d")
    truths = plain + [path for path in found if path not in plain]
    other = re.compile(rf"x(?!{scale})\dm?$", re.IGNORECASE)
    partners = [path for truth in plain for path in found[truth] if not other.search(path.stem)]
    return sorted(truths), partners


def _refuse(what: str, names: Sequence[str]) -> None:
    if names:
        raise UsageError(
            f"{len(names)} images have {what}: {', '.join(names)}",
            "complete the set, or remove its low-resolution folder to have the images made",
        )


def _self_ex_examples(folder: Path, scale: int) -> list[Example]:
    ending = f"_SRF_{scale}_"
    found: dict[str, dict[str, Path]] = {"HR": {}, "LR": {}}
    for path in images_in(folder):
        name, _, kind = path.stem.rpartition(ending)
        if kind in found:
            found[kind][name] = path
    high, low = found["HR"], found["LR"]
    _refuse("no low-resolution partner", [high[name].name for name in high if name not in low])
    _refuse("no reference", [low[name].name for name in low if name not in high])
    if not high:
        raise UsageError(f"{folder} has no images named NAME{ending}HR.png", "complete the set")
    return [replace(example_of(high[name], low[name], scale), name=name) for name in sorted(high)]
